"""A config from somebody else is data.

Foreign is every file that does not stand in the runner's own folder of configs: a saved config, and
what `--config-dir` and `--config-path` lead to. It is looked at before Hydra composes anything from it:
how large it is, that its interpolations lead to keys of the config and run no resolver but to read what
the user allows of the environment, and that it keeps out of Hydra's own node, which starts plugins,
callbacks and loggers by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from runner.allowances import VARIABLE, additions, allowing, allows_variable
from runner.config.problems import join, key_of
from runner.errors import ConfigError, shown

_MAX_BYTES = 1_000_000
_MAX_NODES = 20_000
"""With every alias written out, and long texts counted for more than one."""
_MAX_DEPTH = 40
_LONG = 100
"""Characters."""
_KEY = r"\$\{(?:run_id:|\.*[\w-]+(?:\.[\w-]+|\[[\w-]+\])*)\}"
"""To a key, or the id of the run, which every run directory has in it."""
_DEFAULT = r"(?:, *[A-Za-z0-9_./:@%+-][A-Za-z0-9_ ./:@%+-]*)?"
"""What stands for a variable that is not set: nothing in it means anything to OmegaConf."""
_ENVIRONMENT = rf"\$\{{oc\.env:(?P<variable>{VARIABLE}){_DEFAULT}\}}"
_REFERENCE = re.compile(rf"{_KEY}|(?P<decoded>\$\{{oc\.decode:)?{_ENVIRONMENT}(?(decoded)\}})")
"""Each way to refer to something that a foreign config may have; the last one if its variable is allowed."""
_HYDRA = re.compile(r"(?:^|[/@.:\s])hydra(?:[/@.:]|$)", re.IGNORECASE)
"""Hydra's node, as a package, a group or a key."""
_ITS_OWN = "a saved config, or one from elsewhere, refers to its own keys only"
_NOT_ITS_OWN = (
    "belongs to Hydra, which no config from elsewhere sets up; give it on the command line"
)


def load(path: Path) -> DictConfig:
    """The saved config in ``path``.

    Raises:
        ConfigError: it is none, or holds more than data.
        OSError, YAMLError: it cannot be read.
    """
    check_size(path)
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} holds no config")
    if "defaults" in config:
        raise ConfigError(f"{path}: defaults: a saved config is complete, and has none")
    check_content(OmegaConf.to_container(config), str(path))
    return config


def check_content(content: Any, place: str) -> None:
    """Looks at what a foreign config holds, its interpolations unresolved.

    Args:
        place: where it comes from, for the message.

    Raises:
        ConfigError: with every value that is no data.
    """
    problems = [f"{place}: {key}: {_NOT_ITS_OWN}" for key in _hydra_keys(content)]
    for key, text in _texts(content, ""):
        if fix := _refused(text):
            problems.append(f"{place}: {key}={text}: {_ITS_OWN}; {fix}")
    if problems:
        raise ConfigError(problems)


def variables(content: Any) -> list[str]:
    """The variables of the environment that a foreign config, which was looked at, takes values from."""
    found = (
        one["variable"] for _, text in _texts(content, "") for one in _REFERENCE.finditer(text)
    )
    return sorted({name for name in found if name})


def check_overrides(overrides: Sequence[str], place: str) -> None:
    """Looks at overrides that somebody saved; what they make of a config is looked at apart.

    Raises:
        ConfigError: with every one for Hydra's own node.
    """
    wrong = [one for one in overrides if _HYDRA.search(key_of(one))]
    if wrong:
        raise ConfigError([f"{place}: {override}: {_NOT_ITS_OWN}" for override in wrong])


