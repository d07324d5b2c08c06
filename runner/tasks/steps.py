"""One step of training and of evaluation, as operations on a batch.

A batch is ``{"x": [B, ...], "y": [B, ...], "weight": [B]}``; ``weight`` is 0 for padding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

Batch: TypeAlias = dict[str, tf.Tensor]


class Steps(ABC):
    """What one batch does to the state. Override ``loss``, or ``train`` for a step of another kind.

    Attributes:
        metrics: Keras metrics that the steps feed; ``loss`` is the first.
    """

    def __init__(self, metrics: Sequence[keras.Metric]) -> None:
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.metrics = [self.mean_loss, *metrics]

    @abstractmethod
    def loss(self, model: keras.Model, batch: Batch, *, training: bool) -> tf.Tensor:
        """The mean loss of the batch, a scalar; feeds the metrics but the loss."""

    def train(self, model: keras.Model, optimizer: keras.Optimizer, batch: Batch) -> None:
        """One optimizer update."""
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self._total(model, batch, training=True)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, variables), variables)

    def evaluate(self, model: keras.Model, batch: Batch) -> None:
        """Feeds the metrics with a batch that changes nothing else."""
        self._total(model, batch, training=False)

    def _total(self, model: keras.Model, batch: Batch, *, training: bool) -> tf.Tensor:
        """The loss with the model's regularization, as Keras reports it."""
        loss = self.loss(model, batch, training=training)
        total = tf.add_n([loss, *(tf.cast(term, loss.dtype) for term in model.losses)])
        self.mean_loss.update_state(total, sample_weight=tf.reduce_sum(batch["weight"]))
        return total


class SupervisedSteps(Steps):
    """Compares the model's outputs on ``x`` with ``y``."""

    def __init__(self, *, loss: keras.Loss, metrics: Sequence[keras.Metric]) -> None:
        """``loss`` is built with ``reduction=None``."""
        super().__init__(metrics)
        self._loss = loss

    def loss(self, model: keras.Model, batch: Batch, *, training: bool) -> tf.Tensor:
        outputs = model(batch["x"], training=training)
        weight = batch["weight"]
        for metric in self.metrics[1:]:
            metric.update_state(batch["y"], outputs, sample_weight=weight)
        losses = self._loss(batch["y"], outputs)
        # A loss per token, pixel, ... is averaged over the example it belongs to.
        losses = tf.reduce_mean(tf.reshape(losses, [tf.shape(weight)[0], -1]), axis=1)
        weight = tf.cast(weight, losses.dtype)
        return tf.reduce_sum(losses * weight) / tf.reduce_sum(weight)
