"""Seconds that an asynchronous save of Orbax holds a training loop, for a state of the same size."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from tests.benchmarks.peers.common import tell
from tests.benchmarks.peers.large import HIDDEN, NUM_SAVES, middle


@jax.jit
def changed(state: dict) -> dict:
    """Stands for a step: every save is of other arrays."""
    return jax.tree.map(lambda array: array + 1, state)


def main() -> None:
    sizes = [64, *HIDDEN, 10]
    layers = [
        {"kernel": jnp.zeros(pair), "bias": jnp.zeros(pair[1])}
        for pair in itertools.pairwise(sizes)
    ]
    # As Adam has them: the weights and two slots of the same shapes.
    state = {"params": layers, "mu": layers, "nu": layers}
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True)
    held_s = []
    with (
        tempfile.TemporaryDirectory(dir=".") as directory,
        ocp.CheckpointManager(Path(directory).absolute(), options=options) as manager,
    ):
        for step in range(1 + NUM_SAVES):
            state = jax.block_until_ready(changed(state))
            begun = time.perf_counter()
            manager.save(step, args=ocp.args.StandardSave(state))
            held_s.append(time.perf_counter() - begun)
            manager.wait_until_finished()
    tell(seconds=middle(held_s), first_s=held_s[0])


if __name__ == "__main__":
    main()
