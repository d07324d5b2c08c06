"""Where Hydra meets the runner: search path, defaults, resolvers, and a composed config as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.conf import HelpConf, HydraConf, JobConf, RunDir, SweepDir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from runner.config.identity import run_id
from runner.config.schema import Experiment, load
from runner.errors import ConfigError

CONFIG_NAME = "config"
VERSION_BASE = "1.3"

_HOME = "<run>"
_HELP = """\
${hydra.help.header}

  runner [overrides]              run or resume the experiment
  runner -m [overrides]           sweep: a run for every combination
  runner evaluate RUN             evaluate a saved run
  runner ls                       list the runs
  runner show RUN                 what ran, how far it got, what came out
  runner checkpoints RUN          list a run's checkpoints; --verify reads them all

RUN is a directory or the start of an id. A group is chosen with group=name, a value is set with
key=value; a key that the config does not have yet is added with +key=value.

$APP_CONFIG_GROUPS

See all of a config with --cfg job, and try one out with debug=smoke.
${hydra.help.footer}
"""


def config_directory() -> str:
    """The folder of configs: ``conf/`` inside an installed package, beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parent / "conf")


def register() -> None:
    """Tells Hydra the runner's defaults and resolvers; calling it again changes nothing.

    They are set here rather than in a YAML file because they also hold for a run's saved config,
    which is launched without that file.
    """
    OmegaConf.register_new_resolver("run_id", _resolve_run_id, replace=True)
    OmegaConf.register_new_resolver("checked_run_dir", _resolve_checked_run_dir, replace=True)
    defaults = [
        {"hydra_logging": "none"}
        if "hydra_logging" in entry
        else {"job_logging": "none"}
        if "job_logging" in entry
        else entry
        for entry in HydraConf().defaults
    ]
    node = HydraConf(
        defaults=defaults,
        run=RunDir("${checked_run_dir:}"),
        sweep=SweepDir(dir="outputs/${name}", subdir="${run_id:}"),
        # The runner writes .hydra/ itself: Hydra would overwrite it at every launch.
        output_subdir=None,
        job=JobConf(name="runner", chdir=False),
        help=HelpConf(
            app_name="runner",
            header="Train and evaluate Keras models from a config.",
            footer="",
            template=_HELP,
        ),
    )
    ConfigStore.instance().store(group="hydra", name="config", node=node, provider="hydra")


def job_part(config: DictConfig) -> DictConfig:
    """The config without Hydra's own node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def experiment_of(config: DictConfig) -> Experiment:
    """The typed experiment of a composed config.

    Raises:
        ConfigError: with every problem that was found.
    """
    return load(plain(config))


def id_of(config: DictConfig) -> str:
    """The run's id, from what determines its result."""
    config = job_part(config).copy()
    OmegaConf.set_readonly(config, False)
    # The id is part of the default run directory, which must not be part of the id.
    OmegaConf.update(config, "run.dir", _HOME, force_add=True)
    return run_id(experiment_of(config), home=_HOME)


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved.

    Raises:
        ConfigError: a mandatory value is missing.
    """
    missing = list(_missing(OmegaConf.to_container(job_part(config)), ""))
    if missing:
        raise ConfigError([f"{key}: is mandatory; add {key}=... to the command" for key in missing])
    content = OmegaConf.to_container(job_part(config), resolve=True)
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _missing(content: Any, key: str) -> Iterator[str]:
    """The keys of mandatory values that were not given; OmegaConf's own search stops at the first
    interpolation of one.
    """
    if content == "???":
        yield key
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _missing(value, f"{key}.{name}" if key else str(name))


def _resolve_run_id(*, _root_: DictConfig) -> str:
    return id_of(_root_)


def _resolve_checked_run_dir(*, _root_: DictConfig) -> str:
    """The run directory, once the config is known to be right: Hydra creates what this returns."""
    id_of(_root_)
    return str(_root_.run.dir)
