"""What is told about a run while it goes, to whoever shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from runner.config import Experiment
from runner.config.changes import Change
from runner.phases import Observer
from runner.results import Result


class SessionObserver(Observer, Protocol):
    """Is told about the run as a whole too."""

    def recalled(self, result: Result, *, changed: list[str], again: str) -> None:
        """The run was finished before.

        Args:
            changed: the source files that differ since.
            again: what would have it do more.
        """

    def waiting(self, reason: str) -> None:
        """Nothing happens for some seconds yet."""

    def amended(self, changes: list[Change]) -> None:
        """The run goes on with these values changed."""

    def reproducing(self, run: Path, directory: Path, *, matters: list[str]) -> None:
        """The run in ``run`` is done afresh in ``directory``.

        Args:
            matters: what could matter and is not as it was.
        """

    def moved_aside(self, directory: Path) -> None:
        """An earlier run made room for a fresh one, and now stands in ``directory``."""

    def started(self, experiment: Experiment, directory: Path, *, changed: list[str]) -> None:
        """A sitting begins."""

    def chosen(self, text: str) -> None:
        """What the config leaves open was chosen, for as long as the run goes."""

    def restored(self, checkpoint: Path | None, *, step: int) -> None:
        """The state is there: from a checkpoint, or from scratch."""

    def stopping(self, reason: str) -> None:
        """The run was asked to stop, and will once the steps at work are done."""

    def finished(self, result: Result) -> None:
        """The run is complete."""

    def closed(self) -> None:
        """The sitting is over, whatever its end; nothing more is told."""
