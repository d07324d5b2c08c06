"""Chunks of batches as tensors: a prefetching pipeline that is a function of the step.

A chunk of K batches of B examples is ``{"x": [K, B, ...], "y": [K, B, ...], "weight": [K, B]}``.
``weight`` is 1 for an example and 0 for padding, which only the last batch of a pass can hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from runner.data.order import in_turn, shuffled
from runner.data.source import Source
from runner.schedule import Epochs

Chunk: TypeAlias = dict[str, tf.Tensor]
Span: TypeAlias = tuple[int, int]
"""The batches ``start .. stop-1``."""

_PREFETCHED_CHUNKS = 2
_CHUNK_BYTES = 64 << 20
_SPANS_PER_PIPELINE = 1000


@dataclass(frozen=True, kw_only=True)
class Pipelines:
    """The splits of a data set as chunks."""

    sources: Mapping[str, Source]
    batch_size: int
    seed: int
    max_chunk: int
    """The most batches in a chunk."""

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

        return _chunks(source, self.batch_size, spans, rows, lambda at: tf.fill(tf.shape(at), True))

    def evaluation(self, split: str) -> Iterator[Chunk]:
        """Every example exactly once, in order; the last batch is padded with weight 0."""
        source = self.sources[split]
        num_batches = self.epochs(split).end(1)
        starts = range(0, num_batches, self.max_chunk)
        spans = [(start, min(start + self.max_chunk, num_batches)) for start in starts]

        def rows(positions: tf.Tensor) -> tf.Tensor:
            return in_turn(positions, num_examples=len(source))

        return _chunks(source, self.batch_size, spans, rows, lambda at: at < len(source))


def chunk_spec(source: Source, *, batch_size: int) -> dict[str, tf.TensorSpec]:
    """The shapes and dtypes of a chunk, with the number of batches left open."""
    example = source.take(np.zeros([1], np.int64))
    spec = {
        name: tf.TensorSpec([None, batch_size, *value.shape[1:]], value.dtype)
        for name, value in example.items()
    }
    return {**spec, "weight": tf.TensorSpec([None, batch_size], tf.float32)}


def chunk_limit(spec: Mapping[str, tf.TensorSpec], *, most: int) -> int:
    """How many batches a chunk may have: at most ``most``, and few enough for the memory."""
    batch_bytes: int = sum(
        math.prod(values.shape[1:]) * values.dtype.size for values in spec.values()
    )
    return max(1, min(most, _CHUNK_BYTES // batch_bytes))


def _chunks(
    source: Source,
    batch_size: int,
    spans: Iterable[Span],
    rows: Callable[[tf.Tensor], tf.Tensor],
    real: Callable[[tf.Tensor], tf.Tensor],
) -> Iterator[Chunk]:
    spec = chunk_spec(source, batch_size=batch_size)
    names = [name for name in spec if name != "weight"]

    def take(indices: np.ndarray) -> list[np.ndarray]:
        examples = source.take(indices)
        return [examples[name] for name in names]

    def chunk(span: tf.Tensor) -> Chunk:
        positions = tf.range(span[0] * batch_size, span[1] * batch_size)
        examples = tf.numpy_function(take, [rows(positions)], [spec[name].dtype for name in names])
        flat = dict(zip(names, examples, strict=True))
        flat["weight"] = tf.cast(real(positions), tf.float32)
        return {
            name: tf.reshape(value, [-1, *spec[name].shape[1:]]) for name, value in flat.items()
        }

    # In blocks, because the spans of a long run would fill the memory, and TensorFlow cannot read
    # a Python iterator without taking the interpreter away from the loop.
    ahead = iter(spans)
    while block := list(itertools.islice(ahead, _SPANS_PER_PIPELINE)):
        numbers = tf.data.Dataset.from_tensor_slices(np.array(block, np.int64))
        yield from numbers.map(chunk).prefetch(_PREFETCHED_CHUNKS)
