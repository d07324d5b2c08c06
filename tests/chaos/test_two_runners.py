"""Several runners on one run, as real processes, and the locks that dead ones leave."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner import run
from runner.report.console import Plain
from tests.chaos.processes import Ended, ended, run_forked, start
from tests.chaos.scenarios import TINY
from tests.chaos.tally import Different, Lost, Tally
from tests.test_resume import outcome

FAULT = "two runners at once, stale locks"


class Waiting(Plain):
    """Stands still after step 3, until it is told to go on."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(Console(quiet=True))
        self._connection = connection

    def advanced(self, *, step: int, epoch: float) -> None:
        if step == 3:
            self._connection.send(os.getpid())
            self._connection.recv()


def _work(directory: Path, *overrides: str) -> dict[str, Any]:
    return outcome(run(*TINY, f"run.dir={directory}", *overrides))


def _work_and_wait(directory: Path, connection: Connection) -> dict[str, Any]:
    return outcome(run(*TINY, f"run.dir={directory}", observer=Waiting(connection)))


def _stand_still(directory: Path) -> tuple[int, Connection, Callable[[], Ended]]:
    """Starts a runner that waits in the middle: its process, how to tell it, and how it ended."""
    here, there = get_context("forkserver").Pipe()
    child, result = start(_work_and_wait, directory, there)
    there.close()  # So that a runner that dies is the end of the file here, and nobody waits for it.
    return here.recv(), here, lambda: ended(child, result)


def test_a_second_runner_is_refused_and_the_first_does_not_notice(
    scratch: Path, tally: Tally, uninterrupted: dict[str, Any]
) -> None:
    (scratch / "link").symlink_to("run")
    seconds = {
        "the same command": ("run",),
        "through a link": ("link",),
        "one that starts over": ("run", "run.fresh=true"),
    }
    process, first, how_it_ended = _stand_still(scratch / "run")
    owner = f"is being worked on by process {process} on {socket.gethostname()}; wait for it"
    with tally.fault(FAULT) as cases:
        for label, (place, *overrides) in seconds.items():
            with cases.case(label):
                second = run_forked(_work, scratch / place, *overrides)
                assert f"LockedError: {scratch / place} {owner}" in second.error
        with cases.case("the first"):
            first.send("go on")
            _check(how_it_ended(), uninterrupted)
            assert sorted(path.name for path in scratch.iterdir()) == ["link", "run"]


@pytest.mark.chaos
def test_a_runner_that_is_killed_leaves_no_lock(
    scratch: Path, tally: Tally, uninterrupted: dict[str, Any]
) -> None:
    with tally.fault(FAULT) as cases, cases.case("killed while it holds the lock"):
        process, _, how_it_ended = _stand_still(scratch / "run")
        os.kill(process, signal.SIGKILL)
        assert how_it_ended().code == -signal.SIGKILL
        assert f'"pid": {process},' in (scratch / "run/.lock.1").read_text()
        _check(run_forked(_work, scratch / "run"), uninterrupted)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "content",
    [
        f"process {os.getpid()} on {socket.gethostname()}".encode(),
        b"process 1 on elsewhere",
        b"",
        bytes(100),
        b"\xff\xfe",
    ],
    ids=["of one alive", "of one elsewhere", "empty", "zeros", "no text"],
)
def test_a_lock_that_nobody_holds_is_none_whatever_it_says(
    scratch: Path, tally: Tally, uninterrupted: dict[str, Any], content: bytes
) -> None:
    (scratch / "run").mkdir()
    (scratch / "run/.lock").write_bytes(content)
    with tally.fault(FAULT) as cases, cases.case(content):
        _check(run_forked(_work, scratch / "run"), uninterrupted)


@pytest.mark.chaos
def test_of_runners_that_start_at_once_one_works(
    scratch: Path, tally: Tally, uninterrupted: dict[str, Any]
) -> None:
    """The rest are refused or, where they come late enough, shown the result."""
    with tally.fault(FAULT) as cases:
        for index in range(10):
            with cases.case(f"race {index}"):
                started = [start(_work, scratch / f"run-{index}") for _ in range(4)]
                done = [ended(*one) for one in started]
                refused = [one for one in done if one.code]
                assert all("is being worked on by" in one.error for one in refused)
                assert len(refused) < len(done), "nobody worked"
                for one in done:
                    if not one.code:
                        _check(one, uninterrupted)


def _check(done: Ended, uninterrupted: dict[str, Any]) -> None:
    if done.code:
        raise Lost(f"does not get to the end: {done.error}")
    if done.answer != uninterrupted:
        raise Different(f"ends with {done.answer}, not with {uninterrupted}")
