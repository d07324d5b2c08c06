"""How errors read."""

from __future__ import annotations

import pytest

from runner.errors import (
    CheckpointError,
    ConfigError,
    Invalid,
    UserError,
    nearest,
    shown,
    suggestion,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (2.0, "2.0"),
        (0.001, "0.001"),
        (1e-7, "1e-07"),
        (float("inf"), "inf"),
        ("a b", "a b"),
        ([1, (None, "x")], "[1, [null, x]]"),
        ({"a": {"b": [False]}}, "{a: {b: [false]}}"),
    ],
)
def test_values_are_shown_as_they_are_written_in_a_config(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("sed", ["name", "seed"], "seed"),
        ("SEED", ["name", "seed"], "seed"),
        ("acc", ["loss", "accuracy"], "accuracy"),
        ("lr", ["rho", "learning_rate"], "learning_rate"),
        ("bs", ["seed", "batch_size"], "batch_size"),
        ("xyz", ["name", "seed"], None),
        ("l", ["loss"], None),
        ("", ["loss", "_"], None),
        ("seed", [], None),
    ],
)
def test_the_nearest_name(name: str, known: list[str], expected: str | None) -> None:
    assert nearest(name, known) == expected


def test_few_names_are_listed_as_they_come() -> None:
    names = ["train", "validation", "test"]
    assert suggestion("tst", names) == "did you mean test? known: train, validation, test"
    assert suggestion("zzz", names) == "known: train, validation, test"
    assert suggestion("zzz", []) == "none is known"
    assert suggestion("a", iter("aab")) == "did you mean a? known: a, b"


def test_of_many_names_the_nearest_are_listed_nearest_first() -> None:
    names = [f"name_{number}" for number in range(100)]
    said = suggestion("name_42", names)
    assert said.startswith("did you mean name_42? known: name_42, ")
    assert said.endswith(" and 88 more")
    assert said.count("name_") == 1 + 12


def test_one_error_carries_every_problem() -> None:
    assert ConfigError("a=1: no").problems == ["a=1: no"]
    assert str(ConfigError(["a=1: no", "b=2: no"])) == "a=1: no\nb=2: no"


def test_exit_codes() -> None:
    codes = {kind: kind.exit_code for kind in (UserError, ConfigError, CheckpointError)}
    assert codes == {UserError: 1, ConfigError: 2, CheckpointError: 3}


def test_an_invalid_value_says_where_it_stands() -> None:
    error = Invalid("split.test", None, "give a fraction")
    assert str(error) == "split.test=null: give a fraction"
    assert isinstance(error, ValueError)
