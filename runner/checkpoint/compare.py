"""Compares what a checkpoint holds with what is there to receive it, before anything is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from runner.checkpoint.graph import Pair, Variable, compared_leaves, own_name, pairs, saved_leaves
from runner.checkpoint.reading import SavedGraph
from runner.checkpoint.spec import UNTRACKED


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
    """Key in the checkpoint, but for the runner's own: the part of the state that it looks like."""
    keys_wanted: list[str]
    only_in_checkpoint: list[str] = field(default_factory=list)
    only_in_state: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    """Other shape or dtype."""
    moved: list[str] = field(default_factory=list)
    """All the same by name, shape and dtype, but not in the same places."""
    passed_over: list[str] = field(default_factory=list)
    """A learning rate that only one side has in a variable; the other has a schedule."""

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
    found = pairs(saved, parts)
    there, here = _saved(saved, found, names or {}), _present(parts)
    both = [
        (there[pair.node], here[id(pair.part)])
        for pair in found
        if pair.node in there and id(pair.part) in here
    ]
    rates = {} if names is None else _moved_rates(there.values(), here.values(), parts)
    if rates:
        there = {node: old for node, old in there.items() if old.name not in rates}
        here = {part: new for part, new in here.items() if new.name not in rates}
        # The variable moves the place of every slot by one: the rest goes together by its order.
        both = list(zip(there.values(), here.values(), strict=False))
    in_place = [
        (old, new)
        for old, new in _one_to_one(both)
        if _fits(old, new) and (names is None or old.name == new.name)
    ]
    comparison = Comparison(
        matches=[_match(old, new) for old, new in in_place],
        is_exact=len(in_place) == len(there) == len(here),
        keys_saved={
            key: _looks_like(saved, node) for key, node in saved.keys.items() if key != UNTRACKED
        },
        keys_wanted=[key for key in parts if key != UNTRACKED],
        passed_over=list(rates.values()),
    )
    if not comparison.is_exact:
        describe = _describe_by_way if names is None else _describe_by_name
        describe(comparison, list(there.values()), list(here.values()), both)
    return comparison


@dataclass(frozen=True, eq=False)
class _Leaf:
    """What holds tensors, on one of the two sides."""

    name: str
    """The key, then the variable's own name: ``model dense/kernel``."""
    content: str
    """``float32 [64, 128]``, or the names of the tensors of what is no variable."""


@dataclass(frozen=True, eq=False)
class _There(_Leaf):
    tensors: dict[str, str]
    variable: tuple[tf.DType, list[int]] | None


@dataclass(frozen=True, eq=False)
class _Here(_Leaf):
    part: Any


_Both = Sequence[tuple[_There, _Here]]


def _saved(saved: SavedGraph, found: list[Pair], names: Mapping[str, str]) -> dict[int, _There]:
    """What the checkpoint holds, by node."""
    ways = saved_leaves(saved, found)
    readable = _readable([(way, names.get(way) or saved.name(node)) for way, node in ways])
    return {node: _there(saved, node, readable[way]) for way, node in ways}


def _present(parts: Mapping[str, Any]) -> dict[int, _Here]:
    """What is there to receive it, by identity."""
    ways = compared_leaves(parts)
    readable = _readable([(way, own_name(part)) for way, part in ways])
    return {id(part): _here(part, readable[way]) for way, part in ways}


def _there(saved: SavedGraph, node: int, name: str) -> _There:
    variable, tensors = saved.variable(node), saved.tensors(node)
    content = _described(*variable) if variable else ", ".join(sorted(tensors))
    return _There(name, content, tensors, variable)


def _here(part: Any, name: str) -> _Here:
    if isinstance(part, Variable):
        shape = tf.TensorShape(part.shape)
        listed = shape if shape.rank is None else shape.as_list()
        content = _described(tf.as_dtype(part.dtype), listed)
    else:
        content = ", ".join(sorted(part._serialize_to_tensors()))
    return _Here(name, content, part)


def _match(old: _There, new: _Here) -> Match:
    return Match(new.part, old.tensors)


