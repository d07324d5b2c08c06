"""Saves the state of one run into a directory, and restores it."""

from __future__ import annotations

import logging
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint import reading
from runner.checkpoint.directory import CheckpointDirectory
from runner.checkpoint.finder import Finder
from runner.checkpoint.graph import layer_kinds, num_bytes, variable_names
from runner.checkpoint.manifest import Manifest, file_entry
from runner.checkpoint.restore import borrowed, manifest_of, optimizer_classes, restore
from runner.checkpoint.retention import would_be_best
from runner.checkpoint.spec import CheckpointSpec
from runner.errors import CheckpointError
from runner.files import nearest_directory

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


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        spec: the config.
        parts: the part of the state under every key, built.
        directory: where the files stand; see `CheckpointDirectory`.
        run: the id of the run; checkpoints of other runs in the same directory are left alone.
        optional: a key that a checkpoint of a script may lack.
        check: raises if the run is no longer this process's; asked before files are moved.
        keep_out: keeps the run of an id from working for the length of a block; for one whose
            checkpoints are moved.
        now: seconds since 1970.
    """

    def __init__(
        self,
        spec: CheckpointSpec,
        parts: dict[str, Any],
        *,
        directory: Path,
        run: str,
        optional: str | None = None,
        check: Callable[[], None] = lambda: None,
        keep_out: Callable[[str], AbstractContextManager[None]] = lambda run: nullcontext(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._files = CheckpointDirectory(directory, spec, run=run)
        self._finder = Finder(self._files, spec)
        self._spec = spec
        self._run = run
        self._optional = optional
        self._check = check
        self._keep_out = keep_out
        self._now = now
        self._parts = parts
        self._checkpoint = tf.train.Checkpoint(**parts)
        self._order = 0
        self._gone_back_to: Manifest | None = None

    def open(self) -> None:
        """Finishes or sweeps away what a dead save left, and reads what there is.

        Raises:
            CheckpointError: the directory cannot be used.
        """
        self._check()
        with self._told(f"{self.directory} cannot be used"):
            self._files.open()

    @property
    def manifests(self) -> list[Manifest]:
        """This run's checkpoints, the newest last."""
        return list(self._files.own)

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the checkpoints that were set aside, by where they stand now."""
        return dict(self._files.damaged)

    @property
    def best(self) -> Manifest | None:
        """The best checkpoint, if the config says what is best and one was evaluated."""
        return next(iter(self._finder.best(self._files.own)), None)

    def path(self, manifest: Manifest) -> Path:
        """What TensorFlow calls the checkpoint's path: its files' names without their endings."""
        return self.directory / manifest.name

    def would_be_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be among the best."""
        return would_be_best(self._files.own, self._spec.best, _finite(metrics))

    def save(self, moment: Moment) -> Manifest:
        """Saves the state, then lets go of the checkpoints that are no longer to be kept.

        Raises:
            CheckpointError: nothing was saved, or what was is published by the next save or launch;
                the earlier checkpoints are as they were.
            NameTakenError: somebody else's checkpoint has the name.
            LockedError: another process has taken the run over, or is at work on the one that was
                gone back in.
        """
        with self._told(f"{self.directory} cannot be used"):
            self._clear_the_way()
        order = self._next_order(moment)
        number = self._spec.number(step=moment.step, epoch=int(moment.epoch), count=order)
        name = f"{self._spec.prefix}-{number if moment.scheduled else f'stopped-{moment.step}'}"
        with self._told(f"{self.directory / name} could not be saved"):
            self._files.check_free(name)
            manifest = self._stage(name, number, order, moment)
            self._check()
            self._files.publish(manifest)
        self._count_from(manifest)
        return manifest

    def start(self, *, fresh: bool = False) -> Path | None:
        """Where this sitting starts; None to start from scratch. See `Finder.start`.

        Raises:
            CheckpointError: there is none, or none that is intact.
        """
        self._check()
        with self._told(f"{self.directory} cannot be used"):
            return self._finder.start(fresh=fresh)

    def find(self, which: str | int) -> Path:
        """The checkpoint that latest, best, a number or a path means. See `Finder.find`.

        Raises:
            CheckpointError: there is none, or it is not intact.
        """
        self._check()
        with self._told(f"{self.directory} cannot be used"):
            return self._finder.find(which)

    def restore(self, path: Path) -> Manifest | None:
        """Gives the state the values in the checkpoint, and goes on counting from it.

        If another run has saved more in this directory since, the next save moves that aside.

        Raises:
            CheckpointError: it does not fit; no variable was touched.
        """
        manifest = manifest_of(path)
        is_own = manifest is not None and manifest.run == self._run
        if self._spec.partial and not is_own:
            return restore(path, self._parts, partial=True)
        restore(path, self._parts, optional=self._optional, own=is_own)
        if manifest is None:
            self._order = reading.save_counter(path)
        else:
            self._count_from(manifest)
        is_here = path.parent.resolve() == self.directory.resolve()
        self._gone_back_to = manifest if is_here and not is_own else None
        return manifest

    def borrowed(self, path: Path) -> AbstractContextManager[Manifest | None]:
        """Restores for the length of a ``with`` block; then everything is as it was before."""
        return borrowed(path, self._parts, optional=self._optional)

    def _clear_the_way(self) -> None:
        """Ends what an earlier save could not, and leaves the line that was gone back from."""
        self._files.finish_interrupted()
        if self._gone_back_to is not None:
            with self._keep_out(self._gone_back_to.run):
                self._files.abandon_after(self._gone_back_to)
            self._gone_back_to = None

    def _next_order(self, moment: Moment) -> int:
        counted = moment.order if moment.scheduled else 0
        published = [one.order for one in self._files.own if one.scheduled]
        return max(counted, self._order + 1, *(order + 1 for order in published))

    def _count_from(self, manifest: Manifest) -> None:
        self._order = manifest.order if manifest.scheduled else manifest.order - 1

    def _stage(self, name: str, number: int, order: int, moment: Moment) -> Manifest:
        staging = self._files.staging
        try:
            staging.begin()
            self._checkpoint.save_counter.assign(order)
            self._checkpoint.write(str(staging.path / name))
            manifest = self._describe(staging.path / name, number, order, moment)
            staging.complete(manifest)
        except (OSError, tf.errors.OpError, CheckpointError):
            # The room that it takes may be what the disk has not.
            with suppress(OSError):
                staging.sweep()
            raise
        return manifest

    def _describe(self, path: Path, number: int, order: int, moment: Moment) -> Manifest:
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
            optimizers=optimizer_classes(self._parts),
            variables=variable_names(self._parts),
            layers=layer_kinds(self._parts),
            numerics=moment.numerics,
            amendments=moment.amendments,
            metrics=_finite(moment.metrics),
            record=moment.record,
            scheduled=moment.scheduled,
            saved_at=now,
            begun_at=own[0].begun_at if own else now,
            fingerprint=reading.fingerprint(path),
            files={file.name: file_entry(file) for file in reading.files_of(path)},
        )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turns errors of the file system into one that says what could not be done."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{what}: {_reason(error)}; {self._room()}; make room or give the right to write "
                "there; the same command goes on"
            ) from error

    def _room(self) -> str:
        """What a checkpoint takes, and what there is."""
        needed = f"a checkpoint takes {num_bytes(self._parts) / 1e6:,.2f} MB"
        try:
            free = shutil.disk_usage(nearest_directory(self.directory)).free
        except OSError:
            return needed
        return f"{needed}, and {free / 1e6:,.2f} MB are free"


def _reason(error: OSError | tf.errors.OpError) -> str:
    """Without TensorFlow's notes on the op that failed."""
    text = str(error)
    return text if isinstance(error, OSError) else re.sub(r"\{\{.*?\}\} | \[Op:\w+\]", "", text)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those that can be compared, and written as JSON."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
