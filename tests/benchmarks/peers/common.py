"""What the peers share: the data as numpy, how speed is measured, how it is told."""

from __future__ import annotations

import json
import time

import numpy as np

from runner.data import Data, Digits, Pydoc

BATCH = 64
TELLS = 50
"""The steps after which a loop of one's own looks at its loss and accuracy, as the runner does."""


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The examples that the runner trains on by default: float32 [n, 8, 8, 1], int32 [n]."""
    return _training_part(Digits())


def pydoc() -> tuple[np.ndarray, np.ndarray]:
    """Those of experiment=pydoc_gpt: int32 [n, 64], int32 [n, 64]."""
    return _training_part(Pydoc(context=64, shape=[64]))


def _training_part(data: Data) -> tuple[np.ndarray, np.ndarray]:
    source = data.load()["train"]
    examples = source.take(np.arange(len(source)))
    return examples["x"], examples["y"]


class Stopwatch:
    """Counts steps per second, once the first steps have compiled and warmed up.

    Args:
        seconds: how long to count at least.
        warm_up_s: how long not to, from the first time it is told.
    """

    def __init__(self, seconds: float, *, warm_up_s: float = 1.0) -> None:
        self._seconds = seconds
        self._warm_up_s = warm_up_s
        self._told_first: float | None = None
        self._begun: float | None = None
        self._num_steps = 0
        self._took_s = 0.0

    def has_seen_enough(self, num_steps: int) -> bool:
        """Takes note of so many more steps, which are complete."""
        now = time.perf_counter()
        if self._told_first is None:
            self._told_first = now
        if self._begun is not None:
            self._num_steps += num_steps
            self._took_s = now - self._begun
        elif now - self._told_first >= self._warm_up_s:
            self._begun = now
        return self._took_s >= self._seconds

    @property
    def steps_per_s(self) -> float:
        """What was counted."""
        return self._num_steps / self._took_s


def tell(**values: float) -> None:
    """The answer of a peer: one line of JSON, the last on its standard output."""
    print(json.dumps(values), flush=True)
