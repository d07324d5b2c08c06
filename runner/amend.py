"""Giving a restored state what the config says since, where a checkpoint would bring back the old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from runner.config.changes import Change
from runner.state import Record, State

_RATE = "optimizer.learning_rate"
_CALLBACKS = "callbacks."


class LearningRate:
    """The learning rate as the config says, taken from the state before anything is restored.

    Keras keeps a number, not a schedule, in a variable; of all that an optimizer is given, that is
    the only one that a checkpoint holds.
    """

    def __init__(self, state: State) -> None:
        rate = state.optimizer.learning_rate
        self._variable = rate if isinstance(rate, keras.Variable) else None
        self._value = None if self._variable is None else self._variable.numpy()

    def put_back(self) -> None:
        """Gives it to the optimizer, whatever was restored since."""
        if self._variable is not None:
            self._variable.assign(self._value)


def amend(state: State, changes: Sequence[Change], *, rate: LearningRate) -> None:
    """Settles what the restored checkpoint does not know of yet.

    Args:
        changes: those since it was saved.
        rate: taken before it was restored.
    """
    if any(_is_in(change.key, _RATE) for change in changes):
        rate.put_back()
    _amend_callbacks(
        state.progress.record, [one for one in changes if one.key.startswith(_CALLBACKS)]
    )


def _amend_callbacks(record: Record, changes: Sequence[Change]) -> None:
    """A phase that a callback ended goes on; a callback keeps what it remembers if only numbers changed."""
    if changes:
        record.stopped = None
    for change in changes:
        if not (_is_number(change.old) and _is_number(change.new)):
            record.callbacks.pop(change.key.split(".")[1], None)


def _is_in(key: str, place: str) -> bool:
    return f"{key}.".startswith(f"{place}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
