"""What differs between two configs of one run, and what each difference does to the run.

A change is *harmless* where the run's id would stay what it is, *impossible* where the run as it
stands cannot take it, and otherwise *changes the trajectory*: from there on, the run is another one
than its first command describes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from runner.config.identity import run_id
from runner.config.obstacles import Case, Place, Reached, obstacle
from runner.config.schema import load
from runner.errors import ConfigError, shown

Kind = Literal["harmless", "trajectory", "impossible"]
Config: TypeAlias = Mapping[str, Any]
"""Plain data with all interpolations resolved."""

_REQUESTS = {("run", "max_time")}
"""What is asked of one sitting, and no part of the run."""
_ORDERED = {("phases",), ("callbacks",)}
"""Where the order of the names counts."""


class _Unset:
    """Stands for the value of a key that the config does not have."""

    def __str__(self) -> str:
        return "not set"


UNSET = _Unset()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value that is another one than before."""

    key: str
    old: Any
    new: Any
    kind: Kind
    reason: str | None = None
    """Why it is impossible, and what to do instead."""

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.old)} -> {shown(self.new)}"

    @property
    def problem(self) -> str:
        """For the error that refuses it."""
        asked = f"~{self.key}" if self.new is UNSET else f"{self.key}={shown(self.new)}"
        return f"{asked}: {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """For run.json; a value that is not set is left out."""
        values = {"old": self.old, "new": self.new}
        there = {name: value for name, value in values.items() if value is not UNSET}
        return {"key": self.key, **there, "class": self.kind}


def change_from_json(content: Mapping[str, Any]) -> Change:
    """The change that ``as_json`` gave."""
    old, new = content.get("old", UNSET), content.get("new", UNSET)
    return Change(key=content["key"], old=old, new=new, kind=content["class"])


def changes_between(
    before: Config, after: Config, *, reached: Reached, told: Sequence[Config] = ()
) -> list[Change]:
    """Every value that differs, in the order of the config.

    Args:
        reached: how far the run got that was ``before`` so far.
        told: the same two without what nobody is to be told.

    Raises:
        ConfigError: one of the two configs is wrong.
    """
    case = Case(before=load(before), after=load(after), reached=reached)
    changes = []
    for place, old, new in _differing(before, after, ()):
        if place in _REQUESTS:
            continue
        reason = obstacle(case, place)
        determines = place in _ORDERED or _determines(before, after, place)
        kind: Kind = "impossible" if reason else "trajectory" if determines else "harmless"
        if told and place not in _ORDERED:
            old, new = (_seen(config, place) for config in told)
        changes.append(Change(key=".".join(place), old=old, new=new, kind=kind, reason=reason))
    return changes


def _differing(before: Any, after: Any, place: Place) -> Iterator[tuple[Place, Any, Any]]:
    """The places where the two differ, as high up as one side has no mapping, with both values."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield place, before, after
        return
    for name in {**before, **after}:
        yield from _differing(before.get(name, UNSET), after.get(name, UNSET), (*place, str(name)))
    common = [name for name in before if name in after]
    reordered = [name for name in after if name in before]
    if place in _ORDERED and common != reordered:
        yield place, common, reordered


def _determines(before: Config, after: Config, place: Place) -> bool:
    """Whether the run's id would be another one without the change at ``place``, all others made.

    Where that is no valid config, as with half of a rhythm, all of the mapping is put back.
    """
    without = _exchanged(after, place, _at(before, place)) if place else before
    same = _same_id(after, without)
    return _determines(before, after, place[:-1]) if same is None else not same


def _same_id(one: Config, other: Config) -> bool | None:
    """Whether both configs have one id; None if one of them is not valid."""
    try:
        ids = {run_id(load(config), home=config["run"]["dir"]) for config in (one, other)}
    except ConfigError:
        return None
    return len(ids) == 1


def _at(config: Config, place: Place) -> Any:
    *above, name = place
    for key in above:
        config = config[key]
    return config.get(name, UNSET)


def _seen(config: Any, place: Place) -> Any:
    """As ``_at``; or what stands above, where that is all that is to be seen."""
    for name in place:
        if isinstance(config, Mapping):
            config = config.get(name, UNSET)
    return config


def _exchanged(config: Config, place: Place, value: Any) -> Config:
    """A copy of ``config`` with another value at ``place``, or none."""
    changed: dict[str, Any] = copy.deepcopy(dict(config))
    *above, name = place
    node = changed
    for key in above:
        node = node[key]
    if value is UNSET:
        node.pop(name, None)
    else:
        node[name] = value
    return changed
