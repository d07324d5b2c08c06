"""Where Hydra meets the runner: search path, defaults, resolvers, and a composed config as data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.conf import HelpConf, HydraConf, JobConf, RunDir, SweepDir
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from runner.allowances import additions, allowing
from runner.config import foreign
from runner.config.expansion import check_expansion
from runner.config.help import TEMPLATE
from runner.config.identity import run_id
from runner.config.problems import already_told, join
from runner.config.schema import NAME_OF_RUNS, Experiment, is_name_of_runs, load
from runner.errors import ConfigError
from runner.files import make_directory_for
from runner.redaction import remember
from runner.targets import forget

CONFIG_NAME = "config"
VERSION_BASE = "1.3"

_PLUGINS = [
    *(("sweeper", "grid", "Grid"), ("sweeper", "search", "Search")),
    ("launcher", "isolated", "Isolated"),
]
"""Hydra's groups, what the runner adds to them, and its class in `runner.sweep`."""
_CHOSEN = {"sweeper": "grid", "launcher": "isolated"}
"""The member of each group that is chosen unless another one is."""
_READ: dict[str, str] = {}
"""What was read of the environment, by name."""
_HOME = "<run>"
_ids: dict[tuple[str, ...], str] = {}
"""What was found in this launch, which asks again for every path that has the id in it."""
_READS_AS_ONE = "is text that reads as an interpolation; write it in another way"
_SAY_SO = "say so on the command line: "


def config_directory() -> str:
    """The runner's own folder of configs."""
    return str(foreign.own_directory())


def register() -> None:
    """Tells Hydra the runner's defaults and resolvers, and looks at source files anew.

    To be called before every launch. The defaults are set here rather than in a YAML file because
    they also hold for a run's saved config, which is launched without that file.
    """
    forget()
    _ids.clear()
    _READ.clear()
    foreign.register()
    register_resolvers()
    node = HydraConf(
        defaults=[_default(entry) for entry in HydraConf().defaults],
        run=RunDir("${checked_run_dir:}"),
        sweep=SweepDir(dir="outputs/${checked_name:}", subdir="${run_id:}"),
        # The runner writes .hydra/ itself: Hydra would overwrite it at every launch.
        output_subdir=None,
        job=JobConf(name="runner", chdir=False),
        help=HelpConf(app_name="runner", header="", footer="", template=TEMPLATE),
    )
    store = ConfigStore.instance()
    store.store(group="hydra", name="config", node=node, provider="hydra")
    for group, name, plugin in _PLUGINS:
        content = {"_target_": f"hydra_plugins.runner.{plugin}"}
        store.store(group=f"hydra/{group}", name=name, node=content, provider="runner")


def register_resolvers() -> None:
    """Tells OmegaConf what the runner's own interpolations mean."""
    OmegaConf.register_new_resolver("oc.env", _from_environment, replace=True)
    OmegaConf.register_new_resolver("oc.decode", _decode, replace=True)
    # A launcher takes the resolvers to its processes, and with them what is allowed.
    for name, resolve in _RESOLVERS.items():
        resolver = partial(_resolve, resolve, additions())
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def keep_environment() -> None:
    """Has resolvers that are taken to another machine know what they have read of the environment here."""
    resolver = partial(_from_environment, kept=dict(_READ))
    OmegaConf.register_new_resolver("oc.env", resolver, replace=True)


def _default(entry: dict[str, str]) -> dict[str, str]:
    """A line of Hydra's own defaults; the runner logs into its run directories, and Hydra not at all."""
    return {
        name: "none" if name.endswith("_logging") else _CHOSEN.get(name, entry[name])
        for name in entry
    }


def has_more_to_do(hydra: DictConfig) -> bool:
    """Whether Hydra's own node asks it for more than to call the runner once."""
    around = [hydra.callbacks, hydra.job.env_set, hydra.job.chdir, hydra.output_subdir]
    logging = [hydra.verbose, hydra.job_logging.get("root"), hydra.hydra_logging.get("root")]
    return hydra.mode is RunMode.MULTIRUN or any((*around, *logging))


def task_overrides(hydra: DictConfig) -> list[str]:
    """The overrides of a launch as they were given: to look at one by one would resolve what is in them."""
    overrides: Any = OmegaConf.to_container(hydra.overrides.task)
    return list(overrides)


