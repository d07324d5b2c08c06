"""A run on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from runner.config.foreign import check_size
from runner.errors import ConfigError, UserError
from runner.files import remove, write_atomically, writing
from runner.lock import Lock
from runner.record import FORMAT, RunRecord, Sitting
from runner.results import Result, result_from_json

_LOCK = ".lock"
_OWN = {
    *(".hydra", "metrics.jsonl", ".metrics.jsonl", ".metrics.jsonl.tmp", "..metrics.jsonl.tmp"),
    *(".run.json.tmp", "run.log", "checkpoints", "tensorboard", "evaluations", "reproductions"),
    *("code.diff", ".code.diff.tmp"),
}
"""What a run can leave that was killed before it wrote run.json, or that has lost it."""


class RunDirectoryError(UserError):
    """The run directory cannot be used."""


class DamagedRecordError(RunDirectoryError):
    """run.json is not what a runner wrote."""


class RunDirectory:
    """Reads and writes the files of one run.

    - ``run.json``: identity, status, sittings, versions, machine, sources, numerics, result
    - ``metrics.jsonl``: the rows; ``.metrics.jsonl``: the same once more
    - ``.hydra/``: ``config.yaml``, ``overrides.yaml``, ``hydra.yaml`` of the first sitting, and
      ``resolved.yaml``, the first without interpolations; ``code.diff``: the code that no revision holds
    - ``checkpoints/``, ``run.log``; ``.lock`` and what begins so
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = path / "metrics.jsonl"
        self.rows_copy = path / ".metrics.jsonl"
        self.log = path / "run.log"
        self.lock = Lock(path / _LOCK)
        self._locks = [self.lock]

    def read(self) -> RunRecord | None:
        """The content of run.json, or None if there is none.

        Raises:
            DamagedRecordError: it is no record.
            RunDirectoryError: it cannot be read, or not by this version of runner.
        """
        path = self.path / "run.json"
        try:
            content = json.loads(path.read_bytes())
            if content.get("format", FORMAT) > FORMAT:
                raise RunDirectoryError(
                    f"{path}: a newer version of runner wrote it; install that one"
                )
            sittings = [Sitting(**sitting) for sitting in content.pop("sittings")]
            return RunRecord(**content, sittings=sittings)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunDirectoryError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedRecordError(
                f"{path} is not readable ({error}); the run's own command begins it anew by what the "
                "checkpoints tell, and run.fresh=true moves this run aside and starts over"
            ) from error

    def write(self, record: RunRecord) -> None:
        """Replaces run.json.

        Raises:
            UnwritableError: it cannot be written.
            LockedError: the run is not, or no longer, this process's.
        """
        self.check()
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

    def keep_config(self, config: Any, overrides: Any, hydra: Any, *, resolved: Any) -> None:
        """Writes what Hydra writes, and the resolved config, unless an earlier sitting did.

        Raises:
            UnwritableError: it cannot be written.
        """
        folder = self.path / ".hydra"
        contents = {"config": config, "overrides": overrides, "hydra": hydra}
        texts = {name: OmegaConf.to_yaml(content) for name, content in contents.items()}
        # Not by OmegaConf, to which a text with ${ in it would again be an interpolation.
        texts["resolved"] = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
        with writing(folder):
            folder.mkdir(exist_ok=True)
            for name, text in texts.items():
                path = folder / f"{name}.yaml"
                if not path.exists():
                    write_atomically(path, text.encode())

    def keep_code(self, difference: bytes | None) -> None:
        """Writes code.diff: what the code has that no revision holds, or that there is nothing.

        Raises:
            UnwritableError: it cannot be written.
        """
        path = self.path / "code.diff"
        with writing(path):
            if difference is None:
                remove([path])  # Of a launch that was killed before it was a sitting.
            else:
                write_atomically(path, difference)

    def code(self) -> bytes | None:
        """The content of code.diff, if there is one."""
        path = self.path / "code.diff"
        return path.read_bytes() if path.is_file() else None

    def overrides(self) -> list[str]:
        """Those of the first launch; none where they cannot be read."""
        with suppress(OSError, yaml.YAMLError, ValueError, ConfigError):
            path = self.path / ".hydra" / "overrides.yaml"
            check_size(path)
            # Plain, because a container would resolve what it is asked for.
            content: Any = OmegaConf.to_container(OmegaConf.load(path))
            return [str(override) for override in content]
        return []

    def check_own(self) -> None:
        """Looks whether it is a run's, or free for one.

        Raises:
            ConfigError: it holds something else.
        """
        if not self.path.is_dir() or (self.path / "run.json").exists():
            return
        others = sorted(path.name for path in self.path.iterdir() if not _is_of_run(path))
        if others:
            shown = ", ".join([*others[:3], *(["..."] if len(others) > 3 else [])])
            raise ConfigError(
                f"run.dir={self.path}: holds {shown}, and no run; give a directory that is not there yet"
            )

    def remove_if_empty(self) -> None:
        """Removes the directory if there is nothing in it."""
        with suppress(OSError):
            self.path.rmdir()

    def move_aside(self) -> Path | None:
        """Renames the directory to ``<name>.<n>`` with the lowest free n; None if there is none."""
        if not self.path.exists() or all(_is_of_lock(path) for path in self.path.iterdir()):
            return None
        aside = self.path.rename(_free(self.path))
        # Whoever has the lock cannot release there what it took here.
        remove(path for path in aside.iterdir() if _is_of_lock(path))
        return aside

    @contextmanager
    def locked(
        self, *, also: Path | None = None, notify: Callable[[str], None] = lambda reason: None
    ) -> Iterator[None]:
        """Creates the directory and keeps other runners out of it for the length of a block.

        A dead runner keeps nobody out; see `Lock`.

        Args:
            also: a second lock, in a directory that the run shares with others.
            notify: is told if it takes some time to see whether an earlier runner is dead.

        Raises:
            LockedError: another runner is at work on it.
            RunDirectoryError: it cannot be written, or a file of it is a link.
        """
        self._check_links()
        locks = {self.path: self.lock} | ({also.parent: Lock(also)} if also else {})
        self._locks = list(locks.values())
        with ExitStack() as stack:
            for place, lock in locks.items():
                try:
                    place.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(lock.held(notify=notify))
                except OSError as error:
                    raise RunDirectoryError(
                        f"{place.absolute()} cannot be used: {error.strerror}; give run.dir=..."
                    ) from error
            yield

    @contextmanager
    def keeping_out(self, run: str, checkpoints: Path) -> Iterator[None]:
        """Keeps another run, which saves in ``checkpoints``, from working for the length of a block.

        Raises:
            LockedError: a runner is at work on it.
        """
        with ExitStack() as stack:
            stack.enter_context(Lock(shared_lock(checkpoints, run)).held())
            above = (checkpoints.resolve(), *checkpoints.resolve().parents)
            home = next((place for place in above if (place / "run.json").is_file()), None)
            if home is not None and home != self.path.resolve():
                stack.enter_context(Lock(home / _LOCK).held())
            yield

    def _check_links(self) -> None:
        """A run that comes from elsewhere does not have the runner write outside of it."""
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path.is_symlink() and _is_of_run(path):
                raise RunDirectoryError(f"{path} is a link; put what it leads to in its place")

    def check(self) -> None:
        """Makes sure that the run still is this process's; to be asked before anything is written.

        Raises:
            LockedError: another process has taken it over.
        """
        for lock in self._locks:
            lock.check()

    def is_locked(self) -> bool:
        """Whether a runner is at work on it."""
        return self.lock.holder() is not None


def shared_lock(checkpoints: Path, run: str) -> Path:
    """The lock of a run that saves outside its own directory, where another one could as well."""
    return checkpoints / f"{_LOCK}-{run}"


def _is_of_run(path: Path) -> bool:
    return path.name in _OWN or path.name.startswith((_LOCK, "run.json"))


def _is_of_lock(path: Path) -> bool:
    return path.name.startswith(_LOCK)


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
    """The run directories at and below ``outputs``, the last started one last.

    What stands inside a run, such as its evaluations, is part of it; links are not followed.
    """
    found = []
    for place, folders, files in os.walk(outputs):
        if "run.json" in files:
            found.append(Path(place))
            folders.clear()
    return sorted(found, key=lambda path: (path / "run.json").stat().st_mtime)
