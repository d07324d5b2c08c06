"""The config of checkpoints refuses what cannot work, and counts as it says."""

from __future__ import annotations

from typing import Any

import pytest

from runner.checkpoint.spec import Best, CheckpointSpec
from runner.errors import Invalid


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("max_to_keep", 0, "give a count, or null to keep all"),
        ("max_to_keep", -1, "give a count, or null to keep all"),
        ("keep_every_n_hours", 0.0, "give a count, or null to keep all"),
        ("numbering", -1, "give a number of at least 0"),
        ("restore", -5, "give a number of at least 0"),
        ("prefix", "a/b", "contains /; give a plain name, such as ckpt"),
        ("prefix", "run[1]*", "contains * [ ]; give a plain name, such as ckpt"),
        ("prefix", "", "is taken or empty; give a plain name, such as ckpt"),
        ("prefix", "..", "is taken or empty; give a plain name, such as ckpt"),
        ("prefix", "x" * 151, "is too long for the names of files; give a short one, such as ckpt"),
        ("keys", {}, "name at least one, such as {model: model}"),
    ],
)
def test_what_cannot_work_is_refused(field: str, value: Any, reason: str) -> None:
    with pytest.raises(Invalid) as told:
        CheckpointSpec(directory="here", **{field: value})
    assert (told.value.field, told.value.value, told.value.reason) == (field, value, reason)


@pytest.mark.parametrize(
    ("keys", "field", "reason"),
    [
        ({"net": "modle.a"}, "keys.net", "no such part; did you mean model?"),
        (
            {"my net": "model"},
            "keys.my net",
            "give a name that tf.train.Checkpoint(name=...) takes",
        ),
        ({"save_counter": "step"}, "keys.save_counter", "give a name that tf.train.Checkpoint"),
    ],
)
def test_keys_that_cannot_work_are_refused(keys: dict[str, str], field: str, reason: str) -> None:
    with pytest.raises(Invalid) as told:
        CheckpointSpec(directory="here", keys=keys)
    assert told.value.field == field
    assert told.value.reason.startswith(reason)


def test_a_best_of_none_is_refused() -> None:
    with pytest.raises(Invalid, match="keep=0: give a count of at least 1"):
        Best(metric="validation/loss", keep=0)


@pytest.mark.parametrize(
    ("numbering", "number"), [("step", 500), ("epoch", 3), ("count", 7), (100, 100), (0, 0)]
)
def test_numbers(numbering: Any, number: int) -> None:
    spec = CheckpointSpec(directory="here", numbering=numbering)
    assert spec.number(step=500, epoch=3, count=7) == number


def test_better_is_more_or_less() -> None:
    assert Best(metric="a").better(0.2, than=0.1)
    assert not Best(metric="a").better(0.1, than=0.1)
    assert Best(metric="a", mode="min").better(0.1, than=0.2)
