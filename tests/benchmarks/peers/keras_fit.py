"""Steps per second of `keras.Model.fit`: with its defaults, or with a setting of its options."""

from __future__ import annotations

import argparse

import keras
import tensorflow as tf

from tests.benchmarks.peers.common import Stopwatch, tell
from tests.benchmarks.peers.works import WORKS, Work

_ENDLESS = 1_000_000


class Until(keras.callbacks.Callback):
    """Ends training once the stopwatch has seen enough; looks after every ``num_steps``."""

    def __init__(self, stopwatch: Stopwatch, *, num_steps: int) -> None:
        super().__init__()
        self._stopwatch = stopwatch
        self._num_steps = num_steps

    def look(self) -> None:
        self.model.stop_training = self._stopwatch.has_seen_enough(self._num_steps)


class AfterEpochs(Until):
    """Looks at the end of an epoch only."""

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.look()


class AfterCalls(Until):
    """Looks at the end of every call."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.look()


def with_defaults(work: Work, stopwatch: Stopwatch) -> None:
    x, y = work.data()
    until = AfterEpochs(stopwatch, num_steps=-(-len(x) // work.batch))
    work.compiled().fit(x, y, batch_size=work.batch, epochs=_ENDLESS, callbacks=[until], verbose=0)


def tuned(work: Work, stopwatch: Stopwatch, *, steps_per_execution: int, jit: bool) -> None:
    """An endless epoch, so that what fit does at the end of one is not done."""
    x, y = work.data()
    stream = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).repeat()
    stream = stream.batch(work.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    until = AfterCalls(stopwatch, num_steps=steps_per_execution)
    model = work.compiled(steps_per_execution=steps_per_execution, jit_compile=jit)
    model.fit(
        stream,
        steps_per_epoch=_ENDLESS * steps_per_execution,
        callbacks=[until],
        verbose=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--steps-per-execution", type=int, help="leave out for fit's defaults")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    stopwatch, work = Stopwatch(options.seconds), WORKS[options.work]
    if options.steps_per_execution is None:
        with_defaults(work, stopwatch)
    else:
        tuned(
            work,
            stopwatch,
            steps_per_execution=options.steps_per_execution,
            jit=options.jit,
        )
    tell(steps_per_s=stopwatch.steps_per_s)


if __name__ == "__main__":
    main()
