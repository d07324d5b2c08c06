"""The checkpoints of one run in one directory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint import graph, staging
from runner.checkpoint.manifest import (
    SUFFIX,
    Manifest,
    file_entry,
    manifest_files,
    read_manifest,
    read_manifests,
)
from runner.checkpoint.pointer import plain_latest, point
from runner.checkpoint.restore import borrowed, class_names, restore
from runner.checkpoint.retention import best_of, retained
from runner.checkpoint.spec import RESTORE_WORDS, CheckpointSpec
from runner.errors import CheckpointError
from runner.files import remove

log = logging.getLogger(__name__)

_CORRUPT = "corrupt"
_ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When in the run a save takes place, and how good the state is."""

    order: int
    """Which save of the run this is, from 1."""
    step: int
    epoch: float
    phase: str
    metrics: dict[str, float]
    """Of the evaluation at this very step, if there was one, as split/name."""
    record: dict[str, Any]
    """Where the run stands, for keys that leave the progress out."""


class CheckpointStore:
    """Saves, finds and verifies.

    In ``directory`` stand, for every checkpoint,

    - ``<prefix>-<number>.index`` and ``.data-00000-of-00001``, as TensorFlow writes them,
    - ``<prefix>-<number>.json``, the manifest, written last: without it the rest does not count,

    and beside them ``checkpoint``, by which TensorFlow finds the latest one, ``.saving-*``, a save
    that is not complete, ``corrupt/``, where damaged ones are set aside, and ``abandoned/``, for
    those later than one that was gone back to.

    Args:
        spec: the config.
        parts: the part of the state under every key, built.
        directory: where the files stand.
        run: the id of the run; checkpoints of other runs in the same directory are left alone.
        now: seconds since 1970.
    """

    def __init__(
        self,
        spec: CheckpointSpec,
        parts: dict[str, Any],
        *,
        directory: Path,
        run: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._spec = spec
        self._run = run
        self._now = now
        self._parts = parts
        self._classes = class_names(parts)
        self._checkpoint = tf.train.Checkpoint(**parts)
        self._manifests: list[Manifest] = []

    def open(self) -> None:
        """Finishes or sweeps away what a dead save left, and reads the manifests."""
        if not self.directory.is_dir():
            return
        for staged in staging.left_over(self.directory):
            fate = "completed" if staging.recover(staged) else "removed"
            log.warning("%s, a save that did not end, was %s", staged.name, fate)
        for path in manifest_files(self.directory):
            fault = read_manifest(path)
            if isinstance(fault, str):
                self._set_aside(path.stem, fault)
        self._manifests = read_manifests(self.directory)

    @property
    def manifests(self) -> list[Manifest]:
        """This run's checkpoints, the newest last."""
        return [manifest for manifest in self._manifests if manifest.run == self._run]

    def path(self, manifest: Manifest) -> Path:
        """What TensorFlow calls the checkpoint's path: its files' names without their endings."""
        return self.directory / manifest.name

    def save(self, moment: Moment) -> Manifest:
        """Saves the state, then lets go of the checkpoints that are no longer to be kept.

        Raises:
            CheckpointError: nothing was saved; the earlier checkpoints are as they were.
        """
        epoch = int(moment.epoch)
        number = self._spec.number(step=moment.step, epoch=epoch, count=moment.order)
        name = f"{self._spec.prefix}-{number}"
        self._checkpoint.save_counter.assign(moment.order)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            staged = staging.begin(self.directory, name)
            self._checkpoint.write(str(staged / name))
            manifest = self._describe(staged / name, number, moment)
            staging.complete(staged, manifest)
            self._publish(staged, manifest)
        except (OSError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{self.directory / name} could not be saved: {error}; make room or give the right "
                "to write there, then run the same command again"
            ) from error
        return manifest

    def would_be_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be among the best."""
        best = self._spec.best
        if best is None or best.metric not in metrics:
            return False
        rivals = best_of(self.manifests, best)
        return len(rivals) < best.keep or best.better(
            metrics[best.metric], than=rivals[-1].metrics[best.metric]
        )

    def start(self) -> Path | None:
        """Where this sitting starts: the newest intact checkpoint of this run, if it has any, or else
        what ``checkpoint.restore`` says; None to start from scratch.

        Raises:
            CheckpointError: there is none, or none that is intact.
        """
        had_any = bool(self.manifests)
        newest = self._newest(self.manifests)
        if newest is not None:
            return newest
        if self._spec.restore == "none" and not had_any:
            return None
        if self._spec.restore != "auto" and not had_any:
            return self.find(self._spec.restore)
        plain = self._plain()
        if plain is None:
            self._refuse_silent_restart()
        return plain

    def find(self, which: str | int) -> Path:
        """The checkpoint that latest, best, a number or a path means.

        Raises:
            CheckpointError: there is none, or it is not intact.
        """
        if which == "latest":
            found = self._newest(self._manifests) or self._plain()
        elif which == "best":
            found = self._newest(self._best()[::-1])
        else:
            found = self._named(which)
        if found is None:
            raise CheckpointError(f"checkpoint.restore={which}: {self._what_there_is()}")
        return found

    def restore(self, path: Path) -> Manifest | None:
        """Gives the state the values in the checkpoint; later ones of the same line are abandoned.

        Raises:
            CheckpointError: it does not fit; no variable was touched.
        """
        is_own = path in [self.path(manifest) for manifest in self.manifests]
        manifest = restore(path, self._parts, partial=self._spec.partial and not is_own)
        if manifest is not None and path.parent == self.directory:
            for other in list(self._manifests):
                if other.run == manifest.run and other.order > manifest.order:
                    self._move_aside(other.name, _ABANDONED)
                    self._manifests.remove(other)
        return manifest

    def borrowed(self, path: Path) -> AbstractContextManager[Manifest | None]:
        """Restores for the length of a ``with`` block; then everything is as it was before."""
        return borrowed(path, self._parts)

    @property
    def best(self) -> Manifest | None:
        """The best checkpoint, if the config says what is best and one was evaluated."""
        return next(iter(self._best()), None)

    def _describe(self, path: Path, number: int, moment: Moment) -> Manifest:
        return Manifest(
            name=path.name,
            run=self._run,
            number=number,
            **vars(moment),
            keys=self._spec.keys,
            classes=self._classes,
            saved_at=self._now(),
            fingerprint=graph.fingerprint(str(path)),
            files={file.name: file_entry(file) for file in graph.files_of(path)},
        )

    def _publish(self, staged: Path, manifest: Manifest) -> None:
        others = [one for one in self._manifests if one.name != manifest.name]
        own = [one for one in others if one.run == self._run] + [manifest]
        kept = retained(own, self._spec)
        if len(others) < len(self._manifests):
            # The number exists: until its files are exchanged, the staged copy is the latest.
            point(self.directory, kept, latest=f"{staged.name}/{manifest.name}")
        staging.move_into_place(staged, manifest)
        point(self.directory, kept, latest=manifest.name)
        staging.sweep(staged)
        self._let_go(own, kept)
        self._manifests = [one for one in others if one.run != self._run] + kept

    def _let_go(self, own: Sequence[Manifest], kept: Sequence[Manifest]) -> None:
        names = {one.name for one in kept}
        for one in kept:
            if one.held and one not in own:
                one.write(self.directory)
        for one in own:
            if one.name not in names:
                # The manifest goes first: from then on the rest does not count.
                remove(self.directory / name for name in [f"{one.name}{SUFFIX}", *one.files])

    def _best(self) -> list[Manifest]:
        return best_of(self.manifests, self._spec.best) if self._spec.best else []

    def _newest(self, manifests: Sequence[Manifest]) -> Path | None:
        """The last of ``manifests`` that is intact; damaged ones are set aside on the way."""
        for manifest in reversed(manifests):
            fault = manifest.fault(self.directory)
            if fault is None:
                return self.path(manifest)
            self._set_aside(manifest.name, fault)
            self._manifests.remove(manifest)
        return None

    def _named(self, which: str | int) -> Path | None:
        path = (
            Path(which)
            if isinstance(which, str)
            else self.directory / f"{self._spec.prefix}-{which}"
        )
        if not path.with_name(f"{path.name}.index").is_file():
            return None
        manifest = read_manifest(path.with_name(f"{path.name}{SUFFIX}"))
        fault = manifest.fault(path.parent) if isinstance(manifest, Manifest) else _unreadable(path)
        if fault is not None:
            raise CheckpointError(f"checkpoint.restore={which}: {fault}; {self._what_there_is()}")
        return path

    def _plain(self) -> Path | None:
        """The latest checkpoint that has no manifest, because a bare script saved it."""
        path = plain_latest(self.directory)
        if path is None or path.with_name(f"{path.name}{SUFFIX}").exists():
            return None
        fault = _unreadable(path)
        if fault is not None:
            raise CheckpointError(f"{path}: {fault}; name another one: checkpoint.restore=NUMBER")
        return path

    def _refuse_silent_restart(self) -> None:
        """Raises if there is a sign of earlier checkpoints, none of which can be used."""
        signs = [path.name for path in self.directory.glob("*")] if self.directory.is_dir() else []
        if signs:
            raise CheckpointError(
                f"{self.directory} holds {', '.join(sorted(signs)[:5])}, but no intact checkpoint of "
                "this run; give checkpoint.restore=latest or a number to start from one that is "
                "there, checkpoint.restore=none to start from scratch, or another "
                "checkpoint.directory"
            )

    def _set_aside(self, name: str, reason: str) -> None:
        self._move_aside(name, _CORRUPT)
        place = self.directory / _CORRUPT
        log.warning("checkpoint %s is damaged (%s) and was moved to %s", name, reason, place)

    def _move_aside(self, name: str, folder: str) -> None:
        place = self.directory / folder
        place.mkdir(exist_ok=True)
        prefix = self.directory / name
        for path in [prefix.with_name(f"{name}{SUFFIX}"), *graph.files_of(prefix)]:
            if path.exists():
                path.replace(place / path.name)

    def _what_there_is(self) -> str:
        numbers = [str(manifest.number) for manifest in self._manifests]
        if numbers:
            return f"no such checkpoint in {self.directory}; there are {', '.join(numbers)}"
        words = ", ".join(RESTORE_WORDS)
        return f"no such checkpoint; {self.directory} holds none (give {words}, a number or a path)"


def _unreadable(path: Path) -> str | None:
    """Why a checkpoint without a manifest cannot be used, or None."""
    try:
        graph.read_every_tensor(str(path))
    except (tf.errors.OpError, IndexError, OSError) as error:
        return f"it cannot be read: {error}"
    return None
