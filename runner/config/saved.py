"""A run's saved config, and what it becomes with overrides that are given later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from runner.config.compose import plain_errors
from runner.config.environment import settings_id, variables_beside_data
from runner.config.foreign import check_content, check_overrides, load
from runner.config.hydra import CONFIG_NAME, VERSION_BASE, config_directory, job_part, register
from runner.errors import ConfigError

_NAME = "saved_run"
"""Under which Hydra finds the config that is composed again."""


def saved_config(
    run: Path, *, amendments: Sequence[Sequence[str]] = (), settings: str | None = None
) -> DictConfig:
    """What the run in the directory ``run`` was first launched with, and was then changed to.

    Args:
        amendments: the overrides of every resume since, one after the other: a later one may choose
            a group in whose member an earlier one set a value.
        settings: what they were, if that is known; see `runner.config.environment`.

    Raises:
        ConfigError: there is no saved config, it cannot be read, it holds more than data, or the
            environment makes another one of it.
    """
    if "${" in str(run):
        raise ConfigError(f"RUN={run}: reads as an interpolation; give the folder another name")
    config = recompose(_read(run), [])
    for overrides in amendments:
        check_overrides(overrides, f"RUN={run}: run.json")
        config = recompose(config, overrides)
    check_content(OmegaConf.to_container(job_part(config)), f"RUN={run}")
    if settings is not None:
        _check_settings(config, settings, run=run)
    return config


def recompose(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A saved or composed config with more overrides, and with Hydra's own node.

    ``group=choice`` puts the choice in the place of all that the config has there, as at a first
    launch; the choices are those of the runner's own folder.

    Raises:
        ConfigError: the overrides are wrong, or do not go with the config.
    """
    register()
    content: Any = OmegaConf.to_container(job_part(config))
    with plain_errors(overrides):
        asked = _replacing_groups(content, overrides)
        ConfigStore.instance().store(name=_NAME, node=content, provider="runner")
        with initialize_config_dir(config_directory(), version_base=VERSION_BASE):
            return hydra_compose(_NAME, overrides=asked, return_hydra_config=True)


def _read(run: Path) -> DictConfig:
    path = run / ".hydra" / f"{CONFIG_NAME}.yaml"
    try:
        with plain_errors([]):
            return load(path)
    except OSError as error:
        reason = f"no such directory with a saved config ({path}: {error.strerror})"
        raise ConfigError(f"RUN={run}: {reason}") from error


def _check_settings(config: DictConfig, settings: str, *, run: Path) -> None:
    with plain_errors([]):
        now = settings_id(config)
    if now not in (settings, None):
        names = ", ".join(variables_beside_data(config))
        raise ConfigError(
            f"RUN={run}: the environment no longer gives what it did for {names}, or the config was edited; "
            "set it as it was, and give what is to change as key=value"
        )


def _replacing_groups(content: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Takes out of ``content`` what a group is chosen for; returns the overrides, those as added.

    A saved config has no list of defaults in which Hydra could replace the choice made before.
    """
    _check_groups(overrides)
    chosen = _chosen_groups(overrides)
    # A group inside another one stands in the list of defaults that the other one brings.
    outer = [one for one in chosen if not any(one.startswith(f"{other}/") for other in chosen)]
    for group in outer:
        *above, name = group.split("/")
        node: Any = content
        for key in above:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if node.pop(name, None) is None:
            fix = "give the keys that it sets"
            raise ConfigError(f"{chosen[group]}: a saved config has no {group} to replace; {fix}")
    added = {chosen[group]: f"+{chosen[group]}" for group in outer}
    return [added.get(override, override) for override in overrides]


def _check_groups(overrides: Sequence[str]) -> None:
    """Raises: ConfigError: which member of a group is chosen would be read from somewhere.

    The config that comes of it does not tell from where, and it may be that nobody allowed it.
    """
    for one in OverridesParser.create().parse_overrides(list(overrides)):
        if Path(config_directory(), one.key_or_group).is_dir() and "$" in str(one.input_line):
            raise ConfigError(
                f"{one.input_line}: give {one.key_or_group} by the name of its member"
            )


def _chosen_groups(overrides: Sequence[str]) -> dict[str, str]:
    """The overrides that choose a member of a group, by the group."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        one.key_or_group: str(one.input_line)
        for one in parsed
        if Path(config_directory(), one.key_or_group).is_dir()
        and not (one.is_add() or one.is_sweep_override() or one.package)
        and isinstance(one.value(), str)
    }
