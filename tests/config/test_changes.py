"""What a changed value does to a run that has begun."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from runner.config.changes import UNSET, Change, change_from_json, changes_between
from runner.config.compose import compose
from runner.config.hydra import job_part, plain
from runner.config.obstacles import Reached
from runner.config.saved import recompose

FIRST = ("run.dir=here", "phases.train.until.epochs=4", "data.limit=640")
"""640 examples in batches of 64: 10 steps an epoch, 40 in all."""
AT_20 = Reached(step=20, epoch=2.0, phase="train")
TWO_PHASES = (
    *FIRST,
    "+phases.pretrain={_target_: runner.phases.Train, until: {steps: 10}}",
    "+phases.tune={_target_: runner.phases.Train, until: {steps: 30}}",
    "~phases.train",
    "checkpoint.best=null",
    "phases.evaluate.restore=latest",
)


@functools.cache
def first(*overrides: str) -> Any:
    return job_part(compose(overrides))


def changes(
    *overrides: str, reached: Reached = AT_20, before: tuple[str, ...] = FIRST
) -> dict[str, Change]:
    """By key, what the overrides change about a run that was launched with ``before``."""
    config = first(*before)
    now = plain(recompose(config, overrides))
    found = changes_between(plain(config), now, reached=reached)
    return {change.key: change for change in found}


def only(*overrides: str, **options: Any) -> Change:
    (change,) = changes(*overrides, **options).values()
    return change


def test_nothing_changed() -> None:
    assert changes() == {}
    assert changes("optimizer.learning_rate=1e-3", "model.dropout=0.20", "data.limit=640") == {}
    assert changes("run.max_time=2h") == {}


@pytest.mark.parametrize(
    "override",
    [
        "checkpoint.max_to_keep=1",
        "checkpoint.every.steps=7",
        "checkpoint.prefix=model",
        "checkpoint.best.keep=2",
        "tracking.log_every.steps=7",
        "tracking.tensorboard=true",
        "engine.max_chunk=7",
    ],
)
def test_what_leaves_the_id_is_harmless(override: str) -> None:
    assert only(override).kind == "harmless"


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.learning_rate=1e-4",
        "optimizer.beta_1=0.8",
        "+optimizer.clipnorm=1.0",
        "phases.train.until.epochs=5",
        "phases.train.until.steps=30",
        "phases.train.evaluate.every.epochs=2",
        "phases.evaluate.data=validation",
        "~phases.evaluate",
        "+phases.again={_target_: runner.phases.Evaluate}",
        "~callbacks.stop_on_nan",
        "data.batch_size=32",
        "model.dropout=0.3",
        "+task.metrics.top={_target_: keras.metrics.SparseTopKCategoricalAccuracy}",
        "checkpoint.best.mode=min",
        "engine.threads=1",
        "engine.compile=xla",
        "engine.deterministic=false",
        "engine.limit_steps=30",
        "optimizer/learning_rate=cosine",
    ],
)
def test_what_changes_the_id_changes_the_trajectory(override: str) -> None:
    change = only(override)
    assert (change.kind, change.reason) == ("trajectory", None)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "seed=1",
            "seed=1: the order of the examples so far came of the old one; start another run",
        ),
        (
            "name=other",
            "name=other: the run stands in a folder of its old name; move the whole run d",
        ),
        (
            "run.fresh=true",
            "run.fresh=true: resume goes on with what is there; give it to the first",
        ),
        (
            "checkpoint.restore=7",
            "checkpoint.restore=7: the run has begun, and goes on from its own",
        ),
        (
            "checkpoint.partial=true",
            "checkpoint.partial=true: the run has begun, and goes on from its",
        ),
        (
            "checkpoint.keys={net: model}",
            "checkpoint.keys={net: model}: the run's checkpoints have",
        ),
        (
            "checkpoint.directory=a",
            "checkpoint.directory=a: the run's checkpoints would not be found",
        ),
        ("model._target_=models.cnn.cnn", None),
        (
            "optimizer._target_=keras.optimizers.Lion",
            "optimizer._target_=keras.optimizers.Lion: the",
        ),
        (
            "engine.dtype_policy=float16",
            "engine.dtype_policy=float16: the run's state was made under",
        ),
    ],
)
def test_what_the_run_cannot_take_is_impossible(override: str, problem: str | None) -> None:
    if problem is None:
        found = changes("model=cnn")["model._target_"]
        problem = "model._target_=models.cnn.cnn: the run's checkpoints hold the weights of the old"
    else:
        found = only(override)
    assert found.kind == "impossible"
    assert found.problem.startswith(problem)
    assert "; " in found.problem


def test_another_run_directory_takes_its_checkpoints_along() -> None:
    found = changes("run.dir=there")
    assert {key: change.kind for key, change in found.items()} == {
        "run.dir": "impossible",
        "checkpoint.directory": "impossible",
    }


def test_every_class_in_one_go() -> None:
    found = changes("seed=1", "model.dropout=0.3", "checkpoint.max_to_keep=null")
    assert {key: (change.old, change.new, change.kind) for key, change in found.items()} == {
        "model.dropout": (0.2, 0.3, "trajectory"),
        "checkpoint.max_to_keep": (5, None, "harmless"),
        "seed": (0, 1, "impossible"),
    }


def test_a_value_that_follows_from_another_one_is_told_too() -> None:
    found = changes("data.shape=[64]")
    assert {key: change.new for key, change in found.items()} == {
        "data.shape": [64],
        "model.shape": [64],
    }


def test_what_is_harmless_alone_may_count_beside_another_change() -> None:
    below = (
        "+callbacks.below={_target_: runner.callbacks.StopBelow, metric: train/loss, limit: 0.1}"
    )
    found = changes(below, "tracking.log_every.steps=1", before=(*FIRST, "callbacks=none"))
    assert {key: change.kind for key, change in found.items()} == {
        "callbacks.below": "trajectory",
        "tracking.log_every.steps": "trajectory",
    }


def test_a_change_that_is_no_valid_config_without_the_others() -> None:
    rhythm = ("checkpoint.every.steps=null", "checkpoint.every.epochs=1")
    found = changes(*rhythm, "model.dropout=0.3")
    assert {key: change.kind for key, change in found.items()} == {
        "model.dropout": "trajectory",
        "checkpoint.every.steps": "harmless",
        "checkpoint.every.epochs": "harmless",
    }
    found = changes("phases.train.until.epochs=null", "phases.train.until.steps=30")
    assert [change.kind for change in found.values()] == ["trajectory", "trajectory"]


def test_how_a_change_reads() -> None:
    assert str(only("optimizer.learning_rate=1e-4")) == "optimizer.learning_rate: 0.001 -> 0.0001"
    assert str(only("+optimizer.clipnorm=1.0")) == "optimizer.clipnorm: not set -> 1.0"
    assert str(only("checkpoint.max_to_keep=null")) == "checkpoint.max_to_keep: 5 -> null"


@pytest.mark.parametrize(
    "override", ["+optimizer.clipnorm=1.0", "~phases.evaluate", "checkpoint.max_to_keep=null"]
)
def test_a_change_comes_back_from_run_json(override: str) -> None:
    change = only(override)
    content = change.as_json()
    assert change_from_json(content) == change
    assert ("old" in content, "new" in content) == (
        change.old is not UNSET,
        change.new is not UNSET,
    )


# --- where the phase at work ends -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "end"),
    [
        ("phases.train.until.steps=19", 19),
        ("phases.train.until.steps=20", 20),
        ("phases.train.until.epochs=1", 10),
        ("phases.train.until.epochs=2", 20),
        ("phases.train.until.epochs=0", 0),
        ("engine.limit_steps=3", 3),
    ],
)
def test_a_phase_cannot_end_where_it_has_been_already(override: str, end: int) -> None:
    found = only(override)
    assert found.kind == "impossible"
    assert found.problem == (
        f"{override}: phase train would end at its step {end}, and is at 20 already; give more, or "
        "start another run with it"
    )


@pytest.mark.parametrize("override", ["until.steps=21", "until.epochs=3", "until.epochs=9"])
def test_a_phase_can_end_later(override: str) -> None:
    assert only(f"phases.train.{override}").kind == "trajectory"


def test_a_phase_that_is_at_its_end_can_end_there_by_another_limit() -> None:
    end = Reached(step=40, epoch=4.0, phase="train")
    assert only("phases.train.until.steps=40", reached=end).kind == "trajectory"
    assert only("phases.train.until.steps=39", reached=end).kind == "impossible"
    assert only("phases.train.until.epochs=5", reached=end).kind == "trajectory"


def test_steps_of_a_phase_count_from_where_it_began() -> None:
    tuning = Reached(step=25, epoch=2.5, phase="tune", phase_start=10, done=["pretrain"])
    options = {"reached": tuning, "before": TWO_PHASES}
    assert only("phases.tune.until.steps=16", **options).kind == "trajectory"
    assert only("phases.tune.until.steps=15", **options).kind == "impossible"


def test_epochs_are_counted_in_batches_of_the_new_size() -> None:
    half = ("data.batch_size=32",)
    assert changes(*half, "phases.train.until.epochs=1")["phases.train.until.epochs"].kind == (
        "impossible"
    )
    assert changes(*half, "phases.train.until.epochs=2")["phases.train.until.epochs"].kind == (
        "trajectory"
    )


def test_a_larger_batch_can_end_the_phase_at_work() -> None:
    assert only("data.batch_size=320").problem == (
        "data.batch_size=320: phase train would end at its step 8, and is at 20 already; give more, or "
        "start another run with it"
    )
    assert only("data.batch_size=80").kind == "trajectory"


def test_epochs_of_other_data_are_not_guessed() -> None:
    found = changes("data.limit=100", "phases.train.until.epochs=3")
    assert {change.kind for change in found.values()} == {"trajectory"}


def test_a_phase_that_a_callback_ended_goes_on_only_without_it() -> None:
    before = (*FIRST, "callbacks=early_stopping")
    stopped = Reached(step=20, epoch=2.0, phase="train", stopped="validation/loss has not improved")
    options = {"reached": stopped, "before": before}
    alone = only("phases.train.until.epochs=9", **options)
    assert alone.problem == (
        "phases.train.until.epochs=9: phase train ended at step 20: validation/loss has not improved; "
        "change or drop the callback that ended it as well"
    )
    for other in ("callbacks.early_stopping.patience=9", "~callbacks.early_stopping"):
        kinds = {
            one.kind for one in changes("phases.train.until.epochs=9", other, **options).values()
        }
        assert kinds == {"trajectory"}


# --- the order of the phases -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "key", "reason"),
    [
        ("~phases.pretrain", "phases.pretrain", "phase pretrain is over; leave it as it was"),
        ("phases.pretrain.until.steps=50", "phases.pretrain.until.steps", "phase pretrain is over"),
        ("phases.tune=null", "phases.tune", "phase tune has begun; leave it in its place"),
        (
            "phases.tune._target_=runner.phases.Evaluate",
            "phases.tune._target_",
            "phase tune has begun",
        ),
        ("phases=train", "phases.train", "it would stand in front of tune, which has begun"),
    ],
)
def test_phases_that_are_over_or_at_work_stay(override: str, key: str, reason: str) -> None:
    tuning = Reached(step=25, epoch=2.5, phase="tune", phase_start=10, done=["pretrain"])
    more = ("~phases.tune.until",) if "_target_" in override else ()
    found = changes(override, *more, reached=tuning, before=TWO_PHASES)
    assert found[key].kind == "impossible"
    assert str(found[key].reason).startswith(reason)


def reordered(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**config, "phases": {name: config["phases"][name] for name in names}}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("train", "two", "one", "evaluate"), "trajectory"),
        (("one", "train", "evaluate", "two"), "impossible"),
    ],
)
def test_phases_ahead_may_change_places(names: tuple[str, ...], kind: str) -> None:
    evaluations = [
        f"+phases.{name}={{_target_: runner.phases.Evaluate}}" for name in ("one", "two")
    ]
    config = plain(first(*FIRST, *evaluations))
    before = reordered(config, "train", "one", "two", "evaluate")
    (change,) = changes_between(before, reordered(config, *names), reached=AT_20)
    assert (change.key, change.new, change.kind) == ("phases", list(names), kind)


def test_a_run_that_has_saved_nothing_has_no_phase_to_keep() -> None:
    nothing = Reached()
    assert only("phases.train.until.steps=1", reached=nothing).kind == "trajectory"
    assert {one.kind for one in changes("phases=evaluate", reached=nothing).values()} == {
        "trajectory"
    }
