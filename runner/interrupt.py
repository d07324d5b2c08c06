"""Asking a run to stop where it can go on later: by a signal, or when its time is up."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NewType

from runner.errors import Invalid, UserError

Duration = NewType("Duration", str)
DURATION = "a number and a unit, such as 90s, 30m, 2h or 1d"
"""What to give for one, in words."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Interrupted(UserError):
    """The run stopped on request, after saving; the same command goes on with it."""

    exit_code = 75


class StepReached(Interrupted):
    """The run was to go no further than this for now."""


class _AtOnceError(BaseException):
    """Passes whatever takes an exception for a problem of a model."""


class StopRequest:
    """What the loop asks after every call into TensorFlow.

    Args:
        max_time_s: seconds from now after which to stop; None for no limit.
        at_step: of the whole run, where to stop; None for no limit.
        notify: is told the reason when a signal arrives.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        *,
        max_time_s: float | None = None,
        at_step: int | None = None,
        notify: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_step = at_step
        self._at_once = False
        self._signal: str | None = None
        self._notify = notify
        self._clock = clock
        self._ends = None if max_time_s is None else clock() + max_time_s

    def reason(self, *, step: int) -> str | None:
        """Why to stop now that ``step`` is done, or None to go on."""
        if self._signal is not None:
            return self._signal
        if self._ends is not None and self._clock() >= self._ends:
            return "run.max_time is over"
        return f"step {step:,} is reached" if self.is_reached(step) else None

    def is_reached(self, step: int) -> bool:
        """Whether ``step`` is as far as it was to go, and it was not asked to stop otherwise."""
        return self._signal is None and self.at_step is not None and step >= self.at_step

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal interrupts whatever is done: there is nothing yet that would have to be saved.

        Raises:
            Interrupted: a signal came.
        """
        self._at_once = True
        try:
            self._interrupt()  # It may have come before.
            yield
        except BaseException:
            self._interrupt()
            raise
        finally:
            self._at_once = False

    def _interrupt(self) -> None:
        if self._signal is not None:
            raise Interrupted(
                f"{self._signal}: stopped before its first step; the same command goes on"
            )

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Makes SIGTERM and SIGINT ask; a second one stops at once, as if this were not here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # One that is ignored, as in a job in the background, or not Python's own, stays so.
        present = {number: signal.getsignal(number) for number in _SIGNALS}
        before = {n: old for n, old in present.items() if old not in (signal.SIG_IGN, None)}
        self._before = before
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
        self._signal = signal.Signals(number).name
        if self._at_once:
            raise _AtOnceError
        with suppress(RuntimeError):  # It may have come in the middle of printing.
            self._notify(self._signal)


def duration_s(text: str) -> float:
    """Seconds in a duration such as 90s, 30m, 2h or 1d.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise ValueError(f"give {DURATION}")
    return float(match[1]) * _SECONDS[match[2]]


def check_duration(field: str, text: str) -> None:
    """Raises: Invalid: the value of the field is no duration."""
    try:
        duration_s(text)
    except ValueError as error:
        raise Invalid(field, text, str(error)) from error
