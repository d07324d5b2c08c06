"""How a sweep is worked through, and what a search looks for, as ``sweep`` has it in the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runner.errors import Invalid
from runner.interrupt import Duration, check_duration, duration_s

Mode: TypeAlias = Literal["max", "min"]
Sampler: TypeAlias = Literal["tpe", "random", "grid", "cmaes", "nsgaii"]
Pruner: TypeAlias = Literal["none", "median", "percentile", "halving", "hyperband"]
Option: TypeAlias = bool | int | float | str | None

_MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """How the trials of a sweep are worked through, and which is the best."""

    metric: str | dict[str, Mode] | None = None
    """The objective as split/name, or several, each with its mode; null for that of `checkpoint.best`."""
    mode: Mode | None = None
    """Whether more or less of one objective is better; null for that of `checkpoint.best`."""
    jobs: int | None = None
    """Trials at once, which share the cores; null for one a core."""
    retry_failed: bool = False
    """Run those again that failed in an earlier launch."""
    trial_timeout: Duration | None = None
    """A trial that takes longer, such as 30m or 2h, has failed."""

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise Invalid("jobs", self.jobs, "give a count of at least 1")
        if self.metric == {}:
            raise Invalid("metric", self.metric, "names no objective; give one, or null")
        if isinstance(self.metric, dict) and self.mode is not None:
            raise Invalid("mode", self.mode, "sweep.metric gives each its own; leave this null")
        if isinstance(self.metric, str) and self.mode is None:
            raise Invalid("mode", None, f"give max or min, as what is better of {self.metric}")
        if self.metric is None and self.mode is not None:
            raise Invalid("metric", None, f"give what sweep.mode={self.mode} is about, or no mode")
        if self.trial_timeout is not None:
            check_duration("trial_timeout", self.trial_timeout)
            if not duration_s(self.trial_timeout):
                reason = "leaves a trial no time; give some, or null for no limit"
                raise Invalid("trial_timeout", self.trial_timeout, reason)

    def objectives(self) -> dict[str, Mode]:
        """What is given to compare trials by; empty if nothing is."""
        if isinstance(self.metric, dict):
            return dict(self.metric)
        return {self.metric: self.mode or "max"} if self.metric else {}


@dataclass(frozen=True, kw_only=True)
class SearchSpec(SweepSpec):
    """A search with Optuna: which trials there are follows from how the earlier ones ended."""

    space: dict[str, str] = field(default_factory=dict)
    """Where to search, by key, in the grammar of Hydra's command line."""
    n_trials: int | None = 20
    """How many trials in all; null for as many as a grid has."""
    sampler: Sampler = "tpe"
    """How the next trial is chosen."""
    sampler_seed: int | None = 0
    """With jobs=1 the same seed gives the same search; null for another one every time."""
    sampler_options: dict[str, Option] = field(default_factory=dict)
    """Arguments of Optuna's sampler."""
    pruner: Pruner = "none"
    """When a trial is told to stop since others were better at the same point."""
    pruner_options: dict[str, Option] = field(default_factory=dict)
    """Arguments of Optuna's pruner."""
    storage: str | None = None
    """The URL of a database; null for a file in the sweep's folder."""
    study: str | None = None
    """What the study is called there; null for the id of the sweep."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_trials is None and self.sampler != "grid":
            raise Invalid("n_trials", None, "only sampler=grid has an end; give a count")
        if self.n_trials is not None and self.n_trials < 1:
            raise Invalid("n_trials", self.n_trials, "give a count of at least 1")
        if self.sampler_seed is not None and not 0 <= self.sampler_seed <= _MAX_SEED:
            raise Invalid("sampler_seed", self.sampler_seed, f"give a number from 0 to {_MAX_SEED}")
        if len(self.objectives()) > 1 and self.sampler == "cmaes":
            raise Invalid("sampler", "cmaes", "goes by one objective; nsgaii takes several")
        if len(self.objectives()) > 1 and self.pruner != "none":
            raise Invalid("pruner", self.pruner, "goes by one objective; give none")
