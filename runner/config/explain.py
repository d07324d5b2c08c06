"""Why a config cannot be composed, in plain words: the key, the value, the reason and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from runner.config.hydra import (
    CONFIG_NAME,
    VERSION_BASE,
    config_directory,
    id_of,
    job_part,
    unresolved,
)
from runner.config.problems import already_told, causes
from runner.errors import ConfigError, nearest, suggestion

_NO_NAME = "Config group override"
_FLAGS = "Only one of --run, --multirun, --cfg"
_PLAIN = (_NO_NAME, _FLAGS, "File ", "Expecting one subcommand")
"""Beginnings of errors of Hydra's that are no more than ValueErrors."""
_NO_DIRECTORY = r"\1: there is no such directory of configs"


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError | None:
    """What to tell instead of an error of Hydra's, OmegaConf's or the YAML reader's.

    Args:
        error: None is the answer to any other kind.
        overrides: the command line, as far as it is known.
    """
    about_config = isinstance(error, HydraException | OmegaConfBaseException | MarkedYAMLError)
    # Hydra has no class of its own for a group that is given no name, as in model=3, nor for flags.
    if not about_config and not (isinstance(error, ValueError) and str(error).startswith(_PLAIN)):
        return None
    told = already_told(error)
    if told is not None:
        return told
    lines = (_told_by_kind(cause, str(error)) for cause in causes(error))
    return ConfigError(next(filter(None, lines), None) or _reworded(str(error), overrides))


def _told_by_kind(error: BaseException, message: str) -> str | list[str] | None:
    """For an error that holds more than its message tells."""
    match error:
        case OverrideParseException(override=override):
            return f"{override}: {_unreadable(override, str(error))}"
        case MissingConfigException(missing_cfg_file=str(file), options=[*options]) if options:
            group, _, choice = file.rpartition("/")
            known = suggestion(choice, options)
            return f"{group}={choice}: there is no {group}/{choice}.yaml; {known}"
        case MarkedYAMLError(problem_mark=mark) if mark:
            return f"{mark.name}, line {mark.line + 1}: {error.problem}"
        case OmegaConfBaseException(full_key=str()):
            refused = re.search(r"To append to your config use \+(.+)", message)
            return _refused(refused[1], error) if refused else unresolved(error).problems
    return None


def _unreadable(override: str, message: str) -> str:
    key, is_value, value = override.partition("=")
    if not is_value:
        return "no key=value; a command is the first word, and -m does not go with it"
    called = re.search(r"\w+ while evaluating '(\w+)\(.*", message)
    if not called:
        quoted = f"""'{key}="{value}"'"""
        reason = message.splitlines()[0]
        return f"Hydra cannot read this ({reason}); quote special characters: {quoted}"
    functions = OverridesParser.create().functions.functions
    if called[1] in functions:
        return f"Hydra cannot read this ({called[0]})"
    return f"Hydra has no function {called[1]}; {suggestion(called[1], functions)}"


def _refused(override: str, error: OmegaConfBaseException) -> str | list[str]:
    """Why Hydra did not take an override: what the typed config says when it is added by force."""
    parsed = _parse(override)
    if "/" in parsed.key_or_group:
        return f"{override}: no such group; {suggestion(parsed.key_or_group, _groups())}"
    if parsed.key_or_group.startswith("hydra."):
        known = suggestion(str(error.key), map(str, error.parent_node))
        return f"{override}: no such key; {known}"
    # The config that was being composed: whatever it is made of, it need not be composed again.
    config = job_part(error.parent_node._get_root())
    OmegaConf.set_struct(config, False)
    OmegaConf.update(config, parsed.key_or_group, parsed.value(), force_add=True)
    problems, key = _problems(config), str(error.full_key)
    mine = [problem for problem in problems if _is_about(key, problem)]
    beside = [problem for problem in problems if _is_about(key.rpartition(".")[0], problem)]
    guess = nearest(str(error.key), map(str, error.parent_node))
    mean = f"did you mean {guess}? if not, " if guess else ""
    fix = f"{mean}add it with +{override}"
    return mine or beside or f"{override}: the config has no such key yet; {fix}"


