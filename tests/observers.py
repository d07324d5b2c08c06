"""Observers that end a run's work, as a kill and a preemption do."""

from __future__ import annotations

import signal

from rich.console import Console

from runner.report.console import Plain


class Stop(BaseException):
    """Stands for a kill: nothing between the loop and the test may catch it and tidy up."""


class StopAt(Plain):
    """Ends the process's work when a step is done."""

    def __init__(self, step: int) -> None:
        super().__init__(Console(quiet=True))
        self._step = step

    def advanced(self, *, step: int, epoch: float) -> None:
        if step >= self._step:
            raise Stop


class Ask(StopAt):
    """Sends the process a SIGTERM when a step is done, as a preemption does."""

    def advanced(self, *, step: int, epoch: float) -> None:
        if step >= self._step:
            signal.raise_signal(signal.SIGTERM)
