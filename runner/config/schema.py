"""The whole config as dataclasses. Each group's class stands beside the code that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.callbacks import Callback
from runner.checkpoint import CheckpointSpec
from runner.config.typed import Mismatch, convert
from runner.data import SPLITS, Data
from runner.engine import EngineSpec
from runner.errors import ConfigError, Invalid, suggestion
from runner.phases import Phase
from runner.schedule import Every
from runner.targets import Target
from runner.tasks import Task

_MAX_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Where the run stands on disk."""

    dir: str
    """The run directory."""
    fresh: bool = False
    """Start over; what is there is moved aside, not deleted."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What is written about a run while it goes."""

    log_every: Every = field(default_factory=lambda: Every(steps=50))
    """When a row of training metrics is written."""
    tensorboard: bool = False
    """Event files beside the rows; needs the extra `tensorboard`."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A composed, validated config."""

    name: str
    """The folder under outputs/ that its runs stand in."""
    seed: int
    """Of initial weights, the order of examples, dropout and everything else that is random."""
    run: RunSpec
    model: Target
    """Anything importable that returns a built Keras model."""
    data: Data
    task: Task
    optimizer: Target
    """A `keras.optimizers` class."""
    checkpoint: CheckpointSpec
    phases: dict[str, Phase]
    """In the order in which they run."""
    engine: EngineSpec = field(default_factory=EngineSpec)
    tracking: Tracking = field(default_factory=Tracking)
    callbacks: dict[str, Callback] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise problem

    def _problems(self) -> Iterator[Invalid]:
        if not self.name or set(self.name) & set("/\\\0\n") or self.name.startswith("."):
            yield Invalid("name", self.name, "give a plain folder name")
        if not 0 <= self.seed <= _MAX_SEED:
            yield Invalid("seed", self.seed, f"give a number from 0 to {_MAX_SEED}")
        if not self.phases:
            yield Invalid("phases", {}, "there is nothing to do; choose phases=train_evaluate")
        for name, phase in self.phases.items():
            for split in phase.splits():
                if split not in SPLITS:
                    yield Invalid(
                        f"phases.{name}", split, f"no such split; {suggestion(split, SPLITS)}"
                    )
        yield from self._best_problems()
        yield from self._metric_problems()

    def _best_problems(self) -> Iterator[Invalid]:
        asks = {
            f"phases.{name}.restore": getattr(phase, "restore", None)
            for name, phase in self.phases.items()
        }
        asks["checkpoint.restore"] = self.checkpoint.restore
        for key, value in asks.items():
            if value == "best" and self.checkpoint.best is None:
                fix = "checkpoint.best is null; name its metric, or use latest"
                yield Invalid(key, value, fix)

    def _metric_problems(self) -> Iterator[Invalid]:
        """A number that decides something has to be measured by a phase that can act on it."""
        training = [phase for phase in self.phases.values() if phase.trains]
        if not training:
            return
        evaluated = self._numbers(split for phase in training for split in phase.evaluates())
        written = self._numbers(split for phase in training for split in phase.splits())
        best = self.checkpoint.best
        if best is not None and best.metric not in evaluated:
            reason = f"no train phase evaluates it; {suggestion(best.metric, evaluated)}"
            yield Invalid("checkpoint.best.metric", best.metric, reason)
        for name, callback in self.callbacks.items():
            metric = callback.watched()
            if metric is not None and metric not in written:
                reason = f"no train phase writes it; {suggestion(metric, written)}"
                yield Invalid(f"callbacks.{name}.metric", metric, reason)

    def _numbers(self, splits: Iterable[str]) -> list[str]:
        names = self.task.metric_names()
        return [f"{split}/{name}" for split in dict.fromkeys(splits) for name in names]

    @property
    def trains(self) -> bool:
        """Whether any phase changes the state."""
        return any(phase.trains for phase in self.phases.values())


def load(mapping: Mapping[str, Any]) -> Experiment:
    """The experiment that a composed config describes.

    Raises:
        ConfigError: with every problem that was found, each with key, value, reason and fix.
    """
    try:
        experiment: Experiment = convert(Experiment, mapping, "")
    except Mismatch as mismatch:
        raise ConfigError(mismatch.problems) from mismatch
    return experiment
