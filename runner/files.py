"""Files that are there whole or not at all, also after the power went."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.errors import ConfigError, UserError


class UnwritableError(UserError):
    """A file of the run cannot be written: the disk is full, or the right to write is gone."""


_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


def is_plain(name: object) -> bool:
    """Whether ``name`` is that of one file in one folder: nothing in it leads elsewhere."""
    is_text = isinstance(name, str) and name not in ("", ".", "..")
    return is_text and not set(str(name)) & set("/\\\0")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns errors of the file system into one that names ``path`` and says what to do.

    Raises:
        UnwritableError: inside the block, something could not be written.
    """
    try:
        yield
    except OSError as error:
        raise UnwritableError(
            f"{path} cannot be written: {error.strerror}; make room or give the right to write "
            "there; the same command goes on"
        ) from error


def write_atomically(path: Path, content: bytes, *, temporary: Path | None = None) -> None:
    """Replaces ``path`` in one instant: a temporary file, fsync, rename, fsync of the directory.

    Args:
        temporary: a name on the same file system that nobody else writes to; beside ``path`` if
            none is given.
    """
    temporary = temporary or path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Creates ``path`` and what is missing above it, to stay there after the power went."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def make_directory_for(key: str, path: Path) -> None:
    """Makes the directory that a key of the config names, unless it is there.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        make_directory(path)
    except OSError as error:
        raise ConfigError(
            f"{key}={path}: cannot be created ({error.strerror}); give another directory"
        ) from error


def nearest_directory(path: Path) -> Path:
    """``path``, or of what is above it the first that is there."""
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), path)


def sync(path: Path) -> None:
    """Brings the content of the file ``path`` to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Brings the names in the directory ``path`` to the disk, where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def put_over(source: Path, target: Path, *, temporary: Path) -> None:
    """Gives ``target`` the content of ``source`` in one instant; ``source`` stays.

    By a hard link, or by a copy where the file system has none.

    Args:
        temporary: a name on the same file system that nobody else writes to.
    """
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        sync(temporary)
    temporary.replace(target)
    # Where both were names of one file already, the rename has done nothing.
    temporary.unlink(missing_ok=True)


def remove(paths: Iterable[Path]) -> None:
    """Removes exactly these files; one that is gone already is no error."""
    for path in paths:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of the file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
