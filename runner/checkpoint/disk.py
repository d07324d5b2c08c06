"""What a disk can refuse a checkpoint, in words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint.graph import num_bytes
from runner.errors import CheckpointError
from runner.files import nearest_directory


class Disk:
    """The place where checkpoints of ``parts`` stand."""

    def __init__(self, directory: Path, parts: Mapping[str, Any]) -> None:
        self._directory = directory
        self._num_bytes = num_bytes(parts)

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turns errors of the file system into one that says ``what`` could not be done, and the room.

        Raises:
            CheckpointError: inside the block, the file system refused something.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"{what}: {_reason(error)}; {self._room()}; make room or give the right to write "
                "there; the same command goes on"
            ) from error

    def _room(self) -> str:
        """What a checkpoint takes, and what there is."""
        needed = f"a checkpoint takes {self._num_bytes / 1e6:,.2f} MB"
        try:
            free = shutil.disk_usage(nearest_directory(self._directory)).free
        except OSError:
            return needed
        return f"{needed}, and {free / 1e6:,.2f} MB are free"


def _reason(error: OSError | tf.errors.OpError) -> str:
    """Without TensorFlow's notes on the op that failed."""
    text = str(error)
    return text if isinstance(error, OSError) else re.sub(r"\{\{.*?\}\} | \[Op:\w+\]", "", text)
