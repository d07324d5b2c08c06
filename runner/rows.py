"""metrics.jsonl: one row per log point."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from runner.files import UnwritableError, is_plain, sync, sync_directory, write_atomically, writing

log = logging.getLogger(__name__)

WALL_CLOCK = ("steps_per_s", "time")
"""The fields of a row that two runs of one experiment do not share."""


class Rows:
    """Appends rows to a file, and cuts it back to what a checkpoint knows of.

    Rows are state as much as weights are, but people open the file with whatever they like. So every
    row is written twice, and what one file has lost comes back from the other.

    Args:
        path: the file.
        copy: the second one.
        patient: rows that cannot be written wait for the next that can, until ``flush``.
        now: seconds since 1970.
    """

    def __init__(
        self,
        path: Path,
        *,
        copy: Path,
        patient: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._paths = (path, copy)
        self._waiting = dict.fromkeys(self._paths, b"")
        self._patient = patient
        self._now = now

    def append(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds ``row`` with the time at its end, NaN and infinity as null; returns it as written.

        Raises:
            UnwritableError: it cannot be written; as for ``flush``, ``sync`` and ``cut``.
        """
        complete = {name: _finite(value) for name, value in row.items()}
        complete["time"] = round(self._now(), 3)
        line = json.dumps(complete, allow_nan=False) + "\n"
        for path in self._paths:
            self._waiting[path] += line.encode()
            try:
                self._write(path)
            except UnwritableError as error:
                if not self._patient:
                    raise
                log.warning("%s", error)
        return complete

    def _write(self, path: Path) -> None:
        """Appends what waits, all of it or nothing."""
        content = self._waiting[path]
        if not content:
            return
        with writing(path), path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(content) != len(content):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._waiting[path] = b""

    def flush(self) -> None:
        """Writes the rows that wait."""
        for path in self._paths:
            self._write(path)

    def sync(self) -> None:
        """Brings what was written to the disk, so that a checkpoint may count on it; in any thread."""
        written = [path for path in self._paths if path.exists()]
        with writing(self._path):
            for path in written:
                sync(path)
            if written:
                sync_directory(self._path.parent)

    def cut(self, count: int) -> int:
        """Leaves the first ``count`` rows in both files and nothing else; returns how many there are."""
        lines = max((_whole(path)[:count] for path in self._paths), key=len)
        content = b"".join(lines)
        with writing(self._path):
            self._leave(content)
        return len(lines)

    def _leave(self, content: bytes) -> None:
        """Makes ``content`` all that is in the files."""
        for path in self._paths:
            present = path.read_bytes() if path.exists() else b""
            if present.startswith(content):
                _truncate(path, len(content))
            else:
                log.warning(
                    "%s had other rows than were written; they came back from its copy", path
                )
                write_atomically(path, content)

    def read(self) -> Iterator[dict[str, Any]]:
        """The whole rows of the file."""
        return (json.loads(line) for line in _whole(self._path))


class NewRows:
    """The rows that another process appends to a file.

    Where it has cut rows off meanwhile, those that stand now come once more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._last = b""

    def read(self) -> Iterator[dict[str, Any]]:
        """Those that came since the last call."""
        # On a file system of many machines, one may have replaced it just now: then the next time.
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._position)
            if file.read(len(self._last)) != self._last:
                self._position, self._last = 0, b""
                file.seek(0)
            for line in takewhile(_is_row, file):
                self._position, self._last = self._position + len(self._last), line
                yield json.loads(line)


def _whole(path: Path) -> list[bytes]:
    """The lines up to the first that is no row."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return list(takewhile(_is_row, file))


def _is_row(line: bytes) -> bool:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return line.endswith(b"\n") and isinstance(row, dict) and all(map(_is_cell, row.values()))


def _is_cell(value: Any) -> bool:
    """A number, or the name of a phase or a split; event files go to a folder of that name."""
    return is_plain(value) if isinstance(value, str) else isinstance(value, int | float | None)


def _truncate(path: Path, size: int) -> None:
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(size)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
