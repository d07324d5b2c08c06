"""Reads checkpoints as files: tensors by name, and the graph of objects that they belong to."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import trackable_object_graph_pb2

from runner.errors import CheckpointError

DAMAGE = (tf.errors.OpError, DecodeError, IndexError, OSError, RuntimeError, ValueError)
"""What TensorFlow raises for one damaged file or another."""

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""The tensor that holds the graph of the objects."""

_PATTERN = set("*?[]\\")
_COUNTER = "save_counter"
_VARIABLE = "VARIABLE_VALUE"
_RECORD = "/_record/.ATTRIBUTES/py_state"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """TensorFlow's reader of the checkpoint at ``path``.

    Raises:
        CheckpointError: it cannot be read, now or inside the ``with`` block.
    """
    try:
        with plain_path(path) as plain:
            yield tf.train.load_checkpoint(plain)
    except DAMAGE as error:
        raise CheckpointError(f"{path} cannot be read: {_one_line(error)}") from error


@contextmanager
def plain_path(path: Path) -> Iterator[str]:
    """A path to the same files that TensorFlow does not take for a pattern."""
    if not _PATTERN & set(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "checkpoints"
        link.symlink_to(path.parent.absolute())
        yield str(link / path.name)


class SavedGraph:
    """The objects of a checkpoint: nodes by number, 0 being the root, connected by named edges.

    Raises:
        CheckpointError: the checkpoint has no objects, only names, as in TensorFlow 1.
    """

    def __init__(self, reader: Any) -> None:
        self._shapes = reader.get_variable_to_shape_map()
        self._dtypes = reader.get_variable_to_dtype_map()
        if GRAPH not in self._shapes:
            raise CheckpointError(
                "the checkpoint was not made by tf.train.Checkpoint: it has tensors, but no keys"
            )
        proto = trackable_object_graph_pb2.TrackableObjectGraph()
        proto.ParseFromString(reader.get_tensor(GRAPH))
        self._nodes = proto.nodes

    @property
    def keys(self) -> dict[str, int]:
        """The node under every key, in the order in which they were given."""
        return {name: node for name, node in self.children(0).items() if name != _COUNTER}

    def children(self, node: int) -> dict[str, int]:
        """The nodes that ``node`` leads to, by the name of the edge."""
        return {child.local_name: child.node_id for child in self._nodes[node].children}

    def tensors(self, node: int) -> dict[str, str]:
        """Where in the checkpoint the tensors of ``node`` are, by the name that the object gave."""
        found: dict[str, str] = {}
        for one in self._nodes[node].attributes:
            if one.checkpoint_key in self._shapes:
                found[one.name] = one.checkpoint_key
            else:
                # A lookup table has several tensors behind one key, told apart by their endings.
                found.update(self._beginning_with(one.checkpoint_key))
        return found

    def _beginning_with(self, start: str) -> dict[str, str]:
        return {key[len(start) :]: key for key in self._shapes if key.startswith(start)}

    def name(self, node: int) -> str:
        """The name that a variable had when it was saved; empty for what is no variable."""
        return next((one.full_name for one in self._nodes[node].attributes), "")

    def variable(self, node: int) -> tuple[tf.DType, list[int]] | None:
        """Dtype and shape, if ``node`` is a variable."""
        tensors = self.tensors(node)
        if list(tensors) != [_VARIABLE]:
            return None
        key = tensors[_VARIABLE]
        return self._dtypes[key], self._shapes[key]


def fingerprint(path: Path) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors of a checkpoint, read back.

    Raises:
        CheckpointError: it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as reader:
        for name, shape in sorted(reader.get_variable_to_shape_map().items()):
            if name != GRAPH:
                value = np.asarray(reader.get_tensor(name))
                content = _bytes(value)
                digest.update(f"{name} {value.dtype} {shape} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def fault_in(path: Path) -> str | None:
    """Why a checkpoint without a manifest cannot be used, or None: TensorFlow checks what is read."""
    try:
        with opened(path) as reader:
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
    except CheckpointError as error:
        return str(error)
    return None


def owner(path: Path) -> str | None:
    """The id of the run that saved it, if that can be read and the progress is in it."""
    with suppress(CheckpointError), opened(path) as reader:
        names = reader.get_variable_to_shape_map()
        records = (reader.get_tensor(name) for name in names if name.endswith(_RECORD))
        return next((json.loads(record).get("run") for record in records), None)
    return None


def save_counter(path: Path) -> int:
    """How many saves ``tf.train.Checkpoint`` had made with this one; 0 if it was made by ``write``."""
    with opened(path) as reader:
        graph = SavedGraph(reader)
        node = graph.children(0).get(_COUNTER)
        key = graph.tensors(node).get(_VARIABLE) if node else None
        return int(reader.get_tensor(key)) if key else 0


def files_of(path: Path) -> list[Path]:
    """The files of the checkpoint at ``path``: the data, then the index."""
    start = f"{path.name}.data-"
    data = (file for file in path.parent.iterdir() if file.name.startswith(start))
    return [*sorted(data), path.with_name(f"{path.name}.index")]


def _bytes(value: np.ndarray[Any, Any]) -> bytes:
    """Strings with their lengths, since their boundaries count; anything else as it lies in memory."""
    if value.dtype != object:
        return value.tobytes()
    return b"".join(len(item).to_bytes(8, "little") + item for item in value.flat)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
