"""One launch of an experiment: recall a finished run, or go on with one from where it stands.

TensorFlow is imported in ``_work`` and nowhere before, so that a finished run answers at once.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import events, numerics, provenance, quiet
from runner.checkpoint.manifest import read_manifests
from runner.checkpoint.spec import RESTORE_WORDS
from runner.config import Experiment
from runner.engine.spec import available_cores
from runner.errors import ConfigError, Invalid, UserError, suggestion
from runner.files import writing
from runner.interrupt import Interrupted, StopRequest, duration_s
from runner.lock import Lock
from runner.observer import SessionObserver
from runner.results import Result
from runner.resumption import Resumption
from runner.rundir import RunDirectory, RunDirectoryError, RunRecord, Sitting, point_latest, rebuilt

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to run, and what to keep of how it was asked for."""

    experiment: Experiment
    id: str
    config: DictConfig
    """As composed, interpolations unresolved; it becomes .hydra/config.yaml."""
    overrides: list[str] = field(default_factory=list)
    hydra: Any = field(default_factory=dict)
    resumption: Resumption | None = None
    """What changes about the run, if it is gone on with from its own config."""


def run(launch: Launch, observer: SessionObserver) -> Result:
    """Runs, resumes or recalls.

    Raises:
        UserError: something the user can put right; see `runner.errors`.
    """
    directory = RunDirectory(Path(launch.experiment.run.dir))
    if launch.experiment.run.fresh:
        _move_aside(directory, observer)
    recalled = _recall(launch, directory, observer)
    if recalled is not None:
        return recalled
    try:
        _check_outside_world(launch.experiment)
    except ConfigError:
        directory.remove_if_empty()  # Hydra makes it before it calls the runner.
        raise
    with (
        directory.locked(notify=observer.waiting),
        _checkpoints_locked(launch, notify=observer.waiting),
        quiet.logging_to(directory.log),
    ):
        _mend(launch, directory)
        # Another runner may have finished it while this one was waiting to look.
        return _recall(launch, directory, observer) or _sit(launch, directory, observer)


@contextmanager
def _checkpoints_locked(launch: Launch, *, notify: Callable[[str], None]) -> Iterator[None]:
    """Keeps out a run with the same id in another run directory, where both save in one place."""
    experiment = launch.experiment
    place = Path(experiment.checkpoint.directory)
    if not experiment.trains or place.is_relative_to(experiment.run.dir):
        yield
        return
    with ExitStack() as stack:
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(Lock(place / f".lock-{launch.id}").held(notify=notify))
        yield


def _recall(launch: Launch, directory: RunDirectory, observer: SessionObserver) -> Result | None:
    """The result of a run that was finished before, or None."""
    record = _readable(directory)
    if record is None:
        return None
    _check_same_run(launch, record, directory)
    resumption = launch.resumption
    result = None if resumption and resumption.departs else directory.result(record)
    if result is not None:
        if resumption:
            observer.amended(resumption.changes)
        now = provenance.source_hashes(launch.experiment)
        observer.recalled(result, changed=provenance.changed(record.sources, now))
    return result


def _sit(launch: Launch, directory: RunDirectory, observer: SessionObserver) -> Result:
    """One sitting, from run.json's point of view."""
    experiment = launch.experiment
    if launch.resumption is None:
        directory.keep_config(_without_requests(launch.config), launch.overrides, launch.hydra)
    point_latest(directory.path)
    record = directory.read() or RunRecord(id=launch.id, name=experiment.name)
    changed = _describe(record, experiment)
    if launch.resumption:
        launch.resumption.enter(record)
    observer.started(experiment, directory.path, changed=changed)
    if launch.resumption:
        observer.amended(launch.resumption.changes)
    max_time = experiment.run.max_time
    stop = StopRequest(
        max_time_s=None if max_time is None else duration_s(max_time), notify=observer.stopping
    )
    with _Recording(directory, record), _closing(observer), stop.on_signals():
        result = _work(experiment, directory, record, observer, stop)
        record.result = result.as_json()
    observer.finished(result)
    return result


def _readable(directory: RunDirectory) -> RunRecord | None:
    with suppress(RunDirectoryError):
        return directory.read()
    return None


def _mend(launch: Launch, directory: RunDirectory) -> None:
    """Begins a lost run.json anew, by what the newest checkpoint tells.

    Raises:
        RunDirectoryError: it is not readable, and nothing else says that this is the run.
    """
    if _readable(directory) is not None:
        return
    manifests = read_manifests(Path(launch.experiment.checkpoint.directory))
    own = [manifest for manifest in manifests if manifest.run == launch.id]
    try:
        directory.read()
    except RunDirectoryError:
        if not own and directory.path.name != launch.id:
            raise
        aside = directory.set_record_aside()
        log.warning("run.json was damaged: it now stands in %s, and a new one is begun", aside)
    if own:
        directory.write(rebuilt(own[-1], name=launch.experiment.name))


