"""Builds what an experiment names: everything, before anything is restored."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from runner.config import Experiment
from runner.data import Head, Source, validate
from runner.data.pipeline import Pipelines, chunk_limit, chunk_spec
from runner.engine import numerics
from runner.engine.engine import Engine
from runner.errors import ConfigError, Invalid
from runner.inventory import Inventory
from runner.state import State


@dataclass(frozen=True, kw_only=True)
class Built:
    """The live objects of an experiment."""

    state: State
    engine: Engine
    data: Pipelines


def build(experiment: Experiment, *, threads: int) -> Built:
    """Sets the numerics, then builds data, model, optimizer, metrics and engine.

    Raises:
        ConfigError: something cannot be built, or model, task and data do not fit together.
        DataError: the data cannot be had.
    """
    numerics.apply(experiment.engine, threads=threads, seed=experiment.seed)
    sources = _load(experiment)
    spec = chunk_spec(sources["train"], batch_size=experiment.data.batch_size)
    data = Pipelines(
        sources=sources,
        batch_size=experiment.data.batch_size,
        seed=experiment.seed,
        max_chunk=chunk_limit(spec, most=experiment.engine.max_chunk),
    )
    model = _model(experiment, spec)
    optimizer = experiment.optimizer.build()
    if not isinstance(optimizer, keras.Optimizer):
        kind = type(optimizer).__name__
        raise ConfigError(
            f"optimizer={experiment.optimizer.name}: gives a {kind}, not a Keras optimizer"
        )
    if experiment.engine.dtype_policy == "mixed_float16":
        # As Keras's own compile() does: small gradients would be 0 in this type.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    engine = Engine(
        experiment.engine,
        model=model,
        optimizer=optimizer,
        training=experiment.task.build(),
        evaluation=experiment.task.build(),
        chunk_spec=spec,
    )
    _trace(engine, experiment, spec)
    state = _state(experiment, engine, model=model, optimizer=optimizer)
    return Built(state=state, engine=engine, data=data)


def _load(experiment: Experiment) -> dict[str, Source]:
    try:
        sources = experiment.data.load()
        validate(sources, experiment.data)
    except Invalid as error:
        raise ConfigError(f"data.{error}") from error
    if experiment.data.limit is not None:
        sources["train"] = Head(sources["train"], experiment.data.limit)
    return sources


def _model(experiment: Experiment, spec: dict[str, tf.TensorSpec]) -> keras.Model:
    model = experiment.model.build()
    if not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise ConfigError(f"model={experiment.model.name}: gives a {kind}, not a keras.Model")
    x = spec["x"]
    # Zeros rather than shapes alone: a subclassed model makes its weights when it is called.
    example = tf.zeros([1, *x.shape[2:]], x.dtype)
    try:
        model(example, training=False)
    except Exception as error:
        raise ConfigError(_misfit(experiment, spec, error)) from error
    return model


def _state(
    experiment: Experiment, engine: Engine, *, model: keras.Model, optimizer: keras.Optimizer
) -> State:
    """All that the next step depends on, proved complete against what a step touches."""
    inventory = Inventory(engine.graphs)
    state = State(
        model=model,
        optimizer=optimizer,
        metrics=engine.training_metrics,
        touched=inventory.variables,
        passing=engine.passing,
    )
    problems = inventory.problems(kept=state.objects)
    if problems:
        raise ConfigError([f"model={experiment.model.name}: {problem}" for problem in problems])
    inventory.tell_python()
    return state


def _trace(engine: Engine, experiment: Experiment, spec: dict[str, tf.TensorSpec]) -> None:
    try:
        engine.build()
    except Exception as error:
        raise ConfigError(_misfit(experiment, spec, error)) from error


def _misfit(experiment: Experiment, spec: dict[str, tf.TensorSpec], error: Exception) -> str:
    shapes = ", ".join(
        f"{name} {value.dtype.name} {list(value.shape[1:])}" for name, value in spec.items()
    )
    reason = " ".join(str(error).split())
    return (
        f"model={experiment.model.name} does not go with this data and task: "
        f"{type(error).__name__}: {reason}; a batch is {shapes}"
    )
