"""Whether a config still takes the same from the environment as before. No value of it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.expansion import check_expansion
from runner.config.foreign import variables
from runner.config.hydra import job_part, plain
from runner.config.identity import run_id
from runner.config.resolved import resolved
from runner.config.schema import load
from runner.errors import ConfigError

_HOME = "<run>"


def settings_id(config: DictConfig) -> str | None:
    """Like the id of the run, but the same wherever its checkpoints and its data stand.

    What a variable gives for a text below ``data`` does not count: it is a path, as a rule, and what is
    found there is compared by itself; see `runner.data.digests`. It does where only certain texts will
    do. None if the config takes nothing from the environment.

    Raises:
        ConfigError, OmegaConfBaseException: the config is not right.
    """
    if not variables_of(config):
        return None
    job = job_part(config)
    OmegaConf.update(job, "run.dir", _HOME, force_add=True)
    OmegaConf.update(job, "checkpoint.directory", f"{_HOME}/checkpoints", force_add=True)
    check_expansion(OmegaConf.to_container(job))
    # Each by itself, since a variable that only data are found by may not be set any more.
    content = {str(key): _resolved(job, key) for key in job if key != "data"}
    try:
        return _id({**content, "data": resolved(job, run=_HOME)["data"]})
    except ConfigError:
        return _id(plain(job))


def variables_of(config: DictConfig) -> list[str]:
    """The variables that it takes values from."""
    return variables(OmegaConf.to_container(job_part(config)))


def variables_beside_data(config: DictConfig) -> list[str]:
    """Those of them by which it is another config; all, if there are none such."""
    written: Any = OmegaConf.to_container(job_part(config))
    return variables({**written, "data": None}) or variables(written)


def _resolved(config: DictConfig, key: Any) -> Any:
    value = config[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _id(content: Mapping[str, Any]) -> str:
    return run_id(load(content), home=_HOME)