class _Recording:
    """Keeps run.json true to a sitting, however it ends.

    One that changes the run is entered by the worker, once the state has taken the changes: a run
    that cannot take them stays as it was.
    """

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self._directory = directory
        self._record = record

    def __enter__(self) -> None:
        self._record.status = "running"
        if not self._record.sittings[-1].changes:
            self._directory.write(self._record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        record, sitting = self._record, self._record.sittings[-1]
        if sitting.changes and sitting.from_step is None:
            log.info("the run could not be changed", exc_info=error)
            return
        sitting.ended = _timestamp()
        if error is None:
            record.status, sitting.outcome = "finished", "finished"
        elif isinstance(error, Interrupted | KeyboardInterrupt):
            record.status, sitting.outcome = "stopped", str(error) or "interrupted"
        else:
            record.status, sitting.outcome = "failed", f"{type(error).__name__}: {error}"
            log.info("the sitting failed", exc_info=error)
        # What went wrong before counts for more than that it cannot be written down.
        with suppress(UserError) if error is not None else nullcontext():
            self._directory.write(record)


@contextmanager
def _closing(observer: SessionObserver) -> Iterator[None]:
    try:
        yield
    finally:
        observer.closed()


def _without_requests(config: DictConfig) -> DictConfig:
    """The config without what was asked of this one launch, so that another can be made from it."""
    kept = copy.deepcopy(config)
    for key, value in (("run.fresh", False), ("run.max_time", None)):
        OmegaConf.update(kept, key, value, force_add=True)
    return kept


def _work(
    experiment: Experiment,
    directory: RunDirectory,
    record: RunRecord,
    observer: SessionObserver,
    stop: StopRequest,
) -> Result:
    with quiet.native_messages_to(directory.log) as messages:
        from runner.engine.numerics import devices
        from runner.experiment import build
        from runner.worker import Worker

        # A number that was given is the choice, also where a resume gives another one.
        chosen = experiment.engine.threads or record.numerics.get("threads")
        threads = chosen or available_cores()
        built = build(experiment, threads=threads)
        messages.startup_is_over()
        present = numerics.describe(experiment.engine, threads=threads, devices=devices())
        _compare_numerics(record, present)
        worker = Worker(
            experiment, built, directory=directory, record=record, observer=observer, stop=stop
        )
        return worker.work()


def _compare_numerics(record: RunRecord, present: dict[str, Any]) -> None:
    """Keeps to what the first sitting chose, and tells of what cannot be kept to."""
    record.numerics = record.numerics or present
    reasons = numerics.differences(record.numerics, present)
    record.sittings[-1].not_identical = reasons
    for reason in reasons:
        log.warning("not bit-identical to the run so far because %s", reason)


def _move_aside(directory: RunDirectory, observer: SessionObserver) -> None:
    """Whatever is there, readable or not: it is moved, so nothing is lost."""
    with directory.locked(notify=observer.waiting):
        aside = directory.move_aside()
    if aside is not None:
        observer.moved_aside(aside)


def _check_same_run(launch: Launch, record: RunRecord, directory: RunDirectory) -> None:
    if record.id != launch.id:
        raise ConfigError(
            f"run.dir={directory.path}: holds run {record.id} of another config, this is {launch.id}; "
            "give another run.dir, or run.fresh=true to move that run aside"
        )
    if launch.resumption is None and record.departures:
        raise ConfigError(
            f"run.dir={directory.path}: resumed since with {', '.join(record.departures)}; "
            f"runner resume {directory.path} goes on so, run.fresh=true moves it aside and starts over"
        )


def _check_outside_world(experiment: Experiment) -> None:
    """Files that the config names, looked at before TensorFlow takes its seconds to start."""
    try:
        experiment.data.check()
    except Invalid as error:
        raise ConfigError(f"data.{error}") from error
    _check_restore(experiment)
    if experiment.tracking.tensorboard:
        events.check_available()


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
    if (
        experiment.measures_what_it_starts_from
        and own
        and spec.restore in ("auto", "none", "latest", "best")
    ):
        raise ConfigError(
            f"checkpoint.restore={spec.restore}: no phase trains, and a new run has no checkpoint to "
            "evaluate; give checkpoint.restore=PATH, or use runner evaluate RUN"
        )


def _has_index(path: Path) -> bool:
    return path.with_name(f"{path.name}.index").is_file()


def _describe(record: RunRecord, experiment: Experiment) -> list[str]:
    """Enters this sitting and what it runs on; returns the files that changed since the last one."""
    sources = provenance.source_hashes(experiment)
    changed = provenance.changed(record.sources, sources) if record.sittings else []
    sitting = Sitting(
        started=_timestamp(),
        host=socket.gethostname(),
        pid=os.getpid(),
        command=sys.argv,
        changed_sources=changed,
    )
    record.sittings.append(sitting)
    record.sources = sources
    record.versions = provenance.versions()
    record.machine = provenance.machine()
    record.git = provenance.git()
    place = os.path.relpath(experiment.checkpoint.directory, experiment.run.dir)
    is_outside = place.startswith("..")
    record.checkpoint_directory = (
        str(Path(experiment.checkpoint.directory).absolute()) if is_outside else place
    )
    return changed


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
