"""Optimizer updates up to an absolute step, with rows, evaluations and saves on their exact steps."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import ClassVar

from runner.errors import UserError
from runner.interrupt import Interrupted
from runner.phases.base import Given, Phase, Row, named, row
from runner.schedule import Epochs, Every, Until, spans

_CALL_S = 0.2
"""What one call into TensorFlow is to take at most, unless a single step takes longer: rows are written,
and the run can be stopped, behind it."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A measurement in the middle of training."""

    data: str = "validation"
    """The split to measure on."""
    every: Every = field(default_factory=lambda: Every(epochs=1))
    """When; the end of the phase always is measured."""


@dataclass(frozen=True, kw_only=True)
class Train(Phase):
    """Trains until a limit, counted from the beginning of the phase."""

    trains: ClassVar[bool] = True
    data: str = "train"
    """The split to train on."""
    until: Until
    """Where the phase ends."""
    evaluate: Evaluation | None = None
    """What is measured on the way."""

    def splits(self) -> Iterable[str]:
        return [self.data] if self.evaluate is None else [self.data, self.evaluate.data]

    def evaluates(self) -> Iterable[str]:
        return [] if self.evaluate is None else [self.evaluate.data]

    def last_step(self, epochs: Epochs, *, limit: int | None) -> int:
        """The step, counted from the beginning of the phase, after which it is over."""
        last = self.until.last_step(epochs)
        return last if limit is None else min(last, limit)

    def run(self, given: Given) -> None:
        loop = _Loop(self, given)
        given.observer.phase_started(
            given.name, step=loop.start + loop.step, until=loop.start + loop.last
        )
        loop.run()
        given.observer.phase_ended(given.name, reason=given.state.progress.record.stopped)


