"""Steps per second of a JAX loop: one jitted `lax.scan` over a chunk of steps, with Optax's Adam."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.benchmarks.peers.common import BATCH, TELLS, Stopwatch, digits, tell

OPTIMIZER = optax.adam(1e-3)


def parameters(key: jax.Array) -> dict[str, jax.Array]:
    first, second = jax.random.split(key)
    glorot = jax.nn.initializers.glorot_uniform()
    return {
        "w1": glorot(first, (64, 128)),
        "b1": jnp.zeros(128),
        "w2": glorot(second, (128, 10)),
        "b2": jnp.zeros(10),
    }


def loss(params: dict, x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    hidden = jax.nn.relu(x.reshape(len(x), -1) @ params["w1"] + params["b1"])
    hidden = jnp.where(jax.random.bernoulli(key, 0.8, hidden.shape), hidden / 0.8, 0.0)
    logits = hidden @ params["w2"] + params["b2"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    return losses.mean(), (logits.argmax(-1) == y).mean()


def step(carry: tuple, batch: tuple) -> tuple:
    params, slots, key = carry
    key, own = jax.random.split(key)
    values, gradients = jax.value_and_grad(loss, has_aux=True)(params, *batch, own)
    updates, slots = OPTIMIZER.update(gradients, slots)
    return (optax.apply_updates(params, updates), slots, key), values


@functools.partial(jax.jit, donate_argnums=0)
def chunk(carry: tuple, xs: jax.Array, ys: jax.Array) -> tuple:
    carry, (losses, accuracies) = jax.lax.scan(step, carry, (xs, ys))
    return carry, losses.mean(), accuracies.mean()


def chunks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches in chunks: every epoch in an order of its own."""
    rng, waiting = np.random.default_rng(0), np.zeros(0, np.int64)
    while True:
        while len(waiting) < TELLS * BATCH:
            waiting = np.concatenate([waiting, rng.permutation(len(x))])
        rows, waiting = waiting[: TELLS * BATCH], waiting[TELLS * BATCH :]
        yield x[rows].reshape(TELLS, BATCH, 8, 8, 1), y[rows].reshape(TELLS, BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    stopwatch = Stopwatch(parser.parse_args().seconds)
    key = jax.random.key(0)
    params = parameters(key)
    carry = params, OPTIMIZER.init(params), key
    for xs, ys in chunks(*digits()):
        carry, mean_loss, accuracy = chunk(carry, xs, ys)
        float(mean_loss), float(accuracy)
        if stopwatch.has_seen_enough(TELLS):
            break
    tell(steps_per_s=stopwatch.steps_per_s)


if __name__ == "__main__":
    main()
