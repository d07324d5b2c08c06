"""Fresh processes, so many at once: forked from one that has imported TensorFlow and computed nothing.

What happens to one of them, be it a crash, a hang or a kill for want of memory, happens to no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOKS_S = 1.0
GRACE_S = 30.0
"""For saving, before a process that was asked to stop is killed."""


class Watcher(Protocol[T_contra]):
    """Is told what becomes of the tasks."""

    def started(self, task: T_contra) -> None: ...

    def told(self, task: T_contra, message: Any) -> str | None:
        """What the process that works on it sent; returns why it has to stop, if it has."""

    def ended(self, task: T_contra, how: str | None) -> None:
        """Its process is gone: ``how``, if not by coming to its end."""

    def stopping(self, reason: str) -> None:
        """A signal asked for all to stop; the processes are told."""


Work = Callable[[T, Callable[[Any], None]], None]
"""Does a task in a process of its own, and may tell of it; to be imported by its name there."""


@dataclass
class _Process(Generic[T]):
    task: T
    slot: int
    handle: Any
    messages: Connection
    deadline: float
    why: str | None = None
    """Why it was asked to stop, if not by a signal."""


@dataclass
class Pool(Generic[T]):
    """Works on tasks as they come, each in a process of its own.

    Args:
        jobs: how many at once; the cores are shared out among them.
        timeout_s: of one task; it is then asked to stop, and killed if it does not.
        preload: the module that the server of processes imports.
        clock: seconds from any origin.
    """

    work: Work[T]
    jobs: int
    timeout_s: float | None = None
    preload: str = "runner.sweep.preload"
    clock: Callable[[], float] = time.monotonic
    signals: list[str] = field(default_factory=list)
    """Those that asked for all to stop, by name."""

    def run(self, tasks: Iterator[T], watcher: Watcher[T]) -> None:
        """Until all tasks are done or, after a signal, those that had begun.

        Args:
            tasks: the next one is asked for when there is room for it.
        """
        running: list[_Process[T]] = []
        with self._on_signals(running, watcher), self._none_left_behind(running):
            while True:
                self._fill(running, tasks, watcher)
                if not running:
                    return
                self._attend(running, watcher)

    def _fill(self, running: list[_Process[T]], tasks: Iterator[T], watcher: Watcher[T]) -> None:
        while len(running) < self.jobs and not self.signals:
            task = next(tasks, None)
            if task is None:
                return
            slot = min(set(range(self.jobs)) - {one.slot for one in running})
            resource_tracker.ensure_running()  # It would unblock signals, were it started below.
            with _signals_held_back():
                if self.signals:
                    return  # One came while the task was being made.
                running.append(self._start(task, slot))
            watcher.started(task)

    def _start(self, task: T, slot: int) -> _Process[T]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([self.preload])
        messages, sender = context.Pipe(duplex=False)
        handle = context.Process(
            target=_enter, args=(self.work, task, sender, share(slot, of=self.jobs))
        )
        handle.start()
        sender.close()
        limit = float("inf") if self.timeout_s is None else self.timeout_s
        return _Process(task, slot, handle, messages, self.clock() + limit)

    def _attend(self, running: list[_Process[T]], watcher: Watcher[T]) -> None:
        """Waits for what happens next: a message, an end, or that somebody's time is up.

        An end shows at the process too: one that it started itself may keep the pipe open.
        """
        ends = [end for one in running for end in (one.messages, one.handle.sentinel)]
        next_s = min(one.deadline for one in running) - self.clock()
        # Not for longer, since a signal may bring a deadline forward meanwhile.
        ready = wait(ends, timeout=min(max(0.0, next_s), _LOOKS_S))
        for process in list(running):
            if process.messages in ready or process.handle.sentinel in ready:
                self._hear(running, process, watcher)
        for process in [one for one in running if one.deadline <= self.clock()]:
            if process.why is None:
                self._hurry(process, f"took longer than {self.timeout_s:g} s")
            else:
                process.deadline = float("inf")
                process.handle.kill()

    def _hear(self, running: list[_Process[T]], process: _Process[T], watcher: Watcher[T]) -> None:
        """Passes on what a process has told, and that it is gone."""
        is_over = not process.handle.is_alive()
        try:
            while process.messages.poll():
                reason = watcher.told(process.task, process.messages.recv())
                if reason is not None and process.why is None:
                    self._hurry(process, reason)
        except (EOFError, OSError):
            is_over = True
        if is_over:
            self._bury(running, process, watcher)

    def _hurry(self, process: _Process[T], reason: str) -> None:
        """Asks it to save and stop, in the time that there is for that."""
        process.why = reason
        process.deadline = self.clock() + GRACE_S
        _ask_to_stop(process)

    def _bury(self, running: list[_Process[T]], process: _Process[T], watcher: Watcher[T]) -> None:
        running.remove(process)
        process.handle.join()
        process.messages.close()
        code = process.handle.exitcode
        killed = f"was killed by {signal.Signals(-code).name}" if code < 0 else None
        if code == -signal.SIGKILL:
            killed = f"{killed}, as the system does when memory runs out"
        watcher.ended(
            process.task, process.why or killed or (f"exit code {code}" if code else None)
        )

    @contextmanager
    def _none_left_behind(self, running: list[_Process[T]]) -> Iterator[None]:
        try:
            yield
        finally:
            for process in running:
                _ask_to_stop(process)
            ends = time.monotonic() + GRACE_S
            for process in running:
                process.handle.join(max(0.0, ends - time.monotonic()))
                process.handle.kill()
                process.handle.join()

    @contextmanager
    def _on_signals(self, running: list[_Process[T]], watcher: Watcher[T]) -> Iterator[None]:
        """Passes signals on. The processes do not get the terminal's own: they would be asked twice."""

        def pass_on(number: int, frame: FrameType | None) -> None:
            self.signals.append(signal.Signals(number).name)
            for process in running:
                _ask_to_stop(process)
                if len(self.signals) > 1:
                    process.deadline = self.clock() + GRACE_S
                    process.why = process.why or "stopped at once"
            if len(self.signals) == 1:
                with suppress(RuntimeError):  # It may have come in the middle of printing.
                    watcher.stopping(self.signals[0])

        present = {number: signal.getsignal(number) for number in _SIGNALS}
        # One that is ignored, as in a job in the background, or not Python's own, stays so.
        before = {n: old for n, old in present.items() if old not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, pass_on)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ask_to_stop(process: _Process[Any]) -> None:
    """It saves first."""
    with suppress(ProcessLookupError):
        os.kill(process.handle.pid, signal.SIGTERM)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Until a process is among those that are told to stop.

    They are blocked in the server that may be started meanwhile too, and in the process until it
    can be asked to stop.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def share(slot: int, *, of: int) -> list[int]:
    """The cores of one of so many processes; all of them where the system cannot tell them apart."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[slot % len(cores) :: of] or [cores[slot % len(cores)]]


def _enter(work: Work[Any], task: Any, messages: Connection, cores: Sequence[int]) -> None:
    """The beginning of a process."""
    if cores:
        os.sched_setaffinity(0, cores)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # What the server imports may unblock them.
    threading.Thread(target=_stop_if_alone, daemon=True).start()  # It takes no signals itself.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def tell(message: Any) -> None:
        with suppress(BrokenPipeError):
            messages.send(message)

    work(task, tell)


def _stop_if_alone() -> None:
    """When whoever started it dies, it saves and stops."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
