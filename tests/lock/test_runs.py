"""Runs that another host has worked on, or works on."""

from __future__ import annotations

import fcntl
import functools
import json
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner import run, rundir
from runner.checkpoint import saver
from runner.lock import Lock, LockedError
from runner.lock.owner import Host, Owner
from runner.lock.records import Records
from runner.report.console import Plain

SMALL = ("engine.limit_steps=8", "engine.max_chunk=2", "checkpoint.every.steps=2", "run.dir=here")
ELSEWHERE = Host("elsewhere", "a boot of it")


def leave_record() -> Path:
    """What an owner on another host leaves that was killed."""
    Path("here").mkdir(exist_ok=True)
    Records(Path("here/.lock").absolute()).create(1, Owner.this_process(ELSEWHERE))
    return Path("here/.lock.1")


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens while somebody waits, which takes no time."""
    actions: list[Callable[[], None]] = []

    def sleep(_: float) -> None:
        for action in actions:
            action()

    monkeypatch.setattr(rundir, "Lock", functools.partial(Lock, sleep=sleep))
    return actions


def test_the_wait_for_a_dead_owner_is_told_once(
    workdir: Path, cli: Callable[..., Any], asleep: list[Callable[[], None]]
) -> None:
    leave_record()
    done = cli(*SMALL)
    assert done.code == 0
    owner = f"process {os.getpid()} on elsewhere"
    assert done.out.startswith(f"here: watching up to 30 s whether {owner} is at work on it\n")
    assert done.out.count("watching") == 1


def test_a_run_at_work_on_another_host_is_refused_and_shown_as_running(
    workdir: Path, cli: Callable[..., Any], asleep: list[Callable[[], None]]
) -> None:
    assert cli(*SMALL).code == 0
    content = json.loads(Path("here/run.json").read_text())
    Path("here/run.json").write_text(json.dumps({**content, "status": "running"}))
    record = leave_record()
    assert "interrupted" in cli("show", "here").out
    asleep.append(lambda: os.utime(record, (1, 1)))
    assert "running" in cli("show", "here").out
    os.utime(record)
    done = cli(*SMALL)
    assert done.code == 1
    assert "runner: here is being worked on by process" in done.err


def content(directory: Path) -> dict[Path, bytes]:
    """All but the log, which may say what happened, the lock, and a save in the making, which does not
    count.
    """
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {
        path: path.read_bytes()
        for path in files
        if path.name != "run.log"
        and not path.name.startswith(".lock")
        and not path.parent.name.startswith(".saving-")
    }


class TakenOver(Plain):
    """Another host takes the run for dead at step 4, and works on it until the end of the test."""

    def __init__(self, other: ExitStack, lock: Lock) -> None:
        super().__init__(Console(quiet=True))
        self._other, self._lock = other, lock
        self.content: dict[Path, bytes] = {}

    def advanced(self, *, step: int, epoch: float) -> None:
        if step == 4:
            self._other.enter_context(self._lock.held())
            self.content = content(Path("here"))


def at_once(work: Callable[[], Any]) -> Future[Any]:
    """In the place of a thread, which may be half way through a save when the run is taken over."""
    future: Future[Any] = Future()
    future.set_result(work())
    return future


@pytest.mark.parametrize("log_every", [1, 3, 100])
def test_a_run_that_was_taken_over_writes_nothing_more(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, log_every: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(saver, "_in_thread", at_once)
    command = (*SMALL, f"tracking.log_every.steps={log_every}")
    lock = Lock(Path("here/.lock"), host=lambda: ELSEWHERE, sleep=lambda _: None)
    told = f"here was taken over by process {os.getpid()} on elsewhere, .*; nothing was written"
    with ExitStack() as other:
        observer = TakenOver(other, lock)
        with pytest.raises(LockedError, match=told):
            run(*command, observer=observer)
        assert content(Path("here")) == observer.content != {}
        lock.check()
    assert run(*command).step == 8
