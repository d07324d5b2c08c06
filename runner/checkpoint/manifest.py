"""The manifest: a JSON file beside a checkpoint that says what it is and proves it whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import CheckpointError
from runner.files import is_plain, sha256

FORMAT = 2
"""2 added layers, numerics and amendments."""
SUFFIX = ".json"

_NUMBERED = re.compile(r".+-\d+", re.DOTALL)
_ENDING = re.compile(r"\.index|\.data-\d{5}-of-\d{5}")
AMENDMENT = frozenset({"from_step", "overrides", "changes"})
"""What an amendment tells of the sitting that made it."""
_KINDS: dict[Any, tuple[str, ...]] = {
    int: ("number", "order", "step"),
    int | float: ("epoch", "saved_at", "begun_at"),
    dict: ("keys", "optimizers", "variables", "layers", "numerics", "metrics", "record", "files"),
    list: ("amendments",),
}
"""Of what kind fields are: somebody else may have written them."""
_MARKS = {"files", "fingerprint", "format"}
"""By these a manifest is known from another JSON file that happens to stand beside a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What one checkpoint is. The runner counts a checkpoint as there once its manifest is."""

    name: str
    """``<prefix>-<number>``."""
    run: str
    """The id of the run that saved it."""
    number: int
    order: int
    """Which of the run's scheduled saves this is, from 1, or comes before: the newest has the highest."""
    step: int
    epoch: float
    phase: str | None
    keys: dict[str, str]
    """Name in the file: part of the state."""
    optimizers: dict[str, str]
    """The class of the optimizer under a key: Adam's file would fit AdamW without a word."""
    variables: dict[str, str]
    """The name of every variable by the way that leads to it: layers of one shape can change places."""
    layers: dict[str, str] = field(default_factory=dict)
    """The class and the activations of every layer: weights fit a layer that computes something else."""
    numerics: dict[str, Any] = field(default_factory=dict)
    """What the bits depend on besides the config; see `runner.numerics`."""
    amendments: list[dict[str, Any]] = field(default_factory=list)
    """What the run was resumed with; with the numerics, enough to begin a lost run.json anew."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the evaluation at this very step, if there was one, as split/name; finite numbers only."""
    record: dict[str, Any]
    """Where the run stands besides the step, for keys that leave the progress out."""
    saved_at: float
    """Seconds since 1970."""
    begun_at: float
    """``saved_at`` of the run's first checkpoint, from where ``keep_every_n_hours`` counts."""
    fingerprint: str
    """SHA-256 over names, dtypes, shapes and bytes of all tensors."""
    files: dict[str, dict[str, Any]]
    """``{"bytes": size, "sha256": digest}`` by file name."""
    scheduled: bool = True
    """False for one that is there only to go on from; the next save replaces it."""
    held: bool = False
    """Kept for good by ``keep_every_n_hours``."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        for kind, names in _KINDS.items():
            for name in names:
                if not isinstance(getattr(self, name), kind):
                    raise ValueError(f"{name} is {getattr(self, name)!r}")
        if not all(isinstance(value, int | float) for value in self.metrics.values()):
            raise ValueError(f"metrics is {self.metrics!r}")
        if not all(one.keys() <= AMENDMENT for one in self.amendments):
            raise ValueError(f"amendments is {self.amendments!r}")
        if not is_plain(self.run):  # Folders are called by it.
            raise ValueError(f"run is {self.run!r}")
        if not self.files:
            raise ValueError("it names no files")
        for file, entry in self.files.items():
            if not (file.startswith(self.name) and _ENDING.fullmatch(file[len(self.name) :])):
                raise ValueError(f"{file!r} is no file of checkpoint {self.name!r}")
            if not {"bytes", "sha256"} <= entry.keys():
                raise ValueError(f"{file!r} has no size or no SHA-256")

    def as_bytes(self) -> bytes:
        """The content of ``<name>.json``, sealed by a digest over all the rest."""
        content = asdict(self)
        sealed = {**content, "digest": _digest(content)}
        return (json.dumps(sealed, indent=1, sort_keys=True) + "\n").encode()

    def fault(self, directory: Path, *, by_size: bool = False) -> str | None:
        """Why the files in ``directory`` are not what was saved, or None if they are.

        Args:
            by_size: look at the sizes only, and read nothing.
        """
        for name, expected in self.files.items():
            path = directory / name
            if not path.is_file():
                return f"{name} is missing"
            size = path.stat().st_size
            if size != expected["bytes"]:
                return f"{name} has {size} bytes instead of {expected['bytes']}"
            if not by_size and sha256(path) != expected["sha256"]:
                return f"{name} has another SHA-256 than when it was saved"
        return None


def read_manifest(path: Path) -> Manifest | str | None:
    """The manifest in ``path``, or the reason why it cannot be used, or None if there is none.

    A JSON file that somebody else put beside a checkpoint is no manifest.

    Raises:
        CheckpointError: a newer version of runner wrote it.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or not _MARKS & content.keys():
            return None
        return _manifest(content, name=path.name.removesuffix(SUFFIX))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return f"{path.name} is not readable as a manifest: {error}"


def manifest_files(directory: Path) -> list[Path]:
    """Where manifests can stand in ``directory``: ``<prefix>-<number>.json``."""
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if path.name.endswith(SUFFIX))
    return sorted(path for path in found if _NUMBERED.fullmatch(path.name.removesuffix(SUFFIX)))


def read_manifests(directory: Path) -> list[Manifest]:
    """The readable manifests in ``directory``, the newest last."""
    found = [read_manifest(path) for path in manifest_files(directory)]
    manifests = [manifest for manifest in found if isinstance(manifest, Manifest)]
    return sorted(manifests, key=lambda manifest: (manifest.order, manifest.scheduled))


def lone_checkpoints(directory: Path) -> list[str]:
    """The names of the checkpoints in ``directory`` that have no manifest: a script's, or damaged."""
    if not directory.is_dir():
        return []
    names = (path.stem for path in directory.iterdir() if path.suffix == ".index")
    return sorted(name for name in names if not (directory / f"{name}{SUFFIX}").exists())


def by_time(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The last saved last: by the clock between runs, but within one run by its own count, since a
    clock can be set back.
    """
    latest: dict[str, float] = {}
    timed: list[tuple[float, Manifest]] = []
    for one in sorted(manifests, key=lambda one: (one.order, one.scheduled)):
        latest[one.run] = max(one.saved_at, latest.get(one.run, one.saved_at))
        timed.append((latest[one.run], one))
    return [one for _, one in sorted(timed, key=lambda pair: pair[0])]


def file_entry(path: Path) -> dict[str, Any]:
    """Size and digest of one file, as a manifest lists them."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _manifest(content: dict[str, Any], *, name: str) -> Manifest:
    if content.pop("digest", None) != _digest(content):
        raise ValueError("its content is not what was written")
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{name}{SUFFIX} has format {content['format']}, which only a newer version of runner "
            "reads; install that one, or give another checkpoint.directory"
        )
    manifest = Manifest(**content)
    if manifest.name != name:
        raise ValueError(f"it is the manifest of {manifest.name}")
    return manifest


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
