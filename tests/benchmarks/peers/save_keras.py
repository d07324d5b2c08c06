"""Seconds that `keras.callbacks.ModelCheckpoint` holds a training loop."""

from __future__ import annotations

import tempfile
import time

import keras

from models.mlp import mlp
from tests.benchmarks.peers.common import digits, tell
from tests.benchmarks.peers.large import BATCH, HIDDEN, NUM_SAVES, middle


class Timed(keras.callbacks.ModelCheckpoint):
    """Saves at the end of every epoch, and keeps the seconds that it takes."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.held_s: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        begun = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.held_s.append(time.perf_counter() - begun)


def main() -> None:
    x, y = digits()
    model = mlp(shape=[8, 8, 1], outputs=10, hidden=HIDDEN)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
    with tempfile.TemporaryDirectory(dir=".") as directory:
        saving = Timed(f"{directory}/model.keras")
        model.fit(
            x[:BATCH],
            y[:BATCH],
            batch_size=BATCH,
            epochs=1 + NUM_SAVES,
            callbacks=[saving],
            verbose=0,
        )
    tell(seconds=middle(saving.held_s), first_s=saving.held_s[0])


if __name__ == "__main__":
    main()
