"""Measures the state, or a checkpoint, on one split."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

from runner.phases.base import Given, Phase, row


@dataclass(frozen=True, kw_only=True)
class Evaluate(Phase):
    """Every example of a split exactly once. The state is afterwards what it was before."""

    data: str = "test"
    """The split to measure on."""
    restore: str | int | None = None
    """Which checkpoint to measure: best, latest, a number or a path; null measures the state as it is."""

    def splits(self) -> Iterable[str]:
        return [self.data]

    def run(self, given: Given) -> None:
        step = given.state.step
        given.observer.phase_started(given.name, step=step, until=step)
        with (
            nullcontext(step)
            if self.restore is None
            else given.borrow(self.restore) as measured_step
        ):
            values = given.engine.evaluate(given.data.evaluation(self.data))
        epoch = given.data.epochs("train").at(measured_step)
        measured = row(given, split=self.data, step=measured_step, epoch=epoch, values=values)
        given.write(measured)
        given.observer.row_written(measured)
        given.observer.phase_ended(given.name, reason=None)
