"""What has to be equal, whatever happened on the way, and what has to hold at every instant."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from tests.chaos.tally import Different
from tests.checkpoint.conftest import tree


def bare(path: str | Path) -> int:
    """The step of a checkpoint of a ``Trainer``, restored completely by plain TensorFlow."""
    value = tf.Variable([-1, -1], dtype=tf.int64)
    tf.train.Checkpoint(value=value).restore(str(path)).assert_consumed()
    step, tenfold = value.numpy().tolist()
    assert tenfold == 10 * step, f"{path} holds {step} and {tenfold}"
    return int(step)


def check_latest(directory: Path, *, steps: Collection[int], may_be_none: bool) -> None:
    """What TensorFlow takes for the latest checkpoint is complete, and of one of these steps."""
    latest = tf.train.latest_checkpoint(str(directory))
    if latest is None:
        assert may_be_none, "plain TensorFlow finds no checkpoint any more"
        return
    assert bare(latest) in steps, f"{latest} is of step {bare(latest)}, not of {steps}"


def check_same_tree(directory: Path, straight: Path) -> None:
    """Both hold the same files, byte for byte.

    Raises:
        Different: they do not.
    """
    ours, theirs = tree(directory), tree(straight)
    if ours == theirs:
        return
    found = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    lacking, more = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    raise Different(f"differs in {found}; lacks {lacking}; has {more} more")
