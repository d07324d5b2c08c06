"""Decoder-only transformer over characters."""

from collections.abc import Sequence

import keras
from keras import layers, ops


def gpt(
    *,
    shape: Sequence[int],
    outputs: int,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.1,
) -> keras.Model:
    """Predicts every next token from the tokens up to it, with pre-norm causal blocks.

    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2), with
    learned positions and an output layer of its own.

    Args:
        shape: [context], the number of tokens in one example.
        outputs: size of the vocabulary.
        width: size of the residual stream, a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads in each block.
        dropout: fraction dropped in training from the embedding and from what each half of a block
            adds, in [0, 1) (Vaswani et al. 2017, arXiv:1706.03762, section 5.4).

    Returns:
        Model from int32 token ids [batch, context] in [0, outputs) to logits, float32
        [batch, context, outputs]; logits at position t depend on tokens 0..t only.

    Raises:
        ValueError: `shape` is not [context], `depth` or `heads` is below 1, `width` is not a
            multiple of `heads`, or `dropout` lies outside [0, 1).
    """
    _check(shape=shape, width=width, depth=depth, heads=heads, dropout=dropout)
    tokens = keras.Input(tuple(shape), dtype="int32", name="tokens")
    # Counted from the tokens, because a bare ops.arange would be a constant outside the graph.
    positions = ops.cumsum(ops.ones_like(tokens), axis=-1) - 1
    token = layers.Embedding(outputs, width, name="token_embedding")(tokens)
    position = layers.Embedding(shape[0], width, name="position_embedding")(positions)
    x = layers.Add(name="embedding")([token, position])
    x = layers.Dropout(dropout, name="dropout")(x)
    for n in range(1, depth + 1):
        x = _attend(x, heads=heads, dropout=dropout, name=f"block_{n}_attention")
        x = _transform(x, dropout=dropout, name=f"block_{n}_mlp")
    x = layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    logits = layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(tokens, logits, name="gpt")


def _check(*, shape: Sequence[int], width: int, depth: int, heads: int, dropout: float) -> None:
    if len(shape) != 1:
        raise ValueError(f"shape={list(shape)}: give [context], the tokens in one example")
    if depth < 1:
        raise ValueError(f"depth={depth}: give at least 1 block")
    if heads < 1:
        raise ValueError(f"heads={heads}: give at least 1")
    if width % heads:
        raise ValueError(f"width={width}: give a multiple of heads={heads}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: give a fraction in [0, 1)")


def _attend(x: keras.KerasTensor, *, heads: int, dropout: float, name: str) -> keras.KerasTensor:
    """Adds to each position a mix of the positions up to it."""
    attention = layers.MultiHeadAttention(heads, x.shape[-1] // heads, name=name)
    y = layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm")(x)
    y = attention(y, y, use_causal_mask=True)
    y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_add")([x, y])


def _transform(x: keras.KerasTensor, *, dropout: float, name: str) -> keras.KerasTensor:
    """Adds to each position a two-layer network of that position alone."""
    width = x.shape[-1]
    y = layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm")(x)
    y = layers.Dense(4 * width, activation="gelu", name=f"{name}_dense_1")(y)
    y = layers.Dense(width, name=f"{name}_dense_2")(y)
    y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    return layers.Add(name=f"{name}_add")([x, y])
