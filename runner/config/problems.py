"""Going on after a problem, so that one error tells all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from runner.errors import ConfigError

Name = TypeVar("Name")
Value = TypeVar("Value")


def gather(
    parts: Mapping[Name, Callable[[], Value]], *, problems: Iterable[str] = ()
) -> dict[Name, Value]:
    """What each part gives, by name.

    Args:
        parts: each may raise a ``ConfigError``; the others are tried all the same.
        problems: what is wrong besides.

    Raises:
        ConfigError: with ``problems`` and those of every part, if there are any.
    """
    found, values = list(problems), {}
    for name, part in parts.items():
        try:
            values[name] = part()
        except ConfigError as error:
            found += error.problems
    if found:
        raise ConfigError(found)
    return values


def key_of(override: str) -> str:
    """The key that an override of the command line sets, adds or drops."""
    return override.partition("=")[0].lstrip("+~")


def join(key: str, name: object) -> str:
    """The full key of ``name`` below ``key``."""
    return f"{key}.{name}" if key else str(name)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, back to the first one."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def already_told(error: BaseException) -> ConfigError | None:
    """The error of ours, if that is what stopped OmegaConf in the middle of a resolver."""
    return next((cause for cause in causes(error) if isinstance(cause, ConfigError)), None)
