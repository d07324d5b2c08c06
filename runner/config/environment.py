"""Whether a config still takes the same from the environment as before. No value of it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner.config.foreign import variables
from runner.config.hydra import experiment_of, job_part
from runner.config.identity import run_id
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
    if not variables(_written(config)):
        return None
    try:
        return _id(OmegaConf.create(_counted(config)))
    except ConfigError:
        return _id(job_part(config))


def variables_of(config: DictConfig) -> list[str]:
    """The variables that it takes values from; those that count, if there are any."""
    return variables(_counted(config)) or variables(_written(config))


def _id(config: DictConfig) -> str:
    OmegaConf.update(config, "run.dir", _HOME, force_add=True)
    experiment = experiment_of(config)
    checkpoint = replace(experiment.checkpoint, directory=_HOME)
    return run_id(replace(experiment, checkpoint=checkpoint), home=_HOME)


def _written(config: DictConfig) -> Any:
    return OmegaConf.to_container(job_part(config))


def _counted(config: DictConfig) -> dict[str, Any]:
    written = _written(config)
    return {**written, "data": _without_texts(written.get("data"))}


def _without_texts(value: Any) -> Any:
    """With the names of variables in the place of what they give for texts."""
    match value:
        case dict():
            return {name: _without_texts(item) for name, item in value.items()}
        case list():
            return [_without_texts(item) for item in value]
        case str() if variables(value) and "${oc.decode:" not in value:
            return value.replace("${", "{")
    return value
