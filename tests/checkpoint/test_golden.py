"""A checkpoint that was ever saved is restored for ever, to the same bits."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.mlp import mlp
from runner.checkpoint import graph
from runner.checkpoint.manifest import FORMAT, Manifest, read_manifest
from runner.checkpoint.reading import fingerprint
from runner.checkpoint.restore import borrowed, restore
from runner.state import Record, State

GOLDEN = Path(__file__).parent / "golden"
FORMATS = sorted(int(path.name.removeprefix("format_")) for path in GOLDEN.glob("format_*"))


def build() -> dict[str, Any]:
    """What the run that saved it had, with other values."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(99)
    model = mlp(shape=[8, 8, 1], outputs=10, hidden=[4])
    optimizer = keras.optimizers.Adam(0.5)
    optimizer.build(model.trainable_variables)
    metrics = [
        keras.metrics.Mean(name="loss"),
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
    ]
    state = State(model=model, optimizer=optimizer, metrics=metrics)
    return state.parts({"model": "model", "optimizer": "optimizer", "progress": "progress"})


def summary(value: Any) -> list[Any]:
    array = np.asarray(value)
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


def bits(parts: dict[str, Any]) -> dict[str, list[Any]]:
    variables = [one for _, one in graph.leaves(parts) if isinstance(one, graph.Variable)]
    return {graph.own_name(variable): summary(variable.numpy()) for variable in variables}


def expected(version: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"format_{version}/expected.json").read_bytes())
    return content


def path(version: int) -> Path:
    return GOLDEN / f"format_{version}" / "ckpt-3"


def test_there_is_one_of_every_format() -> None:
    assert list(range(1, FORMAT + 1)) == FORMATS


@pytest.mark.parametrize("version", FORMATS)
def test_restores_to_the_recorded_bits(version: int) -> None:
    parts, wanted = build(), expected(version)
    with borrowed(path(version), parts) as manifest:
        assert manifest is not None
        assert bits(parts) == wanted["variables"]
    restore(path(version), parts)
    assert bits(parts) == wanted["variables"]
    # A field that the record has got since is at its beginning.
    record = {**vars(Record()), **wanted["progress"]}
    assert json.loads(parts["progress"]._record.serialize()) == record
    assert int(parts["progress"].step) == 3


@pytest.mark.parametrize("version", FORMATS)
def test_the_manifest_holds(version: int) -> None:
    manifest = read_manifest(path(version).with_name("ckpt-3.json"))
    assert isinstance(manifest, Manifest)
    assert manifest.fault(path(version).parent) is None
    assert manifest.fingerprint == fingerprint(path(version)) == expected(version)["fingerprint"]
    assert (manifest.format, manifest.name, manifest.step) == (version, "ckpt-3", 3)


@pytest.mark.parametrize("version", FORMATS)
def test_bare_tensorflow_restores_it(version: int) -> None:
    latest = tf.train.latest_checkpoint(str(path(version).parent))
    assert latest == str(path(version))
    reader = tf.train.load_checkpoint(latest)
    skipped = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter", "progress/_record")
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(skipped)]
    found = sorted(map(str, (summary(reader.get_tensor(name)) for name in names)))
    assert found == sorted(map(str, expected(version)["variables"].values()))
    parts = {key: part for key, part in build().items() if key != "progress"}
    status = tf.train.Checkpoint(**parts).restore(latest)
    status.assert_existing_objects_matched().expect_partial()
    wanted = expected(version)["variables"]
    assert bits(parts) == {name: wanted[name] for name in bits(parts)}


@pytest.mark.parametrize("version", FORMATS)
def test_it_tells_nothing_of_the_machine_it_was_made_on(version: int) -> None:
    for file in path(version).parent.iterdir():
        assert not re.search(rb"/(home|root|tmp|work|Users|usr)\b", file.read_bytes()), file
