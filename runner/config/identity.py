"""The id of a run: a hash of what determines its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from runner.config.schema import Experiment
from runner.targets import Target

_DIGITS = 10


def run_id(experiment: Experiment, *, home: str) -> str:
    """Ten hexadecimal digits, the same for the same result.

    In it: seed, model, data, task, optimizer, phases, callbacks, numerics, checkpoint keys, what
    counts as best, and where the run starts. Not in it: where and how often things are written.

    Args:
        home: the run directory as it stands in the config's paths; a checkpoint directory below it
            is the run's own, and says nothing about where the run starts.
    """
    text = json.dumps(_determining(experiment, home), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _determining(experiment: Experiment, home: str) -> dict[str, Any]:
    checkpoint, engine = experiment.checkpoint, experiment.engine
    best = checkpoint.best
    return {
        "seed": experiment.seed,
        "model": _plain(experiment.model),
        "data": [type(experiment.data).__qualname__, asdict(experiment.data)],
        "task": [type(experiment.task).__qualname__, _plain(vars(experiment.task))],
        "optimizer": _plain(experiment.optimizer),
        # A list, because the order of the phases counts.
        "phases": [_member(name, phase) for name, phase in experiment.phases.items()],
        "callbacks": [_member(name, callback) for name, callback in experiment.callbacks.items()],
        "numerics": {name: value for name, value in vars(engine).items() if name != "max_chunk"},
        "keys": checkpoint.keys,
        "best": best and [best.metric, best.mode],
        "start": _start(experiment, home),
    }


def _start(experiment: Experiment, home: str) -> list[Any]:
    restore = experiment.checkpoint.restore
    if restore in ("auto", "none"):
        return []
    directory = experiment.checkpoint.directory
    place = None if directory.startswith(home) else directory
    return [restore, experiment.checkpoint.partial, place]


def _member(name: str, part: Any) -> list[Any]:
    return [name, type(part).__qualname__, asdict(part)]


def _plain(value: Any) -> Any:
    """Targets as names and arguments, without where in the config they stand."""
    match value:
        case Target():
            return [value.name, _plain(value.arguments)]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value
