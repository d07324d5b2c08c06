"""One launch of an experiment: recall a finished run, or go on with one from where it stands.

TensorFlow is imported in ``_work`` and nowhere before, so that a finished run answers at once.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner import provenance, quiet
from runner.checkpoint.spec import RESTORE_WORDS
from runner.config import Experiment
from runner.errors import ConfigError, Invalid, suggestion
from runner.observer import SessionObserver
from runner.results import Result
from runner.rundir import RunDirectory, RunRecord, Sitting, point_latest

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to run, and what to keep of how it was asked for."""

    experiment: Experiment
    id: str
    config: Any
    """As composed, interpolations unresolved; it becomes .hydra/config.yaml."""
    overrides: list[str] = field(default_factory=list)
    hydra: Any = field(default_factory=dict)


def run(launch: Launch, observer: SessionObserver) -> Result:
    """Runs, resumes or recalls.

    Raises:
        UserError: something the user can put right; see `runner.errors`.
    """
    experiment = launch.experiment
    directory = RunDirectory(Path(experiment.run.dir))
    if experiment.run.fresh:
        _move_aside(directory)
    record = directory.read() or RunRecord(id=launch.id, name=experiment.name)
    _check_same_run(launch, record, directory)
    sources = provenance.source_hashes(experiment)
    changed = provenance.changed(record.sources, sources) if record.sources else []
    result = directory.result(record)
    if result is not None:
        observer.recalled(result, changed=changed)
        return result
    _check_outside_world(experiment)
    with directory.locked(), quiet.logging_to(directory.log):
        directory.keep_config(launch.config, launch.overrides, launch.hydra)
        point_latest(directory.path)
        record.sources = sources
        record.sittings.append(_sitting(changed))
        _describe(record)
        observer.started(experiment, directory.path, changed=changed)
        with _Recording(directory, record), _closing(observer):
            result = _work(launch, directory, record, observer)
            record.result = result.as_json()
        observer.finished(result)
    return result


class _Recording:
    """Keeps run.json true to a sitting, however it ends."""

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self._directory = directory
        self._record = record

    def __enter__(self) -> None:
        self._record.status = "running"
        self._directory.write(self._record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        record, sitting = self._record, self._record.sittings[-1]
        sitting.ended = _timestamp()
        if error is None:
            record.status, sitting.outcome = "finished", "finished"
        elif isinstance(error, KeyboardInterrupt):
            sitting.outcome = "interrupted"
        else:
            record.status, sitting.outcome = "failed", f"{type(error).__name__}: {error}"
            log.info("the sitting failed", exc_info=error)
        self._directory.write(record)


@contextmanager
def _closing(observer: SessionObserver) -> Iterator[None]:
    try:
        yield
    finally:
        observer.closed()


def _work(
    launch: Launch, directory: RunDirectory, record: RunRecord, observer: SessionObserver
) -> Result:
    with quiet.native_messages_to(directory.log):
        from runner.worker import Worker

        worker = Worker(launch.experiment, run=launch.id, choices=record.choices)
    return worker.work(directory, record, observer)


def _move_aside(directory: RunDirectory) -> None:
    if directory.read() is not None:
        with directory.locked():
            log.info("moved to %s", directory.move_aside())


def _check_same_run(launch: Launch, record: RunRecord, directory: RunDirectory) -> None:
    if record.id != launch.id:
        raise ConfigError(
            f"run.dir={directory.path}: holds run {record.id} of another config, this is {launch.id}; "
            "give another run.dir, or run.fresh=true to move that run aside"
        )


def _check_outside_world(experiment: Experiment) -> None:
    """Files that the config names, looked at before TensorFlow takes its seconds to start."""
    try:
        experiment.data.check()
    except Invalid as error:
        raise ConfigError(f"data.{error}") from error
    _check_restore(experiment)


def _check_restore(experiment: Experiment) -> None:
    spec = experiment.checkpoint
    places: dict[str, object] = {"checkpoint.restore": spec.restore}
    for name, phase in experiment.phases.items():
        places[f"phases.{name}.restore"] = getattr(phase, "restore", None)
    for key, which in places.items():
        if isinstance(which, str) and which not in RESTORE_WORDS and not _has_index(Path(which)):
            reason = f"there is no file {which}.index; {suggestion(which, RESTORE_WORDS)}"
            raise ConfigError(f"{key}={which}: {reason}, a number, or a path without .index")
    own = Path(experiment.run.dir) in Path(spec.directory).parents
    if not experiment.trains and own and spec.restore in ("auto", "none", "latest", "best"):
        raise ConfigError(
            f"checkpoint.restore={spec.restore}: no phase trains, and a new run has no checkpoint to "
            "evaluate; give checkpoint.restore=PATH, or use runner evaluate RUN"
        )


def _has_index(path: Path) -> bool:
    return path.with_name(f"{path.name}.index").is_file()


def _sitting(changed: list[str]) -> Sitting:
    return Sitting(
        started=_timestamp(),
        host=socket.gethostname(),
        pid=os.getpid(),
        command=sys.argv,
        changed_sources=changed,
    )


def _describe(record: RunRecord) -> None:
    record.versions = provenance.versions()
    record.machine = provenance.machine()
    record.git = provenance.git()


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
