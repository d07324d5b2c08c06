"""What watches the rows of a phase and may end it. Their memory is part of every checkpoint."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import Invalid, UserError


class Diverged(UserError):
    """The loss is no longer a number."""


@dataclass(frozen=True, kw_only=True)
class Callback(ABC):
    """Sees every row of a train phase as it is written."""

    @abstractmethod
    def after_row(self, values: Mapping[str, float], memory: dict[str, Any]) -> str | None:
        """Returns why the phase should end now, or None to go on.

        Args:
            values: the row's numbers as split/name, such as ``validation/accuracy``.
            memory: JSON data to keep from one call to the next, also across a resume.
        """

    def before_save(self, values: Mapping[str, float]) -> None:
        """Sees the training loss as it stands before every save, and may fail the run instead."""
        return

    def watched(self) -> str | None:
        """The number without which this does nothing, as split/name; some phase has to produce it."""
        return None

    def may_end(self, split: str) -> bool:
        """Whether a row of the split can end the phase: training waits at each of them to be told."""
        watched = self.watched()
        return watched is None or watched.startswith(f"{split}/")


@dataclass(frozen=True, kw_only=True)
class StopOnNaN(Callback):
    """Fails the run when a loss is NaN or infinite, before that state is saved."""

    def after_row(self, values: Mapping[str, float], memory: dict[str, Any]) -> str | None:
        self.before_save(values)
        return None

    def may_end(self, split: str) -> bool:
        return False  # It fails, and what was done since is not saved.

    def before_save(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name.endswith("/loss") and not math.isfinite(value):
                raise Diverged(
                    f"{name} is {value}; try a smaller optimizer.learning_rate or "
                    "+optimizer.clipnorm=1.0, or go on regardless with ~callbacks.stop_on_nan"
                )


@dataclass(frozen=True, kw_only=True)
class StopBelow(Callback):
    """Ends the phase when a number has fallen below a limit."""

    metric: str
    """As split/name: train/loss."""
    limit: float
    """What it has to fall below."""

    def watched(self) -> str | None:
        return self.metric

    def after_row(self, values: Mapping[str, float], memory: dict[str, Any]) -> str | None:
        if self.metric in values and values[self.metric] < self.limit:
            return f"{self.metric} fell below {self.limit:g}"
        return None


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Callback):
    """Ends the phase when a number has not improved for a while."""

    metric: str
    """As split/name: validation/loss."""
    mode: Literal["max", "min"] = "min"
    """Whether more is better."""
    patience: int = 5
    """How many evaluations in a row may pass without an improvement."""
    min_delta: float = 0.0
    """What counts as an improvement must exceed the best by more than this."""

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise Invalid("patience", self.patience, "give a count of at least 1")
        if not self.min_delta >= 0:
            raise Invalid("min_delta", self.min_delta, "give a number of at least 0")

    def watched(self) -> str | None:
        return self.metric

    def after_row(self, values: Mapping[str, float], memory: dict[str, Any]) -> str | None:
        if self.metric not in values:
            return None
        best = memory.get("best")
        if self._improves(values[self.metric], best):
            memory.update(best=values[self.metric], since=0)
            return None
        memory["since"] = memory.get("since", 0) + 1
        if memory["since"] < self.patience:
            return None
        than = "" if best is None else f" on {best:.4g}"
        rows = "evaluation" if self.patience == 1 else f"{self.patience} evaluations"
        return f"{self.metric} has not improved{than} in the last {rows}"

    def _improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return not math.isnan(value)
        gain = value - best if self.mode == "max" else best - value
        return gain > self.min_delta
