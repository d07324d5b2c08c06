"""What is done in a fork, and what comes of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from runner.forks import CAN_FORK, in_fork

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="forks are for Linux")


def test_a_fork_answers_and_leaves_no_trace() -> None:
    here: list[int] = []

    def change() -> list[int]:
        here.append(os.getpid())
        return here

    (child,) = in_fork(change) or []
    assert child != os.getpid()
    assert here == []


def fails() -> None:
    raise ValueError("so it is")


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves() -> None:
    os._exit(3)


def hangs() -> None:
    signal.pause()


@pytest.mark.parametrize("function", [fails, is_killed, leaves])
def test_what_fails_in_a_fork_gives_nothing(function: Callable[[], None]) -> None:
    assert in_fork(function) is None


def test_what_hangs_in_a_fork_is_killed() -> None:
    assert in_fork(hangs, patience_s=0.0) is None


def test_a_daemon_which_may_have_no_children_gets_nothing() -> None:
    context = multiprocessing.get_context("fork")
    answer, told = context.Pipe(duplex=False)
    daemon = context.Process(target=lambda: told.send(in_fork(os.getpid)), daemon=True)
    daemon.start()
    assert answer.recv() is None
    daemon.join()


def test_a_fork_is_not_stopped_by_signals_that_are_for_the_run() -> None:
    def signalled() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        return True

    assert in_fork(signalled)
