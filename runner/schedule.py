"""When things happen: absolute steps, counted in steps, epochs or seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runner.errors import Invalid, shown

_FIRST_SPAN = 16


@dataclass(frozen=True)
class Epochs:
    """Where epochs of ``num_examples`` end when every step takes ``batch_size`` of them.

    Batches run on from one epoch into the next, so an epoch ends with the step that sees its last
    example, and an epoch's number of steps may differ by one from the next one's.
    """

    num_examples: int
    batch_size: int

    def end(self, epoch: int) -> int:
        """The first step by which ``epoch`` epochs are complete."""
        return -(-epoch * self.num_examples // self.batch_size)

    def completed(self, step: int) -> int:
        """How many epochs are complete after ``step`` steps."""
        return step * self.batch_size // self.num_examples

    def at(self, step: int) -> float:
        """The epochs seen after ``step`` steps, as a fraction."""
        return step * self.batch_size / self.num_examples


@dataclass(frozen=True)
class Every:
    """A rhythm: ``{steps: 500}``, ``{epochs: 1}`` or ``{seconds: 600}``."""

    steps: int | None = None
    """Every so many optimizer updates."""
    epochs: int | None = None
    """At the end of every so many epochs."""
    seconds: float | None = None
    """Whenever so much time has passed since the last time, at the end of a call."""

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise Invalid("steps", None, "give one of steps, epochs, seconds")
        *others, (name, value) = given.items()
        if others:
            also = " and ".join(f"{other}={shown(amount)}" for other, amount in others)
            raise Invalid(name, value, f"given together with {also}; set all but one to null")
        if not value > 0:
            raise Invalid(name, value, "give a number above 0")

    def after(self, step: int, epochs: Epochs) -> int | None:
        """The first step after ``step`` at which this is due, or None if only the clock tells."""
        if self.steps is not None:
            return (step // self.steps + 1) * self.steps
        if self.epochs is not None:
            return epochs.end((epochs.completed(step) // self.epochs + 1) * self.epochs)
        return None

    def within(self, start: int, last: int, epochs: Epochs) -> list[int]:
        """The steps after ``start``, up to ``last``, at which this is due by their number."""
        found, step = [], self.after(start, epochs)
        while step is not None and step <= last:
            found.append(step)
            step = self.after(step, epochs)
        return found

    def due(self, step: int, epochs: Epochs, *, elapsed_s: float) -> bool:
        """Whether this falls on ``step``, ``elapsed_s`` seconds after the last time."""
        if self.seconds is not None:
            return elapsed_s >= self.seconds
        return self.after(step - 1, epochs) == step


@dataclass(frozen=True)
class Until:
    """Where a phase ends, counted from its beginning; the first limit reached counts."""

    epochs: int | None = None
    """Passes over the training data."""
    steps: int | None = None
    """Optimizer updates."""

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None:
            reason = "give epochs, steps or both; the first one reached counts"
            raise Invalid("epochs", None, reason)
        for name, value in vars(self).items():
            if value is not None and value < 0:
                raise Invalid(name, value, "give a count of at least 0")

    @property
    def zero(self) -> str | None:
        """The limit by which the phase takes no step; None if it takes one."""
        return next((name for name, value in vars(self).items() if value == 0), None)

    def last_step(self, epochs: Epochs) -> int:
        """The step, counted from the beginning of the phase, after which the phase is over."""
        limits = [self.steps, None if self.epochs is None else epochs.end(self.epochs)]
        return min(limit for limit in limits if limit is not None)


def spans(start: int, last: int, *, most: int) -> Iterator[tuple[int, int]]:
    """The steps from ``start`` to ``last`` in chunks: first small ones, which are soon read, then full ones.

    Args:
        most: the most steps in a chunk.
    """
    size = min(most, _FIRST_SPAN)
    while start < last:
        stop = min(last, start + size)
        yield start, stop
        start, size = stop, min(most, 2 * size)
