"""Chunks of steps against steps done by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.random import Algorithm

from runner import run
from runner.autotune import _Time
from runner.data import ArraySource
from runner.data.pipeline import Pipelines, chunk_spec
from runner.engine.engine import Chunk, Engine
from runner.errors import ConfigError
from runner.tasks.steps import SupervisedSteps


def steps() -> SupervisedSteps:
    return SupervisedSteps(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )


def source() -> ArraySource:
    generator = np.random.default_rng(0)
    return ArraySource(generator.random([22, 3], np.float32), np.arange(22) % 4, np.arange(22))


class Fixture:
    """A model with regularization and dropout, an engine for it, and its data."""

    def __init__(self, compile: str = "graph", *, regularize: float = 0.01) -> None:
        keras.utils.set_random_seed(1)
        self.model = keras.Sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(regularize)),
                keras.layers.Dropout(0.5, seed=3),
                keras.layers.Dense(4),
            ]
        )
        self.optimizer = keras.optimizers.Adam(0.01)
        self.optimizer.build(self.model.trainable_variables)
        self.data = Pipelines(sources={"train": source()}, batch_size=4, seed=0, max_chunk=3)
        self.training = steps()
        self.engine = Engine(
            compile,
            model=self.model,
            optimizer=self.optimizer,
            training=self.training,
            evaluation=steps(),
            chunk_spec=chunk_spec(source(), batch_size=4),
        )
        self.engine.build()

    def train(self, *spans: tuple[int, int]) -> None:
        for chunk in self.data.training("train", offset=0, spans=spans):
            self.engine.train(chunk)

    def bits(self) -> list[bytes]:
        variables = [*self.model.variables, *self.optimizer.variables]
        return [np.asarray(variable).tobytes() for variable in variables]


def test_building_does_no_step() -> None:
    fixture = Fixture()
    before = fixture.bits()
    fixture.engine.build()
    assert fixture.bits() == before
    assert int(fixture.optimizer.iterations) == 0


def test_bits_do_not_depend_on_chunks() -> None:
    whole, single, uneven = Fixture(), Fixture(), Fixture()
    whole.train((0, 9))
    single.train(*((step, step + 1) for step in range(9)))
    uneven.train((0, 2), (2, 7), (7, 9))
    assert whole.bits() == single.bits() == uneven.bits()
    assert int(whole.optimizer.iterations) == 9
    metrics = [one.engine.read_training_metrics() for one in (whole, single, uneven)]
    assert metrics[0] == metrics[1] == metrics[2]


def test_a_chunk_can_be_done_in_parts() -> None:
    whole, parts = Fixture(), Fixture()
    whole.train((0, 9))
    (chunk,) = parts.data.training("train", offset=0, spans=[(0, 9)])
    for first, last in ((0, 2), (2, 3), (3, 9)):
        parts.engine.train(chunk, first=first, last=last)
    assert whole.bits() == parts.bits()


@pytest.mark.parametrize("compile", ["graph", "xla", "eager"])
def test_metrics_read_on_the_way_do_not_depend_on_where_a_call_ends(compile: str) -> None:
    whole, parts = Fixture(compile), Fixture(compile)
    (chunk,) = whole.data.training("train", offset=0, spans=[(0, 9)])
    found = whole.engine.train(chunk, reads=[1, 2, 6])
    expected = []
    for first, last, reads in ((0, 2, [1]), (2, 5, [2]), (5, 9, [6])):
        expected += parts.engine.train(chunk, first=first, last=last, reads=reads)
    assert found == expected
    assert len({values["loss"] for values in found}) == 3
    assert whole.bits() == parts.bits()
    # The rest is an average of its own.
    assert whole.engine.read_training_metrics() == parts.engine.read_training_metrics()


def test_the_loss_of_a_save_is_that_of_the_steps_since_the_last_read() -> None:
    fixture = Fixture()
    (chunk,) = fixture.data.training("train", offset=0, spans=[(0, 9)])
    fixture.engine.train(chunk, last=4)
    assert fixture.engine.training_loss() == float(fixture.training.mean_loss.result()) > 0
    fixture.engine.train(chunk, first=4, reads=[8])
    assert fixture.engine.training_loss() == 0


def test_a_metric_of_many_numbers_is_refused_by_its_name() -> None:
    fixture = Fixture()
    fixture.training.metrics.append(keras.metrics.F1Score(name="f1"))
    fixture.training.metrics[-1].update_state(np.eye(4)[:2], np.eye(4)[:2])
    with pytest.raises(ConfigError, match=r"task.metrics.f1: gives \[4\] numbers, and a row takes"):
        Engine.build(fixture.engine.recompiled("graph"))


def test_metrics_read_on_the_way_are_those_read_behind_a_call() -> None:
    within, behind = Fixture(), Fixture()
    (chunk,) = within.data.training("train", offset=0, spans=[(0, 9)])
    (found,) = within.engine.train(chunk, last=4, reads=[3])
    assert behind.engine.train(chunk, last=4) == []
    assert behind.engine.read_training_metrics() == found


@pytest.mark.parametrize("compile", ["graph", "xla", "eager"])
def test_every_mode_trains(compile: str) -> None:
    fixture = Fixture(compile)
    before = fixture.bits()
    fixture.train((0, 3))
    assert fixture.bits() != before
    assert set(fixture.engine.read_training_metrics()) == {"loss", "accuracy"}


def test_one_trace_serves_chunks_of_any_length() -> None:
    fixture = Fixture()
    for spans in ([(0, 1), (1, 4)], [(4, 9)]):
        fixture.train(*spans)
        fixture.engine.read_training_metrics()
        fixture.engine.evaluate(fixture.data.evaluation("train"))
    traces = [function.experimental_get_tracing_count() for function in fixture.engine.functions]
    assert traces == [1, 1, 1, 1]


def test_a_run_goes_into_tensorflow_once_a_chunk_and_not_for_its_rows(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Engine] = []
    called: Counter[str] = Counter()
    build = Engine.build

    def counted(engine: Engine) -> None:
        build(engine)
        engines.append(engine)
        for name in ("_train", "_evaluate", "_read_training", "_read_evaluation"):
            monkeypatch.setattr(engine, name, _counting(called, name, getattr(engine, name)))

    monkeypatch.setattr(Engine, "build", counted)
    monkeypatch.setattr("runner.phases.train._CALL_S", 1e6)  # However slow the machine is.
    steps = "phases.train.until={steps: 200, epochs: null}"
    often = ("tracking.log_every.steps=5", "phases.train.evaluate.every={steps: 100, epochs: null}")
    run("phases=train", "engine.compile=graph", steps, *often)
    # Chunks end at 16, 48, 112 and 200, the first call is of one step, and an evaluation falls on 100.
    assert called == {"_train": 6, "_evaluate": 2, "_read_evaluation": 2}
    (engine,) = engines
    traces = [function.experimental_get_tracing_count() for function in engine.functions]
    assert traces == [1, 1, 1, 1]


def _counting(called: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        called[name] += 1
        return function(*arguments)

    return counted


def test_xla_sees_chunks_of_one_size_and_does_not_count_the_room() -> None:
    roomy, tight = Fixture("xla"), Fixture("xla")
    roomy.data = replace(roomy.data, room=5)
    spans = [(0, 1), (1, 4), (4, 9)]
    chunks = roomy.data.training("train", offset=0, spans=spans)
    assert [(int(one["last"]), len(one["x"])) for one in chunks] == [(1, 5), (3, 5), (5, 5)]
    roomy.train(*spans)
    tight.train(*spans)
    assert roomy.bits() == tight.bits()
    assert int(roomy.optimizer.iterations) == 9
    assert len({len(one["x"]) for one in roomy.data.evaluation("train")}) == 1


def test_xla_sees_evaluations_of_one_size(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever split, and of the trial by which XLA is chosen: it compiles for each size anew."""
    sizes: list[int] = []
    evaluate = Engine.evaluate

    def watched(engine: Engine, chunks: Iterable[Chunk]) -> dict[str, float]:
        gathered = list(chunks)
        if engine.compile == "xla":
            sizes.extend(len(chunk["weight"]) for chunk in gathered)
        return evaluate(engine, gathered)

    monkeypatch.setattr(Engine, "evaluate", watched)
    monkeypatch.setattr("runner.autotune._pays", lambda *_, **__: True)
    times = {"graph": 2.0, "xla": 1.0}
    monkeypatch.setattr(
        "runner.autotune._time",
        lambda engine, *_, **__: _Time(one_s=1.0, step_s=times[engine.compile]),
    )
    run("model.hidden=[8]", "phases.train.until={steps: 4, epochs: null}")
    assert len(sizes) == 3
    assert len({*sizes}) == 1


