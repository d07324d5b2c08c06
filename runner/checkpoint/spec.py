"""The config of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runner.errors import Invalid, suggestion
from runner.schedule import Every

RESTORE_WORDS = ("auto", "none", "latest", "best")
PARTS = ("model", "optimizer", "progress", "step")
EVERYTHING = {part: part for part in ("model", "optimizer", "progress")}
"""All of the state, by the keys that the config takes if it names none."""
UNTRACKED = "untracked"
"""The runner's own key, where the keys name the model but not the progress."""
_MAX_PREFIX_BYTES = 150


@dataclass(frozen=True, kw_only=True)
class Best:
    """Which checkpoints are kept for being good rather than new."""

    metric: str
    """A number of an evaluation during training, as split/name: validation/accuracy."""
    mode: Literal["max", "min"] = "max"
    """Whether more is better."""
    keep: int = 1
    """How many of them are kept beside the newest ones."""

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise Invalid("keep", self.keep, "give a count of at least 1")

    def better(self, value: float, than: float) -> bool:
        """Whether ``value`` beats ``than``."""
        return value > than if self.mode == "max" else value < than


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec:
    """What a checkpoint holds, where it stands, what it is called, and when it goes."""

    keys: dict[str, str] | None = None
    """Name in the file: part of the state, as in ``tf.train.Checkpoint(name=part)``.

    null stands for model, optimizer and progress, each under its own name. It is no mapping, because
    Hydra would merge keys of one's own into it instead of putting them in its place.
    """
    directory: str
    """Where the files stand."""
    prefix: str = "ckpt"
    """The start of a checkpoint's name, ``<prefix>-<number>``."""
    max_to_keep: int | None = 5
    """How many of the newest are kept; null keeps all."""
    keep_every_n_hours: float | None = None
    """Beside those, one for every so many hours of training is kept for good."""
    numbering: Literal["step", "epoch", "count"] | int = "step"
    """What the number counts; an integer is used as given, for every save."""
    every: Every = field(default_factory=lambda: Every(steps=500))
    """When to save; the end of a train phase always is saved."""
    best: Best | None = None
    """Which to keep for their metric."""
    on_save_error: Literal["stop", "continue"] = "stop"
    """What follows a save that failed: the end of the sitting, or more training until one succeeds."""
    restore: str | int = "auto"
    """Where a run starts: auto, none, latest, best, a number, or a path to any checkpoint."""
    partial: bool = False
    """Warm start: restore what matches, and report the rest."""

    def __post_init__(self) -> None:
        self._check_names()
        for name in ("max_to_keep", "keep_every_n_hours"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise Invalid(name, value, "give a count, or null to keep all")
        for name in ("numbering", "restore"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise Invalid(name, value, "give a number of at least 0")

    @property
    def parts(self) -> dict[str, str]:
        """Name in the file: part of the state."""
        return self.keys or EVERYTHING

    def _check_names(self) -> None:
        if self.keys == {}:
            raise Invalid("keys", {}, "name at least one, such as {model: model}")
        for key, part in self.parts.items():
            if part.split(".")[0] not in PARTS:
                raise Invalid(f"keys.{key}", part, f"no such part; {suggestion(part, PARTS)}")
            if not key.isidentifier() or key in ("save_counter", UNTRACKED):
                reason = "give a name that tf.train.Checkpoint(name=...) takes, such as model"
                raise Invalid(f"keys.{key}", part, reason)
        bad = sorted(set(self.prefix) & set("/\\[]*?\0\n"))
        if bad or self.prefix in {"", ".", "..", "checkpoint"}:
            reason = f"contains {' '.join(bad)}" if bad else "is taken or empty"
            raise Invalid("prefix", self.prefix, f"{reason}; give a plain name, such as ckpt")
        if len(self.prefix.encode()) > _MAX_PREFIX_BYTES:
            reason = "is too long for the names of files; give a short one, such as ckpt"
            raise Invalid("prefix", self.prefix, reason)

    def number(self, *, step: int, epoch: int, count: int) -> int:
        """The number of a checkpoint saved after so many steps, whole epochs and saves."""
        if isinstance(self.numbering, int):
            return self.numbering
        return {"step": step, "epoch": epoch, "count": count}[self.numbering]
