"""Saves the state of one run into a directory, and restores it.

A save takes the state as it is, which costs next to nothing, and a thread does the rest while
training goes on. There is one such save at a time: the next one waits for it first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from runner.checkpoint import reading
from runner.checkpoint.directory import CheckpointDirectory
from runner.checkpoint.disk import Disk
from runner.checkpoint.finder import Finder
from runner.checkpoint.manifest import Manifest
from runner.checkpoint.restore import borrowed, manifest_of, restore
from runner.checkpoint.retention import would_be_best
from runner.checkpoint.saver import Moment, Saver, finite
from runner.checkpoint.spec import CheckpointSpec


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
        ready: brings to the disk what a checkpoint counts on; done before it counts itself.
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
        ready: Callable[[], None] = lambda: None,
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
        self._parts = parts
        self._disk = Disk(directory, parts)
        self._saver = Saver(
            self._files, spec, parts, run=run, disk=self._disk, ready=ready, check=check, now=now
        )
        self._order = 0
        self._begun: dict[str, dict[str, float]] = {}
        self._gone_back_to: Manifest | None = None

    def open(self) -> None:
        """Finishes or sweeps away what a dead save left, and reads what there is.

        Raises:
            CheckpointError: the directory cannot be used.
        """
        self._check()
        with self._disk.told(f"{self.directory} cannot be used"):
            self._files.open()

    @property
    def manifests(self) -> list[Manifest]:
        """This run's checkpoints, the newest last."""
        self._saver.wait()
        return list(self._files.own)

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the checkpoints that were set aside, by where they stand now."""
        self._saver.wait()
        return dict(self._files.damaged)

    @property
    def best(self) -> Manifest | None:
        """The best checkpoint, if the config says what is best and one was evaluated."""
        return next(iter(self._finder.best(self.manifests)), None)

    def path(self, manifest: Manifest) -> Path:
        """What TensorFlow calls the checkpoint's path: its files' names without their endings."""
        return self.directory / manifest.name

    def would_be_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be among the best.

        The save at work counts as one that is there, until it is known to have failed; nobody waits
        for it.
        """
        there = {one.name: one.metrics for one in self._files.own} | self._begun
        return would_be_best(there.values(), self._spec.best, finite(metrics))

    def begin(self, moment: Moment) -> None:
        """Takes the state as it is now, and has it saved while it goes on.

        Raises:
            CheckpointError: as for ``settle``, of the save before or of this one.
            NameTakenError: somebody else's checkpoint has the name.
            LockedError: another process has taken the run over, or is at work on the one that was
                gone back in.
        """
        self.settle()
        with self._disk.told(f"{self.directory} cannot be used"):
            self._clear_the_way()
        order = self._next_order(moment)
        number = self._spec.number(step=moment.step, epoch=int(moment.epoch), count=order)
        name = f"{self._spec.prefix}-{number if moment.scheduled else f'stopped-{moment.step}'}"
        with self._disk.told(f"{self.directory / name} could not be saved"):
            self._files.check_free(name)
        self._saver.begin(moment, name=name, number=number, order=order)
        self._begun = {name: finite(moment.metrics)}

    def settle(self) -> Manifest | None:
        """Waits for the save at work; returns what it saved, or None if there was none.

        Raises:
            CheckpointError: nothing was saved, or what was is published by the next save or launch;
                the earlier checkpoints are as they were.
            LockedError: another process has taken the run over.
        """
        self._begun = {}
        manifest = self._saver.settle()
        if manifest is not None:
            self._count_from(manifest)
        return manifest

    @property
    def is_saving(self) -> bool:
        """Whether a save is at work."""
        return self._saver.is_at_work

    def start(self, *, fresh: bool = False) -> Path | None:
        """Where this sitting starts; None to start from scratch. See `Finder.start`.

        Raises:
            CheckpointError: there is none, or none that is intact.
        """
        self._check()
        with self._disk.told(f"{self.directory} cannot be used"):
            return self._finder.start(fresh=fresh)

    def find(self, which: str | int) -> Path:
        """The checkpoint that latest, best, a number or a path means. See `Finder.find`.

        Raises:
            CheckpointError: there is none, or it is not intact.
        """
        self._saver.wait()
        self._check()
        with self._disk.told(f"{self.directory} cannot be used"):
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
