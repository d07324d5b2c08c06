"""Makes a save: the state is taken at once, which costs next to nothing, and a thread does the rest."""

from __future__ import annotations

import _thread
import logging
import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint import reading
from runner.checkpoint.directory import CheckpointDirectory
from runner.checkpoint.disk import Disk
from runner.checkpoint.graph import layer_kinds, variable_names
from runner.checkpoint.manifest import Manifest, file_entry
from runner.checkpoint.restore import optimizer_classes
from runner.checkpoint.snapshot import Snapshots, Write
from runner.checkpoint.spec import CheckpointSpec
from runner.errors import CheckpointError
from runner.files import UnwritableError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When in the run a save takes place, and how good the state is."""

    order: int
    """Which save of the run this is, from 1, as far as the run itself counted."""
    step: int
    epoch: float
    phase: str
    metrics: dict[str, float]
    """Of the evaluation at this very step, if there was one, as split/name."""
    record: dict[str, Any]
    """Where the run stands, for keys that leave the progress out."""
    numerics: dict[str, Any] = field(default_factory=dict)
    amendments: list[dict[str, Any]] = field(default_factory=list)
    """Both of run.json; see `Manifest`."""
    scheduled: bool = True
    """False if the run was asked to stop: what is saved has a name of its own, counts nowhere, and
    goes with the next save."""


class Saver:
    """Makes one save at a time, so that there is at most one more copy of the state.

    Args:
        files: where it comes into being, and is published. While a save is at work, they are its own.
        spec: the config.
        parts: the part of the state under every key, built.
        run: the id of the run.
        disk: says what could not be written.
        ready: brings to the disk what a checkpoint counts on; done before it counts itself.
        check: raises if the run is no longer this process's; asked before files are moved.
        now: seconds since 1970.
    """

    def __init__(
        self,
        files: CheckpointDirectory,
        spec: CheckpointSpec,
        parts: Mapping[str, Any],
        *,
        run: str,
        disk: Disk,
        ready: Callable[[], None],
        check: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._spec = spec
        # Once and here: what Keras holds is not to be looked at while it is at work.
        self._optimizers = optimizer_classes(parts)
        self._variables = variable_names(parts)
        self._layers = layer_kinds(parts)
        self._run = run
        self._disk = disk
        self._ready = ready
        self._check = check
        self._now = now
        self._checkpoint = tf.train.Checkpoint(**parts)
        self._snapshots = Snapshots(self._checkpoint)
        self._at_work: Future[Manifest] | None = None

    def begin(self, moment: Moment, *, name: str, number: int, order: int) -> None:
        """Takes the state as it is now, and has it saved as ``name`` while it goes on.

        The save before has been settled.

        Raises:
            CheckpointError: as for ``settle``.
        """
        staging = self._files.staging
        try:
            with self._told(name), self._swept_if_it_fails():
                staging.begin()
                self._checkpoint.save_counter.assign(order)
                write = self._snapshots.take(staging.path / name)
        except BaseException as error:
            _let_go(error)
            raise

        def describe() -> Manifest:
            return self._describe(moment, staging.path / name, number=number, order=order)

        self._at_work = _in_thread(lambda: self._finish(name, write, describe))

    def settle(self) -> Manifest | None:
        """Waits for the save at work; returns what it saved, or None if there was none.

        Raises:
            CheckpointError: nothing was saved, or what was is published by the next save or launch;
                the earlier checkpoints are as they were.
            UserError: what ``ready`` or ``check`` raised; nothing was published.
        """
        self.wait()
        at_work, self._at_work = self._at_work, None
        return None if at_work is None else at_work.result()

    def wait(self) -> None:
        """Lets the save at work come to its end, however it does."""
        if self._at_work is not None:
            wait([self._at_work])

    @property
    def is_at_work(self) -> bool:
        """Whether a save is being made."""
        return self._at_work is not None and not self._at_work.done()

    def _finish(self, name: str, write: Write, describe: Callable[[], Manifest]) -> Manifest:
        """Writes what was taken, and lets go of the checkpoints that are no longer to be kept."""
        with self._told(name):
            with self._swept_if_it_fails():
                write()
                manifest = describe()
                self._ready()
                self._check()
                self._files.staging.complete(manifest)
            self._check()
            self._files.publish(manifest)
        return manifest

    def _describe(self, moment: Moment, path: Path, *, number: int, order: int) -> Manifest:
        own, now = self._files.own, self._now()
        return Manifest(
            name=path.name,
            run=self._run,
            number=number,
            order=order,
            step=moment.step,
            epoch=moment.epoch,
            phase=moment.phase,
            keys=self._spec.parts,
            optimizers=self._optimizers,
            variables=self._variables,
            layers=self._layers,
            numerics=moment.numerics,
            amendments=moment.amendments,
            metrics=finite(moment.metrics),
            record=moment.record,
            scheduled=moment.scheduled,
            saved_at=now,
            begun_at=own[0].begun_at if own else now,
            fingerprint=reading.fingerprint(path),
            files={file.name: file_entry(file) for file in reading.files_of(path)},
        )

    def _told(self, name: str) -> AbstractContextManager[None]:
        return self._disk.told(f"{self._files.path / name} could not be saved")

    @contextmanager
    def _swept_if_it_fails(self) -> Iterator[None]:
        """The room that a save in the making takes may be what the disk has not.

        But where another process has taken the run over, what is there is its own.
        """
        try:
            yield
        except (OSError, tf.errors.OpError, CheckpointError, UnwritableError):
            self._check()
            with suppress(OSError):
                self._files.staging.sweep()
            raise


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that can be compared, and written as JSON."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _let_go(error: BaseException | None) -> None:
    """Has an error that is kept hold nothing of the state: its tracebacks lead to what was written."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _in_thread(work: Callable[[], Manifest]) -> Future[Manifest]:
    """Does it in a thread that keeps no process from ending."""
    future: Future[Manifest] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            log.info("a save failed", exc_info=error)
            _let_go(error)
            future.set_exception(error)

    # Not threading.Thread, which waits for it to begin, and then for it to let go of the interpreter.
    _thread.start_new_thread(do, ())
    return future
