"""Composing configs, and saying in plain words why one cannot be composed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner.config.hydra import (
    CONFIG_NAME,
    VERSION_BASE,
    config_directory,
    experiment_of,
    register,
)
from runner.config.schema import Experiment
from runner.errors import ConfigError, suggestion

_REFUSED_KEY = re.compile(
    r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'"
)


def compose(overrides: Sequence[str], *, directory: str | Path | None = None) -> DictConfig:
    """The config with Hydra's own node, from the runner's configs or from a saved one's directory.

    Raises:
        ConfigError: it cannot be composed.
    """
    register()
    place = str(Path(directory or config_directory()).resolve())
    with plain_errors(overrides), initialize_config_dir(place, version_base=VERSION_BASE):
        return hydra_compose(CONFIG_NAME, overrides=list(overrides), return_hydra_config=True)


@contextmanager
def plain_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Turns Hydra's and OmegaConf's errors into one ``ConfigError``."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise _plain_error(error, overrides) from error


def _plain_error(error: Exception, overrides: Sequence[str]) -> ConfigError:
    inner = _config_error(error)
    if inner is not None:
        return inner
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[0]
        return ConfigError(
            f"{error.override}: Hydra cannot read this ({reason}); quote a value with special "
            "characters twice: 'key=\"value\"'"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        reason = f"there is no {group}/{choice}.yaml; {suggestion(choice, error.options)}"
        return ConfigError(f"{group}={choice}: {reason}")
    refused = _REFUSED_KEY.search(str(error))
    return _refused(refused[1] if refused else "", error, overrides)


def _config_error(error: BaseException | None) -> ConfigError | None:
    """The runner's own error, if that is what stopped OmegaConf in the middle of a resolver."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    return error


def _refused(key: str, error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Why Hydra did not take ``key``: what the typed config says when the key is added by force."""
    mine = [override for override in overrides if override.split("=")[0] == key]
    if len(mine) != 1 or "=" not in mine[0]:
        return ConfigError(str(error).strip())
    rest = [override for override in overrides if override not in mine]
    try:
        with initialize_config_dir(config_directory(), version_base=VERSION_BASE):
            config = hydra_compose(CONFIG_NAME, overrides=[*rest, f"++{mine[0]}"])
        experiment_of(config)
    except (ConfigError, HydraException, OmegaConfBaseException) as problem:
        found = _config_error(problem) or ConfigError(str(error).strip())
        return ConfigError([_or_group(line, key) for line in found.problems])
    return ConfigError(f"{mine[0]}: the config has no such key yet; add it with +{mine[0]}")


def _or_group(problem: str, key: str) -> str:
    """Adds the groups to what is known, since model=mlp chooses one and name=x sets a value."""
    groups = [path.name for path in Path(config_directory()).iterdir() if path.is_dir()]
    if "." in key or not problem.startswith(f"{key}=") or "no such key" not in problem:
        return problem
    names = [field.name for field in dataclasses.fields(Experiment)]
    start = problem.partition("; ")[0]
    return f"{start}; {suggestion(key, dict.fromkeys([*names, *sorted(groups)]))}"
