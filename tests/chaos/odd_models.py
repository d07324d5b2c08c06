"""Models whose state is more than weights, or is held where TensorFlow does not look for it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers


def normed(*, shape: Sequence[int], outputs: int) -> keras.Model:
    """Dense layers with batch normalization and dropout.

    Args:
        shape: shape of one example, without the batch axis.
        outputs: number of outputs.

    Returns:
        Model from float32 [batch, *shape] to logits, float32 [batch, outputs]; so with the others.
    """
    inputs = keras.Input(tuple(shape))
    x = layers.Flatten()(inputs)
    for width in (32, 16):
        x = layers.Dense(width, activation="relu")(x)
        x = layers.Dropout(0.3)(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(outputs, dtype="float32")(x))


def recurrent(*, shape: Sequence[int], outputs: int) -> keras.Model:
    """An LSTM over the lines of an image, with dropout within its steps."""
    inputs = keras.Input(tuple(shape))
    x = layers.Reshape((shape[0], -1))(inputs)
    x = layers.LSTM(16, dropout=0.1, recurrent_dropout=0.2)(x)
    return keras.Model(inputs, layers.Dense(outputs, dtype="float32")(x))


class Listed(keras.Model):
    """Its layers stand in a list and in a dict, which ``tf.train.Checkpoint`` does not follow."""

    def __init__(self, *, shape: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.blocks = [
            [layers.Dense(width), layers.BatchNormalization(), layers.Dropout(0.3)]
            for width in (32, 16)
        ]
        self.ends = {"first": layers.Flatten(), "last": layers.Dense(outputs, dtype="float32")}

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.ends["first"](x)
        for dense, norm, dropout in self.blocks:
            x = dropout(tf.nn.relu(norm(dense(x), training=training)), training=training)
        return self.ends["last"](x)
