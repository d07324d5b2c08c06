"""What the user lets configs do beyond what is built in: name what is built, and read a variable.

An allowance is a dotted name, or a variable of the environment as ``oc.env:NAME``. It is given on the
command line or in the `pyproject.toml` of the working directory. No config can add to that, and there
are no patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from runner.errors import ConfigError, shown, suggestion

VARIABLE = r"(?!(?i:null|nan|inf|true|false)\b)[A-Za-z_][A-Za-z0-9_]*"
"""The name of a variable of the environment, as a pattern: of those that OmegaConf takes for a name."""
_PREFIX = "oc.env:"
_PROJECT = Path("pyproject.toml")
_GIVE = "give a dotted name, such as my_package.MyModel, or a variable of the environment as oc.env:NAME"

_added: ContextVar[frozenset[str]] = ContextVar("added", default=frozenset())


@contextmanager
def allowing(allowances: Iterable[str]) -> Iterator[None]:
    """Allows these too, for the length of a block.

    Raises:
        ConfigError: one of them is no allowance.
    """
    found = [*allowances]
    for one in found:
        if not _is_allowance(one):
            raise ConfigError(f"--allow {one}: {_GIVE}")
    token = _added.set(_added.get() | frozenset(found))
    try:
        yield
    finally:
        _added.reset(token)


def additions() -> list[str]:
    """All that is allowed beyond what is built in.

    Another process knows nothing of it: whoever starts one for a run hands it these, and it works
    within ``allowing`` them.

    Raises:
        ConfigError: pyproject.toml is wrong.
    """
    return sorted(_added.get().union(_of_project()))


def allows_target(name: str) -> bool:
    """Whether the user has allowed a config to give ``name``.

    Raises:
        ConfigError: pyproject.toml is wrong.
    """
    return _is_dotted(name) and _is_added(name)


def allows_variable(name: str) -> bool:
    """Whether the user has allowed a config from elsewhere to read the variable ``name``.

    Raises:
        ConfigError: pyproject.toml is wrong.
    """
    return _is_added(f"{_PREFIX}{name}")


def _is_added(allowance: str) -> bool:
    return allowance in _added.get() or allowance in _of_project()


def _of_project() -> list[str]:
    if not _PROJECT.exists():
        return []
    import tomllib

    try:
        content = tomllib.loads(_PROJECT.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_PROJECT}: {error}") from error
    tool = content.get("tool", {})
    table = tool.get("runner", {}) if isinstance(tool, dict) else {}
    place = f"{_PROJECT}: [tool.runner]"
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: give a table, with allow = [...]")
    for key in table.keys() - {"allow"}:
        raise ConfigError(f"{place} {key}: no such key; {suggestion(key, ['allow'])}")
    found = table.get("allow", [])
    if not isinstance(found, list):
        raise ConfigError(
            f'{place} allow={shown(found)}: give a list, such as ["my_package.MyModel"]'
        )
    for one in found:
        if not isinstance(one, str) or not _is_allowance(one):
            raise ConfigError(f"{place} allow={shown(found)}: {shown(one)}: {_GIVE}")
    return found


def _is_allowance(text: str) -> bool:
    is_variable = text.startswith(_PREFIX) and re.fullmatch(VARIABLE, text.removeprefix(_PREFIX))
    return bool(is_variable) or _is_dotted(text)


def _is_dotted(text: str) -> bool:
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)
