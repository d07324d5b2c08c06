"""Recurrent network over characters."""

from collections.abc import Sequence

import keras
from keras import layers


def lstm(
    *,
    shape: Sequence[int],
    outputs: int,
    width: int = 128,
    depth: int = 1,
    dropout: float = 0.1,
) -> keras.Model:
    """Predicts every next token from the tokens up to it, with stacked LSTM layers.

    Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; dropout between layers only,
    as in Zaremba et al. 2014, arXiv:1409.2329.

    Args:
        shape: [context], the number of tokens in one example.
        outputs: size of the vocabulary.
        width: size of the embedding and of every layer.
        depth: number of LSTM layers.
        dropout: fraction dropped in training from the embedding and from each layer's output,
            in [0, 1).

    Returns:
        Model from int32 token ids [batch, context] in [0, outputs) to logits, float32
        [batch, context, outputs]; logits at position t depend on tokens 0..t only.

    Raises:
        ValueError: `shape` is not [context], `depth` is below 1, or `dropout` lies outside [0, 1).
    """
    if len(shape) != 1:
        raise ValueError(f"shape={list(shape)}: give [context], the tokens in one example")
    if depth < 1:
        raise ValueError(f"depth={depth}: give at least 1 layer")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: give a fraction in [0, 1)")
    tokens = keras.Input(tuple(shape), dtype="int32", name="tokens")
    x = layers.Embedding(outputs, width, name="embedding")(tokens)
    x = layers.Dropout(dropout, name="dropout")(x)
    for n in range(1, depth + 1):
        x = layers.LSTM(width, return_sequences=True, name=f"lstm_{n}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{n}")(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name="lstm")
