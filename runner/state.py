"""Everything the next step depends on, under names that a checkpoint can use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.global_state import get_global_attribute
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from runner.checkpoint.graph import Variable, numbered, own_name
from runner.checkpoint.spec import UNTRACKED
from runner.errors import ConfigError, suggestion

_SEED = "seed_generator_state"
"""How the names of the variables of Keras's seed generators end."""


@dataclass
class Record:
    """Where the run stands, besides the step. Holds nothing that a second run would have otherwise."""

    run: str | None = None
    """The id of the run, by which its checkpoints are known where their manifests are lost."""
    phase: str | None = None
    """The phase at work."""
    phase_start: int = 0
    """The step at which it began."""
    done: list[str] = field(default_factory=list)
    """The phases that are over."""
    rows: int = 0
    """Rows of metrics.jsonl written so far."""
    saves: int = 0
    """Checkpoints saved so far."""
    stopped: str | None = None
    """Why the phase at work ended before its limit."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """What each callback remembers."""

    def begin(self, phase: str, *, step: int) -> None:
        """Enters ``phase`` at ``step``."""
        self.phase, self.phase_start = phase, step
        self.stopped, self.callbacks = None, {}

    @classmethod
    def continuing(cls, other: Record) -> Record:
        """For a run that starts from another run's checkpoint: the place, but not the history."""
        return cls(phase=other.phase, phase_start=other.phase_start, saves=other.saves)


class SavedRecord(tf.train.experimental.PythonState):
    """A ``Record`` inside a checkpoint, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.value = Record()

    def serialize(self) -> str:
        return json.dumps(vars(self.value), sort_keys=True)

    def deserialize(self, string_value: bytes | str) -> None:
        content = json.loads(string_value)
        unknown = content.keys() - vars(self.value).keys()
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"the progress holds {names}, which this version of runner lacks")
        self.value = Record(**content)


class Progress(tf.Module):
    """What is the run's own: how far it got, and the state that Keras leaves out of a checkpoint.

    Attributes:
        step: int64 scalar, optimizer updates so far over the whole run.
        metrics: the variables of the training metrics, which are in the middle of an average.
        untracked: by path, variables that ``tf.train.Checkpoint`` does not reach from the model or
            the optimizer that they belong to: the state of seed generators, layers that a model
            holds in a list or a dict, and whatever else a step touches.
    """

    def __init__(self) -> None:
        super().__init__(name="progress")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._record = SavedRecord()
        self.metrics: dict[str, Variable] = {}
        self.untracked: dict[str, Variable] = {}

    @property
    def record(self) -> Record:
        """Where the run stands, besides the step."""
        return self._record.value

    @record.setter
    def record(self, value: Record) -> None:
        self._record.value = value


class State:
    """The parts of a run that a checkpoint can hold, all of them built, and the model called once.

    Args:
        model, optimizer, metrics: of training.
        touched: the variables that a step reads, whoever holds them.
        passing: variables that are set anew before each use, and so are no state.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        optimizer: keras.Optimizer,
        metrics: list[keras.Metric],
        touched: Iterable[tf.Variable] = (),
        passing: Iterable[Variable] = (),
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.progress = Progress()
        self.progress.metrics = _by_path(v for metric in metrics for v in metric.variables)
        untracked = [*_untracked(model), *_untracked(optimizer), *_global_seed()]
        known = _values([*self.objects, *untracked, *passing])
        others = [variable for variable in touched if id(variable) not in known]
        self.progress.untracked = _by_path([*untracked, *others])

    @property
    def objects(self) -> list[Any]:
        """Everything that is saved under the keys model, optimizer and progress."""
        root = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, progress=self.progress
        )
        return list(tf.train.TrackableView(root).descendants())

    @property
    def step(self) -> int:
        """Optimizer updates so far."""
        return int(self.progress.step)

    def parts(self, keys: Mapping[str, str]) -> dict[str, Any]:
        """The part of the state under every key: ``{"net": "model"}`` gives ``{"net": the model}``.

        A part is ``model``, ``optimizer``, ``progress`` or ``step``, or something inside one of
        them, by attribute or by layer name: ``model.logits``, ``optimizer.iterations``.

        Where ``model`` stands without ``progress``, what tracking misses is added under a key of the
        runner's own, so that nothing of the model is lost.

        Raises:
            ConfigError: there is no such part.
        """
        parts = {key: self._part(key, path) for key, path in keys.items()}
        has_model, has_progress = (part in keys.values() for part in ("model", "progress"))
        if has_model and not has_progress and self.progress.untracked:
            parts[UNTRACKED] = self.progress.untracked
        return parts

    @property
    def can_lack_untracked(self) -> bool:
        """Whether a checkpoint that a script saved can do without what tracking misses.

        That is so where it is random state alone, and no weight.
        """
        return all(path.partition("#")[0].endswith(_SEED) for path in self.progress.untracked)

    def _part(self, key: str, path: str) -> Any:
        where, _, rest = path.partition(".")
        part = self.progress.step if where == "step" else getattr(self, where)
        while rest:
            names = _inside(part)
            # A layer's name may have dots of its own.
            found = [name for name in names if f"{rest}.".startswith(f"{name}.")]
            if not found:
                reason = f"{where} has no {rest!r}; {suggestion(rest, names)}"
                raise ConfigError(f"checkpoint.keys.{key}={path}: {reason}")
            name = max(found, key=len)
            part, where, rest = names[name], f"{where}.{name}", rest[len(name) + 1 :]
        return part


def _inside(part: Any) -> dict[str, Any]:
    """What can be saved inside ``part``, by attribute name and, in a model, by layer name."""
    children = tf.train.TrackableView.children(part)
    public = {
        name: child
        for name, child in children.items()
        if not name.startswith("_") and (isinstance(child, Variable) or _holds_variables(child))
    }
    layers = {layer.name: layer for layer in getattr(part, "layers", [])}
    variables = {variable.name: variable for variable in getattr(part, "variables", [])}
    own = {} if layers else {name.partition(":")[0]: one for name, one in variables.items()}
    iterations = {"iterations": part.iterations} if isinstance(part, keras.Optimizer) else {}
    return {**iterations, **own, **public, **layers}


def _holds_variables(part: Any) -> bool:
    return any(isinstance(one, Variable) for one in tf.train.TrackableView(part).descendants())


def _reached(root: Any) -> set[int]:
    return {id(part) for part in tf.train.TrackableView(root).descendants()}


def _untracked(owner: keras.Model | keras.Optimizer) -> list[keras.Variable]:
    reached = _reached(owner)
    return [variable for variable in owner.variables if id(variable) not in reached]


def _global_seed() -> list[keras.Variable]:
    """The state of the generator that Keras takes where a layer has none of its own, once it did."""
    generator = get_global_attribute(GLOBAL_SEED_GENERATOR)
    return [] if generator is None else [generator.state]


def _values(parts: Iterable[Any]) -> set[int]:
    """The ids of the TensorFlow variables among ``parts`` and behind Keras's."""
    return {id(one.value if isinstance(one, keras.Variable) else one) for one in parts}


def _by_path(variables: Iterable[Variable]) -> dict[str, Variable]:
    """The variables by their path, numbered where several share one."""
    return numbered((own_name(variable), variable) for variable in variables)
