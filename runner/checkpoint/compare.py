"""Compares what a checkpoint holds with what is there to receive it, before anything is touched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from runner.checkpoint.graph import (
    Pair,
    Variable,
    compared_leaves,
    holds_tensors,
    own_name,
    pairs,
    saved_leaves,
)
from runner.checkpoint.reading import SavedGraph, described


@dataclass(frozen=True)
class Match:
    """An object of the state, and where in the checkpoint its tensors are, by its names for them."""

    part: Any
    tensors: dict[str, str]


@dataclass
class Comparison:
    """How a checkpoint and a state differ; every list is of readable lines."""

    matches: list[Match]
    """What can be restored."""
    is_exact: bool
    """Whether that is everything on both sides, each in its place and under its name."""
    keys_saved: dict[str, str]
    """Key in the checkpoint: the part of the state that it looks like."""
    keys_wanted: list[str]
    only_in_checkpoint: list[str] = field(default_factory=list)
    only_in_state: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    """Other shape or dtype."""
    moved: list[str] = field(default_factory=list)
    """All the same by name, shape and dtype, but not in the same places."""

    @property
    def keys_differ(self) -> bool:
        """Whether the keys are others, whatever is under them."""
        return sorted(self.keys_saved) != sorted(self.keys_wanted)


def compare(
    saved: SavedGraph, parts: Mapping[str, Any], *, names: Mapping[str, str] | None = None
) -> Comparison:
    """Compares a checkpoint with ``parts``, the part of the state under every key.

    Args:
        names: what ``variable_names`` gave when it was saved. With it, what has one name belongs
            together; without it what is reached by one way, because the names that Keras counts up
            differ from script to script.
    """
    all_pairs = pairs(saved, parts)
    found = [pair for pair in all_pairs if saved.tensors(pair.node) and holds_tensors(pair.part)]
    there = [
        _There(_readable(way, (names or {}).get(way) or saved.name(node)), saved, node)
        for way, node in saved_leaves(saved, all_pairs)
    ]
    here = [_Here(_readable(way, own_name(part)), part) for way, part in compared_leaves(parts)]
    in_place = _in_place(found, there, here, same_name=names is not None)
    comparison = Comparison(
        matches=[Match(one.part, other.tensors) for other, one in in_place],
        is_exact=len(in_place) == len(there) == len(here),
        keys_saved={key: _looks_like(saved, node) for key, node in saved.keys.items()},
        keys_wanted=list(parts),
    )
    if names is None:
        _describe_by_way(comparison, found, there, here)
    else:
        _describe_by_name(comparison, found, there, here)
    return comparison