def test_random_layers_draw_by_the_generator_that_is_fast_where_they_are_compiled() -> None:
    before = tf.nn.experimental.stateless_dropout
    found = {mode: _generators(Fixture(mode).engine) for mode in ("graph", "xla")}
    assert found == {"graph": {Algorithm.AUTO_SELECT.value}, "xla": {Algorithm.THREEFRY.value}}
    assert tf.nn.experimental.stateless_dropout is before


def _generators(engine: Engine) -> set[int]:
    """The algorithms that the ops of a training chunk draw by."""
    graph = engine.graphs[0].as_graph_def()
    functions = [[*function.node_def] for function in graph.library.function]
    found = set()
    for nodes in [[*graph.node], *functions]:
        named = {node.name: node for node in nodes}
        for node in nodes:
            if node.op == "StatelessRandomUniformV2":
                constant = named[node.input[3].partition(":")[0]]
                found.add(int(tf.make_ndarray(constant.attr["value"].tensor)))
    return found


def test_evaluation_is_the_mean_over_examples_and_changes_nothing() -> None:
    fixture = Fixture(regularize=0.0)
    fixture.train((0, 3))
    before = fixture.bits()
    in_progress = [np.asarray(v).tobytes() for m in fixture.training.metrics for v in m.variables]
    found = fixture.engine.evaluate(fixture.data.evaluation("train"))
    assert fixture.bits() == before
    assert in_progress == [
        np.asarray(v).tobytes() for m in fixture.training.metrics for v in m.variables
    ]
    examples = source().take(np.arange(22))
    logits = fixture.model(examples["x"], training=False)
    right = np.argmax(logits, axis=1) == examples["y"]
    # 22 examples in batches of 4: the last one is padded, and padding must not count.
    assert found["accuracy"] == float(np.float32(right.sum()) / np.float32(22))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(examples["y"], logits).numpy()
    np.testing.assert_allclose(found["loss"], losses.astype(np.float64).mean(), rtol=1e-6)


def test_the_loss_includes_the_models_own() -> None:
    plain, regularized = Fixture(regularize=0.0), Fixture(regularize=1.0)
    penalty = float(tf.add_n(regularized.model.losses))
    losses = [
        fixture.engine.evaluate(fixture.data.evaluation("train"))["loss"]
        for fixture in (plain, regularized)
    ]
    np.testing.assert_allclose(losses[1] - losses[0], penalty, rtol=1e-5)


def test_reading_the_metrics_starts_a_new_average() -> None:
    fixture = Fixture()
    fixture.train((0, 2))
    first = fixture.engine.read_training_metrics()
    fixture.train((2, 4))
    other = Fixture()
    other.train((0, 2))
    assert other.engine.read_training_metrics() == first
    other.train((2, 4))
    assert other.engine.read_training_metrics() == fixture.engine.read_training_metrics()
