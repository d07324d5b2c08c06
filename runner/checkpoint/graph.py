"""Compares what a checkpoint holds with what is there to receive it, before anything is touched.

A checkpoint is a graph of named edges whose nodes hold tensors, and so is the state. Both are walked
together from the root: nodes reached by the same names belong together, as in TensorFlow's own
object-based restore.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
Variable: TypeAlias = tf.Variable | keras.Variable


@dataclass
class Comparison:
    """How a checkpoint and a state differ; every list is of readable names."""

    matched: list[tuple[str, str, Variable]] = field(default_factory=list)
    """Name, tensor in the checkpoint, variable, for those of one shape and dtype."""
    keys_saved: list[str] = field(default_factory=list)
    keys_wanted: list[str] = field(default_factory=list)
    only_in_checkpoint: list[str] = field(default_factory=list)
    only_in_state: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    """Same name, other shape or dtype."""
    other_classes: list[str] = field(default_factory=list)
    """Same key, other class, as far as a manifest tells."""

    @property
    def differs(self) -> bool:
        """Whether a strict restore is refused."""
        keys_differ = sorted(self.keys_saved) != sorted(self.keys_wanted)
        lists = self.only_in_checkpoint, self.only_in_state, self.unlike, self.other_classes
        return keys_differ or any(lists)


def compare(path: str, parts: dict[str, Any]) -> Comparison:
    """Compares the checkpoint at ``path`` with ``parts``, the part of the state under every key."""
    reader = tf.train.load_checkpoint(path)
    nodes = _graph(reader)
    root = tf.train.Checkpoint(**parts)
    pairs = _walk(nodes, root)
    found = Comparison(
        keys_saved=[
            child.local_name for child in nodes[0].children if child.local_name != "save_counter"
        ],
        keys_wanted=list(parts),
    )
    for name, node, variable in pairs:
        key = nodes[node].attributes[0].checkpoint_key
        saved = _described(
            reader.get_variable_to_dtype_map()[key], reader.get_variable_to_shape_map()[key]
        )
        present = _described(tf.as_dtype(variable.dtype), variable.shape)
        if saved == present:
            found.matched.append((name, key, variable))
        else:
            found.unlike.append(f"{name}: {saved} in the checkpoint, {present} in this run")
    known_nodes = {node for _, node, _ in pairs}
    known_variables = {id(variable) for _, _, variable in pairs}
    found.only_in_checkpoint = _unmatched_nodes(nodes, known_nodes)
    found.only_in_state = [
        name for name, variable in variables(parts) if id(variable) not in known_variables
    ]
    return found


def variables(parts: dict[str, Any]) -> list[tuple[str, Variable]]:
    """Every variable that a checkpoint of ``parts`` holds, with its name."""
    found = [(name, part) for name, part in _descendants(parts) if isinstance(part, Variable)]
    return [(_readable(name, variable), variable) for name, variable in found]


def python_states(parts: dict[str, Any]) -> list[tf.train.experimental.PythonState]:
    """Every piece of Python state that a checkpoint of ``parts`` holds."""
    kind = tf.train.experimental.PythonState
    return [part for _, part in _descendants(parts) if isinstance(part, kind)]


def saved_keys(path: str) -> list[str]:
    """The keys that the checkpoint at ``path`` was saved with."""
    root = _graph(tf.train.load_checkpoint(path))[0]
    return [child.local_name for child in root.children if child.local_name != "save_counter"]


def fingerprint(path: str) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors of a checkpoint, read back."""
    reader = tf.train.load_checkpoint(path)
    digest = hashlib.sha256()
    for name, shape in sorted(reader.get_variable_to_shape_map().items()):
        if name == GRAPH_KEY:
            continue
        value = np.asarray(reader.get_tensor(name))
        content = value.item() if value.dtype == object else value.tobytes()
        digest.update(f"{name} {value.dtype} {shape} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def read_every_tensor(path: str) -> None:
    """Reads all of a checkpoint, since TensorFlow checks only what is read.

    Raises:
        tf.errors.OpError, IndexError: the checkpoint is damaged.
    """
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def files_of(prefix: Path) -> list[Path]:
    """The files of the checkpoint at ``prefix`` but its manifest: the index, then the data."""
    stem = f"{prefix.name}.data-"
    data = (path for path in prefix.parent.iterdir() if path.name.startswith(stem))
    return [prefix.with_name(f"{prefix.name}.index"), *sorted(data)]


def _graph(reader: Any) -> Any:
    proto = trackable_object_graph_pb2.TrackableObjectGraph()
    proto.ParseFromString(reader.get_tensor(GRAPH_KEY))
    return proto.nodes


def _walk(nodes: Any, root: Any) -> list[tuple[str, int, Variable]]:
    """Pairs of a node that holds one tensor and the variable reached by the same names."""
    pairs = []
    waiting: deque[tuple[str, int, Any]] = deque([("", 0, root)])
    seen: set[tuple[int, int]] = set()
    while waiting:
        name, node, part = waiting.popleft()
        if (node, id(part)) in seen:
            continue
        seen.add((node, id(part)))
        if _holds_tensor(nodes[node]) and isinstance(part, Variable):
            pairs.append((_readable(name, part), node, part))
        children = _children(part)
        for child in nodes[node].children:
            if child.local_name in children:
                below = f"{name}/{child.local_name}".lstrip("/")
                waiting.append((below, child.node_id, children[child.local_name]))
    return _first_of_each(pairs)


def _first_of_each(pairs: list[tuple[str, int, Variable]]) -> list[tuple[str, int, Variable]]:
    first = {
        (node, id(variable)): (name, node, variable) for name, node, variable in reversed(pairs)
    }
    return list(reversed(first.values()))


def _unmatched_nodes(nodes: Any, known: set[int]) -> list[str]:
    waiting: deque[tuple[str, int]] = deque([("", 0)])
    seen = {0}
    names = []
    while waiting:
        name, node = waiting.popleft()
        if _holds_tensor(nodes[node]) and node not in known and name != "save_counter":
            full_name = nodes[node].attributes[0].full_name
            names.append(f"{name} ({full_name})" if full_name else name)
        for child in nodes[node].children:
            if child.node_id not in seen:
                seen.add(child.node_id)
                waiting.append((f"{name}/{child.local_name}".lstrip("/"), child.node_id))
    return names


def _descendants(parts: dict[str, Any]) -> list[tuple[str, Any]]:
    waiting: deque[tuple[str, Any]] = deque(parts.items())
    seen = {id(part) for part in parts.values()}
    found = []
    while waiting:
        name, part = waiting.popleft()
        found.append((name, part))
        for child_name, child in _children(part).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{name}/{child_name}", child))
    return found


def _children(part: Any) -> dict[str, Any]:
    return dict(tf.train.TrackableView.children(part))


def _holds_tensor(node: Any) -> bool:
    return len(node.attributes) == 1 and node.attributes[0].name == "VARIABLE_VALUE"


def _readable(name: str, variable: Variable) -> str:
    """The key, then the variable's own path: ``model dense/kernel``."""
    path = getattr(variable, "path", variable.name)
    return f"{name.split('/')[0]} {path}"


def _described(dtype: tf.DType, shape: Any) -> str:
    return f"{dtype.name} {list(shape)}"
