"""Which example is dealt to which part."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from runner.data import Digits, Split
from runner.errors import Invalid

NUM_DIGITS = 1797


def digest(split: Split) -> str:
    rows = split.rows(NUM_DIGITS)
    return hashlib.sha256(b"".join(rows[part].astype("<i8").tobytes() for part in rows)).hexdigest()


def test_the_split_of_digits_never_changes() -> None:
    golden = "164daf33c60bd5adb010016e2fe70f15647d44ddc81333207368d1ffab71daaf"
    assert digest(Digits().split) == golden


def test_the_seed_of_the_split_and_no_other_changes_it() -> None:
    np.random.seed(7)
    assert digest(Split()) == digest(Split(seed=0)) != digest(Split(seed=1))


@pytest.mark.parametrize("num_examples", [6, 7, 8, 9, 10, 442, 1797, 100_003])
def test_parts_are_sorted_disjoint_and_everything(num_examples: int) -> None:
    rows = Split(validation=0.1, test=0.2, seed=3).rows(num_examples)
    assert list(rows) == ["train", "validation", "test"]
    for part in rows.values():
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    together = np.sort(np.concatenate(list(rows.values())))
    np.testing.assert_array_equal(together, np.arange(num_examples))


def test_the_test_part_does_not_depend_on_the_validation_fraction() -> None:
    few, many = (Split(validation=fraction).rows(1000) for fraction in (0.05, 0.5))
    np.testing.assert_array_equal(few["test"], many["test"])


def test_a_fraction_of_zero_leaves_the_part_out() -> None:
    assert {part: len(rows) for part, rows in Split(test=0.0).rows(10).items()} == {
        "train": 9,
        "validation": 1,
    }


@pytest.mark.parametrize(
    ("split", "num_examples", "message"),
    [
        (Split(), 2, "split.validation=0.1: that is none of 2 examples; give more"),
        (Split(test=0.01), 20, "split.test=0.01: that is none of 20 examples; give more"),
        (
            Split(validation=0.5, test=0.45),
            3,
            "split.validation=0.5: nothing of 3 examples is left to train on; give less",
        ),
        (Split(), 0, "split.validation=0.1: that is none of 0 examples; give more"),
    ],
)
def test_an_empty_part_is_refused(split: Split, num_examples: int, message: str) -> None:
    with pytest.raises(Invalid) as error:
        split.rows(num_examples)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test": 1.0}, "test=1.0: give a fraction from 0 up to, not including, 1"),
        ({"validation": -0.1}, "validation=-0.1: give a fraction from 0 up to, not including, 1"),
        ({"test": float("nan")}, "test=nan: give a fraction from 0 up to, not including, 1"),
        (
            {"validation": 0.5, "test": 0.5},
            "test=0.5: validation is 0.5: leave something to train on, give less than 0.5",
        ),
        ({"seed": -1}, "seed=-1: give 0 or more"),
    ],
)
def test_fractions_and_seed_are_checked(fields: dict[str, float], message: str) -> None:
    with pytest.raises(Invalid) as error:
        Split(**fields)  # type: ignore[arg-type]
    assert str(error.value) == message
