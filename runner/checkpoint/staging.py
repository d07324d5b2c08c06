"""Where a save comes into being, and from where it moves to its place once it is complete.

The order makes every instant safe. A staged save counts once its manifest stands in the staging
directory; from there on it is rolled forward, before that it is swept away. Files are linked into
place, so that the staged copy stays whole until the last name is there: a number that exists
already is replaced without a moment at which neither the old nor the new checkpoint is complete.

A removal goes the other way: the manifest moves here first, and from then on the rest does not
count. What is moved elsewhere is written down here before. Every temporary file stands here too, so
that a dead process leaves nothing anywhere else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.errors import CheckpointError
from runner.files import (
    is_plain,
    make_directory,
    put_over,
    remove,
    sha256,
    sync,
    sync_directory,
    write_atomically,
)

log = logging.getLogger(__name__)

MARK = ".saving-"


class Staging:
    """``<directory>/.saving-<run>``, which belongs to one run alone.

    - ``<name>.index``, ``.data-*`` and ``.json``: a save, complete if the manifest holds,
    - ``removed/<name>.json``: manifests of checkpoints whose files are being removed,
    - ``moving``: which files are being moved to which folder,
    - ``temporary``: a file on its way to another name.
    """

    def __init__(self, directory: Path, *, run: str) -> None:
        self.path = directory / f"{MARK}{run}"
        self._directory = directory
        self._removed = self.path / "removed"
        self._moving = self.path / "moving"
        self._temporary = self.path / "temporary"

    def exists(self) -> bool:
        """Whether a process is at work here, or died at work. What a link leads to is no work of ours."""
        return self.path.is_dir() and not self.path.is_symlink()

    def begin(self) -> None:
        """Makes an empty staging directory."""
        self.sweep()
        make_directory(self._directory)
        self.path.mkdir()

    def complete(self, manifest: Manifest) -> None:
        """Brings the staged files to the disk, then writes the manifest that makes them count."""
        for name in manifest.files:
            sync(self.path / name)
        sync_directory(self.path)
        sync_directory(self._directory)
        self.write(self.path / f"{manifest.name}{SUFFIX}", manifest.as_bytes())

    def completed(self) -> Manifest | None:
        """The staged save, if it is complete."""
        found = [read_manifest(path) for path in self.path.glob(f"*{SUFFIX}")]
        manifests = [manifest for manifest in found if isinstance(manifest, Manifest)]
        return next((one for one in manifests if one.fault(self.path) is None), None)

    def move_into_place(self, manifest: Manifest) -> None:
        """Gives the staged files their final names, the manifest last; here they stay whole."""
        for name in manifest.files:
            put_over(self.path / name, self._directory / name, temporary=self._temporary)
        sync_directory(self._directory)
        name = f"{manifest.name}{SUFFIX}"
        put_over(self.path / name, self._directory / name, temporary=self._temporary)
        sync_directory(self._directory)

    def write(self, path: Path, content: bytes) -> None:
        """Replaces a file of the checkpoint directory in one instant."""
        make_directory(self.path)
        write_atomically(path, content, temporary=self._temporary)

    def remove(self, manifests: Sequence[Manifest]) -> None:
        """Removes checkpoints: their manifests first, so that a dead process can be told by them."""
        if not manifests:
            return
        make_directory(self._removed)
        journal = [self._removed / f"{manifest.name}{SUFFIX}" for manifest in manifests]
        for path in journal:
            (self._directory / path.name).replace(path)
        sync_directory(self._removed)
        sync_directory(self._directory)
        for manifest in manifests:
            remove(self._directory / name for name in manifest.files)
        remove(journal)

    def finish_removals(self) -> None:
        """Removes what a dead process was removing, unless somebody has saved there since."""
        for path in self._removed.glob(f"*{SUFFIX}"):
            manifest = read_manifest(path)
            if isinstance(manifest, Manifest) and not (self._directory / path.name).exists():
                remove(self._still_there(manifest))

    def move(self, files: Sequence[Path], folder: Path) -> None:
        """Moves files of the checkpoint directory to a folder in it, all of them or, in the end, all.

        Raises:
            CheckpointError: the folder is a link to somewhere else; as for ``finish_move``.
        """
        names = [path.name for path in files]
        move = {"files": names, "folder": str(folder.relative_to(self._directory))}
        self.write(self._moving, json.dumps(move).encode())
        self.finish_move()

    def finish_move(self) -> None:
        """Moves what is left of what a process began to move."""
        if not self._moving.exists():
            return
        try:
            move = json.loads(self._moving.read_bytes())
            names = _plain(move["files"])
            folder = self._directory.joinpath(*_plain(move["folder"].split("/")))
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("%s is damaged; what it names stays where it is", self._moving)
            self._moving.unlink()
            return
        if not folder.resolve().is_relative_to(self._directory.resolve()):
            raise CheckpointError(f"{folder} leads out of {self._directory}; remove that link")
        make_directory(folder)
        for name in names:
            with suppress(FileNotFoundError):  # It was moved before.
                (self._directory / name).replace(folder / name)
        sync_directory(folder)
        sync_directory(self._directory)
        self._moving.unlink()

    def sweep(self) -> None:
        """Removes the staging directory, if there is one; of a link, the link alone."""
        if self.path.is_symlink():
            self.path.unlink()
        if not self.exists():
            return
        for path in sorted(self.path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.path.rmdir()

    def _still_there(self, manifest: Manifest) -> list[Path]:
        files = {self._directory / name: entry for name, entry in manifest.files.items()}
        return [
            path
            for path, entry in files.items()
            if path.is_file() and sha256(path) == entry["sha256"]
        ]


def _plain(names: Any) -> list[str]:
    """``names``, if they are names and none of them leads out of a folder.

    Raises:
        ValueError: one does.
    """
    if not all(isinstance(name, str) and is_plain(name) for name in names):
        raise ValueError(names)
    return [*names]
