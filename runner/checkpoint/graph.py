"""The objects of a state and those of a checkpoint, found by the same ways.

Both are graphs of named edges whose nodes hold tensors. They are walked together from every key: what
is reached by the same way belongs together, as in TensorFlow's own object-based restore.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import keras
import tensorflow as tf

from runner.checkpoint.reading import SavedGraph

Variable: TypeAlias = tf.Variable | keras.Variable
PythonState = tf.train.experimental.PythonState

_Trackable = tf.__internal__.tracking.Trackable
_T = TypeVar("_T")


@dataclass(frozen=True)
class Pair:
    """A node of a checkpoint and an object of the state that are reached by the same way."""

    way: str
    """``model/_operations/2/_kernel``: the key, then the edges."""
    node: int
    part: Any


def pairs(saved: SavedGraph, parts: Mapping[str, Any]) -> list[Pair]:
    """All pairs from the keys that both have."""

    def below(pair: tuple[int, Any]) -> dict[str, tuple[int, Any]]:
        nodes, present = saved.children(pair[0]), _compared(pair[1])
        return {name: (nodes[name], present[name]) for name in present if name in nodes}

    keys = saved.keys
    roots = {key: (keys[key], part) for key, part in _optimizers_last(parts).items() if key in keys}
    walked = _walk(roots, below, identity=lambda pair: (pair[0], id(pair[1])))
    return [Pair(way, node, part) for way, (node, part) in walked]


def saved_leaves(saved: SavedGraph, found: list[Pair]) -> list[tuple[str, int]]:
    """Every node that holds tensors, by its way, with the keys in the order of the pairs."""
    models = {pair.node for pair in found if isinstance(pair.part, keras.Model)}

    def below(node: int) -> dict[str, int]:
        nodes = saved.children(node)
        if node in models:
            nodes.pop("optimizer", None)
        return nodes

    keys = saved.keys
    roots = {
        key: keys[key]
        for key in dict.fromkeys([*(pair.way for pair in found), *keys])
        if key in keys
    }
    walked = _walk(roots, below, identity=lambda node: node)
    return [(way, node) for way, node in walked if saved.tensors(node)]


def leaves(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Every object of ``parts`` that puts tensors into a checkpoint, by its way."""
    walked = _walk(_optimizers_last(parts), _children, identity=id)
    return [(way, part) for way, part in walked if holds_tensors(part)]


def compared_leaves(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The leaves that have to be in a checkpoint for it to fit."""
    walked = _walk(_optimizers_last(parts), _compared, identity=id)
    return [(way, part) for way, part in walked if holds_tensors(part)]


def holds_tensors(part: Any) -> bool:
    """Whether ``part`` itself, not something inside it, puts tensors into a checkpoint."""
    own = type(part)._serialize_to_tensors
    return isinstance(part, Variable) or own is not _Trackable._serialize_to_tensors


def num_bytes(parts: Mapping[str, Any]) -> int:
    """The bytes of all variables."""
    variables = (part for _, part in leaves(parts) if isinstance(part, Variable))
    return sum(
        tf.as_dtype(one.dtype).size * (one.shape.num_elements() or 0)
        for one in map(_plain, variables)
    )


def variable_names(parts: Mapping[str, Any]) -> dict[str, str]:
    """The own name of every variable, by its way."""
    named = {way: own_name(part) for way, part in compared_leaves(parts)}
    return {way: name for way, name in named.items() if name}


def layer_kinds(parts: Mapping[str, Any]) -> dict[str, str]:
    """The class and the activations of every layer, by its key and name: ``model dense``."""
    return numbered(
        (f"{key} {layer.name}", _kind(layer))
        for key, part in parts.items()
        if isinstance(part, keras.Layer)
        for layer in part._flatten_layers()
        if not isinstance(layer, keras.Model)
    )


def numbered(named: Iterable[tuple[str, _T]]) -> dict[str, _T]:
    """The items by their names, with a number behind the name where several share one."""
    found: dict[str, _T] = {}
    seen: Counter[str] = Counter()
    for name, item in named:
        found[f"{name}#{seen[name]}" if seen[name] else name] = item
        seen[name] += 1
    return found


def _kind(layer: keras.Layer) -> str:
    functions = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
    names = (getattr(one, "__name__", type(one).__name__) for one in functions if one is not None)
    return " ".join([type(layer).__name__, *names])


def own_name(part: Any) -> str:
    """The name of a variable; empty for what is no variable."""
    if isinstance(part, keras.Variable):
        return str(part.path)
    return str(part.name).partition(":")[0] if isinstance(part, tf.Variable) else ""


def _plain(variable: Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _children(part: Any) -> dict[str, Any]:
    return dict(tf.train.TrackableView.children(part))


def _compared(part: Any) -> dict[str, Any]:
    """The children that count: not the optimizer that ``compile()`` puts into a model.

    It is no part of what a model computes, and every script that calls ``fit`` has it in its
    checkpoints. The optimizer of the state stands under a key of its own.
    """
    below = _children(part)
    if isinstance(part, keras.Model):
        below.pop("optimizer", None)
    return below


def _walk(
    roots: Mapping[str, _T],
    below: Callable[[_T], Mapping[str, _T]],
    *,
    identity: Callable[[_T], Any],
) -> list[tuple[str, _T]]:
    """Everything that is reached, once, by the shortest way from the first root that leads to it."""
    found: list[tuple[str, _T]] = []
    seen = set()
    for root, start in roots.items():
        waiting = deque([(root, start)])
        while waiting:
            way, item = waiting.popleft()
            if identity(item) in seen:
                continue
            seen.add(identity(item))
            found.append((way, item))
            waiting.extend((f"{way}/{edge}", child) for edge, child in below(item).items())
    return found


def _optimizers_last(parts: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer leads to the weights too, but they are named after the model."""
    return dict(sorted(parts.items(), key=lambda item: isinstance(item[1], keras.Optimizer)))
