"""Linear regression or, with a softmax in the loss, multinomial logistic regression."""

from collections.abc import Sequence

import keras
from keras import layers


def linear(*, shape: Sequence[int], outputs: int) -> keras.Model:
    """Flattens the example and applies one affine map.

    Args:
        shape: shape of one example, without the batch axis.
        outputs: number of outputs.

    Returns:
        Model from float32 [batch, *shape] to raw values, float32 [batch, outputs].
    """
    inputs = keras.Input(tuple(shape), name="inputs")
    x = layers.Flatten(name="flatten")(inputs)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="linear")
