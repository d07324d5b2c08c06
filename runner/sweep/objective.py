"""What the trials of a sweep are compared by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress

from runner.checkpoint.manifest import Manifest, read_manifest
from runner.config import Experiment
from runner.errors import ConfigError, UserError, suggestion
from runner.results import Result


def objectives(result: Result, experiment: Experiment) -> dict[str, float]:
    """The values of the objectives; none of them unless all are there and are numbers.

    At the best checkpoint for what `checkpoint.best` goes by, else the last value.
    """
    best = experiment.checkpoint.best
    values = {
        name: _objective(result, name, at_best=best is not None and best.metric == name)
        for name in experiment.objectives
    }
    known = {
        name: value for name, value in values.items() if value is not None and not math.isnan(value)
    }
    return known if len(known) == len(values) else {}


def check_measured(objectives: Iterable[str], *, by: Experiment) -> None:
    """Raises: ConfigError: one of the objectives is measured by no phase."""
    measured = _numbers(by, (one.splits() for one in by.phases.values()))
    problems = [
        f"sweep.metric={name}: no phase measures it; {suggestion(name, measured)}"
        for name in objectives
        if name not in measured
    ]
    if problems:
        raise ConfigError(problems)


def measured_on_the_way(experiment: Experiment) -> str:
    """What comes while a trial trains and tells of its one objective: itself, or on another split.

    Raises:
        ConfigError: nothing does.
    """
    (objective,) = experiment.objectives
    training = [phase for phase in experiment.phases.values() if phase.trains]
    evaluated = _numbers(experiment, (one.evaluates() for one in training))
    written = _numbers(experiment, (one.splits() for one in training))
    metric = objective.partition("/")[2]
    alike = [name for name in evaluated if name.partition("/")[2] == metric]
    for name in (objective, *alike):
        if name in written:
            return name
    raise ConfigError(
        f"sweep.pruner: no train phase measures {metric}, so there is nothing to prune by; "
        "give it an evaluation, or sweep.pruner=none"
    )


def returned(values: Mapping[str, float]) -> float | tuple[float, ...] | None:
    """Objectives as Hydra's sweepers want them of a job: one number, or several."""
    numbers = tuple(values.values())
    return numbers if len(numbers) > 1 else numbers[0] if numbers else None


def _numbers(experiment: Experiment, splits: Iterable[Iterable[str]]) -> list[str]:
    names = experiment.task.metric_names()
    found = dict.fromkeys(split for of_phase in splits for split in of_phase)
    return [f"{split}/{name}" for split in found for name in names]


def _objective(result: Result, metric: str, *, at_best: bool) -> float | None:
    if result.best is not None and at_best:
        with suppress(UserError):
            manifest = read_manifest(result.best.with_name(f"{result.best.name}.json"))
            if isinstance(manifest, Manifest) and metric in manifest.metrics:
                return manifest.metrics[metric]
    values = [one[metric] for one in result.metrics.values() if metric in one]
    return values[-1] if values else None