def check_place(experiment: Experiment, hydra: DictConfig) -> None:
    """Looks where a config from elsewhere would have the runner write.

    Args:
        hydra: Hydra's own node, which tells where the config comes from.

    Raises:
        ConfigError: outside of the working directory, or over a run; the command line may say so.
    """
    sources = {one.path for one in hydra.runtime.config_sources if one.schema == "file"}
    given = {one.partition("=")[0].lstrip("+") for one in task_overrides(hydra)}
    if sources <= {config_directory()}:
        return
    run, wrong = experiment.run, []
    if "run.dir" not in given and (Path(run.dir).is_absolute() or ".." in Path(run.dir).parts):
        wrong.append(f"run.dir={run.dir}: lies outside of this folder; {_SAY_SO}run.dir={run.dir}")
    if "run.fresh" not in given and run.fresh:
        wrong.append(f"run.fresh=true: would move a run aside; {_SAY_SO}run.fresh=true")
    storage = getattr(experiment.sweep, "storage", None)
    if "sweep.storage" not in given and storage is not None:
        fix = f"{_SAY_SO}sweep.storage={storage}"
        wrong.append(f"sweep.storage={storage}: would write to a database; {fix}")
    if wrong:
        raise ConfigError(wrong)


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
    config = job_part(config)
    # The id is part of the default run directory, which must not be part of the id.
    OmegaConf.update(config, "run.dir", _HOME, force_add=True)
    content = (repr(OmegaConf.to_container(config)), *additions())
    if content not in _ids:
        _ids[content] = run_id(experiment_of(config), home=_HOME)
    return _ids[content]


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved.

    Raises:
        ConfigError: a mandatory value is missing, or an interpolation fails.
    """
    job = job_part(config)
    missing = list(_missing(OmegaConf.to_container(job), ""))
    if missing:
        raise ConfigError([f"{key}: is mandatory; add {key}=... to the command" for key in missing])
    check_expansion(OmegaConf.to_container(job))
    try:
        content = OmegaConf.to_container(job, resolve=True)
    except OmegaConfBaseException as error:
        raise unresolved(error) from error
    # It would be resolved once more by whoever makes a config of it again, and then by another one.
    if again := [f"{key}={text}: {_READS_AS_ONE}" for key, text in _again(content, "")]:
        raise ConfigError(again)
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def unresolved(error: OmegaConfBaseException) -> ConfigError:
    """What to tell of an interpolation that cannot be resolved."""
    told = already_told(error)
    if told is not None:
        return told
    value = "" if error.child_node is None else f"={error.child_node}"
    return ConfigError(f"{error.full_key}{value}: {str(error).splitlines()[0]}")


def _missing(content: Any, key: str) -> Iterator[str]:
    """The keys of mandatory values that were not given.

    OmegaConf's own search stops at the first interpolation of one.
    """
    if content == "???":
        yield key
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _missing(value, join(key, name))


def _again(content: Any, key: str) -> Iterator[tuple[str, str]]:
    """The texts that OmegaConf would take for interpolations."""
    match content:
        case dict():
            for name, value in content.items():
                yield from _again(value, join(key, name))
        case list():
            for number, value in enumerate(content):
                yield from _again(value, f"{key}[{number}]")
        case str() if "${" in content:
            yield key, content


def _from_environment(
    name: str, *default: Any, kept: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """As OmegaConf's own, but what it gives is told nobody.

    Args:
        kept: values from elsewhere, which come before those of this process.
    """
    # On another machine, what came along is not there any more once resolvers were registered anew.
    value = kept.get(name, os.environ.get(name, _READ.get(name)))
    if value is None:
        return oc.env(name, *default)
    remember(value, name=name)
    _READ[name] = value
    return value


def _decode(text: Any, *, _parent_: Any, _node_: Any) -> Any:
    """As OmegaConf's own, but what it is given is data: a variable leads to no other one."""
    if "${" in str(text):
        raise ValueError("what it is given refers to something else, which is not looked up")
    return oc.decode(text, _parent_, _node_)


def _resolve(resolve: Callable[[DictConfig], str], allow: list[str], *, _root_: DictConfig) -> str:
    with allowing(allow):
        return resolve(_root_)


def _checked_name(config: DictConfig) -> str:
    """The name, for the folder of a sweep: Hydra creates it before any trial is looked at."""
    name = str(config.name)
    if not is_name_of_runs(name):
        raise ConfigError(f"name={name}: {NAME_OF_RUNS}")
    return name


def _checked_run_dir(config: DictConfig) -> str:
    """The run directory, once the config is known to be right: Hydra creates what this returns."""
    experiment = experiment_of(config)
    run = experiment.run
    check_place(experiment, config.hydra)
    make_directory_for("run.dir", Path(run.dir))
    return run.dir


_RESOLVERS: dict[str, Callable[[DictConfig], str]] = {
    "checked_name": _checked_name,
    "checked_run_dir": _checked_run_dir,
    "run_id": id_of,
}
