"""The id of a run changes with what determines its result, and with nothing else."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from runner.allowances import allowing
from runner.api import launch
from runner.config import hydra
from runner.config.compose import compose
from runner.config.hydra import id_of

REPOSITORY = Path(__file__).resolve().parents[2]
Write = Callable[[dict[str, str]], None]


@functools.cache
def run_id(*overrides: str) -> str:
    return id_of(compose(overrides))


@pytest.fixture(scope="module")
def plain() -> str:
    """The id of the default experiment."""
    return run_id()


DETERMINING = [
    ("seed=1",),
    ("model=linear",),
    ("model.hidden=[256,129]",),
    ("model.dropout=0.3",),
    ("data.batch_size=63",),
    ("data.limit=100",),
    ("data.split.seed=1",),
    ("data.split.validation=0.2",),
    ("data=breast_cancer",),
    ("task.loss.from_logits=false",),
    ("+task.metrics.top={_target_: keras.metrics.SparseTopKCategoricalAccuracy, k: 2}",),
    ("optimizer=adamw",),
    ("optimizer.learning_rate=0.002",),
    ("+optimizer.clipnorm=1",),
    ("optimizer/learning_rate=cosine",),
    ("phases.train.until.epochs=31",),
    ("phases.train.evaluate.every.epochs=2",),
    ("phases=train",),
    ("phases.evaluate.data=validation",),
    ("phases.evaluate.restore=latest",),
    ("+phases.again={_target_: runner.phases.Evaluate, data: validation}",),
    ("callbacks=early_stopping",),
    ("~callbacks.stop_on_nan",),
    ("engine.compile=xla",),
    ("engine.dtype_policy=mixed_bfloat16",),
    ("engine.deterministic=false",),
    ("engine.threads=1",),
    ("engine.limit_steps=10",),
    ("checkpoint.keys={net: model}",),
    ("checkpoint.keys={model: model}",),
    ("checkpoint.best.metric=validation/loss",),
    ("checkpoint.best.mode=min",),
    ("checkpoint.restore=latest",),
    ("checkpoint.restore=7",),
    ("checkpoint.restore=elsewhere/ckpt-7",),
]
INCIDENTAL = [
    ("name=other",),
    ("run.dir=elsewhere",),
    ("run.fresh=true",),
    ("run.max_time=1h",),
    ("checkpoint.directory=elsewhere",),
    ("checkpoint.prefix=model.ckpt",),
    ("checkpoint.max_to_keep=null",),
    ("checkpoint.keep_every_n_hours=1",),
    ("checkpoint.numbering=count",),
    ("checkpoint.every.steps=7",),
    ("checkpoint.every.steps=null", "+checkpoint.every.epochs=1"),
    ("checkpoint.best.keep=3",),
    ("checkpoint.partial=true",),
    ("checkpoint.restore=none",),
    ("tracking.log_every.steps=7",),
    ("tracking.tensorboard=true",),
    ("engine.max_chunk=7",),
    ("hydra.job.name=other",),
]


@pytest.mark.parametrize("overrides", DETERMINING, ids=" ".join)
def test_the_id_changes_with_what_determines_the_result(
    plain: str, overrides: tuple[str, ...]
) -> None:
    assert run_id(*overrides) != plain


def test_all_these_are_different_runs() -> None:
    ids = [run_id(*overrides) for overrides in DETERMINING]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("overrides", INCIDENTAL, ids=" ".join)
def test_the_id_does_not_change_with_where_and_how_often_things_are_written(
    plain: str, overrides: tuple[str, ...]
) -> None:
    assert run_id(*overrides) == plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("optimizer.learning_rate=1e-2",), ("optimizer.learning_rate=0.01",)),
        (("model.dropout=0",), ("model.dropout=0.0",)),
        (("seed=1", "model.dropout=0"), ("model.dropout=0", "seed=1")),
        (("data.split.validation=2e-1",), ("data.split.validation=0.20",)),
        (("seed=7", "data.batch_size=${seed}"), ("data.batch_size=7", "seed=7")),
        (("callbacks.stop_on_nan=null",), ("~callbacks.stop_on_nan",)),
        (("model=cnn", "model=mlp"), ()),
        (
            ("checkpoint.restore=a/ckpt-7",),
            ("checkpoint.restore=a/ckpt-7", "checkpoint.directory=b"),
        ),
        (("checkpoint.restore=7",), ("checkpoint.restore=7", "run.dir=b", "checkpoint.prefix=c")),
    ],
    ids=str,
)
def test_another_spelling_is_the_same_run(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert run_id(*one) == run_id(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Numbers of checkpoints in a directory of somebody else's.
        (("checkpoint.directory=a",), ("checkpoint.directory=b",)),
        (
            ("checkpoint.directory=a", "checkpoint.prefix=x"),
            ("checkpoint.directory=a", "checkpoint.prefix=y"),
        ),
        (("checkpoint.partial=true",), ("checkpoint.partial=false",)),
    ],
    ids=str,
)
def test_where_a_run_starts_is_part_of_it(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert run_id("checkpoint.restore=7", *one) != run_id("checkpoint.restore=7", *other)


def test_the_order_of_the_phases_is_part_of_the_run() -> None:
    first = "+phases.first={_target_: runner.phases.Evaluate, data: validation}"
    second = "+phases.second={_target_: runner.phases.Evaluate, data: test}"
    assert run_id(first, second) != run_id(second, first)


def test_how_often_rows_are_written_counts_for_a_callback_that_ends_a_phase_by_them() -> None:
    below = "+callbacks.below={_target_: runner.callbacks.StopBelow, limit: 0.1, metric: %s}"
    often, rarely = "tracking.log_every.steps=1", "tracking.log_every.steps=9"
    assert run_id(below % "train/loss", often) != run_id(below % "train/loss", rarely)
    assert run_id(below % "validation/loss", often) == run_id(below % "validation/loss", rarely)


DATA = """
from dataclasses import dataclass, field
from runner.data import Digits as Shipped

@dataclass(frozen=True, kw_only=True)
class Digits(Shipped):
    pass
"""


def test_a_class_of_the_same_name_is_another_class(write: Write, plain: str) -> None:
    write({"own_digits.py": DATA, "other_digits.py": DATA})
    with allowing(["own_digits.Digits", "other_digits.Digits"]):
        own = run_id("data._target_=own_digits.Digits")
        other = run_id("data._target_=other_digits.Digits")
    assert len({plain, own, other}) == 3


def test_the_same_in_another_process_and_directory(plain: str, workdir: Path) -> None:
    script = (
        "from runner.config.compose import compose\n"
        "from runner.config.hydra import id_of\n"
        "print(id_of(compose([])))\n"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (f"{plain}\n", "")


def test_a_launch_finds_its_id_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many paths have it in them: each time costs as much as all the rest of the config."""
    find = Mock(wraps=hydra.run_id)
    monkeypatch.setattr(hydra, "run_id", find)
    config = compose(["seed=4711"])
    launched = launch(hydra.job_part(config), config.hydra, [])
    assert launched.id in launched.experiment.checkpoint.directory
    assert find.call_count == 1
