"""Steps per second of an Orbit `Controller` with a `StandardTrainer`, which loops inside TensorFlow."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import keras
import orbit
import tensorflow as tf

from tests.benchmarks.peers.common import TELLS, Stopwatch, tell
from tests.benchmarks.peers.works import WORKS


class Trainer(orbit.StandardTrainer):
    def __init__(self) -> None:
        work = WORKS["mlp"]
        x, y = work.data()
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).repeat()
        dataset = dataset.batch(work.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        super().__init__(dataset)
        self.model, self.optimizer = work.model(), work.optimizer()
        self.optimizer.build(self.model.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.global_step = orbit.utils.create_global_step()
        self.strategy = tf.distribute.get_strategy()

    def train_loop_begin(self) -> None:
        self.mean_loss.reset_state()
        self.accuracy.reset_state()

    def train_step(self, iterator: Iterator) -> None:
        def step(inputs: tuple[tf.Tensor, tf.Tensor]) -> None:
            x, y = inputs
            variables = self.model.trainable_variables
            with tf.GradientTape() as tape:
                outputs = self.model(x, training=True)
                loss = self.loss(y, outputs)
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            self.mean_loss.update_state(loss)
            self.accuracy.update_state(y, outputs)
            self.global_step.assign_add(1)

        self.strategy.run(step, args=(next(iterator),))

    def train_loop_end(self) -> dict[str, float]:
        return {
            "loss": float(self.mean_loss.result()),
            "accuracy": float(self.accuracy.result()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    stopwatch = Stopwatch(parser.parse_args().seconds)
    trainer = Trainer()
    controller = orbit.Controller(
        global_step=trainer.global_step, trainer=trainer, steps_per_loop=TELLS
    )
    target = TELLS
    controller.train(steps=target)
    while not stopwatch.has_seen_enough(TELLS):
        target += TELLS
        controller.train(steps=target)
    tell(steps_per_s=stopwatch.steps_per_s)


if __name__ == "__main__":
    main()
