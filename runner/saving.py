"""Saves of a sitting: rows first, beside training, and what becomes of one that fails."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from runner.checkpoint.saver import Moment
from runner.checkpoint.store import CheckpointStore
from runner.errors import CheckpointError, NameTakenError, UserError
from runner.files import UnwritableError
from runner.observer import SessionObserver
from runner.record import RunRecord
from runner.rows import Rows
from runner.rundir import RunDirectory
from runner.state import State

log = logging.getLogger(__name__)


class Saving:
    """Saves the state of a run, and tells of it.

    Args:
        state: what is saved.
        store: where.
        rows: what a checkpoint counts on.
        directory: the run's files.
        record: the content of run.json.
        observer: is told what was saved.
        goes_on: after a save that failed, training goes on until one succeeds.
    """

    def __init__(
        self,
        state: State,
        *,
        store: CheckpointStore,
        rows: Rows,
        directory: RunDirectory,
        record: RunRecord,
        observer: SessionObserver,
        goes_on: bool,
    ) -> None:
        self._state = state
        self._store = store
        self._rows = rows
        self._directory = directory
        self._record = record
        self._observer = observer
        self._goes_on = goes_on
        self._unsaved: UserError | None = None

    def save(self, *, epoch: float, metrics: Mapping[str, float], scheduled: bool = True) -> None:
        """Takes the state as it is, and has it saved; see `runner.phases.base.Save`.

        Raises:
            CheckpointError, UnwritableError: this one could not begin, or the one before failed.
            LockedError: another process has taken the run over.
        """
        self.settle()
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

    def settle_all(self) -> None:
        """Makes sure that the last save has succeeded."""
        self.settle(scheduled=False)
        if self._unsaved is not None:
            raise self._unsaved

    def settle(self, *, scheduled: bool = True) -> None:
        """Waits for the save at work, if there is one, and tells what became of it."""
        manifest = None
        with self._going_on(scheduled=scheduled):
            manifest = self._store.settle()
        if manifest is not None:
            self._unsaved = None
            with self._going_on(scheduled=scheduled):
                self._note_saved()
            log.info("saved %s at step %s", manifest.name, manifest.step)
            self._observer.saved(manifest.name, is_best=manifest == self._store.best)

    def _note_saved(self) -> None:
        """So that a run never begins anew in silence because all its checkpoints were removed."""
        if not self._record.saved:
            self._directory.write(replace(self._record, saved=True))
            self._record.saved = True

    @contextmanager
    def _going_on(self, *, scheduled: bool) -> Iterator[None]:
        """Lets training go on after a save that failed, if that is wanted and a later one can succeed."""
        try:
            yield
        except (CheckpointError, UnwritableError) as error:
            if not (self._goes_on and scheduled) or isinstance(error, NameTakenError):
                raise
            self._unsaved = error
            log.warning("%s; training goes on (checkpoint.on_save_error=continue)", error)
