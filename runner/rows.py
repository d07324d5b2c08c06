"""metrics.jsonl: one row per log point."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runner.files import sync, sync_directory

WALL_CLOCK = ("steps_per_s", "time")
"""The fields of a row that two runs of one experiment do not share."""


class Rows:
    """Appends rows to a file, and cuts it back to what a checkpoint knows of.

    Args:
        path: the file.
        now: seconds since 1970.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    def append(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds ``row`` with the time at its end, NaN and infinity as null; returns it as written."""
        complete = {name: _finite(value) for name, value in row.items()}
        complete["time"] = round(self._now(), 3)
        with self._path.open("a") as file:
            file.write(json.dumps(complete, allow_nan=False) + "\n")
        return complete

    def sync(self) -> None:
        """Brings what was appended to the disk, so that a checkpoint may count on it."""
        if self._path.exists():
            sync(self._path)
            sync_directory(self._path.parent)

    def cut(self, count: int) -> int:
        """Removes all but the first ``count`` rows and any line that is not whole; returns the rest."""
        lines = self._lines()[:count]
        if self._path.exists():
            with self._path.open("rb+") as file:
                file.truncate(sum(len(line) for line in lines))
        return len(lines)

    def read(self) -> Iterator[dict[str, Any]]:
        """The whole rows of the file."""
        return (json.loads(line) for line in self._lines())

    def _lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            return [line for line in file if line.endswith(b"\n")]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
