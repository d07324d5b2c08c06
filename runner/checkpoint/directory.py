"""The checkpoints of one run in one directory, as files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from runner.checkpoint.manifest import (
    SUFFIX,
    Manifest,
    by_time,
    lone_checkpoints,
    manifest_files,
    read_manifest,
)
from runner.checkpoint.pointer import NAME as POINTER
from runner.checkpoint.pointer import pointed_to, pointer_to
from runner.checkpoint.reading import files_of, owner
from runner.checkpoint.retention import retained
from runner.checkpoint.spec import CheckpointSpec
from runner.checkpoint.staging import MARK, Staging
from runner.errors import NameTakenError

log = logging.getLogger(__name__)

CORRUPT = "corrupt"
ABANDONED = "abandoned"


class CheckpointDirectory:
    """Publishes, verifies, keeps and lets go.

    In ``path`` stand, for every checkpoint,

    - ``<prefix>-<number>.index`` and ``.data-00000-of-00001``, as TensorFlow writes them,
    - ``<prefix>-<number>.json``, the manifest, written last: without it the rest does not count,

    and beside them ``checkpoint``, by which TensorFlow finds the latest one, ``.saving-<run>``,
    where a save is made, ``corrupt/``, where this run's damaged ones are set aside, and
    ``abandoned/``, for those later than one that was gone back to. What other runs and bare scripts
    have here is read and left alone; only going back to another run's moves its later ones.

    Attributes:
        own: this run's checkpoints, the newest last.
        others: those of other runs, the last saved last.
        unreadable: by name, why a manifest under this run's prefix cannot be read.
        damaged: by the place in ``corrupt/`` where it now stands, what is wrong with one set aside.
    """

    def __init__(self, path: Path, spec: CheckpointSpec, *, run: str) -> None:
        self.path = path
        self.staging = Staging(path, run=run)
        self.own: list[Manifest] = []
        self.others: list[Manifest] = []
        self.unreadable: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        self._spec = spec
        self._run = run

    def open(self) -> None:
        """Reads what is there, and finishes or sweeps away what a dead process left."""
        self._read()
        self.finish_interrupted()
        faults = {one.name: self._fault(one) for one in self.own}
        if self.own:
            faults.update(self._own_unreadable())
            faults.update(dict.fromkeys(self.without_manifest(), "its manifest is missing"))
        self.set_aside({name: fault for name, fault in faults.items() if fault is not None})

    def finish_interrupted(self) -> None:
        """Rolls a save that was complete forward, finishes removals, and sweeps the rest."""
        if not self.staging.exists():
            self.staging.sweep()  # A link in its place would lead every later write elsewhere.
            return
        self.staging.finish_move()
        self._read()
        self.staging.finish_removals()
        manifest = self.staging.completed()
        if manifest is None:
            self.staging.sweep()
            return
        log.info("%s, a save that did not end, is completed", manifest.name)
        self.publish(manifest)

    def publish(self, manifest: Manifest) -> None:
        """Moves the complete staged save to its place, then lets go of what is not to be kept."""
        replaces = any(one.name == manifest.name for one in self.own)
        line = [one for one in self.own if one.name != manifest.name] + [manifest]
        if replaces:
            # The number exists: until its files are exchanged, the staged copy is the latest.
            self._point(line, latest=f"{self.staging.path.name}/{manifest.name}")
        self.staging.move_into_place(manifest)
        self.own = retained(line, self._spec)
        self._hold(line)
        self._point(self.own)
        self._let_go(line)

    def newest_intact(self, manifests: Sequence[Manifest]) -> Manifest | None:
        """The last of ``manifests`` that is intact; this run's damaged ones are set aside."""
        faults: dict[str, str] = {}
        intact = None
        for manifest in reversed(manifests):
            fault = manifest.fault(self.path)
            if fault is None:
                intact = manifest
                break
            faults[manifest.name] = fault
        own = {one.name for one in self.own}
        for name in faults.keys() - own:
            log.warning("checkpoint %s is damaged (%s) and was passed over", name, faults[name])
        self.set_aside({name: fault for name, fault in faults.items() if name in own})
        return intact

    def repair_pointer(self, *, gone: Iterable[str] = ()) -> None:
        """Has ``checkpoint`` name the newest of this run, unless somebody else's is the latest."""
        named = pointed_to(self.path)
        ours = {one.name for one in self.own}.union(gone)
        if self.own and (named is None or named.name in ours):
            self._point(self.own)
            self.staging.sweep()

    def set_aside(self, faults: Mapping[str, str]) -> None:
        """Moves damaged checkpoints of this run to ``corrupt/``.

        Args:
            faults: what is wrong, by name.
        """
        if not faults:
            return
        self.own = [one for one in self.own if one.name not in faults]
        # First, so that at no instant the latest is one that has gone.
        self.repair_pointer(gone=faults)
        for name, fault in faults.items():
            place = self._move_aside(name, CORRUPT)
            self.damaged[str(place / name)] = fault
            log.warning("checkpoint %s is damaged (%s) and was moved to %s", name, fault, place)
        self.staging.sweep()

    def abandon_after(self, manifest: Manifest) -> None:
        """Moves what was saved later in the same line to ``abandoned/``: it was gone back to this."""
        self._read()
        line = [one for one in (*self.own, *self.others) if one.run == manifest.run]
        later = [one for one in line if one.order > manifest.order]
        earlier = [one for one in line if one not in later]
        if not later or manifest.name not in [one.name for one in earlier]:
            return  # Or that run has gone on since, and let go of where this one began.
        self._point(earlier)
        for one in later:
            place = self._move_aside(one.name, ABANDONED)
            log.warning("%s, saved after %s, was moved to %s", one.name, manifest.name, place)
        self.own = [one for one in self.own if one not in later]
        self.others = [one for one in self.others if one not in later]
        self.staging.sweep()

    def abandon_all(self) -> None:
        """Moves this run's checkpoints to ``abandoned/``: it starts over."""
        named = pointed_to(self.path)
        if named is not None and named.name in {one.name for one in self.own}:
            (self.path / POINTER).unlink()
        for name in [*(one.name for one in self.own), *self.without_manifest()]:
            log.warning("%s was moved to %s", name, self._move_aside(name, ABANDONED))
        self.own = []
        self.staging.sweep()

    def check_free(self, name: str) -> None:
        """Looks whether a save of this name would be over something that is not this run's.

        Raises:
            NameTakenError: it would.
        """
        if not self.path.is_dir() or any(one.name == name for one in self.own):
            return
        present = [*files_of(self.path / name), self.path / f"{name}{SUFFIX}"]
        if any(path.exists() for path in present):
            savers = (f"run {one.run}" for one in self.others if one.name == name)
            raise NameTakenError(
                f"{self.path / name} is there already, saved by {next(savers, 'somebody else')}, and "
                "is not overwritten; move its files away, or give another checkpoint.prefix or "
                "checkpoint.directory"
            )

    def has_lost(self) -> bool:
        """Whether checkpoints of this run were set aside as damaged."""
        for path in (self.path / CORRUPT).rglob(f"*{SUFFIX}"):
            match read_manifest(path):
                case Manifest(run=run) if run == self._run:
                    return True
                case str() if owner(path.with_suffix("")) in (None, self._run):
                    return True
        return False

    def names(self) -> list[str]:
        """The names of all checkpoints here, whoever saved them."""
        if not self.path.is_dir():
            return []
        return sorted(path.stem for path in self.path.iterdir() if path.suffix == ".index")

    def signs(self) -> list[str]:
        """Names of files by which to see that there are or were checkpoints here."""
        if not self.path.is_dir():
            return []
        names = sorted(path.name for path in self.path.iterdir())
        return [name for name in names if _is_sign(name)]

    def _read(self) -> None:
        found = {path.stem: read_manifest(path) for path in manifest_files(self.path)}
        manifests = [one for one in found.values() if isinstance(one, Manifest)]
        own = [one for one in manifests if one.run == self._run]
        others = [one for one in manifests if one.run != self._run]
        self.own = sorted(own, key=lambda one: (one.order, one.scheduled))
        self.others = by_time(others)
        prefixes = {self._spec.prefix, *(_prefix(one.name) for one in self.own)}
        self.unreadable = {
            name: one
            for name, one in found.items()
            if isinstance(one, str) and _prefix(name) in prefixes
        }

    def _own_unreadable(self) -> dict[str, str]:
        """Of the unreadable manifests, those of this run: the checkpoint itself tells or, if it does
        not, that nobody else has one here.
        """
        whose = {name: owner(self.path / name) for name in self.unreadable}
        default = None if self.others else self._run
        return {
            name: self.unreadable.pop(name)
            for name, run in whose.items()
            if (run or default) == self._run
        }

    def without_manifest(self) -> list[str]:
        """This run's checkpoints whose manifest is gone, by what they hold themselves."""
        lone = lone_checkpoints(self.path)
        return [name for name in lone if owner(self.path / name) == self._run]

    def _fault(self, one: Manifest) -> str | None:
        """Those that ``max_to_keep`` counts are read whole, so that it counts intact ones only."""
        is_counted = self._spec.max_to_keep is not None and not one.held
        return one.fault(self.path, by_size=not is_counted)

    def _hold(self, line: Sequence[Manifest]) -> None:
        for one in self.own:
            if one not in line:
                self.staging.write(self.path / f"{one.name}{SUFFIX}", one.as_bytes())

    def _let_go(self, line: Sequence[Manifest]) -> None:
        names = {one.name for one in self.own}
        self.staging.remove([one for one in line if one.name not in names])
        self.staging.sweep()

    def _point(self, manifests: Sequence[Manifest], *, latest: str | None = None) -> None:
        content, path = pointer_to(manifests, latest=latest), self.path / POINTER
        if not path.is_file() or path.read_bytes() != content:
            self.staging.write(path, content)

    def _move_aside(self, name: str, folder: str) -> Path:
        """Moves the files of a checkpoint to ``folder`` or, below it, to the first where there are none."""
        files = [*files_of(self.path / name), self.path / f"{name}{SUFFIX}"]
        place, number = self.path / folder, 2
        while any((place / path.name).exists() for path in files):
            place, number = self.path / folder / str(number), number + 1
        self.staging.move(files, place)
        return place


def _prefix(name: str) -> str:
    return name.rpartition("-")[0].removesuffix("-stopped")


def _is_sign(name: str) -> bool:
    return (
        name in (POINTER, CORRUPT)
        or name.startswith(MARK)
        or name.endswith(".index")
        or ".data-" in name
    )
