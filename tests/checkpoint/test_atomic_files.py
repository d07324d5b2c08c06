"""A file is there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner import files


class Recorder:
    """Notes what is done to the file system, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self._names: dict[int, str] = {}
        for name in ("replace", "link", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))
        real_sync, real_open = os.fsync, os.open

        def sync(descriptor: int) -> None:
            place = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.calls.append(f"fsync {place.name}")
            real_sync(descriptor)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "open", real_open)

    def _noting(self, name: str, real: object) -> object:
        def call(*paths: object, **options: object) -> object:
            shown = " ".join(Path(str(path)).name for path in paths if not isinstance(path, int))
            self.calls.append(f"{name} {shown}")
            return real(*paths, **options)  # type: ignore[operator]

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    return Recorder(monkeypatch).calls


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, calls: list[str]
) -> None:
    files.write_atomically(tmp_path / "a", b"new")
    assert calls == ["fsync .a.tmp", "replace .a.tmp a", f"fsync {tmp_path.name}"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_failed_write_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_atomically(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", _raising(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_new_directories_are_brought_to_the_disk(tmp_path: Path, calls: list[str]) -> None:
    files.make_directory(tmp_path / "a" / "b")
    assert [call for call in calls if call.startswith("fsync")] == [
        "fsync a",
        f"fsync {tmp_path.name}",
    ]
    calls.clear()
    files.make_directory(tmp_path / "a" / "b")
    assert [call for call in calls if call.startswith("fsync")] == []


def test_a_file_system_that_cannot_sync_directories_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _raising(errno.EINVAL))
    files.sync_directory(tmp_path)
    monkeypatch.setattr(os, "fsync", _raising(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.sync_directory(tmp_path)


@pytest.mark.parametrize("links", [True, False])
def test_puts_a_file_over_another_and_keeps_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _raising(errno.EPERM))
    source, target, temporary = (tmp_path / name for name in ("source", "target", "temporary"))
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    temporary.write_bytes(b"litter")
    for _ in range(2):
        files.put_over(source, target, temporary=temporary)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            "source": b"new",
            "target": b"new",
        }
    assert source.samefile(target) == links


def test_a_copy_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _raising(errno.EPERM))
    (tmp_path / "source").write_bytes(b"new")
    files.put_over(tmp_path / "source", tmp_path / "target", temporary=tmp_path / "temporary")
    assert calls.index("fsync temporary") < calls.index("replace temporary target")


def test_removes_exactly_the_named_files(tmp_path: Path) -> None:
    for name in ("a[1]", "a1", "b*", "bc"):
        (tmp_path / name).touch()
    files.remove([tmp_path / "a[1]", tmp_path / "b*", tmp_path / "gone"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1", "bc"]


def _raising(number: int) -> object:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
