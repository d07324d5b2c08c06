"""Trying something in a copy of this process, of which nothing stays."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

CAN_FORK = sys.platform == "linux"
"""Elsewhere, the libraries of the system do not stand it."""
_PATIENCE_S = 120.0
_DIES_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


def in_fork(function: Callable[[], T], *, patience_s: float = _PATIENCE_S) -> T | None:
    """What ``function`` returns in a fork of this process; None if it fails or takes too long.

    TensorFlow's own threads do not come along: it must not have computed anything in this process.
    """
    context = multiprocessing.get_context("fork")
    try:
        answer, told = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(function, told), daemon=True)
        process.start()
    except (OSError, AssertionError) as error:  # No room; or a daemon, which may have no children.
        log.info("cannot fork", exc_info=error)
        return None
    told.close()
    try:
        with suppress(EOFError):  # It failed, or something killed it.
            if answer.poll(patience_s):
                found: T = answer.recv()
                return found
        return None
    finally:
        answer.close()
        process.kill()
        process.join()


def _answer(function: Callable[[], T], told: Connection) -> None:
    # Nobody would hear its answer, nor stop it.
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # They are for the run.
    try:
        told.send(function())
    except Exception as error:
        log.info("failed in a fork", exc_info=error)
