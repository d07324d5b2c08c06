"""Convolutional network for small images."""

from collections.abc import Sequence

import keras
from keras import layers


def cnn(
    *,
    shape: Sequence[int],
    outputs: int,
    filters: Sequence[int] = (32, 64),
    dense: int = 64,
    dropout: float = 0.2,
) -> keras.Model:
    """Blocks of convolution, batch normalization, ReLU and average pooling, then one hidden layer.

    Args:
        shape: [height, width, channels] of one image.
        outputs: number of outputs.
        filters: channels of each block; every block halves height and width, rounding up.
        dense: width of the hidden layer after the last block.
        dropout: fraction of hidden units dropped in training, in [0, 1).

    Returns:
        Model from float32 [batch, height, width, channels] to logits, float32 [batch, outputs].

    Raises:
        ValueError: `shape` is not that of an image, or `dropout` lies outside [0, 1).
    """
    if len(shape) != 3:
        raise ValueError(f"shape={list(shape)}: give [height, width, channels]")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: give a fraction in [0, 1)")
    inputs = keras.Input(tuple(shape), name="inputs")
    x = inputs
    for n, channels in enumerate(filters, start=1):
        x = _block(x, channels, name=f"block_{n}")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="cnn")


def _block(x: keras.KerasTensor, channels: int, *, name: str) -> keras.KerasTensor:
    # No bias: the normalization that follows subtracts it again.
    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    # The gradient of max pooling has no deterministic XLA kernel. "same" lets an image that is
    # already one pixel high or wide pass through any number of blocks.
    return layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
