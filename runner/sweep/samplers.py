"""Optuna's samplers and pruners by the names that a config has for them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from runner.config.sweep import Option, SearchSpec
from runner.errors import ConfigError, shown, suggestion

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def sampler_of(spec: SearchSpec, *, number: int) -> BaseSampler:
    """What chooses the parameters of a trial.

    It is made anew for every trial, with a seed of that trial's own: a search that was interrupted
    goes on as it would have gone on, and does not draw the same numbers a second time.

    Raises:
        ConfigError: an option is wrong.
    """
    from optuna import samplers

    seed = None if spec.sampler_seed is None else _seed(spec.sampler_seed, number)
    kinds: dict[str, Callable[..., BaseSampler]] = {
        "tpe": samplers.TPESampler,
        "random": samplers.RandomSampler,
        "grid": samplers.RandomSampler,  # Whose points are given to it; see `Study`.
        "cmaes": partial(samplers.CmaEsSampler, warn_independent_sampling=False),
        "nsgaii": samplers.NSGAIISampler,
    }
    made: BaseSampler = _made(
        kinds[spec.sampler], spec.sampler_options, key="sweep.sampler_options", seed=seed
    )
    return made


def pruner_of(spec: SearchSpec) -> BasePruner:
    """What tells when a trial is worse than others were.

    Raises:
        ConfigError: an option is wrong.
    """
    from optuna import pruners

    kinds: dict[str, Callable[..., BasePruner]] = {
        "none": pruners.NopPruner,
        "median": pruners.MedianPruner,
        "percentile": partial(pruners.PercentilePruner, percentile=25.0),
        "halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
    }
    made: BasePruner = _made(kinds[spec.pruner], spec.pruner_options, key="sweep.pruner_options")
    return made


def _seed(seed: int, number: int) -> int:
    """32 bits that have nothing in common with those of the next trial."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4])


def _made(kind: Callable[..., Any], options: Mapping[str, Option], *, key: str, **more: Any) -> Any:
    known = [name for name in inspect.signature(kind).parameters if name not in more]
    problems = [
        f"{key}.{name}={shown(value)}: no such option; {suggestion(name, known)}"
        for name, value in options.items()
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    try:
        return kind(**options, **more)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}={shown(dict(options))}: {error}") from error
