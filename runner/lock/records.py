"""The files in which a lock names its owner."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner.lock.owner import Owner


@dataclass(frozen=True)
class Record:
    """One file: who the owner is, and when it last showed that it lives."""

    number: int
    owner: Owner | None
    """None if that cannot be read, or is just being written."""
    touched_ns: int | None

    def __str__(self) -> str:
        return str(self.owner or "another process")


class Records:
    """Files ``<path>.<n>``. The owner is named by the highest number, which only one can create.

    Args:
        path: absolute; its directory is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self, *, but: int = 0) -> Record | None:
        """The record that counts, of all but one."""
        number = max((number for number in self._numbers() if number != but), default=None)
        return None if number is None else self._read(number)

    def create(self, number: int, owner: Owner) -> None:
        """Names the owner.

        Raises:
            FileExistsError: somebody was faster.
        """
        file = self._file(number).open("xb")
        try:
            with file:
                file.write(owner.as_bytes())
        except OSError:
            with suppress(OSError):
                self.remove(number)
            raise

    def names(self, number: int, owner: Owner) -> bool:
        """Whether that is still said there."""
        try:
            return self._file(number).read_bytes() == owner.as_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False

    def touch(self, number: int) -> None:
        """Shows that the owner lives."""
        os.utime(self._file(number))

    def remove(self, number: int) -> None:
        """Removes the record; one that is gone already is no error."""
        self._file(number).unlink(missing_ok=True)

    def remove_below(self, number: int) -> None:
        """Removes the records that no longer count, by which their owners see that they do not."""
        for lower in self._numbers():
            if lower < number:
                self.remove(lower)

    def _numbers(self) -> list[int]:
        pattern = re.compile(rf"{re.escape(self._path.name)}\.([1-9][0-9]*)")
        try:
            names = [path.name for path in self._path.parent.iterdir()]
        except FileNotFoundError:
            return []
        return [int(match[1]) for match in map(pattern.fullmatch, names) if match]

    def _file(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _read(self, number: int) -> Record:
        path, content, touched_ns = self._file(number), b"", None
        # Opened first: it makes NFS ask the server, where the time alone may come from a cache.
        with suppress(OSError):
            content = path.read_bytes()
        with suppress(FileNotFoundError):
            touched_ns = path.stat().st_mtime_ns
        return Record(number, Owner.read(content), touched_ns)
