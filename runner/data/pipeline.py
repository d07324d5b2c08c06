"""Chunks of batches as tensors: a prefetching pipeline that is a function of the step.

A chunk of K batches of B examples is ``{"x": [K, B, ...], "y": [K, B, ...], "weight": [K, B],
"first": [], "last": []}``. ``weight`` is 1 for an example and 0 for padding, which only the last batch
of a pass can hold. The batches ``first .. last-1`` count; there can be room for more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from runner.data.order import in_turn, shuffled
from runner.data.source import Source, whole
from runner.schedule import Epochs

Chunk: TypeAlias = dict[str, tf.Tensor]
Span: TypeAlias = tuple[int, int]
"""The batches ``start .. stop-1``."""

_PREFETCHED_CHUNKS = 2
_CHUNK_BYTES = 64 << 20
_SPANS_PER_PIPELINE = 1000
_WHOLE_BYTES = 64 << 20
_OF_CHUNKS = ("weight", "first", "last")
"""What a chunk holds besides examples."""


@dataclass(frozen=True, kw_only=True)
class Pipelines:
    """The splits of a data set as chunks."""

    sources: Mapping[str, Source]
    batch_size: int
    seed: int
    max_chunk: int
    """The most batches in a chunk."""
    room: int = 0
    """The batches that a chunk of training has room for at least: XLA compiles anew for each size."""
    evaluation_room: int = 0
    """The same of an evaluation."""
    _whole: dict[str, Chunk | None] = field(default_factory=dict, repr=False, compare=False)
    """By split, all examples, where they are small enough to stay with TensorFlow."""
    _passes: dict[str, list[Chunk]] = field(default_factory=dict, repr=False, compare=False)
    """By split, the chunks of an evaluation, which are the same every time."""

    def epochs(self, split: str) -> Epochs:
        """Where the epochs of a split end."""
        return Epochs(len(self.sources[split]), self.batch_size)

    def training(self, split: str, *, offset: int, spans: Iterable[Span]) -> Iterator[Chunk]:
        """The endless shuffled stream: batch ``s`` holds its examples ``s*B .. s*B+B-1``.

        Args:
            offset: the step at which the phase began, so that every phase has an order of its own.
            spans: the chunks wanted, as batches from the beginning of the phase.
        """
        source = self.sources[split]

        def rows(positions: tf.Tensor) -> tf.Tensor:
            return shuffled(positions, num_examples=len(source), seed=(self.seed, offset))

        def real(positions: tf.Tensor) -> tf.Tensor:
            return tf.fill(tf.shape(positions), True)

        return self._chunks(split, spans, rows, real, room=self.room)

    def evaluation(self, split: str) -> Iterator[Chunk]:
        """Every example exactly once, in order; the last batch is padded with weight 0.

        All chunks have room for as many batches as the first.
        """
        source = self.sources[split]
        num_batches = self.epochs(split).end(1)
        room = max(self.evaluation_room, self.evaluated_at_once(split))
        starts = range(0, num_batches, self.max_chunk)
        spans = [(start, min(start + self.max_chunk, num_batches)) for start in starts]

        def rows(positions: tf.Tensor) -> tf.Tensor:
            return in_turn(positions, num_examples=len(source))

        def real(positions: tf.Tensor) -> tf.Tensor:
            return positions < len(source)

        if split not in self._passes:
            chunks = self._chunks(split, spans, rows, real, room=room)
            if self._examples(split) is None:
                return chunks
            self._passes[split] = list(chunks)
        return iter(self._passes[split])

    def evaluated_at_once(self, split: str) -> int:
        """The most batches in a chunk of an evaluation."""
        return min(self.epochs(split).end(1), self.max_chunk)

    def _chunks(
        self,
        split: str,
        spans: Iterable[Span],
        rows: Callable[[tf.Tensor], tf.Tensor],
        real: Callable[[tf.Tensor], tf.Tensor],
        *,
        room: int,
    ) -> Iterator[Chunk]:
        spec = chunk_spec(self.sources[split], batch_size=self.batch_size)
        take = self._taking(split, spec)

        @tf.autograph.experimental.do_not_convert  # It would take 0.4 s to find nothing to convert.
        def chunk(span: tf.Tensor) -> Chunk:
            positions = tf.range(span[0] * self.batch_size, span[1] * self.batch_size)
            flat = {**take(rows(positions)), "weight": tf.cast(real(positions), tf.float32)}
            num_batches = span[1] - span[0]
            missing = tf.maximum(room - num_batches, 0)
            batches = {
                name: _with_room(tf.reshape(value, [-1, *spec[name].shape[1:]]), missing)
                for name, value in flat.items()
            }
            return {**batches, "first": tf.constant(0), "last": tf.cast(num_batches, tf.int32)}

        # In blocks, because the spans of a long run would fill the memory, and TensorFlow cannot read
        # a Python iterator without taking the interpreter away from the loop.
        ahead = iter(spans)
        while block := list(itertools.islice(ahead, _SPANS_PER_PIPELINE)):
            numbers = tf.data.Dataset.from_tensor_slices(np.array(block, np.int64))
            yield from numbers.map(chunk).prefetch(_PREFETCHED_CHUNKS)

    def _taking(
        self, split: str, spec: Mapping[str, tf.TensorSpec]
    ) -> Callable[[tf.Tensor], Chunk]:
        """What gives the examples at some rows: TensorFlow alone if it can, or by way of Python."""
        source, examples = self.sources[split], self._examples(split)
        names = [name for name in spec if name not in _OF_CHUNKS]
        if examples is not None:
            return lambda rows: {name: tf.gather(examples[name], rows) for name in names}

        def take(indices: np.ndarray) -> list[np.ndarray]:
            examples = source.take(indices)
            return [examples[name] for name in names]

        dtypes = [spec[name].dtype for name in names]
        return lambda rows: dict(zip(names, tf.numpy_function(take, [rows], dtypes), strict=True))

    def _examples(self, split: str) -> Chunk | None:
        """All examples of a split as tensors, if they are few enough."""
        if split not in self._whole:
            examples = whole(self.sources[split], most_bytes=_WHOLE_BYTES)
            self._whole[split] = examples and {
                name: tf.constant(values) for name, values in examples.items()
            }
        return self._whole[split]


def chunk_spec(source: Source, *, batch_size: int) -> dict[str, tf.TensorSpec]:
    """The shapes and dtypes of a chunk, with the number of batches left open."""
    example = source.take(np.zeros([1], np.int64))
    spec = {
        name: tf.TensorSpec([None, batch_size, *value.shape[1:]], value.dtype)
        for name, value in example.items()
    }
    return {
        **spec,
        "weight": tf.TensorSpec([None, batch_size], tf.float32),
        "first": tf.TensorSpec([], tf.int32),
        "last": tf.TensorSpec([], tf.int32),
    }


def chunk_limit(spec: Mapping[str, tf.TensorSpec], *, most: int) -> int:
    """How many batches a chunk may have: at most ``most``, and few enough for the memory."""
    batch_bytes: int = sum(
        math.prod(values.shape[1:]) * values.dtype.size for values in spec.values()
    )
    return max(1, min(most, _CHUNK_BYTES // batch_bytes))


def _with_room(values: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """``values`` with zeros for so many more batches behind."""
    return tf.pad(values, [[0, missing], *([0, 0] for _ in values.shape[1:])])
