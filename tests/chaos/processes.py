"""Processes that start in no time: forked from a server that has imported TensorFlow and run nothing."""

from __future__ import annotations

import functools
import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, reduction
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from tests.chaos.syscalls import Call, install, supervise

REPOSITORY = Path(__file__).resolve().parents[2]
_PRELOADED = ["tensorflow", "keras", "tests.chaos.preload"]


@dataclass(frozen=True)
class Ended:
    """What became of a process."""

    code: int
    """The exit code; -9 after a SIGKILL."""
    answer: Any = None
    """What its function returned; None if it did not return."""
    error: str = ""
    """The traceback of what its function raised."""
    calls: list[Call] = field(default_factory=list)
    """The system calls in the watched directory, with the one it was killed at."""


def run_forked(
    function: Callable[..., Any], *arguments: Any, kill_after_s: float | None = None
) -> Ended:
    """Calls ``function`` in a process, which is killed when its time is over."""
    child, connection = start(function, *arguments)
    # There is something to read when it answers or ends; a long answer waits to be read.
    if not connection.poll(kill_after_s):
        child.kill()
    return ended(child, connection)


def run_watched(
    directory: Path,
    function: Callable[..., Any],
    *arguments: Any,
    answer: Callable[[int, Call], int | None] = lambda index, call: 0,
) -> Ended:
    """Calls ``function`` in a process whose system calls are supervised; see `supervise`."""
    child, connection = _started(_watched, function, arguments)
    listener = reduction.recv_handle(connection)
    try:
        calls = supervise(listener, child, directory.resolve(), answer)
    finally:
        os.close(listener)
    return ended(child, connection, calls)


def start(function: Callable[..., Any], *arguments: Any) -> tuple[ForkServerProcess, Connection]:
    """Begins to call ``function`` in a process; see `ended`."""
    return _started(_plain, function, arguments)


def ended(
    child: ForkServerProcess, connection: Connection, calls: list[Call] | None = None
) -> Ended:
    """Waits for a process that was started."""
    answer, error = None, ""
    # Of a killed process there is an end, but nothing else.
    with connection, suppress(EOFError):
        answer, error = connection.recv()
    child.join()
    return Ended(int(child.exitcode or 0), answer, error, calls or [])


def _started(
    body: Callable[..., None], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[ForkServerProcess, Connection]:
    context = _context()
    here, there = context.Pipe()
    child = context.Process(target=body, args=(there, function, arguments), daemon=True)
    child.start()
    there.close()
    return child, here


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = os.environ.get("PYTHONPATH")
    # The server looks there for what it is to import first.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), before]))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _plain(
    connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    # What native code and the runner have to say would drown the report of the tests.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        connection.send((function(*arguments), ""))
    except BaseException:
        connection.send((None, traceback.format_exc()))
        raise


def _watched(
    connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    listener = install()
    # Neither is one of the calls that now stand still.
    reduction.send_handle(connection, listener, None)
    os.close(listener)
    _plain(connection, function, arguments)
