"""A state that was taken is written later to the bytes that it had, whatever has become of it since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from models.gpt import gpt
from models.mlp import mlp
from runner.checkpoint.snapshot import Snapshots
from runner.state import State
from tests.chaos.odd_models import Listed, normed, recurrent

Step = Callable[[], None]


class Counting(keras.Model):
    """Counts what it sees in a table, and draws from a generator of TensorFlow's own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        self.generator = tf.random.Generator.from_seed(1)
        self.flatten, self.dense = layers.Flatten(), layers.Dense(3)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        self.table.insert(self.generator.uniform_full_int([1], tf.int64), tf.reduce_sum(x)[None])
        return self.dense(self.flatten(x))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "dropout": lambda: mlp(shape=[4, 4], outputs=3, hidden=[8]),
    "normalization": lambda: normed(shape=[4, 4], outputs=3),
    "recurrence": lambda: recurrent(shape=[4, 4], outputs=3),
    "layers in a list": lambda: Listed(shape=[4, 4], outputs=3),
    "a table and a generator": Counting,
}
OPTIMIZERS: dict[str, Callable[[], keras.Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(0.1, use_ema=True, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)),
}


def training(
    model: keras.Model, optimizer: keras.Optimizer, x: tf.Tensor, *, compiled: bool
) -> tuple[tf.train.Checkpoint, Step]:
    """All of the state, and a step that changes all of it."""
    model(x)
    optimizer.build(model.trainable_variables)
    state = State(model=model, optimizer=optimizer, metrics=[])
    progress = state.progress

    @tf.function(autograph=False, jit_compile=compiled or None)
    def update() -> None:
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(tf.reduce_mean(model(x, training=True) ** 2))
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        progress.step.assign_add(1)

    def step() -> None:
        update()
        progress.record.rows += 1

    parts = state.parts({"model": "model", "optimizer": "optimizer", "progress": "progress"})
    checkpoint = tf.train.Checkpoint(**parts)
    checkpoint.save_counter.assign(0)  # It comes into being when it is first asked for.
    return checkpoint, step


def check(checkpoint: tf.train.Checkpoint, step: Step, directory: Path) -> None:
    snapshots = Snapshots(checkpoint)
    step()
    snapshots.take(directory / "first")()
    for number in (1, 2):
        step()
        checkpoint.save_counter.assign_add(1)
        write = snapshots.take(directory / f"taken-{number}")
        checkpoint.write(str(directory / f"plain-{number}"))
        step()
        checkpoint.save_counter.assign_add(1)
        step()
        write()
        for ending in ("data-00000-of-00001", "index"):
            taken, plain = (directory / f"{one}-{number}.{ending}" for one in ("taken", "plain"))
            assert taken.read_bytes() == plain.read_bytes() != b""
    files = {path.name.partition("-")[0] for path in directory.iterdir()}
    assert files == {"first.data", "first.index", "taken", "plain"}
    data = [directory / f"plain-{number}.data-00000-of-00001" for number in (1, 2)]
    assert data[0].read_bytes() != data[1].read_bytes(), "the steps change nothing"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_what_was_taken_is_written_to_the_bytes_that_tensorflow_writes(
    tmp_path: Path, model: str, optimizer: str
) -> None:
    keras.utils.set_random_seed(1)
    x = tf.random.stateless_normal([8, 4, 4], seed=[1, 2])
    check(*training(MODELS[model](), OPTIMIZERS[optimizer](), x, compiled=False), tmp_path)


def test_also_where_xla_computes(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    x = tf.random.stateless_normal([8, 4, 4], seed=[1, 2])
    model, optimizer = MODELS["normalization"](), OPTIMIZERS["adam"]()
    check(*training(model, optimizer, x, compiled=True), tmp_path)


def test_also_rows_of_an_embedding_that_are_changed_in_place(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = gpt(shape=[4], outputs=5, width=8, depth=1, heads=2)
    tokens = tf.constant([[0, 1, 2, 3]], tf.int32)
    check(*training(model, keras.optimizers.SGD(0.1), tokens, compiled=False), tmp_path)


def test_any_directory_name_will_do(tmp_path: Path) -> None:
    directory = tmp_path / "run=[ab]*?{x} späß"
    directory.mkdir()
    x = tf.random.stateless_normal([8, 4, 4], seed=[1, 2])
    check(*training(MODELS["dropout"](), OPTIMIZERS["adam"](), x, compiled=False), directory)


def test_what_is_not_understood_is_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor of an object that nothing leads to any more."""
    value, other = tf.Variable([1.0]), tf.Variable([5.0])
    checkpoint = tf.train.Checkpoint(value=value, other=other)
    monkeypatch.setattr(
        tf.train.CheckpointView, "match", lambda view, root: {0: root, 1: root.value}
    )
    snapshots = Snapshots(checkpoint)
    for number in (1, 2):
        value.assign([float(number)])
        write = snapshots.take(tmp_path / f"ckpt-{number}")
        value.assign([-1.0])
        write()
        reader: Any = tf.train.load_checkpoint(str(tmp_path / f"ckpt-{number}"))
        assert reader.get_tensor("value/.ATTRIBUTES/VARIABLE_VALUE") == number
        assert reader.get_tensor("other/.ATTRIBUTES/VARIABLE_VALUE") == 5
