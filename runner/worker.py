"""One sitting: build, restore, phases, result."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.amend import LearningRate, amend
from runner.checkpoint.manifest import Manifest
from runner.checkpoint.saver import Moment
from runner.checkpoint.spec import UNTRACKED
from runner.checkpoint.store import CheckpointStore
from runner.config import Experiment
from runner.errors import CheckpointError, NameTakenError, UserError
from runner.events import Events
from runner.experiment import Built
from runner.files import UnwritableError
from runner.interrupt import Interrupted, StopRequest
from runner.observer import SessionObserver
from runner.phases import Given, Row
from runner.record import RunRecord
from runner.results import Result, last_values
from runner.rows import Rows
from runner.rundir import RunDirectory
from runner.state import Record

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
        self._unsaved: UserError | None = None

    def work(self) -> Result:
        """Restores, does what is left of the phases, and says what came out.

        Raises:
            CheckpointError: no checkpoint to start from, or a save failed.
            Interrupted: the run was asked to stop, and did after saving.
            LockedError: another process has taken the run over.
        """
        self._start()
        try:
            self._do_phases()
        except Interrupted:
            self._settle_all()  # It says that all is saved.
            raise
        finally:
            sitting = self._record.sittings[-1]
            # Whatever went wrong, the save at work comes to its end before this does.
            sitting.to_step, sitting.set_aside = self._state.step, self._store.damaged
            self._events.close()
        return self._result()

    def _start(self) -> None:
        sitting, rate = self._record.sittings[-1], LearningRate(self._state)
        try:
            checkpoint = self._restore(rate)
        finally:
            sitting.set_aside = self._store.damaged
        if checkpoint is None and self._experiment.measures_what_it_starts_from:
            spec = self._experiment.checkpoint
            raise CheckpointError(
                f"checkpoint.restore={spec.restore}: {spec.directory} holds no checkpoint and no phase "
                "trains, so there is nothing to evaluate; give checkpoint.restore=PATH"
            )
        self._tell_what_is_left_out()
        sitting.restored = str(checkpoint) if checkpoint else None
        sitting.from_step = self._state.step
        # First: from here on the run is what it was changed to, whatever becomes of its rows.
        self._directory.write(self._record)
        amend(self._state, self._record.changes(since=self._state.step), rate=rate)
        self._cut_rows()
        if self._experiment.tracking.tensorboard:
            self._events.restart(self._rows.read())
        log.info("starts at step %s from %s", self._state.step, checkpoint or "scratch")
        self._observer.restored(checkpoint, step=self._state.step)

    def _restore(self, rate: LearningRate) -> Path | None:
        """Gives the state what the newest checkpoint, or the one that the config names, holds.

        Of a checkpoint that is not the run's own, the learning rate is not taken: the config says it.
        """
        self._store.open()
        checkpoint = self._store.start(fresh=self._starts_over())
        if checkpoint is not None:
            manifest = self._store.restore(checkpoint)
            self._check_place(checkpoint, manifest)
            saved_by = manifest.run if manifest else self._state.progress.record.run
            self._place(manifest, is_own=saved_by == self._record.id)
            if saved_by != self._record.id:
                self._check_lost()
                rate.put_back()
        else:
            self._check_lost()
        self._state.progress.record.run = self._record.id
        return checkpoint

    def _check_lost(self) -> None:
        """A run that has saved does not begin anew by itself, nor from somebody else's checkpoint."""
        if self._record.saved and not self._starts_over():
            raise CheckpointError(
                f"{self._store.directory} holds no checkpoint of this run, which has saved some; put them "
                "back, or run.fresh=true starts over"
            )

    def _check_place(self, checkpoint: Path, manifest: Manifest | None) -> None:
        """A run that has begun has to know where it stands, or its rows would be lost."""
        has_begun = any(one.from_step is not None for one in self._record.sittings[:-1])
        if (
            manifest is None
            and has_begun
            and "progress" not in self._experiment.checkpoint.parts.values()
        ):
            raise CheckpointError(
                f"{checkpoint} has lost its manifest, and without the key progress nothing else tells at "
                "which step the run stood; run.fresh=true with checkpoint.restore=PATH starts from it"
            )

    def _cut_rows(self) -> None:
        """Takes off the rows that the restored state does not know of."""
        record = self._state.progress.record
        kept = self._rows.cut(record.rows)
        if kept < record.rows:
            lost = record.rows - kept
            log.warning("metrics.jsonl and its copy have lost %d of %d rows", lost, record.rows)
            record.rows = kept

    def _tell_what_is_left_out(self) -> None:
        """Keys may leave out part of the state; what that costs is said once."""
        spec = self._experiment.checkpoint
        lacking = {
            "model": "the weights",
            "optimizer": "the optimizer's slots",
            "progress": "the metrics in progress",
        }
        names = [part for part in lacking if part not in spec.parts.values()]
        if not names or not self._experiment.trains:
            return
        cost = (
            "its first training row averages fewer steps"
            if names == ["progress"]
            else "it ends with other bits than one that was not interrupted"
        )
        log.warning(
            "checkpoint.keys leaves out %s: a run that goes on from its checkpoints has not %s, and %s",
            ", ".join(names),
            " nor ".join(lacking[name] for name in names),
            cost,
        )

    def _starts_over(self) -> bool:
        """Whether checkpoints of the run in a directory of their own are to be passed over."""
        return self._experiment.run.fresh and len(self._record.sittings) == 1

    def _place(self, manifest: Manifest | None, *, is_own: bool) -> None:
        """Settles where in the run the restored state stands."""
        spec, progress = self._experiment.checkpoint, self._state.progress
        if spec.partial and not is_own:
            # A warm start: only values were taken over, and the run begins at its beginning.
            progress.step.assign(0)
            self._built.engine.read_training_metrics()
            return
        if manifest is not None and "progress" not in spec.parts.values():
            progress.step.assign(manifest.step)
            progress.record = Record(**manifest.record)
        if not is_own:
            progress.record = Record.continuing(progress.record)

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
                self._settle_all()
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
        reason = self._stop.reason()
        if reason is not None and self._state.progress.record.phase not in (None, name):
            raise Interrupted(f"{reason}: stopped before {name}; the same command goes on")

    def _given(self, name: str) -> Given:
        experiment = self._experiment
        return Given(
            name=name,
            state=self._state,
            engine=self._built.engine,
            data=self._built.data,
            log_every=experiment.tracking.log_every,
            save_every=experiment.checkpoint.every,
            save=self._save,
            would_be_best=self._store.would_be_best,
            borrow=self._borrow,
            write=self._write,
            observer=self._observer,
            callbacks=experiment.callbacks,
            stop=self._stop.reason,
        )

    def _save(self, *, epoch: float, metrics: Mapping[str, float], scheduled: bool = True) -> None:
        self._settle()
        self._directory.check()
        record = self._state.progress.record
        record.saves += scheduled
        moment = Moment(
            scheduled=scheduled,
            order=record.saves,
            step=self._state.step,
            epoch=epoch,
            phase=str(record.phase),
            metrics=dict(metrics),
            record=copy.deepcopy(vars(record)),
            numerics=self._record.numerics,
            amendments=self._record.lasting_amendments(),
        )
        with self._going_on(scheduled=scheduled):
            # Rows first: a checkpoint counts on the rows it knows of.
            self._rows.flush()
            self._store.begin(moment)

    def _settle_all(self) -> None:
        """Makes sure that the last save has succeeded."""
        self._settle(scheduled=False)
        if self._unsaved is not None:
            raise self._unsaved

    def _settle(self, *, scheduled: bool = True) -> None:
        """Waits for the save at work, if there is one, and tells what became of it."""
        manifest = None
        with self._going_on(scheduled=scheduled):
            manifest = self._store.settle()
        if manifest is not None:
            self._unsaved = None
            self._note_saved()
            log.info("saved %s at step %s", manifest.name, manifest.step)
            self._observer.saved(manifest.name, is_best=manifest == self._store.best)

    def _note_saved(self) -> None:
        """So that a run never begins anew in silence because all its checkpoints were removed."""
        if not self._record.saved:
            self._record.saved = True
            self._directory.write(self._record)

    @contextmanager
    def _going_on(self, *, scheduled: bool) -> Iterator[None]:
        """Lets training go on after a save that failed, if that is wanted and a later one can succeed."""
        try:
            yield
        except (CheckpointError, UnwritableError) as error:
            goes_on = self._experiment.checkpoint.on_save_error == "continue" and scheduled
            if not goes_on or isinstance(error, NameTakenError):
                raise
            self._unsaved = error
            log.warning("%s; training goes on (checkpoint.on_save_error=continue)", error)

    def _write(self, row: Row) -> None:
        if not self._store.is_saving:
            self._settle()
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
