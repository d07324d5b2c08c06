"""Finds the checkpoint that a sitting starts from, or that a word, a number or a path means."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from runner.checkpoint.directory import CORRUPT, CheckpointDirectory
from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.checkpoint.pointer import listed
from runner.checkpoint.reading import fault_in
from runner.checkpoint.retention import best_of
from runner.checkpoint.spec import RESTORE_WORDS, CheckpointSpec
from runner.errors import CheckpointError

log = logging.getLogger(__name__)


class Finder:
    """Looks at the run's own checkpoints first; only where there are none, at those of others.

    What it returns has been read and found intact; the run's damaged ones are set aside.
    """

    def __init__(self, files: CheckpointDirectory, spec: CheckpointSpec) -> None:
        self._files = files
        self._spec = spec

    def start(self, *, fresh: bool = False) -> Path | None:
        """Where a sitting starts: the newest intact checkpoint of the run, if it has any, or else what
        ``checkpoint.restore`` says; None to start from scratch.

        Args:
            fresh: the run's checkpoints, if there are any, are moved aside first.

        Raises:
            CheckpointError: there is none, or none that is intact.
        """
        if fresh:
            self._files.abandon_all()
        newest = self._files.newest_intact(self._files.own)
        self._files.repair_pointer()
        if newest is not None:
            return self._files.path / newest.name
        if self._files.has_lost() and not fresh:
            raise CheckpointError(self._loss())
        if self._files.without_manifest() and not fresh:
            return self.find("latest")
        if self._spec.restore == "none":
            return None
        if self._spec.restore != "auto":
            return self.find(self._spec.restore)
        plain = self._plain()
        if plain is None and self._files.signs():
            raise CheckpointError(self._signs_of_others())
        return plain

    def find(self, which: str | int) -> Path:
        """The checkpoint that latest, best, a number or a path means.

        This run's are looked at first; only where there are none, those of other runs.

        Raises:
            CheckpointError: there is none, or it is not intact.
        """
        self._files.finish_interrupted()
        if which in ("latest", "auto"):
            found = self._latest()
        elif which == "best":
            found = self._intact(self.best(self._files.own or self._files.others)[::-1])
        else:
            found = self._named(which)
        if found is None:
            raise CheckpointError(f"restore={which}: {self._what_there_is(which)}")
        return found

    def best(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """The best of ``manifests``, the best first; none if the config does not say what is best."""
        return best_of(manifests, self._spec.best) if self._spec.best else []

    def _intact(self, manifests: Sequence[Manifest]) -> Path | None:
        found = self._files.newest_intact(manifests)
        return None if found is None else self._files.path / found.name

    def _latest(self) -> Path | None:
        """This run's newest, or what ``checkpoint`` names, or the last one of another run."""
        return self._intact(self._files.own) or self._plain() or self._intact(self._files.others)

    def _plain(self) -> Path | None:
        """The newest intact one that ``checkpoint`` lists, if a bare script saved the latest."""
        paths = listed(self._files.path)
        if not paths or _manifest_beside(paths[-1]) is not None:
            return None
        faults: list[str] = []
        for path in reversed(paths):
            fault = fault_in(path)
            if fault is None:
                return path
            faults.append(fault)
            log.warning("%s; it is passed over", fault)
        raise CheckpointError(f"{faults[0]}, nor can any other one that is listed beside it")

    def _named(self, which: str | int) -> Path | None:
        own_name = self._files.path / f"{self._spec.prefix}-{which}"
        path = Path(which) if isinstance(which, str) else own_name
        if not path.with_name(f"{path.name}.index").is_file():
            return None
        manifest = _manifest_beside(path)
        match manifest:
            case Manifest():
                fault = manifest.fault(path.parent)
            case None:
                fault = fault_in(path)
            case reason:
                fault = reason
        if fault is not None:
            raise CheckpointError(f"restore={which}: {fault}; {self._what_there_is(which)}")
        return path

    def _what_there_is(self, which: str | int) -> str:
        if which == "best" and self._spec.best:
            return f"no checkpoint in {self._files.path} has a {self._spec.best.metric}"
        names = self._files.names()
        if names:
            return f"{self._files.path} holds {', '.join(names)}"
        words = ", ".join(RESTORE_WORDS)
        return f"{self._files.path} holds no checkpoint; give {words}, a number or a path"

    def _loss(self) -> str:
        place = self._files.path / CORRUPT
        return (
            f"no checkpoint of this run in {self._files.path} is intact; the damaged ones are in "
            f"{place}, and run.log says what is wrong with them; run.fresh=true starts over"
        )

    def _signs_of_others(self) -> str:
        shown = ", ".join([*self._files.unreadable.values(), *self._files.signs()][:5])
        return (
            f"{self._files.path} holds {shown}, but no intact checkpoint of this run; give "
            "checkpoint.restore=latest or a number to start from one that is there, "
            "checkpoint.restore=none to start from scratch, or another checkpoint.directory"
        )


def _manifest_beside(path: Path) -> Manifest | str | None:
    return read_manifest(path.with_name(f"{path.name}{SUFFIX}"))
