"""Fully connected network."""

from collections.abc import Sequence

import keras
from keras import layers


def mlp(
    *,
    shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (256, 128),
    activation: str = "relu",
    dropout: float = 0.2,
) -> keras.Model:
    """Flattens the example, then hidden layers, each followed by dropout.

    Args:
        shape: shape of one example, without the batch axis.
        outputs: number of outputs.
        hidden: width of each hidden layer; empty gives the linear model.
        activation: name of a Keras activation.
        dropout: fraction of hidden units dropped in training, in [0, 1)
            (Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a.html).

    Returns:
        Model from float32 [batch, *shape] to logits, float32 [batch, outputs].

    Raises:
        ValueError: `dropout` lies outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: give a fraction in [0, 1)")
    inputs = keras.Input(tuple(shape), name="inputs")
    x = layers.Flatten(name="flatten")(inputs)
    for n, width in enumerate(hidden, start=1):
        x = layers.Dense(width, activation=activation, name=f"dense_{n}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{n}")(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="mlp")
