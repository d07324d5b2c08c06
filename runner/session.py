"""One launch of an experiment: recall a finished run, or go on with one from where it stands.

TensorFlow is imported in ``_work`` and nowhere before, so that a finished run answers at once.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from runner import numerics, provenance, quiet
from runner.checkpoint.manifest import read_manifests
from runner.config import Experiment
from runner.config.environment import variables_of
from runner.config.resolved import resolved
from runner.data import digests
from runner.engine.spec import available_cores
from runner.errors import ConfigError
from runner.files import make_directory_for
from runner.interrupt import StopRequest, duration_s
from runner.observer import SessionObserver
from runner.preflight import check_outside_world
from runner.record import RunRecord, rebuilt
from runner.recording import Recording, checkpoint_place, compare, enter_sitting, keep_code
from runner.results import Result
from runner.rundir import DamagedRecordError, RunDirectory, point_latest, shared_lock
from runner.targets import hashes

if TYPE_CHECKING:
    from runner.experiment import Built
    from runner.resumption import Resumption

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
    settings: str | None = None
    """What the environment has a part in; see `runner.config.environment`."""
    resumption: Resumption | None = None
    """What changes about the run, if it is gone on with from its own config."""
    numerics: Mapping[str, Any] = field(default_factory=dict)
    """Of the run that this one measures or repeats: what was chosen there holds here."""
    until: int | None = None
    """The step where this sitting ends, although the run does not."""


def run(launch: Launch, observer: SessionObserver) -> Result:
    """Runs, resumes or recalls.

    Raises:
        StepReached: the launch goes to a step, and the run goes on from there.
        UserError: something the user can put right; see `runner.errors`.
    """
    directory = RunDirectory(Path(launch.experiment.run.dir))
    if launch.experiment.run.fresh:
        _move_aside(directory, observer)
    recalled = _recall(launch, directory, observer)
    if recalled is not None:
        return recalled
    make_directory_for("run.dir", directory.path)
    try:
        directory.check_own()
        check_outside_world(launch.experiment)
    except ConfigError:
        directory.remove_if_empty()
        raise
    with (
        directory.locked(also=_shared_lock(launch), notify=observer.waiting),
        quiet.logging_to(directory.log),
    ):
        _mend(launch, directory)
        # Another runner may have finished it while this one was waiting to look.
        return _recall(launch, directory, observer) or _sit(launch, directory, observer)


def _shared_lock(launch: Launch) -> Path | None:
    """A run with the same id in another run directory may save in the same place: it is kept out."""
    experiment = launch.experiment
    place = Path(experiment.checkpoint.directory)
    is_own = place.resolve().is_relative_to(Path(experiment.run.dir).resolve())
    return shared_lock(place, launch.id) if experiment.trains and not is_own else None


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
        changed = provenance.changed(record.sources, hashes(record.sources))
        observer.recalled(result, changed=changed, again=_again(resumption))
    return result


def _again(resumption: Resumption | None) -> str:
    """What would have a finished run do more."""
    if resumption is None:
        return "run.fresh=true runs it again"
    again = "overrides that change what it computes go on with it"
    return (
        f"there was nothing left to do, so these are not kept; {again}"
        if resumption.changes
        else again
    )


def _sit(launch: Launch, directory: RunDirectory, observer: SessionObserver) -> Result:
    """One sitting, from run.json's point of view."""
    experiment = launch.experiment
    if launch.resumption is None:
        kept = _without_requests(launch.config)
        directory.keep_config(
            kept, launch.overrides, launch.hydra, resolved=resolved(kept, run=launch.id)
        )
    point_latest(directory.path)
    record = directory.read() or RunRecord(id=launch.id, name=experiment.name)
    changed = enter_sitting(record, experiment)
    record.sittings[-1].settings = launch.settings
    keep_code(record, directory)
    if launch.resumption:
        launch.resumption.enter(record)
    observer.started(experiment, directory.path, changed=changed)
    if launch.resumption:
        observer.amended(launch.resumption.changes)
    max_time = experiment.run.max_time
    stop = StopRequest(
        max_time_s=None if max_time is None else duration_s(max_time),
        at_step=launch.until,
        notify=observer.stopping,
    )
    # Around all the rest: a signal after the last step is no reason to lose what came out.
    with stop.on_signals(), Recording(directory, record), _closing(observer):
        result = _work(launch, directory, record, observer, stop)
        record.result = result.as_json()
    observer.finished(result)
    return result


