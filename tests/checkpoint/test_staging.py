"""A save comes into being in a place of its own, and what a dead process left there is told apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.manifest import Manifest
from runner.checkpoint.staging import Staging

Make = Callable[..., Manifest]
Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def staging(directory: Path) -> Staging:
    return Staging(directory, run="run1")


def staged(staging: Staging, manifest: Manifest, source: Path) -> Manifest:
    """Stands for TensorFlow, which writes the files into the staging directory."""
    staging.begin()
    for name in manifest.files:
        (staging.path / name).write_bytes((source / name).read_bytes())
    return manifest


def test_begins_empty_whatever_was_there(staging: Staging) -> None:
    staging.begin()
    (staging.path / "ckpt-1_temp").mkdir()
    (staging.path / "ckpt-1_temp" / "part").touch()
    (staging.path / "temporary").touch()
    staging.begin()
    assert list(staging.path.iterdir()) == []


def test_a_save_counts_once_its_manifest_stands(
    staging: Staging, manifest: Make, tmp_path: Path
) -> None:
    made = staged(staging, manifest(), tmp_path)
    assert staging.completed() is None
    staging.complete(made)
    assert staging.completed() == made


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"ckpt-1.indey")])
def test_a_save_whose_files_do_not_hold_does_not_count(
    staging: Staging, manifest: Make, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    staging.complete(staged(staging, manifest(), tmp_path))
    damage(staging.path / "ckpt-1.index")
    assert staging.completed() is None


def test_everything_is_on_the_disk_before_the_manifest_is(
    staging: Staging, manifest: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = staged(staging, manifest(), tmp_path)
    calls: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_sync(descriptor)

    def replace(source: Any, target: Any) -> None:
        calls.append(f"-> {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    staging.complete(made)
    data = sorted(made.files)
    directories = [".saving-run1", "checkpoints"]
    assert calls == [*data, *directories, "temporary", "-> ckpt-1.json", ".saving-run1"]
    calls.clear()
    staging.move_into_place(made)
    moved = [f"-> {name}" for name in data]
    assert calls == [*moved, "checkpoints", "-> ckpt-1.json", "checkpoints"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"files": [], "folder": 1}'])
def test_a_damaged_note_of_a_move_moves_nothing(
    staging: Staging, directory: Path, content: bytes
) -> None:
    staging.begin()
    (directory / "ckpt-1.index").touch()
    (staging.path / "moving").write_bytes(content)
    staging.finish_move()
    assert [path.name for path in directory.iterdir() if path.is_file()] == ["ckpt-1.index"]
    assert list(staging.path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_moving_into_place_leaves_the_staged_copy_whole(
    staging: Staging,
    directory: Path,
    manifest: Make,
    tmp_path: Path,
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    made = staged(staging, manifest(), tmp_path)
    staging.complete(made)
    for _ in range(2):
        staging.move_into_place(made)
        assert made.fault(directory) is None
        assert staging.completed() == made
    staging.sweep()
    assert sorted(tree(directory)) == sorted([*made.files, "ckpt-1.json"])
    assert not staging.exists()


def test_a_removal_that_died_is_finished(
    staging: Staging, directory: Path, manifest: Make, tmp_path: Path, tree: Tree
) -> None:
    made = staged(staging, manifest(), tmp_path)
    staging.complete(made)
    staging.move_into_place(made)
    staging.sweep()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", _dead)
        with pytest.raises(Dead):
            staging.remove([made])
    assert sorted(tree(directory)) == sorted([".saving-run1/removed/ckpt-1.json", *made.files])
    staging.finish_removals()
    staging.sweep()
    assert tree(directory) == {}


def test_finishing_a_removal_spares_what_was_saved_there_since(
    staging: Staging, directory: Path, manifest: Make, tmp_path: Path, tree: Tree
) -> None:
    made = staged(staging, manifest(), tmp_path)
    staging.complete(made)
    staging.move_into_place(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", _dead)
        with pytest.raises(Dead):
            staging.remove([made])
    (directory / "ckpt-1.index").write_bytes(b"somebody else's")
    staging.finish_removals()
    staging.sweep()
    assert tree(directory) == {"ckpt-1.index": b"somebody else's"}


def test_each_run_has_a_place_of_its_own(directory: Path, staging: Staging) -> None:
    other = Staging(directory, run="run2")
    other.begin()
    staging.begin()
    staging.sweep()
    assert other.exists()
    assert not staging.exists()


class Dead(BaseException):
    """The process is no more."""


def _dead(*_: object, **__: object) -> None:
    raise Dead


def _no_links(*_: object, **__: object) -> None:
    raise PermissionError
