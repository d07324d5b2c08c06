"""Which generator random layers draw from."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tensorflow as tf

_DRAWING: tuple[tuple[Any, str, str], ...] = (
    (tf.nn.experimental, "stateless_dropout", "rng_alg"),
    (tf.random, "stateless_uniform", "alg"),
    (tf.random, "stateless_normal", "alg"),
    (tf.random, "stateless_truncated_normal", "alg"),
)
"""What Keras's random functions call, and how the generator is named there."""


@contextmanager
def drawing_by(algorithm: str) -> Iterator[None]:
    """Has TensorFlow's stateless functions draw by ``algorithm`` wherever the caller names none.

    Keras names none and has no setting for it. Under XLA on a CPU, TensorFlow then takes a generator
    that makes a small network with dropout 20 times slower than Threefry does, which XLA computes
    inline (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    with ExitStack() as stack:
        for place, name, option in _DRAWING:
            own = getattr(place, name)
            stack.callback(setattr, place, name, own)
            setattr(place, name, functools.partial(own, **{option: algorithm}))
        yield
