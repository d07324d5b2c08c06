"""The content of run.json: what a run is, and who worked on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.checkpoint.manifest import AMENDMENT, Manifest
from runner.config.changes import Change, change_from_json
from runner.files import is_plain
from runner.results import check_result

Status = Literal["running", "finished", "stopped", "failed"]


FORMAT = 1


@dataclass(kw_only=True)
class Sitting:
    """One process's work on a run."""

    started: str
    host: str
    pid: int
    command: list[str]
    from_step: int | None = None
    restored: str | None = None
    """The checkpoint it started from."""
    changed_sources: list[str] = field(default_factory=list)
    """Files that differ from the sitting before."""
    data: dict[str, str] = field(default_factory=dict)
    """A hash of each part of the data; see `runner.data.digests`."""
    not_identical: list[str] = field(default_factory=list)
    """Why this sitting's bits may not be those of the run's first sitting; see `runner.numerics`."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """What is wrong with the checkpoints that were found damaged, by their new place."""
    overrides: list[str] = field(default_factory=list)
    """What ``runner resume`` was given to hold from here on, beside what it was given before."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """The values that became others by it; see `runner.config.changes.Change`."""
    settings: str | None = None
    """Of its config, if that takes something from the environment; see `runner.config.environment`."""
    ended: str | None = None
    to_step: int | None = None
    outcome: str | None = None
    result: dict[str, Any] | None = None
    """What had come out when this sitting finished the run, if a later one went on all the same."""

    def __post_init__(self) -> None:
        if not all(isinstance(override, str) for override in self.overrides):
            raise ValueError(f"overrides are {self.overrides!r}")
        if not isinstance(self.data, dict):
            raise ValueError(f"data is {self.data!r}")
        if not isinstance(self.settings, str | None):
            raise ValueError(f"settings is {self.settings!r}")
        for change in self.changes:
            change_from_json(change)


@dataclass(kw_only=True)
class RunRecord:
    """The content of run.json."""

    id: str
    name: str
    format: int = FORMAT
    status: Status = "running"
    sittings: list[Sitting] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the source files behind every target."""
    checkpoint_directory: str = "checkpoints"
    """Relative to the run directory if it lies in it."""
    saved: bool = False
    """Whether it has saved a checkpoint: then one has to be there to go on from."""
    numerics: dict[str, Any] = field(default_factory=dict)
    """What the bits depend on besides the config, as of the first sitting; see `runner.numerics`."""
    result: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """What a run.json from elsewhere says is data: files and folders are called by some of it."""
        if not is_plain(self.id):
            raise ValueError(f"id is {self.id!r}")
        place = Path(self.checkpoint_directory)
        if "${" in self.checkpoint_directory or (not place.is_absolute() and ".." in place.parts):
            raise ValueError(f"checkpoint_directory is {self.checkpoint_directory!r}")
        for name in ("versions", "machine", "git", "sources", "numerics"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} is {getattr(self, name)!r}")
        if self.result is not None:
            check_result(self.result)

    @property
    def amendments(self) -> list[list[str]]:
        """The overrides of every resume that hold beside the saved config, the latest last.

        Those of a sitting count once its state is there: one that cannot start changes nothing.
        """
        begun = [sitting for sitting in self.sittings if sitting.from_step is not None]
        return [sitting.overrides for sitting in begun if sitting.overrides]

    @property
    def settings(self) -> str | None:
        """Of the config that the run has by now."""
        begun = [sitting for sitting in self.sittings if sitting.from_step is not None]
        return begun[-1].settings if begun else None

    def lasting_amendments(self) -> list[dict[str, Any]]:
        """What a lost record has to have again, for every manifest; see `rebuilt`."""
        amended = [sitting for sitting in self.sittings if sitting.overrides]
        return [{name: getattr(sitting, name) for name in sorted(AMENDMENT)} for sitting in amended]

    def changes(self, *, since: int = 0) -> list[Change]:
        """What a resume made another value, this sitting's changes included.

        Args:
            since: only what a checkpoint of this step does not know of yet.
        """
        return [
            change_from_json(change)
            for sitting in self.sittings
            if sitting.from_step is None or sitting.from_step >= since
            for change in sitting.changes
        ]

    @property
    def departures(self) -> list[str]:
        """How the run differs from what its first command describes, and from which step on."""
        return [
            f"{change} from step {sitting.from_step:,}"
            for sitting in self.sittings
            if sitting.from_step is not None
            for change in map(change_from_json, sitting.changes)
            if change.kind == "trajectory"
        ]


def rebuilt(manifest: Manifest, *, name: str) -> RunRecord:
    """The record of the run that saved a checkpoint, as far as that tells."""
    lost: dict[str, Any] = {
        "started": "?",
        "host": "?",
        "pid": 0,
        "command": [],
        "outcome": "lost with run.json",
    }
    sittings = [Sitting(**lost, **amendment) for amendment in manifest.amendments]
    return RunRecord(
        id=manifest.run, name=name, sittings=sittings, saved=True, numerics=manifest.numerics
    )
