"""The id of a run: a hash of what determines its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.spec import RESTORE_WORDS
from runner.config.schema import Experiment
from runner.targets import Target

_DIGITS = 10


def run_id(experiment: Experiment, *, home: str) -> str:
    """Ten hexadecimal digits, the same for the same result.

    In it: seed, model, data, task, optimizer, phases, callbacks, numerics, checkpoint keys, what
    counts as best, and where the run starts. Not in it: where and how often things are written,
    except for what a callback that may end a phase gets to see.

    Args:
        home: the run directory as it stands in the config's paths; a checkpoint directory below it
            is the run's own, and says nothing about where the run starts.
    """
    text = json.dumps(_plain(_determining(experiment, home)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _determining(experiment: Experiment, home: str) -> dict[str, Any]:
    best = experiment.checkpoint.best
    return {
        "seed": experiment.seed,
        "model": experiment.model,
        "data": experiment.data,
        "task": experiment.task,
        "optimizer": experiment.optimizer,
        # Lists, because the order counts.
        "phases": list(experiment.phases.items()),
        "callbacks": list(experiment.callbacks.items()),
        "seen": experiment.tracking.log_every if _watches_training(experiment) else None,
        "numerics": {**vars(experiment.engine), "max_chunk": None},
        "keys": experiment.checkpoint.parts,
        "best": best and [best.metric, best.mode],
        "start": _start(experiment, home),
    }


def _watches_training(experiment: Experiment) -> bool:
    """Whether a callback watches a number that has a value only when a training row is written."""
    evaluated = {split for phase in experiment.phases.values() for split in phase.evaluates()}
    watched = [callback.watched() for callback in experiment.callbacks.values()]
    return any(one and one.partition("/")[0] not in evaluated for one in watched)


def _start(experiment: Experiment, home: str) -> list[Any]:
    """Which checkpoint the run starts from, if the config names one."""
    spec = experiment.checkpoint
    if spec.restore in ("auto", "none"):
        return []
    is_own = Path(spec.directory).is_relative_to(home)
    is_path = isinstance(spec.restore, str) and spec.restore not in RESTORE_WORDS
    place = [] if is_own or is_path else [spec.directory, spec.prefix]
    return [spec.restore, spec.partial, *place]


def _plain(value: Any) -> Any:
    """JSON data. Targets are their name and arguments, without where in the config they stand."""
    match value:
        case Target():
            return [value.name, _plain(value.arguments)]
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    if is_dataclass(value):
        content = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return [_name(type(value)), content]
    return value


def _name(kind: type) -> str:
    """Where the runner keeps a class of its own is no part of what it does."""
    is_own = kind.__module__.startswith("runner.")
    return kind.__qualname__ if is_own else f"{kind.__module__}.{kind.__qualname__}"