def _problems(config: DictConfig) -> list[str]:
    try:
        id_of(config)
    except ConfigError as error:
        return error.problems
    return []


def _is_about(key: str, problem: str) -> bool:
    """Whether the problem is one of ``key``, of what holds it or of what it holds."""
    place = f"{re.split('[=:]', problem)[0]}.".replace("[", ".")
    return bool(key) and (place.startswith(f"{key}.") or f"{key}.".startswith(place))


def _reworded(message: str, overrides: Sequence[str]) -> str:
    """For an error that tells all it knows in its message, which may run over several lines."""
    for pattern, reword in _REWORDED.items():
        found = re.search(pattern, message)
        if found:
            return found.expand(reword) if isinstance(reword, str) else reword(found, overrides)
    return " ".join(message.split())


def _no_such_key(found: re.Match[str], overrides: Sequence[str]) -> str:
    parent, _, name = found[1].rpartition(".")
    rest = [override for override in overrides if override != f"~{found[1]}"]
    known: list[str] = []
    with suppress(Exception), initialize_config_dir(config_directory(), version_base=VERSION_BASE):
        config = compose(CONFIG_NAME, overrides=rest)
        known = list(OmegaConf.select(config, parent) if parent else config)
    return f"~{found[1]}: there is no such key; {suggestion(name, known)}"


def _no_such_group(found: re.Match[str], _: Sequence[str]) -> str:
    place, group = found.groups()
    return f"{place}.yaml: override {group}: no such group; {suggestion(group, _groups())}"


def _no_choice(found: re.Match[str], overrides: Sequence[str]) -> str:
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        if group in _groups() and not isinstance(_parse(f"value={value}").value(), str | list):
            choices = sorted(path.stem for path in Path(config_directory(), group).glob("*.yaml"))
            known = suggestion(value, choices)
            return f"{override}: give the name of a choice, or ~{group} for none; {known}"
    return "a group wants the name of a choice, as in model=mlp"


def _several_values(found: re.Match[str], _: Sequence[str]) -> str:
    key, _, values = found[1].partition("=")
    text = f"""'{key}="{values}"'"""
    return f"{found[1]}: several values; try them all with runner -m, or give one text as {text}"


def _no_such_config(found: re.Match[str], _: Sequence[str]) -> str:
    places = re.findall(r"path=file://(.+)", found.string)
    return f"{found[1]}: there is no {found[1]}.yaml in {', '.join(places)}"


_REWORDED: dict[str, str | Callable[[re.Match[str], Sequence[str]], str]] = {
    r"Could not delete from config. '(.+)' does not exist": _no_such_key,
    r"In '(.+)': Could not override '(.+)'\. No match in the defaults list": _no_such_group,
    r"No match in the defaults list\.\nTo append to your default list use \+(.+)": (
        r"\1: the config has no such group yet; add it with +\1"
    ),
    r"Multiple values for .+\. To override a value use 'override (.+): (.+)'": (
        r"+\1=\2: one is chosen already; give \1=\2"
    ),
    r"An item is already at .*\nEither remove \+ prefix: '(.+)'": (
        r"+\1: the config has this key already; give \1"
    ),
    r"Ambiguous value for argument '(.+)'": _several_values,
    r"Sweep parameters '(.+)' requires --multirun": _several_values,
    r"Cannot find primary config '(.+)'\. Check": _no_such_config,
    r"Primary config module '(?:runner\.)?(.+)' not found": _NO_DIRECTORY,
    r"config directory '(.+)' (?:exists|not found)": _NO_DIRECTORY,
    _NO_NAME: _no_choice,
    _FLAGS: "give one of -m, --cfg, --info, --shell-completion; without -m, --cfg job shows a trial's config",
}
"""By pattern in the message, what to say instead."""


def _parse(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def _groups() -> list[str]:
    """The groups of the runner's own configs."""
    root = Path(config_directory())
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir())
