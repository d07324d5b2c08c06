"""Seconds that `tf.train.CheckpointManager.save` holds a training loop."""

from __future__ import annotations

import tempfile
import time

import keras
import tensorflow as tf

from models.mlp import mlp
from tests.benchmarks.peers.common import digits, tell
from tests.benchmarks.peers.large import BATCH, HIDDEN, NUM_SAVES, middle


def main() -> None:
    x, y = digits()
    model = mlp(shape=[8, 8, 1], outputs=10, hidden=HIDDEN)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
    held_s = []
    with tempfile.TemporaryDirectory(dir=".") as directory:
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=2)
        for _ in range(1 + NUM_SAVES):
            model.train_on_batch(x[:BATCH], y[:BATCH])
            begun = time.perf_counter()
            manager.save()
            held_s.append(time.perf_counter() - begun)
    tell(seconds=middle(held_s), first_s=held_s[0])


if __name__ == "__main__":
    main()
