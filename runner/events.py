"""TensorBoard event files, made from the rows of metrics.jsonl."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.files import remove, writing

_PLACE = ("phase", "split", "step", "epoch", "time")


def check_available() -> None:
    """Raises: ConfigError: the package tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "tracking.tensorboard=true: the package tensorboard is not installed; "
            "pip install 'tf-runner[tensorboard]', or choose tracking=default"
        )


class Events:
    """Scalars by split, so that TensorBoard draws train and validation into one chart.

    Event files cannot be cut back, so every sitting writes them anew from the rows it keeps.

    Args:
        directory: gets a folder of event files for every split.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writers: dict[str, Any] = {}

    def restart(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replaces all event files with those of ``rows``.

        Raises:
            UnwritableError: they cannot be written; as for ``append`` and ``close``.
        """
        with writing(self._directory):
            remove(self._directory.glob("*/events.out.tfevents.*"))
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds the numbers of one row at its step and time."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = {name: value for name, value in row.items() if name not in _PLACE}
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in numbers.items()
            if value is not None
        ]
        event = Event(wall_time=row["time"], step=row["step"], summary=Summary(value=values))
        with writing(self._directory):
            self._writer(row["split"]).add_event(event)

    def close(self) -> None:
        """Brings everything to the files."""
        with writing(self._directory):
            for writer in self._writers.values():
                writer.close()

    def _writer(self, split: str) -> Any:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if split not in self._writers:
            self._writers[split] = EventFileWriter(str(self._directory / split))
        return self._writers[split]
