"""When things fall due: checked against going through every step and every example."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from runner.errors import Invalid
from runner.schedule import Epochs, Every, Until, spans

SIZES = [*itertools.product([1, 2, 3, 7, 10, 64], [1, 2, 3, 5, 7, 10, 64, 100]), (1258, 64)]


def epochs_of(num_examples: int, batch_size: int) -> Epochs:
    return Epochs(num_examples=num_examples, batch_size=batch_size)


@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
def test_an_epoch_ends_with_the_step_that_sees_its_last_example(
    num_examples: int, batch_size: int
) -> None:
    epochs = epochs_of(num_examples, batch_size)
    for epoch in range(1, 12):
        last_example = epoch * num_examples - 1
        step_that_sees_it = next(
            step for step in itertools.count(1) if step * batch_size > last_example
        )
        assert epochs.end(epoch) == step_that_sees_it
    assert epochs.end(0) == 0


@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
def test_epochs_completed_and_seen(num_examples: int, batch_size: int) -> None:
    epochs = epochs_of(num_examples, batch_size)
    for step in range(60):
        seen = Fraction(step * batch_size, num_examples)
        assert epochs.completed(step) == math.floor(seen)
        assert epochs.at(step) == float(seen)
        assert epochs.end(epochs.completed(step)) <= step < epochs.end(epochs.completed(step) + 1)


def test_far_away_is_exact() -> None:
    epochs = epochs_of(10**7 + 19, 64)
    step = 10**15 + 1
    assert epochs.end(epochs.completed(step)) <= step < epochs.end(epochs.completed(step) + 1)


def due_steps(rhythm: Every, epochs: Epochs, *, until: int) -> list[int]:
    return [step for step in range(1, until) if rhythm.due(step, epochs, elapsed_s=0.0)]


@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_so_many_epochs(num_examples: int, batch_size: int, count: int) -> None:
    epochs = epochs_of(num_examples, batch_size)
    until = 80
    ends = {epochs.end(epoch) for epoch in range(count, until * batch_size + count, count)}
    expected = sorted(step for step in ends if step < until)
    assert due_steps(Every(epochs=count), epochs, until=until) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100])
def test_every_so_many_steps(count: int) -> None:
    expected = [step for step in range(1, 80) if step % count == 0]
    assert due_steps(Every(steps=count), epochs_of(7, 3), until=80) == expected


@pytest.mark.parametrize(
    "rhythm", [Every(steps=3), Every(steps=7), Every(epochs=1), Every(epochs=2)]
)
@pytest.mark.parametrize(("num_examples", "batch_size"), SIZES)
def test_the_next_time_is_the_first_step_that_is_due(
    rhythm: Every, num_examples: int, batch_size: int
) -> None:
    epochs = epochs_of(num_examples, batch_size)
    for step in range(40):
        ahead = rhythm.after(step, epochs)
        assert ahead is not None
        assert ahead > step
        assert rhythm.due(ahead, epochs, elapsed_s=0.0)
        assert not any(
            rhythm.due(s, epochs, elapsed_s=9e9) for s in range(step + 1, min(ahead, 50))
        )


def test_every_so_many_seconds_is_told_by_the_clock_alone() -> None:
    rhythm, epochs = Every(seconds=1.5), epochs_of(7, 3)
    assert rhythm.after(0, epochs) is None
    assert not rhythm.due(7, epochs, elapsed_s=1.4)
    assert rhythm.due(7, epochs, elapsed_s=1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "steps=null: give one of steps, epochs, seconds"),
        (
            {"steps": 5, "epochs": 2},
            "epochs=2: given together with steps=5; set all but one to null",
        ),
        (
            {"steps": 5, "epochs": 2, "seconds": 3.0},
            "seconds=3.0: given together with steps=5 and epochs=2; set all but one to null",
        ),
        ({"steps": 0}, "steps=0: give a number above 0"),
        ({"epochs": -1}, "epochs=-1: give a number above 0"),
        ({"seconds": 0.0}, "seconds=0.0: give a number above 0"),
        ({"seconds": float("nan")}, "seconds=nan: give a number above 0"),
    ],
)
def test_a_rhythm_that_cannot_be(given: dict[str, float], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        Every(**given)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_the_first_limit_reached_ends_a_phase() -> None:
    epochs = epochs_of(10, 3)
    assert Until(epochs=2).last_step(epochs) == 7
    assert Until(steps=5).last_step(epochs) == 5
    assert Until(epochs=2, steps=5).last_step(epochs) == 5
    assert Until(epochs=1, steps=5).last_step(epochs) == 4
    assert Until(steps=0).last_step(epochs) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "epochs=null: give epochs, steps or both; the first one reached counts"),
        ({"steps": -1}, "steps=-1: give a count of at least 0"),
        ({"epochs": -2, "steps": 3}, "epochs=-2: give a count of at least 0"),
    ],
)
def test_an_end_that_cannot_be(given: dict[str, int], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        Until(**given)
    assert str(caught.value) == message


def test_the_first_chunks_are_small() -> None:
    assert list(spans(5, 105, most=50)) == [(5, 21), (21, 53), (53, 103), (103, 105)]
    assert list(spans(0, 7, most=3)) == [(0, 3), (3, 6), (6, 7)]
    assert list(spans(4, 4, most=3)) == []
