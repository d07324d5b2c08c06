"""Everything the next step depends on, under names that a checkpoint can use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from runner.errors import ConfigError, suggestion


@dataclass
class Record:
    """Where the run stands, besides the step. Holds nothing that a second run would have otherwise."""

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
        self.value = Record(**json.loads(string_value))


class Progress(tf.Module):
    """What is the run's own: how far it got, and the state that Keras leaves out of a checkpoint.

    Attributes:
        step: int64 scalar, optimizer updates so far over the whole run.
        metrics: the variables of the training metrics, which are in the middle of an average.
        untracked: variables that belong to the model or the optimizer but that
            ``tf.train.Checkpoint`` does not reach, by path: the state of seed generators, and
            layers that a model holds in a list or a dict.
    """

    def __init__(self) -> None:
        super().__init__(name="progress")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._record = SavedRecord()
        self.metrics: dict[str, keras.Variable] = {}
        self.untracked: dict[str, keras.Variable] = {}

    @property
    def record(self) -> Record:
        """Where the run stands, besides the step."""
        return self._record.value

    @record.setter
    def record(self, value: Record) -> None:
        self._record.value = value


class State:
    """The parts of a run that a checkpoint can hold, all of them built."""

    def __init__(
        self, *, model: keras.Model, optimizer: keras.Optimizer, metrics: list[keras.Metric]
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.progress = Progress()
        self.progress.metrics = _by_path([v for metric in metrics for v in metric.variables])
        self.progress.untracked = _by_path(_untracked(model, optimizer))

    def parts(self, keys: dict[str, str]) -> dict[str, Any]:
        """The part of the state under every key: ``{"net": "model"}`` gives ``{"net": the model}``.

        A part is ``model``, ``optimizer``, ``progress`` or ``step``, or something inside one of
        them, by attribute or by layer name: ``model.logits``, ``optimizer.iterations``.

        Raises:
            ConfigError: there is no such part.
        """
        return {key: self._part(key, path) for key, path in keys.items()}

    def _part(self, key: str, path: str) -> Any:
        root, *rest = path.split(".")
        part = self.progress.step if root == "step" else getattr(self, root)
        for name in rest:
            names = _inside(part)
            if name not in names:
                reason = f"{root} has no {name!r}; {suggestion(name, names)}"
                raise ConfigError(f"checkpoint.keys.{key}={path}: {reason}")
            part = names[name]
        return part

    @property
    def step(self) -> int:
        """Optimizer updates so far."""
        return int(self.progress.step)


def _inside(part: Any) -> dict[str, Any]:
    """What can be saved inside ``part``, by attribute name and, in a model, by layer name."""
    children = dict(tf.train.TrackableView.children(part))
    public = {name: child for name, child in children.items() if not name.startswith("_")}
    public = {name: child for name, child in public.items() if not name.startswith("layer-")}
    layers = {layer.name: layer for layer in getattr(part, "layers", [])}
    variables = {variable.name: variable for variable in getattr(part, "variables", [])}
    if isinstance(part, keras.Optimizer):
        return {"iterations": part.iterations, **variables}
    return {**({} if layers else variables), **public, **layers}


def _untracked(model: keras.Model, optimizer: keras.Optimizer) -> list[keras.Variable]:
    root = tf.train.Checkpoint(model=model, optimizer=optimizer)
    reached = {id(part) for part in tf.train.TrackableView(root).descendants()}
    return [v for v in [*model.variables, *optimizer.variables] if id(v) not in reached]


def _by_path(variables: list[keras.Variable]) -> dict[str, keras.Variable]:
    """The variables by their path, numbered where two share one."""
    named: dict[str, keras.Variable] = {}
    for variable in variables:
        count = sum(path.partition("#")[0] == variable.path for path in named)
        named[f"{variable.path}#{count}" if count else variable.path] = variable
    return named
