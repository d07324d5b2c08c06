"""What the runner's default experiment does, written by hand with Keras."""

from __future__ import annotations

import argparse
import sys
import time

import keras

from models.mlp import mlp
from runner.data import Digits
from tests.benchmarks.peers.common import BATCH, tell


class FirstStep(keras.callbacks.Callback):
    """Leaves after one step, with the time it then is."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        tell(time=time.time())
        sys.exit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first-step", action="store_true", help="do no more than one step")
    first_step = parser.parse_args().first_step
    keras.utils.set_random_seed(0)
    data = {
        name: (source.take(range(len(source)))["x"], source.take(range(len(source)))["y"])
        for name, source in Digits().load().items()
    }
    model = mlp(shape=[8, 8, 1], outputs=10)
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    best = keras.callbacks.ModelCheckpoint(
        "best.keras", monitor="val_accuracy", mode="max", save_best_only=True
    )
    callbacks = [
        best,
        keras.callbacks.BackupAndRestore("backup"),
        keras.callbacks.CSVLogger("metrics.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    model.fit(
        *data["train"],
        batch_size=BATCH,
        epochs=30,
        validation_data=data["validation"],
        callbacks=[FirstStep()] if first_step else callbacks,
        verbose=2,
    )
    loss, accuracy = keras.models.load_model("best.keras").evaluate(*data["test"], verbose=0)
    tell(loss=loss, accuracy=accuracy)


if __name__ == "__main__":
    main()
