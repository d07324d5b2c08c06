"""Builds what an experiment names: everything, before anything is restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import tensorflow as tf

from runner.config import Experiment
from runner.data import load
from runner.data.pipeline import Pipelines, chunk_limit, chunk_spec
from runner.engine import numerics
from runner.engine.engine import Engine
from runner.engine.spec import Compile
from runner.errors import ConfigError
from runner.inventory import Inventory
from runner.phases import Train
from runner.state import State


@dataclass(frozen=True, kw_only=True)
class Built:
    """The live objects of an experiment."""

    state: State
    engine: Engine
    data: Pipelines
    inventory: Inventory
    plan: Plan
    threads: int
    """Within an op."""

    def compiled(self, compile: Compile) -> Built:
        """The same, with its steps compiled in another way."""
        engine = self.engine.recompiled(compile)
        engine.build()
        return replace(self, engine=engine, data=_for(compile, self.data, self.plan))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the phases of an experiment come to."""

    num_steps: int
    """Of all train phases."""
    longest_chunk: int
    """The most steps that are read at once."""
    split: str
    """What the first train phase trains on."""
    evaluated: Sequence[str]
    """The splits that are evaluated, the first one first."""


def read(experiment: Experiment) -> Pipelines:
    """Sets what numerics a config says, then reads the data. TensorFlow has computed nothing yet.

    Raises:
        ConfigError: the data do not go with the config.
        DataError: the data cannot be had.
    """
    numerics.apply(experiment.engine, seed=experiment.seed)
    sources = load(experiment.data)
    spec = chunk_spec(sources["train"], batch_size=experiment.data.batch_size)
    return Pipelines(
        sources=sources,
        batch_size=experiment.data.batch_size,
        seed=experiment.seed,
        max_chunk=chunk_limit(spec, most=experiment.engine.max_chunk),
    )


def build(experiment: Experiment, data: Pipelines, *, threads: int, compile: Compile) -> Built:
    """Builds model, optimizer, metrics and engine.

    Args:
        data: what ``read`` gave just before.
        threads, compile: what the config leaves open.

    Raises:
        ConfigError: something cannot be built, or model, task and data do not fit together.
    """
    numerics.set_threads(threads)
    spec = chunk_spec(data.sources["train"], batch_size=data.batch_size)
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
        compile,
        limit_steps=experiment.engine.limit_steps,
        model=model,
        optimizer=optimizer,
        training=experiment.task.build(),
        evaluation=experiment.task.build(),
        chunk_spec=spec,
    )
    _trace(engine, experiment, spec)
    inventory = Inventory(engine.graphs)
    plan = plan_of(experiment, data)
    return Built(
        state=_state(experiment, engine, inventory, model=model, optimizer=optimizer),
        engine=engine,
        data=_for(compile, data, plan),
        inventory=inventory,
        plan=plan,
        threads=threads,
    )


def _for(compile: Compile, data: Pipelines, plan: Plan) -> Pipelines:
    """XLA compiles anew for chunks of another size, so those of training get one, and of evaluations one.

    It is more than 1, which XLA would treat as no dimension at all.
    """
    if compile != "xla":
        return data
    evaluated = [data.evaluated_at_once(split) for split in plan.evaluated]
    return replace(
        data, room=max(2, plan.longest_chunk), evaluation_room=max([2, *evaluated]), _passes={}
    )


def plan_of(experiment: Experiment, data: Pipelines) -> Plan:
    """What the phases come to with these data."""
    num_steps, longest, splits = 0, 0, []
    evaluated: list[str] = []
    for phase in experiment.phases.values():
        if isinstance(phase, Train):
            epochs = data.epochs(phase.data)
            last = phase.last_step(epochs, limit=experiment.engine.limit_steps)
            longest = max(longest, min(last, data.max_chunk))
            num_steps += last
            splits.append(phase.data)
        evaluated += phase.evaluates() if phase.trains else phase.splits()
    return Plan(
        num_steps=num_steps,
        longest_chunk=longest,
        split=next(iter(splits), "train"),
        evaluated=evaluated,
    )


def _model(experiment: Experiment, spec: dict[str, tf.TensorSpec]) -> keras.Model:
    model = experiment.model.build()
    if not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise ConfigError(f"model={experiment.model.name}: gives a {kind}, not a keras.Model")
    x = spec["x"]
    # Zeros rather than shapes alone: a subclassed model makes its weights when it is called.
    example = tf.zeros([1, *x.shape[2:]], x.dtype)
    try:
        outputs = model(example, training=False)
    except Exception as error:
        raise ConfigError(_misfit(experiment, spec, error)) from error
    _check_outputs(experiment, outputs)
    return model


def _check_outputs(experiment: Experiment, outputs: object) -> None:
    """Without one for every label, training fails at the first example that has another."""
    if not experiment.task.has_labels() or not isinstance(outputs, tf.Tensor):
        return
    given, needed = outputs.shape[-1:].num_elements(), experiment.data.outputs
    if given < needed:
        raise ConfigError(
            f"model={experiment.model.name}: gives {given} outputs where data.outputs={needed}; "
            "give it one for each label"
        )


def _state(
    experiment: Experiment,
    engine: Engine,
    inventory: Inventory,
    *,
    model: keras.Model,
    optimizer: keras.Optimizer,
) -> State:
    """All that the next step depends on, proved complete against what a step touches."""
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
    return state


def _trace(engine: Engine, experiment: Experiment, spec: dict[str, tf.TensorSpec]) -> None:
    try:
        engine.build()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(_misfit(experiment, spec, error)) from error


def _misfit(experiment: Experiment, spec: dict[str, tf.TensorSpec], error: Exception) -> str:
    shapes = ", ".join(
        f"{name} {value.dtype.name} {list(value.shape[1:])}"
        for name, value in spec.items()
        if value.shape.rank
    )
    reason = " ".join(str(error).split())
    return (
        f"model={experiment.model.name} does not go with this data and task: "
        f"{type(error).__name__}: {reason}; a batch is {shapes}"
    )
