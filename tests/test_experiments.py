"""What is shipped in conf/: every experiment runs, every member of every group can be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.mlp import mlp
from runner import Result, run
from runner.config import Experiment
from runner.config.compose import compose
from runner.config.hydra import experiment_of
from runner.data import SPLITS, validate

CONF = Path(__file__).resolve().parents[1] / "conf"
GROUPS = sorted({str(path.parent.relative_to(CONF)) for path in CONF.glob("**/*.yaml")} - {"."})
# What has to be said besides, as the comment in the file tells.
NEEDED = {
    "data=arrays": [
        "data.x=x.npy",
        "data.y=y.npy",
        "data.shape=[4]",
        "data.outputs=3",
    ],
    "model=own": [
        "model._target_=models.linear.linear",
        "+model.shape=${data.shape}",
        "+model.outputs=${data.outputs}",
    ],
    # The default experiment goes by the accuracy.
    "task=regression": [
        "checkpoint.best={metric: validation/loss, mode: min}",
    ],
}
NEED_NETWORK = ("cifar10", "fashion_mnist", "mnist")
CHARACTERS = ("data=pydoc", "task=language_model", "data.context=16", "data.batch_size=8")


def members(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def choices() -> list[str]:
    return [f"{group}={name}" for group in GROUPS for name in members(group)]


def load(*overrides: str) -> Experiment:
    needed = [more for choice in overrides for more in NEEDED.get(choice, ())]
    return experiment_of(compose([*overrides, *needed]))


def numbers(result: Result) -> list[float]:
    return [number for values in result.metrics.values() for number in values.values()]


def test_the_groups_are_those_of_the_design() -> None:
    assert set(GROUPS) == {
        *("model", "data", "task", "optimizer", "optimizer/learning_rate", "checkpoint"),
        *("phases", "engine", "tracking", "callbacks", "sweep", "experiment", "debug"),
    }


@pytest.mark.parametrize("choice", choices())
def test_every_member_of_every_group_composes_and_loads(choice: str) -> None:
    assert load(choice).phases


@pytest.mark.parametrize("schedule", members("optimizer/learning_rate"))
@pytest.mark.parametrize("optimizer", members("optimizer"))
def test_every_optimizer_takes_every_schedule(optimizer: str, schedule: str) -> None:
    chosen = load(f"optimizer={optimizer}", f"optimizer/learning_rate={schedule}").optimizer
    assert chosen.arguments["learning_rate"].name.startswith("keras.optimizers.schedules.")


@pytest.mark.parametrize("name", [name for name in members("data") if name not in NEED_NETWORK])
def test_every_data_set_brings_what_its_config_says(workdir: Path, name: str) -> None:
    np.save("x.npy", np.zeros([20, 4], np.float32))
    np.save("y.npy", np.arange(20) % 3)
    data = load(f"data={name}").data
    sources = data.load()
    validate(sources, data)
    assert set(sources) == set(SPLITS)


@pytest.mark.parametrize("name", members("experiment"))
def test_every_experiment_runs(workdir: Path, name: str) -> None:
    phases = load(f"experiment={name}").phases
    result = run(f"experiment={name}", "debug=smoke")
    assert list(result.metrics) == list(phases)
    assert result.step == 4
    assert all(map(math.isfinite, numbers(result)))
    assert all(path.with_name(f"{path.name}.index").is_file() for path in result.checkpoints)


def test_the_guides_checkpoint_is_what_its_comments_say(workdir: Path) -> None:
    run("experiment=checkpoint_guide")
    model = mlp(shape=[8, 8, 1], outputs=10)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(myModel=model, opt=optimizer, step=step)
    manager = tf.train.CheckpointManager(
        checkpoint, directory="tf_ckpts", checkpoint_name="model.ckpt", max_to_keep=3
    )
    assert manager.checkpoints == [f"tf_ckpts/model.ckpt-{number}" for number in (2, 3, 4)]
    for number in (2, 3, 4):
        restored = checkpoint.restore(f"tf_ckpts/model.ckpt-{number}")
        restored.assert_existing_objects_matched()
        assert int(step) == int(optimizer.iterations) == 50 * number


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=resnet",),
        ("model=lstm", *CHARACTERS),
        ("phases=train",),
        ("callbacks=none",),
        ("tracking=tensorboard",),
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_no_experiment_uses_runs_too(workdir: Path, overrides: Sequence[str]) -> None:
    result = run(*overrides, "debug=smoke")
    assert result.step == 4
    assert all(map(math.isfinite, numbers(result)))


@pytest.mark.parametrize("name", members("optimizer"))
def test_every_optimizer_trains(workdir: Path, name: str) -> None:
    check_training(f"optimizer={name}")


@pytest.mark.parametrize("name", members("optimizer/learning_rate"))
def test_every_schedule_trains(workdir: Path, name: str) -> None:
    check_training(f"optimizer/learning_rate={name}")


def check_training(*overrides: str) -> None:
    """Between steps 3 and 6 every weight matrix and bias moves, and stays finite."""
    result = run(*overrides, "engine.limit_steps=6", "checkpoint.every.steps=3")
    before, after = map(weights, result.checkpoints)
    assert result.step == 6
    assert len(before) == len(after) == 6
    for name, value in after.items():
        assert np.isfinite(value).all(), name
        assert not np.array_equal(value, before[name]), name


def weights(path: Path) -> dict[str, np.ndarray]:
    """The trainable variables, which stand in a checkpoint where the optimizer refers to them."""
    reader = tf.train.load_checkpoint(str(path))
    names = reader.get_variable_to_shape_map()
    weights = [name for name in names if name.startswith("optimizer/_trainable_variables/")]
    return {name: reader.get_tensor(name) for name in weights}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", {0: 0.001, 1: 0.001, 1000: 0.001}),
        ("cosine", {0: 0.0, 25: 0.0005, 50: 0.001, 225: 0.0005, 400: 0.0}),
        ("exponential", {0: 0.001, 100: 0.0009, 200: 0.00081}),
        ("piecewise", {0: 0.001, 200: 0.001, 201: 0.0003, 300: 0.0003, 301: 0.0001}),
    ],
)
def test_a_schedule_does_what_its_comment_says(name: str, values: dict[int, float]) -> None:
    schedule = load(f"optimizer/learning_rate={name}").optimizer.arguments["learning_rate"].build()
    rates = [float(schedule(step)) for step in values]
    np.testing.assert_allclose(rates, list(values.values()), rtol=1e-5, atol=1e-9)


def test_every_schedule_has_its_values_tested() -> None:
    assert members("optimizer/learning_rate") == ["constant", "cosine", "exponential", "piecewise"]


def test_smoke_passes_through_every_phase(workdir: Path) -> None:
    result = run("debug=smoke")
    assert result.directory.parent == Path("outputs/smoke")
    assert {name: set(values) for name, values in result.metrics.items()} == {
        "train": {"train/loss", "train/accuracy", "validation/loss", "validation/accuracy"},
        "evaluate": {"test/loss", "test/accuracy"},
    }


def test_a_profile_shows_every_phase(workdir: Path) -> None:
    result = run("debug=profile", "engine.limit_steps=4")
    traces = sorted((result.directory / "tensorboard").glob("*/plugins/profile/*/*.xplane.pb"))
    assert [path.relative_to(result.directory).parts[1] for path in traces] == ["evaluate", "train"]
    assert b"over_batches" in traces[1].read_bytes()
    assert not (run("debug=smoke").directory / "tensorboard").exists()


@pytest.mark.parametrize("model", ["linear", "mlp", "cnn"])
def test_one_batch_can_be_overfitted(workdir: Path, model: str) -> None:
    result = run("debug=overfit", f"model={model}")
    assert result.metrics["train"]["train/loss"] < 0.02
    assert result.step < 3000


@pytest.mark.parametrize(("name", "accuracy"), [("digits_mlp", 0.97), ("digits_cnn", 0.98)])
def test_the_digits_are_read(workdir: Path, name: str, accuracy: float) -> None:
    assert run(f"experiment={name}").metrics["evaluate"]["test/accuracy"] >= accuracy
