"""The parts of the state, by the names that a config gives them, and nothing left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from models.mlp import mlp
from runner.errors import ConfigError
from runner.state import Progress, Record, SavedRecord, State


def state(
    model: keras.Model | None = None, optimizer: keras.Optimizer | None = None, **build: Any
) -> State:
    model = model or mlp(shape=[8, 8], outputs=10, hidden=[4, 4])
    optimizer = optimizer or keras.optimizers.Adam(0.1)
    optimizer.build(model.trainable_variables)
    return State(model=model, optimizer=optimizer, metrics=build.get("metrics", []))


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session(free_memory=False)


def test_parts_by_name() -> None:
    here = state()
    keys = {"net": "model", "opt": "optimizer", "progress": "progress", "step": "step"}
    assert here.parts(keys) == {
        "net": here.model,
        "opt": here.optimizer,
        "progress": here.progress,
        "step": here.progress.step,
    }


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("model.logits", lambda here: here.model.get_layer("logits")),
        ("model.logits.kernel", lambda here: here.model.get_layer("logits").kernel),
        ("model.dense_1.bias", lambda here: here.model.get_layer("dense_1").bias),
        ("optimizer.iterations", lambda here: here.optimizer.iterations),
        ("optimizer.learning_rate", lambda here: here.optimizer._learning_rate),
        ("progress.step", lambda here: here.progress.step),
        ("progress.untracked", lambda here: here.progress.untracked),
    ],
)
def test_something_inside_a_part(path: str, wanted: Callable[[State], Any]) -> None:
    here = state()
    assert here.parts({"key": path})["key"] is wanted(here)


def test_a_layer_with_dots_in_its_name() -> None:
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="block")(inputs)
    x = layers.Dense(4, name="block.conv.1")(x)
    model = keras.Model(inputs, layers.Dense(4, name="block.conv")(x))
    parts = state(model).parts({"a": "model.block.conv.1", "b": "model.block.conv.1.kernel"})
    assert parts["a"] is model.get_layer("block.conv.1")
    assert parts["b"] is model.get_layer("block.conv.1").kernel
    assert state(model).parts({"c": "model.block.conv"})["c"] is model.get_layer("block.conv")


def test_attributes_and_nested_models() -> None:
    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="inner")])
            self.head = layers.Dense(2, name="logits")
            self.scale = tf.Variable(1.0)

        def call(self, x: Any) -> Any:
            return self.head(self.body(x)) * self.scale

    model = Net()
    model(tf.zeros([1, 4]))
    here = state(model)
    paths = ["model.head", "model.logits", "model.body.inner", "model.scale"]
    parts = here.parts({f"key{n}": path for n, path in enumerate(paths)})
    wanted = [model.head, model.head, model.body.get_layer("inner"), model.scale]
    assert all(part is one for part, one in zip(parts.values(), wanted, strict=True))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "model.logit",
            "checkpoint.keys.net=model.logit: model has no 'logit'; did you mean logits? known: inputs, "
            "flatten, dense_1, dropout_1, dense_2, dropout_2, logits",
        ),
        (
            "model.logits.weight",
            "checkpoint.keys.net=model.logits.weight: model.logits has no 'weight'; known: kernel, bias",
        ),
        ("optimizer.itertions", "did you mean iterations?"),
        (
            "step.value",
            "checkpoint.keys.net=step.value: step has no 'value'; none is known",
        ),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(path: str, message: str) -> None:
    with pytest.raises(ConfigError) as told:
        state().parts({"net": path})
    assert message in str(told.value)


# --- what tf.train.Checkpoint does not reach -----------------------------------------------------------


class Blocks(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="blocks")
        self.blocks = [layers.Dense(4, name="a"), layers.BatchNormalization(name="norm")]
        self.out = layers.Dense(2, name="out")

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.blocks:
            x = layer(x)
        return self.out(x)


def blocks() -> keras.Model:
    model = Blocks()
    model(tf.zeros([1, 4]))
    return model


def reached(parts: dict[str, Any]) -> set[int]:
    root = tf.train.Checkpoint(**parts)
    return {id(part) for part in tf.train.TrackableView(root).descendants()}


@pytest.mark.parametrize("build", [mlp, blocks])
def test_every_variable_is_reached(build: Callable[..., keras.Model]) -> None:
    options = {"shape": [8, 8], "outputs": 10} if build is mlp else {}
    metrics = [keras.metrics.Mean(name="loss"), keras.metrics.AUC(name="auc", num_thresholds=3)]
    here = state(build(**options), metrics=metrics)
    kept = reached(here.parts({"m": "model", "o": "optimizer", "p": "progress"}))
    owned = [*here.model.variables, *here.optimizer.variables]
    assert all(id(variable) in kept for variable in owned)
    assert all(id(variable) in kept for metric in metrics for variable in metric.variables)


def test_seed_generators_are_kept_by_path() -> None:
    untracked = state().progress.untracked
    assert list(untracked) == [
        "seed_generator/seed_generator_state",
        "seed_generator_1/seed_generator_state",
    ]


def test_layers_in_lists_are_kept_though_an_optimizer_reaches_some_of_them() -> None:
    here = state(blocks())
    names = [
        "a/kernel",
        "a/bias",
        "norm/gamma",
        "norm/beta",
        "norm/moving_mean",
        "norm/moving_variance",
    ]
    assert list(here.progress.untracked) == [f"blocks/{name}" for name in names]
    kept = reached(here.parts({"model": "model", "progress": "progress"}))
    assert all(id(weight) in kept for weight in here.model.weights)


@pytest.mark.parametrize("build", [mlp, blocks])
def test_keys_without_progress_lose_nothing_of_the_model(
    build: Callable[..., keras.Model],
) -> None:
    options = {"shape": [8, 8], "outputs": 10} if build is mlp else {}
    here = state(build(**options))
    parts = here.parts({"net": "model", "opt": "optimizer"})
    assert list(parts) == ["net", "opt", "untracked"]
    kept = reached(parts)
    assert all(id(variable) in kept for variable in here.model.variables)
    assert here.can_lack_untracked is (build is mlp)


def test_only_random_state_can_be_lacking() -> None:
    count = tf.Variable(0.0, trainable=False, name="count")
    model = mlp(shape=[8, 8], outputs=10)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    here = State(model=model, optimizer=optimizer, metrics=[], touched=[count])
    assert "count" in here.progress.untracked
    assert not here.can_lack_untracked


def test_keys_that_name_no_model_get_no_other_one() -> None:
    assert list(state().parts({"head": "model.logits"})) == ["head"]
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert list(state(plain).parts({"net": "model"})) == ["net"]


def test_the_global_seed_generator_is_kept_once_something_uses_it() -> None:
    class Noisy(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="noisy")
            self.out = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.out(x) + keras.random.normal((1, 2))

    assert state(keras.Sequential([keras.Input((4,)), layers.Dense(2)])).progress.untracked == {}
    model = Noisy()
    model(tf.zeros([1, 4]))
    (seed,) = state(model).progress.untracked.values()
    before = seed.numpy().tolist()
    first = model(tf.zeros([1, 4])).numpy()
    assert seed.numpy().tolist() != before
    seed.assign(before)
    assert model(tf.zeros([1, 4])).numpy().tobytes() == first.tobytes()


def test_variables_that_share_a_path_are_numbered() -> None:
    metrics = [keras.metrics.Mean(name="loss"), keras.metrics.Mean(name="loss")]
    assert list(state(metrics=metrics).progress.metrics) == [
        "loss/total",
        "loss/count",
        "loss/total#1",
        "loss/count#1",
    ]


# --- where the run stands ---------------------------------------------------------------------------------


def test_the_step_is_a_number() -> None:
    here = state()
    here.progress.step.assign(2**40)
    assert here.step == 2**40


def test_a_record_comes_back_from_its_text() -> None:
    saved, restored = SavedRecord(), SavedRecord()
    saved.value = Record(
        phase="train",
        phase_start=3,
        done=["warmup"],
        rows=7,
        saves=2,
        stopped="no gain",
        callbacks={"early": {"best": float("nan"), "since": 1}},
    )
    restored.deserialize(saved.serialize().encode())
    assert restored.serialize() == saved.serialize()


def test_an_older_record_has_the_fields_that_it_lacks_at_their_beginning() -> None:
    restored = SavedRecord()
    restored.deserialize('{"phase": "train", "rows": 3}')
    assert restored.value == Record(phase="train", rows=3)


def test_a_newer_record_is_refused() -> None:
    restored = SavedRecord()
    with pytest.raises(ValueError, match="the progress holds mood, which this version"):
        restored.deserialize('{"mood": "good"}')
    assert restored.value == Record()


def test_a_phase_begins_without_the_memory_of_the_one_before() -> None:
    record = Record(phase="warmup", stopped="enough", callbacks={"early": {"since": 3}}, rows=4)
    record.begin("train", step=10)
    assert record == Record(phase="train", phase_start=10, rows=4)


def test_another_runs_place_is_taken_over_but_not_its_history() -> None:
    other = Record(phase="train", phase_start=5, done=["warmup"], rows=9, saves=4, stopped="x")
    assert Record.continuing(other) == Record(phase="train", phase_start=5, saves=4)


def test_progress_is_what_the_format_says() -> None:
    """These names stand in every checkpoint ever saved."""
    children = tf.train.TrackableView.children(Progress())
    assert sorted(children) == ["_record", "metrics", "step", "untracked"]