def _readable(directory: RunDirectory) -> RunRecord | None:
    with suppress(DamagedRecordError):
        return directory.read()
    return None


def _mend(launch: Launch, directory: RunDirectory) -> None:
    """Begins a lost run.json anew, by what the newest checkpoint tells.

    Raises:
        DamagedRecordError: it is not readable, and nothing else says that this is the run.
    """
    if launch.experiment.run.fresh or _readable(directory) is not None:
        return
    manifests = read_manifests(Path(launch.experiment.checkpoint.directory))
    own = [manifest for manifest in manifests if manifest.run == launch.id]
    try:
        directory.read()
    except DamagedRecordError:
        if not own and directory.path.name != launch.id:
            raise
        aside = directory.set_record_aside()
        log.warning("run.json was damaged: it now stands in %s, and a new one is begun", aside)
    if own:
        record = rebuilt(own[-1], name=launch.experiment.name)
        record.checkpoint_directory = checkpoint_place(launch.experiment)
        directory.write(record)


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
    launch: Launch,
    directory: RunDirectory,
    record: RunRecord,
    observer: SessionObserver,
    stop: StopRequest,
) -> Result:
    with quiet.native_messages_to(directory.log) as messages:
        from runner.engine.numerics import devices
        from runner.worker import Worker

        experiment = launch.experiment
        chosen = {**launch.numerics, **record.numerics}
        with stop.at_once():
            built = _built(experiment, run=record.id, chosen=chosen, notify=observer.chosen)
        built.inventory.tell_python()
        messages.startup_is_over()
        compile, threads = built.engine.compile, built.threads
        spec = experiment.engine
        described = numerics.describe(spec, compile=compile, threads=threads, devices=devices())
        edited = launch.resumption.edited if launch.resumption else None
        compare(record, described, data=digests(built.data.sources), edited=edited)
        worker = Worker(
            experiment, built, directory=directory, record=record, observer=observer, stop=stop
        )
        return worker.work()


def _built(
    experiment: Experiment, *, run: str, chosen: Mapping[str, Any], notify: Callable[[str], None]
) -> Built:
    """With what was given, else as the run began if this process still can, else as is chosen now."""
    from runner.autotune import choose
    from runner.choices import Choices, choices_path
    from runner.engine.numerics import running_threads
    from runner.experiment import build, read

    spec = experiment.engine
    threads = spec.threads or running_threads() or chosen.get("threads")
    compile = chosen.get("compile") if spec.compile == "auto" else spec.compile
    data = read(experiment)
    if threads is not None and compile is not None:
        return build(experiment, data, threads=threads, compile=compile)
    # Of the machine, not of this process's share: a trial of a sweep and a run alone are one config.
    cores = os.cpu_count() or 1
    here = numerics.describe(spec, compile="auto", threads=spec.threads or cores, devices=[])
    choices = Choices(choices_path(), run=run, machine=here, threads=threads)
    if compile is not None:
        threads = choices.threads(available_cores(), compile=compile)
        return build(experiment, data, threads=threads, compile=compile)
    return choose(experiment, data, threads=threads, choices=choices, notify=notify)


def _move_aside(directory: RunDirectory, observer: SessionObserver) -> None:
    """Whatever is there, readable or not: it is moved, so nothing is lost."""
    with directory.locked(notify=observer.waiting):
        aside = directory.move_aside()
    if aside is not None:
        observer.moved_aside(aside)


def _check_same_run(launch: Launch, record: RunRecord, directory: RunDirectory) -> None:
    if record.id != launch.id:
        if launch.settings is not None and launch.settings == record.settings:
            allow = " ".join(f"--allow oc.env:{name}" for name in variables_of(launch.config))
            raise ConfigError(
                f"run.dir={directory.path}: holds run {record.id}, which this is but for where data or "
                f"checkpoints stand; runner resume {directory.path} {allow} goes on with it"
            )
        raise ConfigError(
            f"run.dir={directory.path}: holds run {record.id} of another config, this is {launch.id}; "
            "give another run.dir, or run.fresh=true to move that run aside"
        )
    if launch.resumption is None and record.departures:
        raise ConfigError(
            f"run.dir={directory.path}: resumed since with {', '.join(record.departures)}; "
            f"runner resume {directory.path} goes on so, run.fresh=true moves it aside and starts over"
        )