def own_directory() -> Path:
    """The runner's folder of configs: ``conf/`` inside an installed package, beside it in a clone."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's way to read a folder of configs, which looks first at what is not the runner's own.

    A launcher takes it to its processes, where nothing was registered, and with it what is allowed.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._allow = additions()

    def load_config(self, config_path: str) -> ConfigResult:
        """As Hydra's.

        Raises:
            ConfigError: a foreign config holds more than data.
        """
        folder = Path(os.path.realpath(self.path))
        file = Path(os.path.realpath(folder / self._normalize_file_name(config_path)))
        if file.is_relative_to(own_directory()):
            return super().load_config(config_path)
        place = folder / self._normalize_file_name(config_path)
        if not file.is_relative_to(folder):
            raise ConfigError(f"{place}: stands outside of {folder}; put it there")
        if _HYDRA.match(config_path):
            raise ConfigError(f"{place}: {_NOT_ITS_OWN}")
        check_size(file)
        result = super().load_config(config_path)
        if _HYDRA.search(result.header.get("package") or ""):
            raise ConfigError(f"{place}: @package {result.header['package']}: {_NOT_ITS_OWN}")
        with allowing(self._allow):
            check_content(OmegaConf.to_container(result.config), str(place))
        return result


def register() -> None:
    """Has Hydra read files through this module, in this process."""
    # Hydra keeps the first class of a scheme, and takes one of the same name for the same.
    SourcesRegistry.instance().types["file"] = FileConfigSource


def check_size(path: Path) -> None:
    """Reads a YAML file as a stream of events: nothing is built that could outgrow the memory.

    Raises:
        ConfigError: it holds too much, too deep, or is no text.
        OSError, YAMLError: it cannot be read.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(f"{path}: has more than {_MAX_BYTES:,} bytes")
    sizes: dict[str | None, int] = {}
    around: list[tuple[str | None, int]] = [(None, 0)]
    with path.open(encoding="utf-8") as file:
        try:
            for event in yaml.parse(file, Loader=yaml.SafeLoader):
                _count(event, sizes, around)
                if len(around) > _MAX_DEPTH:
                    raise ConfigError(f"{path}: is nested more than {_MAX_DEPTH} deep")
                if sum(size for _, size in around) > _MAX_NODES:
                    raise ConfigError(
                        f"{path}: has more than {_MAX_NODES:,} values, aliases written out"
                    )
        except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
            raise ConfigError(f"{path}: is no text: {' '.join(str(error).split())}") from error


def _count(
    event: yaml.Event, sizes: dict[str | None, int], around: list[tuple[str | None, int]]
) -> None:
    """Adds an event to what stands around it.

    Args:
        sizes: of what an anchor stands for.
        around: the anchors and sizes so far of the collections that are open, the innermost last.
    """
    size = 0
    match event:
        case yaml.CollectionStartEvent():
            around.append((event.anchor, 1))
        case yaml.CollectionEndEvent():
            anchor, size = around.pop()
            sizes[anchor] = size
        case yaml.ScalarEvent():
            size = sizes[event.anchor] = 1 + len(event.value) // _LONG
        case yaml.AliasEvent():
            # One that is still open holds itself.
            size = sizes.get(event.anchor, _MAX_NODES + 1)
    anchor, before = around[-1]
    around[-1] = (anchor, before + size)


def _refused(text: str) -> str | None:
    """What to do about an interpolation of a foreign config; None if there is nothing to be done."""
    found = [*_REFERENCE.finditer(text)]
    if sum(one[0].count("${") for one in found) != text.count("${"):
        return "give the value"
    names = dict.fromkeys(one["variable"] for one in found if one["variable"])
    missing = " ".join(f"--allow oc.env:{name}" for name in names if not allows_variable(name))
    return f"allow it with {missing}, or write the value there" if missing else None


def _hydra_keys(content: Any) -> Iterator[str]:
    """What in a config would lead into Hydra's node, as its keys or its list of defaults do."""
    if not isinstance(content, dict):
        return
    yield from (str(key) for key in content if _HYDRA.search(str(key)))
    for name, text in _texts(content.get("defaults"), "defaults"):
        if _HYDRA.search(text):
            yield f"{name}={text}"


def _texts(content: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text, and every name of a key, with where it stands."""
    match content:
        case dict():
            for name, item in content.items():
                yield join(key, name), str(name)
                yield from _texts(item, join(key, name))
        case list():
            for number, item in enumerate(content):
                yield from _texts(item, f"{key}[{number}]")
        case _ if content is not None:
            yield key, shown(content)
