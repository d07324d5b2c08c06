"""Who is kept out of a run directory."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from runner.lock import Lock, LockedError
from runner.lock.owner import Owner, this_host
from runner.record import RunRecord
from runner.rundir import RunDirectory, RunDirectoryError


def refused(lock: Lock, match: str) -> None:
    with pytest.raises(LockedError, match=match), lock.held():
        raise AssertionError("two have the lock")


def test_a_second_one_in_the_same_process_is_refused(shared: Any) -> None:
    with shared.here().held():
        refused(
            shared.here(), f"run is being worked on by process {os.getpid()} on .*; wait for it"
        )
    with shared.here().held():
        assert shared.names() == {".lock", ".lock.1"}
    assert shared.names() == {".lock"}


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP"])
def test_so_it_is_where_there_is_no_flock(shared: Any, fail_flock: Any, name: str) -> None:
    fail_flock(getattr(errno, name))
    lock = shared.here()
    with lock.held():
        refused(shared.here(), f"process {os.getpid()} on ")
        refused(lock, f"process {os.getpid()} on ")
        lock.check()
    with lock.held():
        lock.check()
    assert shared.names() == {".lock"}


def test_a_flock_that_is_refused_without_a_record_is_enough(shared: Any) -> None:
    with shared.path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(shared.here(), "being worked on by another process; wait for it")


@pytest.mark.parametrize("name", ["EACCES", "EAGAIN"])
def test_other_file_systems_refuse_in_other_words(shared: Any, fail_flock: Any, name: str) -> None:
    fail_flock(getattr(errno, name))
    refused(shared.here(), "being worked on by another process; wait for it")


def test_trouble_with_a_flock_is_not_taken_for_a_file_system_without(
    shared: Any, fail_flock: Any
) -> None:
    fail_flock(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"), shared.here().held():
        raise AssertionError("it was let in")


def test_an_owner_on_another_host_that_touches_its_record_is_alive(
    shared: Any, flock_per_host: None
) -> None:
    with shared.on("hostA").held():
        lock = shared.on("hostB", meanwhile=lambda: shared.slept_s > 1.9 and shared.touch())
        owner = f"process {os.getpid()} on hostA"
        with pytest.raises(LockedError, match=owner), lock.held(notify=shared.told.append):
            raise AssertionError("two have the lock")
    assert shared.slept_s == 2.0
    directory = shared.directory
    assert shared.told == [f"{directory}: watching up to 30 s whether {owner} is at work on it"]


def test_a_flock_file_that_was_removed_lets_nobody_in(shared: Any) -> None:
    with shared.here().held():
        shared.path.unlink()
        refused(Lock(shared.path, sleep=lambda _: shared.touch()), f"process {os.getpid()} on ")


def test_what_only_looks_like_a_record_is_left_alone(shared: Any) -> None:
    others = {".lock.0", ".lock.01", ".lock.1.tmp", ".lock.²", ".lockx1", ".lock.-1"}
    for name in others:
        (shared.directory / name).touch()
    with shared.here().held():
        assert shared.names() == {".lock", ".lock.1", *others}


@pytest.mark.parametrize("name", ["a[b]*? 'c", "[", "größe 名前", "..a", "a\nb", "%s{}"])
def test_a_directory_may_have_any_name(shared: Any, tmp_path: Path, name: str) -> None:
    other = type(shared)(tmp_path / name)
    other.directory.mkdir()
    with shared.here().held(), other.here().held():
        refused(other.here(), "being worked on by process")
        assert other.here().holder() == shared.here().holder()
    assert other.names() == {".lock"}


def test_every_way_to_the_directory_is_to_one_lock(
    shared: Any, no_flock: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    ways = [Path("run/.lock"), Path("link/.lock"), tmp_path / "run/../link/.lock"]
    locks = [Lock(way) for way in ways]
    monkeypatch.chdir("/")
    for lock in locks:
        with lock.held():
            lock.check()
            for other in locks:
                refused(other, "being worked on by process")


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "run/.lock").mkdir(parents=True)
    directory = RunDirectory(tmp_path / "run")
    told = "run cannot be used: Is a directory; give run.dir="
    with pytest.raises(RunDirectoryError, match=told), directory.locked():
        raise AssertionError("it was let in")
    with pytest.raises(OSError), Lock(Path("/proc/.lock")).held():
        raise AssertionError("it was let in")


def test_a_record_that_cannot_be_written_is_not_left_behind(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_bytes(_: Owner) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Owner, "as_bytes", as_bytes)
    told = "run cannot be used: No space left on device; give run.dir="
    with pytest.raises(RunDirectoryError, match=told), RunDirectory(shared.directory).locked():
        raise AssertionError("it was let in")
    assert shared.names() == {".lock"}


def test_the_holder_is_named_and_nothing_is_made_to_find_out(shared: Any, tmp_path: Path) -> None:
    assert Lock(tmp_path / "nowhere/.lock").holder() is None
    assert shared.here().holder() is None
    assert shared.names() == set()
    with shared.here().held():
        assert shared.here().holder() == f"process {os.getpid()} on {this_host().name}"
        assert RunDirectory(shared.directory).is_locked()
    assert shared.here().holder() is None
    assert not RunDirectory(shared.directory).is_locked()


def test_a_holder_on_another_host_is_looked_at_for_three_seconds(shared: Any) -> None:
    shared.leave(shared.host("hostA"))
    assert shared.on("hostB").holder() is None
    assert shared.slept_s == 3.0
    assert shared.on("hostB", meanwhile=shared.touch).holder() == f"process {os.getpid()} on hostA"
    assert shared.slept_s == 3.5
    assert shared.on("hostB", meanwhile=shared.record().unlink).holder() is None


def test_a_run_that_is_moved_aside_takes_no_lock_along(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with directory.locked():
        assert directory.move_aside() is None
        directory.write(RunRecord(id="a", name="b"))
        aside = directory.move_aside()
    assert aside == tmp_path / "run.1"
    assert {path.name for path in aside.iterdir()} == {"run.json"}
    assert not directory.path.exists()
