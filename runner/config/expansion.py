"""How much a config becomes once its interpolations are resolved, counted before they are.

Ten keys that each refer ten times to the next hold more than any memory; OmegaConf would try.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from runner.errors import ConfigError

Place: TypeAlias = tuple[str, ...]

_MAX_SIZE = 1_000_000
"""Characters of text, and values."""
_MAX_CHAIN = 40
_REFERENCE = re.compile(r"\$\{(\.*)([^\s.${}:\[\]][^\s${}:]*)\}")


def check_expansion(content: Any) -> None:
    """Looks at a config as plain data, its interpolations unresolved.

    Raises:
        ConfigError: it would become too large, or a reference leads on for too long.
    """
    if _Sizes(content).at((), chain=0) > _MAX_SIZE:
        raise ConfigError(
            f"the config: its interpolations make more than {_MAX_SIZE:,} values of it"
        )


class _Sizes:
    """Sizes of what stands at a place, each found once."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self._sizes: dict[Place, int] = {}

    def at(self, place: Place, *, chain: int) -> int:
        """Args: chain: how many references led here."""
        if chain > _MAX_CHAIN:
            raise ConfigError(f"{'.'.join(place)}: {_MAX_CHAIN} interpolations lead to one another")
        if place not in self._sizes:
            self._sizes[place] = 0  # What leads back to itself is told when it is resolved.
            self._sizes[place] = self._measure(_select(self._content, place), place, chain)
        return self._sizes[place]

    def _measure(self, value: Any, place: Place, chain: int) -> int:
        match value:
            case dict():
                return sum((self.at((*place, str(name)), chain=chain) for name in value), start=1)
            case list():
                return sum(
                    (self.at((*place, str(number)), chain=chain) for number in range(len(value))),
                    start=1,
                )
            case str():
                references = _REFERENCE.findall(value)
                places = [self._target(dots, path, place) for dots, path in references]
                return len(value) + sum(self.at(one, chain=chain + 1) for one in places)
        return 1

    def _target(self, dots: str, path: str, place: Place) -> Place:
        """Where a reference that stands at ``place`` leads, or the reference on the way there."""
        above = place[: max(0, len(place) - len(dots))] if dots else ()
        target = (*above, *re.findall(r"[^.\[\]]+", path))
        for length in range(len(above) + 1, len(target)):
            if isinstance(_select(self._content, target[:length]), str):
                return target[:length]
        return target


def _select(content: Any, place: Sequence[str]) -> Any:
    for name in place:
        match content:
            case dict():
                content = {str(key): value for key, value in content.items()}.get(name)
            case list() if name.isdecimal() and int(name) < len(content):
                content = content[int(name)]
            case _:
                return None
    return content
