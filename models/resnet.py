"""Residual network for small images, with pre-activation blocks."""

from collections.abc import Sequence

import keras
from keras import layers


def resnet(
    *,
    shape: Sequence[int],
    outputs: int,
    widths: Sequence[int] = (16, 32),
    blocks: int = 1,
) -> keras.Model:
    """Stages of residual blocks; each stage after the first halves height and width.

    He et al. 2016, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027. With
    `widths=(16, 32, 64)` it has the 6 * blocks + 2 layers of the CIFAR networks there.

    Args:
        shape: [height, width, channels] of one image.
        outputs: number of outputs.
        widths: channels of each stage.
        blocks: residual blocks in each stage.

    Returns:
        Model from float32 [batch, height, width, channels] to logits, float32 [batch, outputs].

    Raises:
        ValueError: `shape` is not that of an image, or `widths` or `blocks` leave no block.
    """
    if len(shape) != 3:
        raise ValueError(f"shape={list(shape)}: give [height, width, channels]")
    if not widths:
        raise ValueError("widths=[]: give the channels of at least one stage")
    if blocks < 1:
        raise ValueError(f"blocks={blocks}: give at least 1 block per stage")
    inputs = keras.Input(tuple(shape), name="inputs")
    x = _conv(inputs, widths[0], name="stem_conv")
    for stage, width in enumerate(widths, start=1):
        for n in range(1, blocks + 1):
            strides = 2 if stage > 1 and n == 1 else 1
            x = _block(x, width, strides=strides, name=f"stage_{stage}_block_{n}")
    x = _norm_relu(x, name="norm")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="resnet")


def _block(x: keras.KerasTensor, width: int, *, strides: int, name: str) -> keras.KerasTensor:
    shortcut = x
    x = _norm_relu(x, name=f"{name}_norm_1")
    if strides > 1 or shortcut.shape[-1] != width:
        # Where the shape changes, the shortcut starts after the activation, as in the paper.
        shortcut = _conv(x, width, kernel=1, strides=strides, name=f"{name}_shortcut")
    x = _conv(x, width, strides=strides, name=f"{name}_conv_1")
    x = _norm_relu(x, name=f"{name}_norm_2")
    x = _conv(x, width, name=f"{name}_conv_2")
    return layers.Add(name=f"{name}_add")([shortcut, x])


def _norm_relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.9, name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv(
    x: keras.KerasTensor, width: int, *, kernel: int = 3, strides: int = 1, name: str
) -> keras.KerasTensor:
    conv = layers.Conv2D(
        width,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    return conv(x)