def _one_to_one(both: _Both) -> _Both:
    """Those that are each other's only partner: one object cannot take the place of two."""
    old_count, new_count = Counter(old for old, _ in both), Counter(new for _, new in both)
    return [(old, new) for old, new in both if old_count[old] == new_count[new] == 1]


def _moved_rates(
    there: Iterable[_Leaf], here: Iterable[_Leaf], parts: Mapping[str, Any]
) -> dict[str, str]:
    """By name, the learning rates that one side has and the other has not.

    A number stands in a variable, a schedule in none, and it is the config's to say which it is.
    """
    optimizers = [key for key, part in parts.items() if isinstance(part, keras.Optimizer)]
    old, new = {leaf.name: leaf for leaf in there}, {leaf.name: leaf for leaf in here}
    return {
        name: _line(leaf)
        for name, leaf in {**old, **new}.items()
        if (name in old) != (name in new)
        and name.partition(" ")[0] in optimizers
        and name.endswith("/learning_rate")
    }


def _fits(old: _There, new: _Here) -> bool:
    """Whether ``new`` can hold exactly what was saved."""
    if old.content == new.content or old.variable is None or not isinstance(new.part, Variable):
        return old.content == new.content
    dtype, shape = old.variable
    own = tf.as_dtype(new.part.dtype)
    # tf.Variable(0), as a script counts its steps, is an int32.
    counts = (dtype, own, shape) == (tf.int32, tf.int64, [])
    return (dtype == own or counts) and bool(
        tf.TensorShape(new.part.shape).is_compatible_with(shape)
    )


def _describe_by_way(
    found: Comparison, there: Sequence[_There], here: Sequence[_Here], both: _Both
) -> None:
    paired_old, paired_new = {old for old, _ in both}, {new for _, new in both}
    found.only_in_checkpoint = [_line(old) for old in there if old not in paired_old]
    found.only_in_state = [_line(new) for new in here if new not in paired_new]
    single = _one_to_one(both)
    found.unlike = [_unlike(old, new) for old, new in single if not _fits(old, new)]
    if not (found.only_in_checkpoint or found.only_in_state or found.unlike):
        found.moved = [_moved(old, new) for old, new in both if (old, new) not in single]


def _describe_by_name(
    found: Comparison, there: Sequence[_There], here: Sequence[_Here], both: _Both
) -> None:
    saved, present = {old.name: old for old in there}, {new.name: new for new in here}
    named = [(saved[name], present[name]) for name in saved if name in present]
    found.matches = [_match(old, new) for old, new in named if _fits(old, new)]
    found.only_in_checkpoint = [_line(old) for old in there if old.name not in present]
    found.only_in_state = [_line(new) for new in here if new.name not in saved]
    found.unlike = [_unlike(old, new) for old, new in named if not _fits(old, new)]
    if not (found.only_in_checkpoint or found.only_in_state or found.unlike):
        found.moved = [_moved(old, new) for old, new in both if old.name != new.name]


def _line(leaf: _Leaf) -> str:
    return f"{leaf.name}: {leaf.content}"


def _unlike(old: _Leaf, new: _Leaf) -> str:
    return f"{new.name}: {old.content} in the checkpoint, {new.content} in this run"


def _moved(old: _Leaf, new: _Leaf) -> str:
    return f"{old.name} in the checkpoint is in the place of {new.name} in this run"


def _looks_like(saved: SavedGraph, node: int) -> str:
    """The part of the state that was probably saved here."""
    below = saved.children(node)
    marks = {"_iterations": "optimizer", "_record": "progress"}
    found = next((part for mark, part in marks.items() if mark in below), "model")
    return "step" if saved.variable(node) else found


def _readable(named: Sequence[tuple[str, str]]) -> dict[str, str]:
    """By way, the key and the own name; with the edges where there is none or several share one."""
    names = {way: _joined(way, name) for way, name in named}
    count = Counter(names.values())
    return {
        way: name if count[name] == 1 else f"{name} ({way.partition('/')[2]})"
        for way, name in names.items()
    }


def _joined(way: str, name: str) -> str:
    key, _, edges = way.partition("/")
    return f"{key} {name or edges}".rstrip()


def _described(dtype: tf.DType, shape: Any) -> str:
    return f"{dtype.name} {shape}"
