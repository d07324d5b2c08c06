"""A run on disk."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from runner.errors import UserError
from runner.files import write_atomically, writing
from runner.results import Result, result_from_json

Status = Literal["running", "finished", "stopped", "failed"]


class RunDirectoryError(UserError):
    """The run directory cannot be used."""


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
    not_identical: list[str] = field(default_factory=list)
    """Why this sitting's bits may not be those of the run's first sitting; see `runner.numerics`."""
    set_aside: dict[str, str] = field(default_factory=dict)
    """What is wrong with the checkpoints that were found damaged, by their new place."""
    ended: str | None = None
    to_step: int | None = None
    outcome: str | None = None


@dataclass(kw_only=True)
class RunRecord:
    """The content of run.json."""

    id: str
    name: str
    status: Status = "running"
    sittings: list[Sitting] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the source files behind every target."""
    checkpoint_directory: str = "checkpoints"
    """Relative to the run directory if it lies in it."""
    numerics: dict[str, Any] = field(default_factory=dict)
    """What the bits depend on besides the config, as of the first sitting; see `runner.numerics`."""
    result: dict[str, Any] | None = None


class RunDirectory:
    """Reads and writes the files of one run.

    - ``run.json``: identity, status, sittings, versions, machine, sources, numerics, result
    - ``metrics.jsonl``: the rows; ``.metrics.jsonl``: the same once more
    - ``.hydra/``: ``config.yaml``, ``overrides.yaml``, ``hydra.yaml`` of the first sitting
    - ``checkpoints/``, ``run.log``, ``.lock``
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = path / "metrics.jsonl"
        self.rows_copy = path / ".metrics.jsonl"
        self.log = path / "run.log"

    def read(self) -> RunRecord | None:
        """The content of run.json, or None if there is none.

        Raises:
            RunDirectoryError: it is there but not readable.
        """
        path = self.path / "run.json"
        try:
            content = json.loads(path.read_bytes())
            sittings = [Sitting(**sitting) for sitting in content.pop("sittings")]
            return RunRecord(**content, sittings=sittings)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunDirectoryError(
                f"{path} is not readable ({error}); run.fresh=true moves this run aside and starts over"
            ) from error

    def write(self, record: RunRecord) -> None:
        """Replaces run.json.

        Raises:
            UnwritableError: it cannot be written.
        """
        text = json.dumps(asdict(record), indent=2) + "\n"
        path = self.path / "run.json"
        with writing(path):
            write_atomically(path, text.encode())

    def set_record_aside(self) -> Path:
        """Renames a run.json that cannot be read; returns its new place."""
        aside = _free(self.path / "run.json.damaged")
        return (self.path / "run.json").rename(aside)

    def result(self, record: RunRecord) -> Result | None:
        """The outcome, if the run has finished."""
        if record.status != "finished" or record.result is None:
            return None
        return result_from_json(record.result, id=record.id, name=record.name, directory=self.path)

    def checkpoints(self, record: RunRecord) -> Path:
        """Where the run's checkpoints stand."""
        return self.path / record.checkpoint_directory

    def keep_config(self, config: Any, overrides: Any, hydra: Any) -> None:
        """Writes what Hydra writes, unless an earlier sitting did.

        Raises:
            UnwritableError: it cannot be written.
        """
        folder = self.path / ".hydra"
        contents = {"config": config, "overrides": overrides, "hydra": hydra}
        with writing(folder):
            folder.mkdir(exist_ok=True)
            for name, content in contents.items():
                path = folder / f"{name}.yaml"
                if not path.exists():
                    write_atomically(path, OmegaConf.to_yaml(content).encode())

    def remove_if_empty(self) -> None:
        """Removes the directory if there is nothing in it."""
        with suppress(OSError):
            self.path.rmdir()

    def move_aside(self) -> Path | None:
        """Renames the directory to ``<name>.<n>`` with the lowest free n; None if there is none."""
        if not self.path.exists() or {path.name for path in self.path.iterdir()} <= {".lock"}:
            return None
        return self.path.rename(_free(self.path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the directory and keeps other runners out of it for the length of a block.

        The lock belongs to the process, so that a dead one leaves none behind.

        Raises:
            RunDirectoryError: another runner is at work on it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("a+")
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path.absolute()} cannot be used: {error.strerror}; give run.dir=..."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise RunDirectoryError(
                    f"{self.path} is being worked on by {owner}; wait for it, or give run.dir=..."
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    def is_locked(self) -> bool:
        """Whether a runner is at work on it."""
        try:
            with (self.path / ".lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def _free(path: Path) -> Path:
    """``path`` with the lowest number behind it that is not taken."""
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return free


def point_latest(directory: Path) -> None:
    """Makes ``outputs/latest``, beside the run's folder, a link to the run."""
    outputs = directory.parent.parent
    if outputs.name != "outputs":
        return
    temporary = outputs / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    with suppress(OSError):  # A convenience: some file systems have no links.
        temporary.symlink_to(os.path.relpath(directory, outputs))
        temporary.replace(outputs / "latest")


def find_runs(outputs: Path) -> list[Path]:
    """The run directories below ``outputs``, the last started one last."""
    found = [path.parent for path in outputs.glob("*/*/run.json")]
    return sorted(found, key=lambda path: (path / "run.json").stat().st_mtime)
