"""What has to be equal, whatever happened on the way, and what has to hold at every instant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint.manifest import read_manifests
from runner.rows import WALL_CLOCK
from tests.chaos.tally import Different
from tests.checkpoint.conftest import tree


def bare(path: str | Path) -> int:
    """The step of a checkpoint of a ``Trainer``, restored completely by plain TensorFlow."""
    value = tf.Variable([-1, -1], dtype=tf.int64)
    tf.train.Checkpoint(value=value).restore(str(path)).assert_existing_objects_matched()
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


def result_of(run: Path) -> dict[str, str]:
    """What came out of a run, every part as a hash: all but the wall clock, tensors to the last bit."""
    record = json.loads((run / "run.json").read_bytes())
    checkpoints = run / record["checkpoint_directory"]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    manifests = [vars(one) for one in read_manifests(checkpoints)]
    state = tf.train.get_checkpoint_state(str(checkpoints))
    files = tree(checkpoints)
    parts = {
        "rows": [_without(json.loads(line), *WALL_CLOCK) for line in lines],
        "copied rows": (run / ".metrics.jsonl").read_text().splitlines() == lines,
        "manifests": [_without(one, "saved_at", "begun_at") for one in manifests],
        "listed": [Path(path).name for path in state.all_model_checkpoint_paths],
        "latest": Path(state.model_checkpoint_path).name,
        "tensors": {name: data for name, data in files.items() if ".data-" in name},
        "files": sorted(files),
        "status": record["status"],
        "result": json.dumps(record["result"]).replace(str(run.parent), ""),
    }
    return {name: hashlib.sha256(repr(part).encode()).hexdigest() for name, part in parts.items()}


def check_same_result(found: dict[str, str], straight: dict[str, str]) -> None:
    """Two runs came to the same result.

    Raises:
        Different: it did not.
    """
    if different := [name for name in straight if found[name] != straight[name]]:
        raise Different(f"differs in {', '.join(different)}")


def latest_fault(checkpoints: Path) -> str | None:
    """Why plain TensorFlow cannot read the whole of the latest checkpoint; None if it can."""
    latest = tf.train.latest_checkpoint(str(checkpoints))
    num_manifests = len(list(checkpoints.glob("*.json")))
    # The very first one counts for TensorFlow an instant after its manifest stands, in the midst of its save.
    is_first = num_manifests == 1 and any(checkpoints.glob(".saving-*"))
    if latest is None and (num_manifests == 0 or is_first):
        return None
    if latest is None:
        return "plain TensorFlow finds no checkpoint any more"
    try:
        reader = tf.train.load_checkpoint(latest)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, IndexError) as error:
        return f"{latest}: {error}"
    return None


def _without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}
