"""The whole config as dataclasses. Each group's class stands beside the code that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from runner.callbacks import Callback
from runner.checkpoint import CheckpointSpec
from runner.config.problems import gather, join
from runner.config.sweep import Mode, SweepSpec
from runner.config.typed import convert
from runner.data import SPLITS, Data
from runner.engine import EngineSpec
from runner.errors import ConfigError, Invalid, shown, suggestion
from runner.files import is_plain
from runner.interrupt import Duration, check_duration
from runner.phases import Phase
from runner.schedule import Every
from runner.targets import Target
from runner.tasks import Task

_MAX_SEED = 2**31 - 1
_OVERLAYS = ("debug", "experiment")
"""Groups that set keys of other groups and have none of their own."""


NAME_OF_RUNS = "give a plain folder name, such as digits_mlp"


def is_name_of_runs(name: str) -> bool:
    """Whether a folder under outputs/ can be called so, in TensorFlow's patterns and on a terminal too."""
    is_own = name != "latest" and not name.startswith(".")
    return is_plain(name) and is_own and name.isprintable() and not set(name) & set("[]*?")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Where the run stands on disk."""

    dir: str
    """The run directory."""
    fresh: bool = False
    """Start over; what is there is moved aside, not deleted."""
    max_time: Duration | None = None
    """Stop after so long, such as 30m or 2h, to go on with the same command."""

    def __post_init__(self) -> None:
        if self.max_time is not None:
            check_duration("max_time", self.max_time)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What is written about a run while it goes."""

    log_every: Every = field(default_factory=lambda: Every(steps=50))
    """When a row of training metrics is written."""
    tensorboard: bool = False
    """Event files beside the rows; needs the extra `tensorboard`."""
    profile: bool = False
    """A trace by TensorFlow's profiler of all that is done; for a few hundred steps at most."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A composed, validated config."""

    name: str
    """The folder under outputs/ that its runs stand in."""
    seed: int
    """Of initial weights, the order of examples, dropout and everything else that is random."""
    run: RunSpec
    model: Target
    """Anything importable that returns a built Keras model."""
    data: Data
    task: Task
    optimizer: Target
    """A `keras.optimizers` class."""
    checkpoint: CheckpointSpec
    phases: dict[str, Phase]
    """In the order in which they run."""
    engine: EngineSpec = field(default_factory=EngineSpec)
    tracking: Tracking = field(default_factory=Tracking)
    callbacks: dict[str, Callback] = field(default_factory=dict)
    sweep: SweepSpec = field(default_factory=SweepSpec)

    def __post_init__(self) -> None:
        problems = [str(problem) for problem in self._problems()]
        if problems:
            raise ConfigError(problems)

    def _problems(self) -> Iterator[Invalid]:
        if not is_name_of_runs(self.name):
            yield Invalid("name", self.name, NAME_OF_RUNS)
        for name in self.phases:
            if not is_plain(name):  # A trace of it is written to a folder of that name.
                yield Invalid("phases", name, "give a plain name, such as train")
        if not 0 <= self.seed <= _MAX_SEED:
            yield Invalid("seed", self.seed, f"give a number from 0 to {_MAX_SEED}")
        if not self.phases:
            yield Invalid("phases", {}, "there is nothing to do; choose phases=train_evaluate")
        yield from self._best_problems()
        # Which numbers there are can be told once the splits are right.
        yield from list(self._split_problems()) or self._metric_problems()

    def _split_problems(self) -> Iterator[Invalid]:
        needed = [(name, split) for name in self.phases for split in self.phases[name].splits()]
        for name, split in needed:
            if split not in SPLITS:
                place = _place(self.phases[name], split, f"phases.{name}")
                yield Invalid(place, split, f"no such split; {suggestion(split, SPLITS)}")

    def _best_problems(self) -> Iterator[Invalid]:
        asking = {f"phases.{name}": phase for name, phase in self.phases.items()}
        for key, part in {"checkpoint": self.checkpoint, **asking}.items():
            if getattr(part, "restore", None) == "best" and self.checkpoint.best is None:
                reason = "checkpoint.best is null; give it a metric, or restore latest"
                yield Invalid(f"{key}.restore", "best", reason)

    def _metric_problems(self) -> Iterator[Invalid]:
        """A number that decides something has to be measured by a phase that can act on it."""
        training = [phase for phase in self.phases.values() if phase.trains]
        if not training:
            return
        evaluated = self._numbers(split for phase in training for split in phase.evaluates())
        written = self._numbers(split for phase in training for split in phase.splits())
        best = self.checkpoint.best
        if best is not None and best.metric not in evaluated:
            reason = f"no train phase evaluates it; {suggestion(best.metric, evaluated)}"
            fix = "or set checkpoint.best=null"
            yield Invalid("checkpoint.best.metric", best.metric, f"{reason}; {fix}")
        for name, callback in self.callbacks.items():
            metric = callback.watched()
            if metric is not None and metric not in written:
                place = _place(callback, metric, f"callbacks.{name}")
                reason = f"no train phase writes it; {suggestion(metric, written)}"
                yield Invalid(place, metric, reason)

    def _numbers(self, splits: Iterable[str]) -> list[str]:
        names = self.task.metric_names()
        return [f"{split}/{name}" for split in dict.fromkeys(splits) for name in names]

    @property
    def trains(self) -> bool:
        """Whether any phase changes the state."""
        return any(phase.trains for phase in self.phases.values())

    @property
    def objectives(self) -> dict[str, Mode]:
        """What the trials of a sweep are compared by, and whether more or less of it is better."""
        best = self.checkpoint.best
        return self.sweep.objectives() or ({} if best is None else {best.metric: best.mode})

    @property
    def measures_what_it_starts_from(self) -> bool:
        """Whether a phase measures the state, although no phase changes what the run starts from."""
        return not self.trains and any(
            getattr(phase, "restore", None) is None for phase in self.phases.values()
        )


def load(mapping: Mapping[str, Any]) -> Experiment:
    """The experiment that a composed config describes.

    Raises:
        ConfigError: with every problem that was found, each with key, value, reason and fix.
    """
    names = [field.name for field in fields(Experiment)]
    unknown = [
        f"{name}={shown(value)}: no such key; {suggestion(name, [*names, *_OVERLAYS])}"
        for name, value in mapping.items()
        if name not in names
    ]
    known = {name: value for name, value in mapping.items() if name in names}
    parts = {"experiment": partial(convert, Experiment, known, "")}
    experiment: Experiment = gather(parts, problems=unknown)["experiment"]
    return experiment


def _place(part: Any, value: object, key: str) -> str:
    """The full key of the field of ``part``, which stands at ``key``, that holds ``value``."""
    return next((place for place, leaf in _leaves(asdict(part), key) if leaf == value), key)


def _leaves(content: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(content, dict):
        for name, item in content.items():
            yield from _leaves(item, join(key, name))
    else:
        yield key, content
