"""Runs whole chunks of steps inside one TensorFlow function."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.engine.random import drawing_by
from runner.engine.spec import Compile
from runner.errors import ConfigError, StepError
from runner.tasks.steps import Batch, Steps

Chunk = dict[str, tf.Tensor]


class Engine:
    """Turns chunks of batches into calls: one call, however many steps a chunk holds.

    Args:
        compile: how.
        limit_steps: no train phase goes further.
        model, optimizer: both built.
        training, evaluation: the task's steps, each with metrics of its own, so that an evaluation
            in the middle of training leaves the metrics in progress alone.
        chunk_spec: shapes and dtypes of a chunk, the number of batches left open.
    """

    def __init__(
        self,
        compile: Compile,
        *,
        limit_steps: int | None = None,
        model: keras.Model,
        optimizer: keras.Optimizer,
        training: Steps,
        evaluation: Steps,
        chunk_spec: dict[str, tf.TensorSpec],
    ) -> None:
        self.compile = compile
        self.limit_steps = limit_steps
        self._training = training
        self._evaluation = evaluation
        over_batches = functools.partial(_over_batches, compile=compile, chunk_spec=chunk_spec)
        self._loss = tf.constant(0.0)
        self.functions = [
            over_batches(lambda batch: training.train(model, optimizer, batch), training.metrics),
            over_batches(lambda batch: evaluation.evaluate(model, batch), evaluation.metrics),
            *(
                tf.function(_reader(metrics), input_signature=[], autograph=False)
                for metrics in (training.metrics, evaluation.metrics)
            ),
        ]
        self._train, self._evaluate, self._read_training, self._read_evaluation = (
            function.python_function for function in self.functions
        )
        self.recompiled: Callable[[Compile], Engine] = functools.partial(
            Engine,
            limit_steps=limit_steps,
            model=model,
            optimizer=optimizer,
            training=training,
            evaluation=evaluation,
            chunk_spec=chunk_spec,
        )
        """The same steps on the same state, compiled another way."""

    def build(self) -> None:
        """Creates every variable that the first step would create, without doing a step.

        Metrics and some layers make theirs when they are first used; a restore must find them all.
        Until then, everything is done op by op.
        """
        drawing = drawing_by("threefry") if self.compile == "xla" else nullcontext()
        with drawing:
            traced = [function.get_concrete_function() for function in self.functions]
        if self.compile != "eager":
            # They are called as they are, which takes half as long as having TensorFlow find them again.
            self._train, self._evaluate, self._read_training, self._read_evaluation = traced

    @property
    def graphs(self) -> list[Any]:
        """Of one chunk of training and one of evaluation."""
        return [function.get_concrete_function().graph for function in self.functions[:2]]

    @property
    def passing(self) -> list[keras.Variable]:
        """The variables that an evaluation sets anew before it uses them."""
        return [variable for metric in self._evaluation.metrics for variable in metric.variables]

    @property
    def training_metrics(self) -> list[keras.Metric]:
        """The metrics of the steps since they were last read."""
        return self._training.metrics

    def train(
        self, chunk: Chunk, *, first: int = 0, last: int | None = None, reads: Sequence[int] = ()
    ) -> list[dict[str, float]]:
        """One optimizer update for every batch of the chunk, or for ``first .. last-1``, in order.

        Args:
            reads: the batches after which the training metrics are read.

        Returns:
            The metrics after each of those, since they were last read.

        Raises:
            StepError: TensorFlow refused something; as for ``evaluate``.
        """
        part = {**chunk, "first": tf.constant(first)}
        if last is not None:
            part["last"] = tf.constant(last)
        with _told():
            found, self._loss = self._train(part, _marked(chunk, reads))
            found = found.numpy()
            return [_named(self._training.metrics, found[batch]) for batch in reads]

    def read_training_metrics(self) -> dict[str, float]:
        """The training metrics since they were last read."""
        return _named(self._training.metrics, self._read_training().numpy())

    def training_loss(self) -> float:
        """The mean training loss at the end of the last call, since the metrics were last read."""
        return float(self._loss)

    def evaluate(self, chunks: Iterable[Chunk]) -> dict[str, float]:
        """The metrics over all examples of the chunks; nothing else changes."""
        for metric in self._evaluation.metrics:
            metric.reset_state()
        with _told():
            for chunk in chunks:
                self._evaluate(chunk, _marked(chunk, ()))
        return _named(self._evaluation.metrics, self._read_evaluation().numpy())


@contextmanager
def _told() -> Iterator[None]:
    """Turns TensorFlow's errors, which show every op on the way, into their last words."""
    try:
        yield
    except tf.errors.OpError as error:
        lines = re.sub(
            r"\[\[.*?\]\]|\[Op:\w+\]|\{\{.*?\}\}", "", str(error), flags=re.DOTALL
        ).split("\n")
        last = [line.strip() for line in lines if line.strip()][-1]
        raise StepError(f"a step failed: {last}; RUNNER_TRACEBACK=1 shows where") from error


def _over_batches(
    step: Callable[[Batch], None],
    metrics: Sequence[keras.Metric],
    *,
    compile: Compile,
    chunk_spec: dict[str, tf.TensorSpec],
) -> Any:
    """A function that does ``step`` for every batch of a chunk, traced once for chunks of any length.

    It gives the values of the metrics after every batch that is marked, ``[K, len(metrics)]``, and of
    the first one at the end.
    """
    read_out = _reader(metrics)

    @tf.function(
        input_signature=[chunk_spec, tf.TensorSpec([None], tf.bool)],
        autograph=False,
        jit_compile=compile == "xla" or None,
    )
    def over_batches(chunk: Chunk, is_read: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chunk = dict(chunk)
        first, last = chunk.pop("first"), chunk.pop("last")

        def body(index: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            step({name: values[index] for name, values in chunk.items()})

            def read() -> tf.Tensor:
                return tf.tensor_scatter_nd_update(found, [[index]], [read_out()])

            return index + 1, tf.cond(is_read[index], read, lambda: found)

        found = tf.zeros([tf.shape(is_read)[0], len(metrics)], tf.float64)
        # One op in a graph; called eagerly, a Python loop.
        _, found = tf.while_loop(
            lambda index, _: index < last, body, [first, found], parallel_iterations=1
        )
        return found, _scalar(metrics[0])

    return over_batches


def _marked(chunk: Chunk, batches: Sequence[int]) -> tf.Tensor:
    """True for those batches of the chunk, ``[K]``."""
    marks = np.zeros(chunk["weight"].shape[0], np.bool_)
    marks[list(batches)] = True
    return tf.constant(marks)


def _reader(metrics: Sequence[keras.Metric]) -> Callable[[], tf.Tensor]:
    """What gives the values of the metrics, in order, and begins them anew."""

    def read_out() -> tf.Tensor:
        values = tf.stack([_scalar(metric) for metric in metrics])
        for metric in metrics:
            metric.reset_state()
        return values

    return read_out


def _scalar(metric: keras.Metric) -> tf.Tensor:
    """The value of a metric as it stands in a row, a float64 scalar."""
    value = tf.cast(metric.result(), tf.float64)
    if value.shape.num_elements() not in (1, None):
        raise ConfigError(
            f"task.metrics.{metric.name}: gives {list(value.shape)} numbers, and a row takes one; "
            "have it average them"
        )
    return tf.reshape(value, [])


def _named(metrics: Sequence[keras.Metric], values: np.ndarray) -> dict[str, float]:
    names = (metric.name for metric in metrics)
    return dict(zip(names, values.tolist(), strict=True))
