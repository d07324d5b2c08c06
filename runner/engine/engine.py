"""Runs whole chunks of steps inside one TensorFlow function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from runner.engine.spec import EngineSpec
from runner.errors import StepError
from runner.tasks.steps import Batch, Steps

Chunk = dict[str, tf.Tensor]


class Engine:
    """Turns chunks of batches into calls: one call, however many steps a chunk holds.

    Args:
        spec: how to compile.
        model, optimizer: both built.
        training, evaluation: the task's steps, each with metrics of its own, so that an evaluation
            in the middle of training leaves the metrics in progress alone.
        chunk_spec: shapes and dtypes of a chunk, the number of batches left open.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        model: keras.Model,
        optimizer: keras.Optimizer,
        training: Steps,
        evaluation: Steps,
        chunk_spec: dict[str, tf.TensorSpec],
    ) -> None:
        self.limit_steps = spec.limit_steps
        self._training = training
        self._evaluation = evaluation
        self.functions = [
            _over_batches(lambda batch: training.train(model, optimizer, batch), spec, chunk_spec),
            _over_batches(lambda batch: evaluation.evaluate(model, batch), spec, chunk_spec),
        ]
        self._train, self._evaluate = (
            function.python_function if spec.compile == "eager" else function
            for function in self.functions
        )

    def build(self) -> None:
        """Creates every variable that the first step would create, without doing a step.

        Metrics and some layers make theirs when they are first used; a restore must find them all.
        """
        for function in self.functions:
            function.get_concrete_function()

    @property
    def graphs(self) -> list[Any]:
        """Of one chunk of training and one of evaluation."""
        return [function.get_concrete_function().graph for function in self.functions]

    @property
    def passing(self) -> list[keras.Variable]:
        """The variables that an evaluation sets anew before it uses them."""
        return [variable for metric in self._evaluation.metrics for variable in metric.variables]

    @property
    def training_metrics(self) -> list[keras.Metric]:
        """The metrics of the steps since they were last read."""
        return self._training.metrics

    def train(self, chunk: Chunk) -> None:
        """One optimizer update for every batch of the chunk, in order."""
        with _told():
            self._train(chunk)

    def read_training_metrics(self) -> dict[str, float]:
        """The training metrics since they were last read."""
        return _read_out(self._training.metrics)

    def training_loss(self) -> float:
        """The mean training loss since the metrics were last read; they go on."""
        return float(self._training.mean_loss.result())

    def evaluate(self, chunks: Iterable[Chunk]) -> dict[str, float]:
        """The metrics over all examples of the chunks; nothing else changes."""
        for metric in self._evaluation.metrics:
            metric.reset_state()
        with _told():
            for chunk in chunks:
                self._evaluate(chunk)
        return _read_out(self._evaluation.metrics)


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
    step: Callable[[Batch], None], spec: EngineSpec, chunk_spec: dict[str, tf.TensorSpec]
) -> Any:
    """A function that does ``step`` for every batch of a chunk, traced once for chunks of any length."""

    @tf.function(
        input_signature=[chunk_spec], autograph=False, jit_compile=spec.compile == "xla" or None
    )
    def over_batches(chunk: Chunk) -> None:
        def body(index: tf.Tensor) -> tuple[tf.Tensor]:
            step({name: values[index] for name, values in chunk.items()})
            return (index + 1,)

        num_batches = tf.shape(chunk["weight"])[0]
        # One op in a graph; called eagerly, a Python loop.
        tf.while_loop(lambda index: index < num_batches, body, [0], parallel_iterations=1)

    return over_batches


def _read_out(metrics: Iterable[keras.Metric]) -> dict[str, float]:
    values = {metric.name: float(metric.result()) for metric in metrics}
    for metric in metrics:
        metric.reset_state()
    return values
