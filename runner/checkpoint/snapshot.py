"""The state at one instant, to be written while training goes on.

A variable's value is taken by reference: the next assignment makes a buffer of its own, so that
nothing is copied, and what was taken stays as it was. It is then written by TensorFlow's own op, under
the names and in the order of `tf.train.Checkpoint.write`, to the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint.graph import PythonState, holds_tensors
from runner.checkpoint.reading import GRAPH, SavedGraph, opened, plain_path
from runner.checkpoint.restore import taken

log = logging.getLogger(__name__)

Write = Callable[[], None]


class Snapshots:
    """Takes the state that a ``tf.train.Checkpoint`` holds.

    The names and the order are learned from the first checkpoint, which is written at once.

    Args:
        checkpoint: reaches all of the state; no object is added to it or taken from it any more.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._layout: _Layout | None = None
        self._is_learned = False

    def take(self, path: Path) -> Write:
        """The state as it is now; returns what writes it to ``path``, at any time and in any thread.

        Raises:
            OSError, tf.errors.OpError: the first one cannot be written; as for what is returned.
        """
        if self._layout is not None:
            return self._layout.take(path)
        self._checkpoint.write(str(path))
        if not self._is_learned:
            self._layout, self._is_learned = _learned(path, self._checkpoint), True
            if self._layout is None:
                log.warning("part of the state can only be saved while training waits for it")
        return lambda: None


class _Layout:
    """Where in a checkpoint the tensors of every object stand.

    Args:
        parts: in the order of the file, the objects with the places of their tensors by their names.
        graph: the graph of the objects, serialized.
    """

    def __init__(self, parts: list[tuple[Any, dict[str, str]]], graph: bytes) -> None:
        self._parts = parts
        self._graph = tf.constant(graph)

    def take(self, path: Path) -> Write:
        tensors = {
            place: tensor
            for part, places in self._parts
            for place, tensor in _placed(taken(part), places).items()
        }
        tensors[GRAPH] = self._graph

        def write() -> None:
            try:
                with tf.device("CPU"):
                    tf.raw_ops.SaveV2(
                        prefix=str(path),
                        tensor_names=list(tensors),
                        shape_and_slices=[""] * len(tensors),
                        tensors=list(tensors.values()),
                    )
            finally:
                # Whoever reads the file next, or tries again, shall not hold the state a second time.
                tensors.clear()

        return write


def _placed(tensors: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """The tensors by their places; a variable has only one."""
    if tensors.keys() == {""}:
        return dict(zip(places.values(), tensors.values(), strict=True))
    return {places[name]: tensor for name, tensor in tensors.items()}


def _learned(path: Path, checkpoint: tf.train.Checkpoint) -> _Layout | None:
    """The layout of what ``checkpoint`` has written; None if not all of it is understood."""
    with opened(path) as reader, plain_path(path) as plain:
        saved = SavedGraph(reader)
        objects = tf.train.CheckpointView(plain).match(checkpoint)
        found = [(objects[node], saved.tensors(node)) for node in sorted(objects)]
        parts = [(part, places) for part, places in found if places]
        # TensorFlow writes the state of Python objects after all the rest.
        parts.sort(key=lambda one: isinstance(one[0], PythonState))
        known = {GRAPH, *(place for _, places in parts for place in places.values())}
        is_understood = known == set(reader.get_variable_to_shape_map()) and all(
            holds_tensors(part) for part, _ in parts
        )
        return _Layout(parts, reader.get_tensor(GRAPH)) if is_understood else None
