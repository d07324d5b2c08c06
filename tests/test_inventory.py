"""What a step touches is saved, however it is held, or the run is refused before it trains."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner import inventory, run
from runner.errors import ConfigError
from tests.test_resume import outcome, straight_and_interrupted

SOURCE = """
import keras
import tensorflow as tf

drift = []


class Held(keras.layers.Layer):
    '''Everything that a step changes here is held where tf.train.Checkpoint does not look.'''

    def __init__(self):
        super().__init__(name="held")
        self.counts = [tf.Variable(0.0, trainable=False, name="count")]
        drift[:] = [tf.Variable(0.0, trainable=False, name="drift")]
        self.generators = [tf.random.Generator.from_seed(1)]

    def call(self, x, training=False):
        if training:
            self.counts[0].assign_add(1.0)
            drift[0].assign_add(0.25)
        return x * (1 + 0.01 * self.counts[0] + drift[0]) + self.generators[0].normal(tf.shape(x))


class Drawing(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


class Counting(keras.layers.Layer):
    def __init__(self, tracked):
        super().__init__(name="counting")
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        if tracked:
            self.table = table
        self.find = lambda: table

    def call(self, x):
        self.find().insert(tf.constant([1], tf.int64), tf.reduce_sum(x)[None])
        return x


class Calling(keras.layers.Layer):
    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape)


def net(outputs, kind, **options):
    layer = {"held": Held, "drawing": Drawing, "counting": Counting, "calling": Calling}[kind]
    layers = [keras.layers.Flatten(), layer(**options), keras.layers.Dense(outputs)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])
"""


@pytest.fixture
def net(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, ...]]:
    """Overrides for a model with one such layer."""
    (workdir / "odd_model.py").write_text(SOURCE)
    (workdir / "pyproject.toml").write_text('[tool.runner]\nallow = ["odd_model.net"]\n')
    monkeypatch.syspath_prepend(str(workdir))
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "odd_model", raising=False)

    def overrides(kind: str, *others: str) -> tuple[str, ...]:
        own = ("model=own", "model._target_=odd_model.net", f"+model.kind={kind}")
        return (*own, "+model.outputs=10", *others)

    return overrides


@pytest.mark.parametrize("keys", ["null", "{net: model, opt: optimizer, step: step}"])
def test_whatever_a_step_touches_comes_back(net: Callable[..., Any], keys: str) -> None:
    # Rows where a save is: keys without progress lose the averages of those in between.
    rhythm = (f"checkpoint.keys={keys}", "tracking.log_every.steps=5")
    straight, interrupted = straight_and_interrupted([13], *net("held"), *rhythm)
    assert outcome(interrupted) == outcome(straight)


def test_random_state_in_a_kernel_is_refused(net: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as told:
        run(*net("drawing"), "engine.limit_steps=3", "run.dir=here")
    assert str(told.value) == (
        "model=odd_model.net: a step draws random numbers with RandomStandardNormal "
        "(sequential_1/drawing_1/random_normal/RandomStandardNormal), whose state no checkpoint can hold; "
        "use keras.random with a keras.random.SeedGenerator, or tf.random.Generator"
    )
    assert not Path("here/checkpoints").exists()


def test_a_table_that_is_changed_has_to_be_tracked(net: Callable[..., Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"a step changes what LookupTableInsertV2 \(.*\) works on"
    ):
        run(*net("counting", "+model.tracked=false"), "engine.limit_steps=3", "run.dir=here")
    assert run(*net("counting", "+model.tracked=true"), "engine.limit_steps=3").step == 3


def test_steps_that_call_python_are_told(
    net: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run(*net("calling"), "engine.limit_steps=3")
    assert "every step calls Python (PyFunc (" in capfd.readouterr().err


@pytest.mark.parametrize(("dropout", "is_refused"), [(0.0, False), (0.5, True)])
def test_a_recurrent_kernel_draws_only_for_its_own_dropout(
    dropout: float, is_refused: bool
) -> None:
    node = tf.compat.v1.NodeDef(op="CudnnRNNV3", name="lstm")
    for name in ("seed", "seed2"):
        node.attr[name].i = 0
    node.attr["dropout"].f = dropout
    assert inventory._draws(node) is is_refused
