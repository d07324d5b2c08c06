"""What callbacks remember and when they end a phase, row by row."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from runner.callbacks import Callback, Diverged, EarlyStopping, StopBelow, StopOnNaN
from runner.errors import Invalid

NAN, INF = math.nan, math.inf


def states(callback: Callback, name: str, values: list[float]) -> list[tuple[dict[str, Any], bool]]:
    """Memory, and whether the phase should end, after each row; memory survives a resume as JSON."""
    memory: dict[str, Any] = {}
    seen = []
    for value in values:
        memory = json.loads(json.dumps(memory))
        reason = callback.after_row({name: value}, memory)
        seen.append((dict(memory), reason is not None))
    return seen


def test_early_stopping_counts_rows_without_an_improvement() -> None:
    stopping = EarlyStopping(metric="validation/loss", patience=2)
    assert states(stopping, "validation/loss", [3.0, 2.0, 2.0, 1.5, 1.6, 1.5, 1.7]) == [
        ({"best": 3.0, "since": 0}, False),
        ({"best": 2.0, "since": 0}, False),
        ({"best": 2.0, "since": 1}, False),
        ({"best": 1.5, "since": 0}, False),
        ({"best": 1.5, "since": 1}, False),
        ({"best": 1.5, "since": 2}, True),
        ({"best": 1.5, "since": 3}, True),
    ]


def test_more_may_be_better_and_little_may_not_count() -> None:
    stopping = EarlyStopping(metric="validation/accuracy", mode="max", patience=1, min_delta=0.1)
    assert states(stopping, "validation/accuracy", [0.5, 0.75, 0.84]) == [
        ({"best": 0.5, "since": 0}, False),
        ({"best": 0.75, "since": 0}, False),
        ({"best": 0.75, "since": 1}, True),
    ]


def test_a_number_that_is_none_is_no_improvement_and_never_the_best() -> None:
    stopping = EarlyStopping(metric="validation/loss", patience=3)
    assert states(stopping, "validation/loss", [NAN, INF, NAN, 2.0, NAN]) == [
        ({"since": 1}, False),
        ({"best": INF, "since": 0}, False),
        ({"best": INF, "since": 1}, False),
        ({"best": 2.0, "since": 0}, False),
        ({"best": 2.0, "since": 1}, False),
    ]
    assert states(stopping, "validation/loss", [NAN, NAN, NAN])[-1] == ({"since": 3}, True)


def test_what_early_stopping_says() -> None:
    stopping = EarlyStopping(metric="validation/loss", patience=1)
    assert stopping.watched() == "validation/loss"
    memory: dict[str, Any] = {}
    assert stopping.after_row({"train/loss": 0.0}, memory) is None
    assert memory == {}
    assert stopping.after_row({"validation/loss": NAN}, {}) == (
        "validation/loss has not improved in the last evaluation"
    )
    assert stopping.after_row({"validation/loss": 2.0}, {"best": 1.23456, "since": 0}) == (
        "validation/loss has not improved on 1.235 in the last evaluation"
    )
    patient = EarlyStopping(metric="validation/loss", patience=2)
    assert patient.after_row({"validation/loss": 2.0}, {"best": 1.0, "since": 1}) == (
        "validation/loss has not improved on 1 in the last 2 evaluations"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patience": 0}, "patience=0: give a count of at least 1"),
        ({"min_delta": -0.5}, "min_delta=-0.5: give a number of at least 0"),
        ({"min_delta": NAN}, "min_delta=nan: give a number of at least 0"),
    ],
)
def test_early_stopping_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        EarlyStopping(metric="validation/loss", **given)
    assert str(caught.value) == message


def test_stop_below() -> None:
    below = StopBelow(metric="train/loss", limit=0.02)
    assert below.watched() == "train/loss"
    assert states(below, "train/loss", [1.0, 0.02, 0.0199, NAN]) == [
        ({}, False),
        ({}, False),
        ({}, True),
        ({}, False),
    ]
    assert below.after_row({"train/loss": 0.01}, {}) == "train/loss fell below 0.02"
    assert below.after_row({"validation/loss": 0.01}, {}) is None


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["train/loss", "validation/loss"])
def test_a_loss_that_is_no_number_fails_the_run(name: str, value: float) -> None:
    with pytest.raises(Diverged) as caught:
        StopOnNaN().after_row({"train/accuracy": 0.5, name: value}, {})
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        f"{name} is {value}; try a smaller optimizer.learning_rate or +optimizer.clipnorm=1.0, or go on "
        "regardless with ~callbacks.stop_on_nan"
    )


def test_other_numbers_may_be_none() -> None:
    callback = StopOnNaN()
    assert callback.watched() is None
    assert states(callback, "validation/r2", [NAN]) == [({}, False)]
    assert states(callback, "train/loss", [1e300, 0.0]) == [({}, False)] * 2
