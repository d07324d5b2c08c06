"""Composing configs, and saying in plain words why one cannot be composed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config.hydra import (
    CONFIG_NAME,
    VERSION_BASE,
    config_directory,
    experiment_of,
    register,
)
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
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return cause
        cause = cause.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        reason = f"there is no {group}/{choice}.yaml; {suggestion(choice, error.options)}"
        return ConfigError(f"{group}={choice}: {reason}")
    refused = _REFUSED_KEY.search(str(error))
    if refused and isinstance(error, ConfigCompositionException):
        return _refused(refused[1], error, overrides)
    return ConfigError(str(error).strip())


def _refused(key: str, error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Why Hydra did not take ``key``: what the typed config says if the key is added by force."""
    mine = [override for override in overrides if override.lstrip("+~").split("=")[0] == key]
    rest = [override for override in overrides if override not in mine]
    if len(mine) != 1 or "=" not in mine[0]:
        return ConfigError(str(error).strip())
    register()
    try:
        with initialize_config_dir(config_directory(), version_base=VERSION_BASE):
            groups = [name for name in Path(config_directory()).iterdir() if name.is_dir()]
            if "No match in the defaults list" in str(error):
                known = [*(group.name for group in groups)]
                return ConfigError(f"{mine[0]}: there is no such group; {suggestion(key, known)}")
            config = hydra_compose(CONFIG_NAME, overrides=[*rest, f"++{mine[0].lstrip('+')}"])
            OmegaConf.resolve(config)
            experiment_of(config)
    except ConfigError as problems:
        return problems
    except (HydraException, OmegaConfBaseException):
        return ConfigError(str(error).strip())
    return ConfigError(f"{mine[0]}: the config has no such key yet; add it with +{mine[0]}")
