"""Which example stands where in the endless training stream."""

from __future__ import annotations

import tensorflow as tf


def shuffled(positions: tf.Tensor, *, num_examples: int, seed: tuple[int, int]) -> tf.Tensor:
    """The examples at ``positions`` of the stream, a fresh permutation for every epoch.

    Example ``i`` of the stream is ``permutation(seed, epoch)[i mod N]`` with ``epoch = i div N``. The
    permutation is a keyed bijection on ``0 .. N-1``, so it is computed index by index: nothing is
    stored, and position 10^9 costs what position 0 costs.

    Args:
        positions: int64 [n], at least 0.
        num_examples: N.
        seed: two numbers that, with the epoch, key the permutation.

    Returns:
        int64 [n] in ``0 .. N-1``.
    """
    size = tf.constant(num_examples, tf.int64)
    epochs = positions // size
    keys = tf.stack(
        [tf.fill(tf.shape(epochs), tf.constant(part, tf.int64)) for part in seed], axis=-1
    )
    keys = tf.concat([keys, epochs[:, None]], axis=-1)
    # One key of three numbers per index; tf.random.experimental.index_shuffle pads keys wrongly
    # when there is one per index, the raw op does not.
    return tf.raw_ops.RandomIndexShuffle(
        index=positions % size,
        seed=tf.cast(keys, tf.uint32),
        max_index=tf.fill(tf.shape(positions), size - 1),
        rounds=4,
    )


def in_turn(positions: tf.Tensor, *, num_examples: int) -> tf.Tensor:
    """The examples at ``positions`` of one pass in order; past the end it repeats the last one."""
    return tf.minimum(positions, tf.constant(num_examples - 1, tf.int64))
