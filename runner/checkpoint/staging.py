"""A save comes into being in a directory of its own and moves to its place when it is complete.

The order makes every instant safe. A staged save counts once its manifest stands in it; from there
on it is rolled forward, before that it is swept away. Files are linked into place, so that the
staged copy stays whole until the last name is there: a number that exists already can be replaced
without a moment at which neither the old nor the new checkpoint is complete.
"""

from __future__ import annotations

from pathlib import Path

from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.files import link_over, remove, sync, sync_directory

_MARK = ".saving-"


def begin(directory: Path, name: str) -> Path:
    """An empty directory inside ``directory`` for the files of checkpoint ``name``."""
    staged = directory / f"{_MARK}{name}"
    if staged.exists():
        sweep(staged)
    staged.mkdir()
    return staged


def complete(staged: Path, manifest: Manifest) -> None:
    """Brings the staged files to the disk, then writes the manifest that makes them count."""
    for name in manifest.files:
        sync(staged / name)
    manifest.write(staged)
    sync_directory(staged.parent)


def move_into_place(staged: Path, manifest: Manifest) -> None:
    """Gives the staged files their final names, the manifest last; ``staged`` stays whole."""
    directory = staged.parent
    for name in [*manifest.files, f"{manifest.name}{SUFFIX}"]:
        link_over(staged / name, directory / name)
    sync_directory(directory)


def sweep(staged: Path) -> None:
    """Removes a staged save and its files."""
    for path in sorted(staged.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else remove([path])
    staged.rmdir()


def left_over(directory: Path) -> list[Path]:
    """The staged saves that a dead process left behind."""
    return sorted(path for path in directory.iterdir() if path.name.startswith(_MARK))


def recover(staged: Path) -> bool:
    """Rolls a complete staged save forward and clears it away; True if it was complete."""
    name = staged.name.removeprefix(_MARK)
    manifest = read_manifest(staged / f"{name}{SUFFIX}")
    is_complete = isinstance(manifest, Manifest) and manifest.fault(staged) is None
    if isinstance(manifest, Manifest) and is_complete:
        move_into_place(staged, manifest)
    sweep(staged)
    return is_complete
