"""The instrument itself: it sees every call, TensorFlow's own too, and what it stops does not happen."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.chaos.processes import run_watched
from tests.chaos.syscalls import Call

pytestmark = pytest.mark.usefixtures("syscalls")


def _touch_everything(directory: Path) -> dict[str, str]:
    """Calls of every kind; returns the errors by the name of the call."""
    file = os.open(directory / "a", os.O_WRONLY | os.O_CREAT)
    folder = os.open(directory, os.O_RDONLY)
    calls: list[tuple[Any, ...]] = [
        (os.write, file, b"written"),
        (os.pwrite, file, b"W", 0),
        (os.writev, file, [b" and", b" more"]),
        (os.ftruncate, file, 4),
        (os.truncate, directory / "a", 3),
        (os.fsync, file),
        (os.fdatasync, file),
        (os.posix_fallocate, file, 0, 2),
        (os.mkdir, directory / "folder"),
        (os.rename, directory / "a", directory / "folder" / "b"),
        (os.link, directory / "folder" / "b", directory / "c"),
        (os.symlink, "c", directory / "d"),
        (os.unlink, directory / "d"),
        (os.rmdir, directory / "nothing"),
    ]
    errors = {}
    for call, *arguments in calls:
        try:
            call(*arguments)
        except OSError as error:
            errors[call.__name__] = errno.errorcode[error.errno]
    os.unlink("c", dir_fd=folder)
    return errors


def test_every_kind_of_call_is_seen_with_what_it_touches(tmp_path: Path) -> None:
    done = run_watched(tmp_path, _touch_everything, tmp_path)
    assert done.answer == {"rmdir": "ENOENT"}
    file, folder, moved = ("a",), ("folder",), ("a", "folder/b")
    wanted = [("open", file), ("write", file), ("pwrite64", file), ("writev", file)]
    wanted += [("ftruncate", file), ("truncate", file), ("fsync", file), ("fdatasync", file)]
    wanted += [
        ("fallocate", file),
        ("mkdir", folder),
        ("rename", moved),
        ("link", (*moved[1:], "c")),
    ]
    wanted += [("symlink", ("d",)), ("unlink", ("d",)), ("rmdir", ("nothing",)), ("unlink", ("c",))]
    # openat, mkdirat, ...: which of a family a library calls is its own affair.
    found = [(call.name.removesuffix("2").removesuffix("at"), call.paths) for call in done.calls]
    assert found == wanted


def _write(directory: Path) -> str:
    return str(tf.train.Checkpoint(value=tf.Variable([1, 2])).write(str(directory / "plain")))


def test_what_tensorflow_does_in_native_code_is_seen(tmp_path: Path) -> None:
    calls = run_watched(tmp_path, _write, tmp_path).calls
    names = {call.name.removesuffix("at") for call in calls}
    assert names >= {"mkdir", "open", "write", "rename"}
    assert {path for call in calls for path in call.paths} >= {"plain.index"}


def _write_twice(directory: Path) -> None:
    (directory / "first").write_bytes(b"1")
    (directory / "second").write_bytes(b"2")


def test_a_call_that_a_process_is_killed_at_does_not_happen(tmp_path: Path) -> None:
    names = [call.name for call in run_watched(tmp_path, _write_twice, tmp_path).calls]
    assert names == ["openat", "write", "openat", "write"]
    contents = [{}, {"first": b""}, {"first": b"1"}, {"first": b"1", "second": b""}]
    for at, content in enumerate(contents):
        directory = tmp_path / str(at)
        directory.mkdir()
        killed = run_watched(
            directory,
            _write_twice,
            directory,
            answer=lambda index, _, at=at: None if index == at else 0,
        )
        assert killed.code == -signal.SIGKILL
        assert [call.name for call in killed.calls] == names[: at + 1]
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == content


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_call_that_is_to_fail_fails_and_does_not_happen(tmp_path: Path, number: int) -> None:
    def answer(index: int, call: Call) -> int:
        return number if call.paths == ("second",) else 0

    failed = run_watched(tmp_path, _write_twice, tmp_path, answer=answer)
    assert f"[Errno {number}] {os.strerror(number)}" in failed.error
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_what_lies_elsewhere_is_let_through(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched-too").mkdir()
    done = run_watched(tmp_path / "watched", _write_twice, tmp_path / "watched-too")
    assert (done.code, done.calls) == (0, [])
