"""A config with its interpolations resolved, fit to stand on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.hydra import job_part, register_resolvers

FROM_ENVIRONMENT = "<from the environment>"
"""Stands for what ``${oc.env:NAME}`` gave, which may be a secret."""


def resolved(config: DictConfig, *, run: str) -> dict[str, Any]:
    """The values that the config's interpolations came to, but none that the environment gave.

    Args:
        config: one that is known to be right.
        run: the id of the run: it counts in values of the environment, and so is not found again here.
    """
    job = job_part(config)
    with _resolving(lambda *_: FROM_ENVIRONMENT, run=run):
        return {str(key): _value(job, key) for key in job}


@contextmanager
def _resolving(environment: Callable[..., str], *, run: str) -> Iterator[None]:
    OmegaConf.register_new_resolver("oc.env", environment, replace=True)
    OmegaConf.register_new_resolver("run_id", lambda: run, replace=True)
    try:
        yield
    finally:
        register_resolvers()


def _value(node: Any, key: Any) -> Any:
    try:
        value = node[key]
    except OmegaConfBaseException:
        # What is right otherwise fails where it is made of something that is left out.
        return FROM_ENVIRONMENT
    if isinstance(value, DictConfig):
        return {str(name): _value(value, name) for name in value}
    if isinstance(value, ListConfig):
        return [_value(value, index) for index in range(len(value))]
    return value
