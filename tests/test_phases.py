"""What a phase does and when, with stand-ins for everything it is given and a clock that is set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from runner.callbacks import Callback, Diverged, EarlyStopping, StopBelow, StopOnNaN
from runner.errors import UserError
from runner.interrupt import Interrupted
from runner.phases import Evaluate, Evaluation, Given, Row, Train
from runner.schedule import Epochs, Every, Until
from runner.state import Record


@dataclass
class World:
    """Everything a phase is given, and a record of what it did, in order."""

    num_examples: int = 10
    batch_size: int = 2
    max_chunk: int = 100
    limit_steps: int | None = None
    log_every: Every = field(default_factory=lambda: Every(steps=1000))
    save_every: Every = field(default_factory=lambda: Every(steps=1000))
    callbacks: Mapping[str, Callback] = field(default_factory=dict)
    best: float = float("-inf")
    seconds_per_step: float = 1.0
    step: int = 0
    now: float = 0.0
    values: dict[str, float] = field(default_factory=lambda: {"loss": 1.0})
    done: list[Any] = field(default_factory=list)
    calls: list[tuple[int, int]] = field(default_factory=list)
    """The steps of every call into the engine."""
    record: Record = field(default_factory=Record)

    def given(self) -> Given:
        progress = SimpleNamespace(record=self.record, step=SimpleNamespace(assign=self._assign))
        world = self

        class State:
            @property
            def step(self) -> int:
                return world.step

        state: Any = State()
        state.progress = progress
        engine: Any = SimpleNamespace(
            limit_steps=self.limit_steps,
            train=self._train,
            training_loss=lambda: self.values["loss"],
            read_training_metrics=lambda: dict(self.values),
            evaluate=lambda split: {"loss": self.values["loss"], "of": split},
        )
        data: Any = SimpleNamespace(
            max_chunk=self.max_chunk,
            epochs=lambda split: Epochs(self.num_examples, self.batch_size),
            training=lambda split, offset, spans: iter(spans),
            evaluation=lambda split: split,
        )
        nothing = lambda *arguments, **more: None  # noqa: E731
        observer: Any = SimpleNamespace(
            phase_started=nothing, advanced=nothing, row_written=nothing, phase_ended=nothing
        )
        return Given(
            name="phase",
            state=state,
            engine=engine,
            data=data,
            log_every=self.log_every,
            save_every=self.save_every,
            save=self._save,
            would_be_best=lambda metrics: metrics.get("validation/loss", 9.0) < self.best,
            borrow=self._borrow,
            write=self._write,
            observer=observer,
            callbacks=self.callbacks,
            clock=lambda: self.now,
        )

    def _assign(self, step: int) -> None:
        self.step = step

    def _train(
        self, span: tuple[int, int], *, first: int, last: int, reads: Sequence[int]
    ) -> list[dict[str, float]]:
        self.now += (last - first) * self.seconds_per_step
        self.calls.append((span[0] + first, span[0] + last))
        if first == 0:
            self.done.append(("train", *span))
        assert all(first <= batch < last for batch in reads)
        return [dict(self.values) for _ in reads]

    def _save(self, *, epoch: float, metrics: Mapping[str, float], scheduled: bool = True) -> None:
        self.done.append(("save", self.step, dict(metrics)))

    def _write(self, row: Row) -> None:
        self.done.append(("row", row["split"], row["step"]))

    @contextmanager
    def _borrow(self, which: str | int) -> Iterator[int]:
        self.done.append(("borrow", which))
        yield 4
        self.done.append(("return", which))

    def of_kind(self, *kinds: str) -> list[Any]:
        return [entry for entry in self.done if entry[0] in kinds]


def train(world: World, until: Until, evaluate: Evaluation | None = None) -> World:
    Train(until=until, evaluate=evaluate).run(world.given())
    return world


def steps_of(entries: Iterable[Any], position: int) -> list[int]:
    return [entry[position] for entry in entries]


def test_rows_evaluations_and_saves_fall_on_their_exact_steps() -> None:
    world = World(log_every=Every(steps=4), save_every=Every(steps=6), max_chunk=5)
    world.seconds_per_step = 0.0
    train(world, Until(steps=15), Evaluation(every=Every(epochs=1)))
    rows = world.of_kind("row")
    assert [step for _, split, step in rows if split == "train"] == [4, 8, 12, 15]
    assert [step for _, split, step in rows if split == "validation"] == [5, 10, 15]
    assert steps_of(world.of_kind("save"), 1) == [6, 12, 15]
    ends = [stop for _, stop in world.calls]
    assert ends == [1, 5, 6, 10, 12, 15]
    assert steps_of(world.of_kind("train"), 1) == [0, 5, 10]


def test_a_chunk_is_never_longer_than_the_engine_allows() -> None:
    world = train(World(max_chunk=4), Until(steps=10))
    assert [entry[1:] for entry in world.of_kind("train")] == [(0, 4), (4, 8), (8, 10)]


def test_a_call_takes_a_fifth_of_a_second_or_one_step() -> None:
    slow = train(World(seconds_per_step=0.25), Until(steps=3))
    assert slow.calls == [(0, 1), (1, 2), (2, 3)]
    middling = train(World(seconds_per_step=0.05, max_chunk=7), Until(steps=14))
    assert middling.calls == [(0, 1), (1, 5), (5, 7), (7, 11), (11, 14)]
    fast = train(World(seconds_per_step=0.0, max_chunk=7), Until(steps=14))
    assert fast.calls == [(0, 1), (1, 7), (7, 14)]


def test_a_stop_is_heeded_in_the_middle_of_a_chunk() -> None:
    world = World(seconds_per_step=0.25)
    given = replace(world.given(), stop=lambda: "SIGTERM" if world.step >= 3 else None)
    with pytest.raises(Interrupted, match="stopped at step 3 after saving"):
        Train(until=Until(steps=50)).run(given)
    assert world.done == [("train", 0, 16), ("save", 3, {})]


def test_a_call_ends_at_the_step_after_which_to_stop() -> None:
    world = World(seconds_per_step=0.0, save_every=Every(steps=100))
    given = replace(world.given(), stop_at=7, stop=lambda: "so far" if world.step >= 7 else None)
    with pytest.raises(Interrupted, match="stopped at step 7 after saving"):
        Train(until=Until(steps=50)).run(given)
    assert world.done == [("train", 0, 16), ("save", 7, {})]


def test_a_save_comes_after_the_rows_of_its_step_and_carries_their_metrics() -> None:
    world = World(log_every=Every(steps=5), save_every=Every(steps=5))
    train(world, Until(steps=5), Evaluation())
    assert [entry[:2] for entry in world.done] == [
        ("train", 0),
        ("row", "train"),
        ("row", "validation"),
        ("save", 5),
    ]
    assert world.done[-1][2] == {"validation/loss": 1.0, "validation/of": "validation"}


def test_the_end_is_logged_measured_and_saved_once() -> None:
    world = train(World(), Until(steps=3), Evaluation(every=Every(steps=2)))
    assert [entry for entry in world.done if entry[0] != "train"] == [
        ("row", "validation", 2),
        ("row", "train", 3),
        ("row", "validation", 3),
        ("save", 3, {"validation/loss": 1.0, "validation/of": "validation"}),
    ]


def test_a_better_evaluation_is_saved_at_once() -> None:
    world = train(World(best=1.5), Until(steps=4), Evaluation(every=Every(steps=2)))
    assert steps_of(world.of_kind("save"), 1) == [2, 4]
    assert steps_of(train(World(best=0.5), Until(steps=4)).of_kind("save"), 1) == [4]


@pytest.mark.parametrize("at", range(12))
def test_resuming_does_what_was_left(at: int) -> None:
    """Taken up after the save at any step, the rest is what the uninterrupted run did after it."""

    def world(step: int) -> World:
        return World(log_every=Every(steps=4), save_every=Every(steps=1), max_chunk=1, step=step)

    until, evaluation = Until(steps=12), Evaluation(every=Every(steps=3))
    whole = train(world(0), until, evaluation)
    rest = train(world(at), until, evaluation)
    position = 0 if at == 0 else 1 + [entry[:2] for entry in whole.done].index(("save", at))
    assert rest.done == whole.done[position:]


def test_a_phase_that_is_over_does_nothing() -> None:
    assert train(World(step=7), Until(steps=7), Evaluation()).done == []
    assert train(World(step=9), Until(steps=7)).done == []


def test_until_counts_from_the_beginning_of_the_phase() -> None:
    world = World(step=100, record=Record(phase_start=100))
    train(world, Until(epochs=1, steps=50))
    assert world.step == 105
    assert world.of_kind("save")[0][1] == 105


def test_limit_steps_ends_every_train_phase_early() -> None:
    assert train(World(limit_steps=3), Until(steps=7)).step == 3
    assert train(World(limit_steps=9), Until(steps=7)).step == 7


def test_a_rhythm_in_seconds_goes_by_the_clock_at_the_end_of_a_chunk() -> None:
    world = World(save_every=Every(seconds=2.5), max_chunk=1)
    train(world, Until(steps=8))
    assert steps_of(world.of_kind("save"), 1) == [3, 6, 8]


def test_a_callback_ends_the_phase_after_a_save() -> None:
    world = World(
        log_every=Every(steps=2), callbacks={"stop": StopBelow(metric="train/loss", limit=2.0)}
    )
    train(world, Until(steps=9))
    assert world.done == [("train", 0, 9), ("row", "train", 2), ("save", 2, {})]
    assert world.record.stopped == "train/loss fell below 2"
    assert world.step == 2
    # The reason is part of the state: a resume does not go on behind it.
    world.done.clear()
    assert train(world, Until(steps=9)).done == []


def test_a_phase_that_an_evaluation_ends_has_a_row_of_its_last_steps() -> None:
    world = World(
        log_every=Every(steps=3), callbacks={"stop": StopBelow(metric="validation/loss", limit=2.0)}
    )
    train(world, Until(steps=9), Evaluation(every=Every(steps=4)))
    rows = [("row", "train", 3), ("row", "validation", 4), ("row", "train", 4)]
    assert world.of_kind("row") == rows
    assert world.done[-1][:2] == ("save", 4)


def test_a_phase_that_a_row_ends_early_is_evaluated_as_at_its_end() -> None:
    stops = {"stop": StopBelow(metric="train/loss", limit=2.0)}
    world = World(log_every=Every(steps=2), callbacks=stops, best=2.0)
    train(world, Until(steps=9), Evaluation(every=Every(steps=4)))
    assert world.of_kind("row") == [("row", "train", 2), ("row", "validation", 2)]
    assert world.done[-1][:2] == ("save", 2)
    assert world.done[-1][2]["validation/loss"] == 1.0


class Late(StopOnNaN):
    """Ends a phase, and denies it."""

    def after_row(self, values: Mapping[str, float], memory: dict[str, Any]) -> str | None:
        return "late"


def test_a_callback_that_denies_to_end_a_phase_cannot() -> None:
    world = World(log_every=Every(steps=2), callbacks={"late": Late()}, seconds_per_step=0.0)
    with pytest.raises(UserError, match=r"callbacks.late ended the phase at step 2 \(late\)"):
        train(world, Until(steps=9))
    assert world.of_kind("save") == []


def test_training_waits_at_the_rows_that_can_end_it_alone() -> None:
    def calls(*callbacks: Callback) -> list[tuple[int, int]]:
        named = {str(number): callback for number, callback in enumerate(callbacks)}
        world = World(log_every=Every(steps=2), callbacks=named, seconds_per_step=0.0)
        rows = train(world, Until(steps=5)).of_kind("row")
        assert [step for _, _, step in rows] == [2, 4, 5]
        return world.calls

    assert calls(StopOnNaN(), EarlyStopping(metric="validation/loss")) == [(0, 1), (1, 5)]
    assert calls(EarlyStopping(metric="train/loss")) == [(0, 1), (1, 2), (2, 4), (4, 5)]


def test_evaluate_measures_the_state_as_it_is() -> None:
    world = World(step=10)
    Evaluate(data="test").run(world.given())
    assert world.done == [("row", "test", 10)]


def test_evaluate_measures_a_checkpoint_and_gives_the_state_back_first() -> None:
    world = World(step=10)
    Evaluate(data="test", restore="best").run(world.given())
    assert world.done == [("borrow", "best"), ("return", "best"), ("row", "test", 4)]


def test_a_loss_that_is_no_number_fails_the_run_before_a_save() -> None:
    world = World(
        save_every=Every(steps=2),
        values={"loss": float("nan")},
        callbacks={"stop_on_nan": StopOnNaN()},
    )
    with pytest.raises(Diverged, match="train/loss is nan"):
        train(world, Until(steps=9))
    assert world.of_kind("save", "row") == []
