"""One sitting: build, restore, phases, result."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.amend import amend
from runner.checkpoint.spec import UNTRACKED
from runner.checkpoint.store import CheckpointStore
from runner.config import Experiment
from runner.events import Events
from runner.experiment import Built
from runner.files import UnwritableError
from runner.interrupt import Interrupted, StepReached, StopRequest
from runner.observer import SessionObserver
from runner.phases import Given, Row
from runner.record import RunRecord
from runner.results import Result, last_values
from runner.rows import Rows
from runner.rundir import RunDirectory
from runner.saving import Saving
from runner.start import Start

log = logging.getLogger(__name__)


class Worker:
    """Takes a run from where it stands to its end.

    Args:
        experiment: what to do.
        built: its live objects.
        directory: the run's files, held by this process.
        record: the content of run.json; the last of its sittings is this one.
        observer: is told how it goes.
        stop: is asked whether to stop where the run can go on later.

    Raises:
        ConfigError: a checkpoint key names no part of the state.
    """

    def __init__(
        self,
        experiment: Experiment,
        built: Built,
        *,
        directory: RunDirectory,
        record: RunRecord,
        observer: SessionObserver,
        stop: StopRequest,
    ) -> None:
        self._experiment = experiment
        self._built = built
        self._state = built.state
        self._directory = directory
        self._record = record
        self._observer = observer
        self._stop = stop
        goes_on = experiment.checkpoint.on_save_error == "continue"
        self._rows = Rows(directory.rows, copy=directory.rows_copy, patient=goes_on)
        self._events = Events(directory.path / "tensorboard")
        spec = experiment.checkpoint
        parts = self._state.parts(spec.parts)
        self._store = CheckpointStore(
            spec,
            parts,
            directory=Path(spec.directory),
            run=record.id,
            check=directory.check,
            ready=self._rows.sync,
            keep_out=functools.partial(directory.keeping_out, checkpoints=Path(spec.directory)),
            optional=UNTRACKED if self._state.can_lack_untracked else None,
        )
        self._saving = Saving(
            self._state,
            store=self._store,
            rows=self._rows,
            directory=directory,
            record=record,
            observer=observer,
            goes_on=goes_on,
        )

    def work(self) -> Result:
        """Restores, does what is left of the phases, and says what came out.

        Raises:
            CheckpointError: no checkpoint to start from, or a save failed.
            Interrupted: the run was asked to stop, and did after saving.
            StepReached: it was to go no further for now; it stands between two steps, and is not finished.
            LockedError: another process has taken the run over.
        """
        self._start()
        try:
            self._go_on()
        except Interrupted:
            self._saving.settle_all()  # It says that all is saved.
            raise
        finally:
            sitting = self._record.sittings[-1]
            # Whatever went wrong, the save at work comes to its end before this does.
            sitting.to_step, sitting.set_aside = self._state.step, self._store.damaged
            with suppress(UnwritableError):  # They are made anew from the rows by the next sitting.
                self._events.close()
        return self._result()

    def _go_on(self) -> None:
        """Does what is left of the phases, or what is left up to a step; then the run is not finished."""
        if self._stop.at_step is None:
            self._do_phases()
            return
        try:
            if not self._stop.is_reached(self._state.step):
                self._do_phases()
        except Interrupted:
            if not self._stop.is_reached(self._state.step):
                raise
        raise StepReached(f"step {self._state.step:,} is reached; it goes on from there")

    def _start(self) -> None:
        sitting = self._record.sittings[-1]
        start = Start(self._experiment, self._built, store=self._store, record=self._record)
        try:
            checkpoint = start.restore()
        finally:
            sitting.set_aside = self._store.damaged
        sitting.restored = str(checkpoint) if checkpoint else None
        sitting.from_step = self._state.step
        # First: from here on the run is what it was changed to, whatever becomes of its rows.
        self._directory.write(self._record)
        amend(self._state, self._record.changes(since=self._state.step), rate=start.rate)
        self._cut_rows()
        if self._experiment.tracking.tensorboard:
            self._events.restart(self._rows.read())
        log.info("starts at step %s from %s", self._state.step, checkpoint or "scratch")
        self._observer.restored(checkpoint, step=self._state.step)

    def _cut_rows(self) -> None:
        """Takes off the rows that the restored state does not know of."""
        record = self._state.progress.record
        kept = self._rows.cut(record.rows)
        if kept < record.rows:
            lost = record.rows - kept
            log.warning("metrics.jsonl and its copy have lost %d of %d rows", lost, record.rows)
            record.rows = kept

    def _do_phases(self) -> None:
        for name, phase in self._experiment.phases.items():
            record = self._state.progress.record
            if name in record.done:
                continue
            self._stop_between_phases(name)
            if record.phase != name:
                record.begin(name, step=self._state.step)
            log.info("phase %s from step %s", name, self._state.step)
            with self._profiled(name):
                phase.run(self._given(name))
                self._saving.settle_all()
            self._state.progress.record.done.append(name)

    def _profiled(self, phase: str) -> AbstractContextManager[Any]:
        """Has TensorFlow write down what a phase does and how long it takes, if that is asked for."""
        if not self._experiment.tracking.profile:
            return nullcontext()
        place = self._directory.path / "tensorboard" / phase
        profile: AbstractContextManager[Any] = tf.profiler.experimental.Profile(str(place))
        return profile

    def _stop_between_phases(self, name: str) -> None:
        """Stops before a phase if asked to: the end of the one before it has been saved."""
        reason = self._reason()
        if reason is not None and self._state.progress.record.phase not in (None, name):
            raise Interrupted(f"{reason}: stopped before {name}; the same command goes on")

    def _reason(self) -> str | None:
        return self._stop.reason(step=self._state.step)

    def _given(self, name: str) -> Given:
        experiment = self._experiment
        return Given(
            name=name,
            state=self._state,
            engine=self._built.engine,
            data=self._built.data,
            log_every=experiment.tracking.log_every,
            save_every=experiment.checkpoint.every,
            save=self._saving.save,
            would_be_best=self._store.would_be_best,
            borrow=self._borrow,
            write=self._write,
            observer=self._observer,
            callbacks=experiment.callbacks,
            stop=self._reason,
            stop_at=self._stop.at_step,
        )

    def _write(self, row: Row) -> None:
        if not self._store.is_saving:
            self._saving.settle()
        self._directory.check()
        written = self._rows.append(row)
        if self._experiment.tracking.tensorboard:
            self._events.append(written)
        self._state.progress.record.rows += 1

    @contextmanager
    def _borrow(self, which: str | int) -> Iterator[int]:
        with self._store.borrowed(self._store.find(which)) as manifest:
            yield manifest.step if manifest else self._state.step

    def _result(self) -> Result:
        self._rows.flush()
        self._rows.sync()
        best = self._store.best
        return Result(
            id=self._record.id,
            name=self._experiment.name,
            directory=self._directory.path,
            metrics=last_values(self._rows.read()),
            step=self._state.step,
            checkpoints=[self._store.path(manifest) for manifest in self._store.manifests],
            best=self._store.path(best) if best else None,
        )
