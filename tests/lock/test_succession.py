"""Who is let in after a death, and when."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from runner.lock import Lock, LockedError
from runner.lock.owner import Owner, this_host


def test_one_that_does_not_is_dead_and_succeeded(shared: Any) -> None:
    shared.leave(shared.host("hostA"))
    lock = shared.on("hostB")
    with lock.held(notify=shared.told.append):
        assert shared.names() == {".lock", ".lock.2"}
        lock.check()
    assert (shared.slept_s, len(shared.told)) == (30.0, 1)
    assert shared.names() == {".lock"}


def test_nobody_waits_after_a_release(shared: Any) -> None:
    with shared.on("hostA").held():
        pass
    with shared.here().held(notify=shared.told.append):
        assert shared.told == []


def test_a_release_ends_the_waiting(shared: Any, no_flock: None) -> None:
    with shared.on("hostA").held(), shared.on("hostB", meanwhile=shared.record().unlink).held():
        assert shared.slept_s == 0.5
    assert shared.names() == {".lock"}


def test_a_restarted_host_and_a_container_of_the_same_name_are_others(shared: Any) -> None:
    here = this_host()
    shared.leave(type(here)(here.name, "another boot"), pid=2**22 + 1)
    with Lock(shared.path, sleep=shared.on("hostB")._sleep).held():
        assert shared.slept_s == 30.0


def test_a_dead_owner_on_this_host_is_succeeded_at_once(shared: Any, no_flock: None) -> None:
    shared.leave(this_host(), pid=2**22 + 1)
    with shared.here().held():
        assert shared.names() == {".lock", ".lock.2"}


def test_a_later_process_with_its_number_is_another_one(shared: Any, no_flock: None) -> None:
    started = Owner.this_process(this_host()).started
    shared.leave(this_host(), started=None if started is None else started - 1)
    with shared.here().held():
        pass


def test_a_copy_of_a_run_that_is_at_work_is_another_run(shared: Any, tmp_path: Path) -> None:
    with shared.here().held():
        copy = type(shared)(tmp_path / "copy")
        copy.directory.mkdir()
        copy.record().write_bytes(shared.record().read_bytes())
        lock = Lock(copy.path, sleep=copy.on("hostB")._sleep)
        with lock.held():
            assert copy.slept_s == 30.0


DAMAGED = {
    "empty": b"",
    "cut off": b'{"host": "hostA", "identity": "a b',
    "of an earlier format": b"process 1 on elsewhere",
    "zeros": b"\0" * 200,
    "not UTF-8": b"\xff\xfe\xfa" * 20,
    "deep": b"[" * 100_000,
    "a number": b"12",
    "of other fields": b'{"pid": 1}',
    "of other types": b'{"host": [], "identity": 1, "pid": "1", "started": {}, "token": null}',
    "a whole group": b'{"host": "", "identity": "", "pid": -1, "started": 0, "token": ""}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_watched_like_any_other(shared: Any, content: bytes) -> None:
    shared.path.write_bytes(content)
    shared.record().write_bytes(content)
    lock = shared.on("hostB", meanwhile=lambda: shared.slept_s > 5 and shared.touch())
    with pytest.raises(LockedError, match="by another process; wait for it"), lock.held():
        raise AssertionError("two have the lock")
    shared.slept_s = 0.0
    with shared.on("hostB").held():
        assert shared.slept_s == 30.0
    assert shared.names() == {".lock"}
    assert shared.path.read_bytes() == content


def test_a_record_that_is_just_being_written_is_of_a_live_owner(shared: Any) -> None:
    shared.record().touch()
    other = Owner.this_process(shared.host("hostA"))
    lock = shared.on("hostB", meanwhile=lambda: shared.record().write_bytes(other.as_bytes()))
    with pytest.raises(LockedError, match=f"process {os.getpid()} on hostA"), lock.held():
        raise AssertionError("two have the lock")


def test_a_record_that_cannot_be_removed_lets_nobody_in(shared: Any) -> None:
    """Its owner would not see that it has been succeeded."""
    shared.record(7).mkdir()
    with pytest.raises(OSError, match=r"\.lock\.7"), shared.on("hostB").held():
        raise AssertionError("it was let in")
    assert shared.names() == {".lock", ".lock.7"}


def test_control_c_ends_the_waiting_and_leaves_everything_as_it_was(shared: Any) -> None:
    shared.leave(shared.host("hostA"))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), shared.on("hostB", meanwhile=interrupt).held():
        raise AssertionError("it was let in")
    assert shared.names() == {".lock", ".lock.1"}
    with shared.path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
