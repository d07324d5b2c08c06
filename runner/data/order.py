"""Which example stands where in the endless training stream."""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf

# TensorFlow's default of 4 leaves an order that correlates with the stored one, and one epoch's with
# the next one's, up to five times as much as chance would have it; with 8 nothing can be measured.
_ROUNDS = 8


def shuffled(positions: tf.Tensor, *, num_examples: int, seed: tuple[int, int]) -> tf.Tensor:
    """The examples at ``positions`` of the stream, a fresh permutation for every epoch.

    Example ``i`` of the stream is ``permutation(seed, epoch)[i mod N]`` with ``epoch = i div N``. The
    permutation is a keyed bijection on ``0 .. N-1`` (a Feistel network over the Simon cipher's round
    function, Beaulieu et al. 2013), so it is computed index by index: nothing is stored, and position
    10^9 costs what position 0 costs.

    Args:
        positions: int64 [n], at least 0.
        num_examples: N.
        seed: two numbers that, with the epoch, key the permutation.

    Returns:
        int64 [n] in ``0 .. N-1``.
    """
    size = tf.constant(num_examples, tf.int64)
    epochs = tf.cast(positions // size, tf.uint32)[:, None]
    words = tf.broadcast_to(_words(seed), [tf.size(positions), 2])
    # One key of three numbers per index; tf.random.experimental.index_shuffle pads keys wrongly
    # when there is one per index, the raw op does not.
    return tf.raw_ops.RandomIndexShuffle(
        index=positions % size,
        seed=tf.concat([words, epochs], axis=-1),
        max_index=tf.fill(tf.shape(positions), size - 1),
        rounds=_ROUNDS,
    )


def in_turn(positions: tf.Tensor, *, num_examples: int) -> tf.Tensor:
    """The examples at ``positions`` of one pass in order; past the end it repeats the last one."""
    return tf.minimum(positions, tf.constant(num_examples - 1, tf.int64))


def _words(seed: tuple[int, int]) -> np.ndarray:
    """Two well mixed numbers, uint32 [2]: seeds are small, and a key of zeros shuffles badly."""
    digest = hashlib.sha256(f"{seed[0]}:{seed[1]}".encode()).digest()
    return np.frombuffer(digest[:8], "<u4")
