"""Showing that one lives, and being told that one was taken for dead."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from runner.lock import Lock, LockedError
from runner.record import RunRecord
from runner.rundir import RunDirectory


class Beats(threading.Event):
    """Lets so many beats pass, and does something before each."""

    def __init__(self, *before: Any) -> None:
        super().__init__()
        self._before = iter(before)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 2.0
        action = next(self._before, None)
        if action is None:
            return True
        action()
        return False


def test_a_beat_touches_the_record_and_outlives_trouble(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = shared.here()
    seen: list[int] = []

    def age() -> None:
        seen.append(shared.record().stat().st_mtime_ns)
        os.utime(shared.record(), (1, 1))

    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def break_the_disk() -> None:
        monkeypatch.setattr(os, "utime", fail)

    with lock.held():
        lock._beat(Beats(age, age, break_the_disk, monkeypatch.undo, age))
        assert seen[1] > 10**9
        assert shared.record().stat().st_mtime_ns > 10**9


def test_a_beat_keeps_no_other_process_alive(shared: Any, no_flock: None) -> None:
    lock = shared.on("hostB")
    with lock.held():
        shared.record().unlink()
        shared.leave(shared.host("hostC"))
        os.utime(shared.record(), (1, 1))
        lock._beat(Beats(lambda: None))
        assert shared.record().stat().st_mtime_ns == 10**9
    assert shared.names() == {".lock", ".lock.1"}


def test_the_thread_ends_with_the_block_and_keeps_no_process_alive(shared: Any) -> None:
    before = set(threading.enumerate())
    with shared.here().held():
        (thread,) = set(threading.enumerate()) - before
        assert thread.daemon
    assert not thread.is_alive()


def test_the_record_stands_until_the_thread_has_ended(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def linger(_: Lock, over: threading.Event) -> None:
        over.wait()
        seen.extend(shared.record().exists() for _ in range(1000))

    monkeypatch.setattr(Lock, "_beat", linger)
    with shared.here().held():
        pass
    assert seen == [True] * 1000


def test_one_that_was_taken_for_dead_is_told_so_and_takes_nothing_back(
    shared: Any, flock_per_host: None
) -> None:
    lock = shared.on("hostB")
    with lock.held():
        with shared.on("hostC").held():
            told = (
                rf"run was taken over by process {os.getpid()} on hostC, .* nothing was written; "
                "wait for that one, or stop it"
            )
            with pytest.raises(LockedError, match=told):
                lock.check()
        with pytest.raises(LockedError, match="not locked by this process, or not any more; noth"):
            lock.check()
        shared.leave(shared.host("hostD"))
    assert shared.names() == {".lock", ".lock.1"}


def test_a_lock_that_was_removed_with_its_directory_is_lost(shared: Any) -> None:
    lock = shared.here()
    with lock.held():
        shared.directory.rename(shared.directory.with_name("elsewhere"))
        with pytest.raises(LockedError, match="not locked by this process, or not any more"):
            lock.check()
        shared.directory.mkdir()
        with pytest.raises(LockedError, match="not locked by this process, or not any more"):
            lock.check()


def test_nothing_is_written_without_the_lock(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(LockedError, match="not locked by this process"):
        directory.write(RunRecord(id="a", name="b"))
    with directory.locked():
        directory.write(RunRecord(id="a", name="b"))
        before = (tmp_path / "run/run.json").read_bytes()
        (tmp_path / "run/.lock.1").unlink()
        with pytest.raises(LockedError):
            directory.check()
        with pytest.raises(LockedError):
            directory.write(RunRecord(id="a", name="c"))
    assert (tmp_path / "run/run.json").read_bytes() == before