class _Loop:
    """One sitting of a train phase. Steps here count from the beginning of the phase."""

    def __init__(self, phase: Train, given: Given) -> None:
        self._phase = phase
        self._given = given
        self._epochs: Epochs = given.data.epochs(phase.data)
        self.start = given.state.progress.record.phase_start
        self.step = given.state.step - self.start
        self.last = phase.last_step(self._epochs, limit=given.engine.limit_steps)
        self._pace = _Pace()
        self._rhythms = [given.save_every]
        if phase.evaluate:
            self._rhythms.append(phase.evaluate.every)
        if any(callback.may_end(phase.data) for callback in given.callbacks.values()):
            self._rhythms.append(given.log_every)  # The steps behind a row may not be done.
        self._train_s = self._rate = 0.0
        self._row_step = self._rated_step = self.step
        self._saved_at = self._evaluated_at = self._logged_at = given.clock()

    def run(self) -> None:
        given = self._given
        chunks = given.data.training(self._phase.data, offset=self.start, spans=self._spans())
        begun = given.clock()
        for (start, stop), chunk in zip(self._spans(), chunks, strict=False):
            while self.step < stop and not given.state.progress.record.stopped:
                last = min(stop, self._due(), self.step + self._pace.num_steps)
                rows = self._rows(last)
                values = given.engine.train(
                    chunk,
                    first=self.step - start,
                    last=last - start,
                    reads=[step - start - 1 for step in rows],
                )
                took_s = given.clock() - begun
                self._pace.took(took_s, num_steps=last - self.step)
                self._train_s += took_s
                self._advance(last, dict(zip(rows, values, strict=True)))
                begun = given.clock()

    def _advance(self, step: int, rows: Mapping[int, Mapping[str, float]]) -> None:
        """Does what is due where the state is at ``step``, and the training metrics were read on the way."""
        given, self.step = self._given, step
        given.state.progress.step.assign(self.start + step)
        given.observer.advanced(step=self.start + step, epoch=self._epoch(step))
        if rows:
            self._log(rows)
        saved = self._act()
        if given.state.progress.record.stopped is None:
            self._stop_if_asked(saved)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The chunks ahead.

        They follow from the step alone, so the pipeline that reads ahead and the loop that reads
        along each ask for their own.
        """
        given = self._given
        ahead = spans(self.step, self.last, most=given.data.max_chunk)
        return takewhile(lambda span: not given.state.progress.record.stopped, ahead)

    def _due(self) -> int:
        """The next step at which something is due, wherever in a chunk that falls."""
        due = [rhythm.after(self.step, self._epochs) for rhythm in self._rhythms]
        if self._given.stop_at is not None:
            due.append(self._given.stop_at - self.start)
        return min([self.last, *(step for step in due if step is not None and step > self.step)])

    def _rows(self, last: int) -> list[int]:
        """The steps up to ``last`` at which a row is due, as far as the clock has no say in it."""
        due = self._given.log_every.within(self.step, last, self._epochs)
        return [*due, last] if last == self.last and last not in due else due

    def _act(self) -> bool:
        """What is due after a step, the save last: what it saves includes the rows before it.

        Returns whether it saved.
        """
        if self._is_due(self._given.log_every, self._logged_at):
            self._log_unread()
        measured: Mapping[str, float] = {}
        evaluation = self._phase.evaluate
        if evaluation and (self._is_over() or self._is_due(evaluation.every, self._evaluated_at)):
            measured = self._evaluate(evaluation)
        if self._is_over():
            self._log_unread()
        due = self._is_over() or self._is_due(self._given.save_every, self._saved_at)
        due = due or self._given.would_be_best(measured)
        if due:
            self._save(measured)
        return due

    def _is_over(self) -> bool:
        """Whether the phase ends with this step; a row may have ended it early."""
        return self.step == self.last or self._given.state.progress.record.stopped is not None

    def _save(self, measured: Mapping[str, float], *, scheduled: bool = True) -> None:
        loss = named(self._phase.data, {"loss": self._given.engine.training_loss()})
        for callback in self._given.callbacks.values():
            callback.before_save(loss)
        self._given.save(epoch=self._epoch(self.step), metrics=measured, scheduled=scheduled)
        self._saved_at = self._given.clock()

    def _epoch(self, step: int) -> float:
        """Epochs seen over the whole run: a number that a later phase never repeats."""
        return self._epochs.at(self.start + step)

    def _stop_if_asked(self, saved: bool) -> None:
        reason = self._given.stop()
        if reason is None or self.step == self.last:
            return
        if not saved:
            self._save({}, scheduled=False)
        place = f"step {self.start + self.step:,}"
        raise Interrupted(f"{reason}: stopped at {place} after saving; the same command goes on")

    def _is_due(self, rhythm: Every, last_time: float) -> bool:
        return rhythm.due(self.step, self._epochs, elapsed_s=self._given.clock() - last_time)

    def _log_unread(self) -> None:
        """A row of the steps since the last one, if there are any."""
        if self._row_step < self.step:
            self._log({self.step: self._given.engine.read_training_metrics()})

    def _log(self, rows: Mapping[int, Mapping[str, float]]) -> None:
        if self._train_s:
            self._rate = (self.step - self._rated_step) / self._train_s
        self._rated_step, self._train_s, self._logged_at = self.step, 0.0, self._given.clock()
        self._row_step = max(rows)
        for step, values in rows.items():
            self._write(self._phase.data, step, {**values, "steps_per_s": round(self._rate, 1)})

    def _evaluate(self, evaluation: Evaluation) -> Mapping[str, float]:
        values = self._given.engine.evaluate(self._given.data.evaluation(evaluation.data))
        self._evaluated_at = self._given.clock()
        self._write(evaluation.data, self.step, values)
        return named(evaluation.data, values)

    def _write(self, split: str, step: int, values: Mapping[str, float]) -> None:
        given, epoch = self._given, self._epoch(step)
        written: Row = row(given, split=split, step=self.start + step, epoch=epoch, values=values)
        given.write(written)
        given.observer.row_written(written)
        record = given.state.progress.record
        for name, callback in given.callbacks.items():
            memory = record.callbacks.setdefault(name, {})
            reason = callback.after_row(named(split, values), memory)
            record.stopped = record.stopped or reason
            if reason and step != self.step:
                raise UserError(
                    f"callbacks.{name} ended the phase at step {self.start + step:,} ({reason}), where "
                    f"its may_end({split!r}) says that it never does; training is steps further, and "
                    "nothing was saved since"
                )


class _Pace:
    """How many steps go into one call, so that none takes long and the run can be stopped soon."""

    def __init__(self) -> None:
        self.num_steps = 1

    def took(self, seconds: float, *, num_steps: int) -> None:
        """Goes by what the last call took; the first one also compiles, and so counts for little."""
        fit = num_steps * _CALL_S / seconds if seconds > 0 else sys.maxsize
        self.num_steps = max(1, int(fit))
