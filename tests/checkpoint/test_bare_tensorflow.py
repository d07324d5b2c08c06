"""The runner on one side, bare TensorFlow on the other: what one saves, the other restores."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.mlp import mlp
from runner import Result, run
from runner.api import evaluate
from runner.checkpoint.manifest import read_manifests
from runner.data.digits import Digits

BATCH = 64
SMALL = ("experiment=digits_mlp", "model.hidden=[4]", "engine.limit_steps=6")
OWN_KEYS = (
    "{myModel: model, head: model.logits, opt: optimizer, count: optimizer.iterations, step: step}"
)


def built() -> keras.Model:
    """The runner's model, as a script builds it."""
    keras.utils.set_random_seed(7)
    return mlp(shape=[8, 8, 1], outputs=10, hidden=[4])


def adam(model: keras.Model) -> keras.Optimizer:
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    return optimizer


def examples(part: str) -> tuple[np.ndarray, np.ndarray]:
    source = Digits().load()[part]
    taken = source.take(np.arange(len(source)))
    return taken["x"], taken["y"]


def train(model: keras.Model, optimizer: keras.Optimizer, *, steps: int) -> None:
    """A plain loop."""
    x, y = examples("train")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for step in range(steps):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        with tf.GradientTape() as tape:
            value = loss(y[rows], model(x[rows], training=True))
        optimizer.apply_gradients(
            zip(
                tape.gradient(value, model.trainable_variables),
                model.trainable_variables,
                strict=True,
            )
        )


def measured(model: keras.Model) -> dict[str, float]:
    """A plain evaluation on the test part, in batches of one size."""
    x, y = examples("test")
    rest = -len(x) % BATCH
    weight = np.concatenate([np.ones(len(x)), np.zeros(rest)]).astype(np.float32)
    x, y = (
        np.concatenate([x, np.zeros_like(x[:rest])]),
        np.concatenate([y, np.zeros_like(y[:rest])]),
    )
    each_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    loss, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def measure(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> None:
        outputs, count = model(x, training=False), tf.reduce_sum(weight)
        loss.update_state(
            tf.reduce_sum(each_loss(y, outputs) * weight) / count, sample_weight=count
        )
        accuracy.update_state(y, outputs, sample_weight=weight)

    for start in range(0, len(x), BATCH):
        measure(*(tf.constant(part[start : start + BATCH]) for part in (x, y, weight)))
    return {"test/loss": float(loss.result()), "test/accuracy": float(accuracy.result())}


def values(path: Path | str) -> dict[str, bytes]:
    """Every tensor of a checkpoint but its graph."""
    reader = tf.train.load_checkpoint(str(path))
    names = (name for name in reader.get_variable_to_shape_map() if not name.startswith("_"))
    return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in names}


def weights(model: keras.Model) -> list[bytes]:
    return [weight.numpy().tobytes() for weight in model.weights]


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    """Keras's names and settings as in a process of its own, whatever a run left."""
    keras.backend.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    yield
    keras.backend.clear_session(free_memory=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run under keys, prefix and numbering of the user's own: 3 saves, 2 kept."""
    directory = tmp_path_factory.mktemp("trained")
    return run(
        *SMALL,
        f"run.dir={directory}",
        f"checkpoint.directory={directory / 'tf_ckpts'}",
        f"checkpoint.keys={OWN_KEYS}",
        "checkpoint.prefix=model.ckpt",
        "checkpoint.numbering=count",
        "checkpoint.every.steps=2",
        "checkpoint.max_to_keep=2",
        "checkpoint.best=null",
        "phases.evaluate.restore=latest",
        "model.dropout=0.3",
    )


@pytest.fixture
def ckpts(trained: Result, tmp_path: Path) -> Path:
    """A copy of its directory, to do with as one likes."""
    return Path(shutil.copytree(trained.directory / "tf_ckpts", tmp_path / "tf_ckpts"))


def own_parts() -> dict[str, Any]:
    model = built()
    optimizer = adam(model)
    return {
        "myModel": model,
        "head": model.get_layer("logits"),
        "opt": optimizer,
        "count": optimizer.iterations,
        "step": tf.Variable(0, dtype=tf.int64),
    }


# --- the runner saves, a script restores -------------------------------------------------------------


def test_files_and_numbers_are_tensorflows(trained: Result, ckpts: Path) -> None:
    assert sorted(path.name for path in ckpts.iterdir()) == [
        "checkpoint",
        "model.ckpt-2.data-00000-of-00001",
        "model.ckpt-2.index",
        "model.ckpt-2.json",
        "model.ckpt-3.data-00000-of-00001",
        "model.ckpt-3.index",
        "model.ckpt-3.json",
    ]
    assert [path.name for path in trained.checkpoints] == ["model.ckpt-2", "model.ckpt-3"]
    for number, steps in ((2, 4), (3, 6)):
        reader = tf.train.load_checkpoint(str(ckpts / f"model.ckpt-{number}"))
        assert reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") == steps
        assert reader.get_tensor("save_counter/.ATTRIBUTES/VARIABLE_VALUE") == number


def test_a_script_restores_the_latest_with_the_same_keys(trained: Result, ckpts: Path) -> None:
    parts = own_parts()
    latest = tf.train.latest_checkpoint(str(ckpts))
    assert latest == str(ckpts / "model.ckpt-3")
    restored = tf.train.Checkpoint(**parts).restore(latest)
    restored.assert_existing_objects_matched()  # All of the script's; the runner's own is left over.
    assert measured(parts["myModel"]) == trained.metrics["evaluate"]
    assert int(parts["step"]) == int(parts["opt"].iterations) == 6
    again = tf.train.Checkpoint(**parts).write(str(ckpts / "again"))
    of_the_runner = ("save_counter", "untracked")
    saved = values(latest)
    scripts = {name: saved[name] for name in saved if not name.startswith(of_the_runner)}
    written = values(again)
    assert scripts == {name: written[name] for name in written if "save_counter" not in name}


def test_a_manager_restores_and_goes_on(trained: Result, ckpts: Path) -> None:
    parts = own_parts()
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(**parts), str(ckpts), max_to_keep=2, checkpoint_name="model.ckpt"
    )
    assert manager.restore_or_initialize() == str(ckpts / "model.ckpt-3")
    assert measured(parts["myModel"]) == trained.metrics["evaluate"]
    assert manager.save() == str(ckpts / "model.ckpt-4")
    assert [Path(path).name for path in manager.checkpoints] == ["model.ckpt-3", "model.ckpt-4"]


def test_a_script_restores_one_by_its_number(ckpts: Path) -> None:
    parts = own_parts()
    restored = tf.train.Checkpoint(**parts).restore(str(ckpts / "model.ckpt-2"))
    restored.assert_existing_objects_matched()
    assert int(parts["step"]) == 4


def test_the_runners_own_key_can_be_read_too(workdir: Path) -> None:
    run(*SMALL, "phases=train", "run.dir=here", "engine.limit_steps=3")
    progress = tf.Module()
    progress.step = tf.Variable(0, dtype=tf.int64)
    latest = tf.train.latest_checkpoint("here/checkpoints")
    assert latest == "here/checkpoints/ckpt-3"
    model = built()
    status = tf.train.Checkpoint(model=model, optimizer=adam(model), progress=progress).restore(
        latest
    )
    status.assert_existing_objects_matched().expect_partial()
    assert int(progress.step) == 3


@pytest.mark.parametrize(
    ("numbering", "names"),
    [
        ("step", ["ckpt-15", "ckpt-20", "ckpt-25"]),
        ("epoch", ["ckpt-0", "ckpt-1"]),
        ("100", ["ckpt-100"]),
    ],
)
def test_other_numbers(workdir: Path, numbering: str, names: list[str]) -> None:
    """20 steps are just over one epoch."""
    result = run(
        *SMALL,
        "run.dir=here",
        "phases=train",
        "engine.limit_steps=25",
        f"checkpoint.numbering={numbering}",
        "checkpoint.every.steps=5",
        "checkpoint.max_to_keep=3",
        "checkpoint.best=null",
        "checkpoint.keys={model: model, step: step}",
    )
    assert [path.name for path in result.checkpoints] == names
    step = tf.Variable(0, dtype=tf.int64)
    latest = tf.train.latest_checkpoint("here/checkpoints")
    restored = tf.train.Checkpoint(model=built(), step=step).restore(latest)
    restored.assert_existing_objects_matched()
    assert int(step) == 25


# --- a script saves, the runner evaluates ---------------------------------------------------------------


def by_save(directory: Path) -> tuple[keras.Model, str]:
    model = built()
    train(model, adam(model), steps=3)
    return model, tf.train.Checkpoint(model=model).save(str(directory / "ckpt"))


def by_write(directory: Path) -> tuple[keras.Model, str]:
    model = built()
    train(model, adam(model), steps=3)
    return model, tf.train.Checkpoint(model=model).write(str(directory / "mine"))


def by_manager(directory: Path) -> tuple[keras.Model, str]:
    model = built()
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(directory), 2)
    optimizer = adam(model)
    for _ in range(3):
        train(model, optimizer, steps=1)
        path = manager.save()
    return model, path


def by_fit(directory: Path) -> tuple[keras.Model, str]:
    """The model carries its optimizer into the checkpoint, and fit its metrics into the model."""
    model = built()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(*examples("train"), epochs=1, batch_size=BATCH, verbose=0)
    return model, tf.train.Checkpoint(model=model).save(str(directory / "ckpt"))


@pytest.mark.parametrize("saved", [by_save, by_write, by_manager, by_fit])
def test_a_scripts_checkpoint_gives_the_scripts_metrics(
    workdir: Path, saved: Callable[[Path], tuple[keras.Model, str]]
) -> None:
    model, path = saved(workdir / "script")
    wanted, before = measured(model), values(path)
    result = run(
        *SMALL,
        "phases=evaluate",
        "checkpoint.best=null",
        "checkpoint.keys={model: model}",
        f"checkpoint.restore={Path(path).relative_to(workdir)}",
    )
    assert result.metrics == {"evaluate": wanted}
    assert values(path) == before


def test_every_key_of_a_script_that_compiles(workdir: Path) -> None:
    """The model's optimizer under a key of its own too, and a counter as the guide makes it."""
    model, _ = by_fit(workdir / "other")
    step = tf.Variable(17)
    checkpoint = tf.train.Checkpoint(net=model, opt=model.optimizer, step=step)
    checkpoint.save("tf_ckpts/ckpt")
    result = run(
        *SMALL,
        "phases=evaluate",
        "checkpoint.best=null",
        "checkpoint.keys={net: model, opt: optimizer, step: step}",
        "checkpoint.directory=tf_ckpts",
        "checkpoint.restore=latest",
        "optimizer.learning_rate=0.001",
    )
    assert result.metrics == {"evaluate": measured(model)}
    assert result.step == 17


@pytest.mark.parametrize("restore", ["7", "latest", "tf_ckpts/model.ckpt-7"])
def test_one_by_number_by_path_and_the_latest(workdir: Path, restore: str) -> None:
    model, checkpoint = built(), None
    optimizer = adam(model)
    checkpoint = tf.train.Checkpoint(myModel=model)
    manager = tf.train.CheckpointManager(
        checkpoint, "tf_ckpts", max_to_keep=None, checkpoint_name="model.ckpt"
    )
    metrics = {}
    for number in range(1, 9 if restore != "latest" else 8):
        train(model, optimizer, steps=1)
        manager.save()
        if number == 7:
            metrics = measured(model)
    result = run(
        *SMALL,
        "phases=evaluate",
        "checkpoint.best=null",
        "checkpoint.keys={myModel: model}",
        "checkpoint.directory=tf_ckpts",
        "checkpoint.prefix=model.ckpt",
        f"checkpoint.restore={restore}",
    )
    assert result.metrics == {"evaluate": metrics}


def test_the_runner_goes_on_where_a_script_stopped_and_the_script_where_the_runner_did(
    workdir: Path,
) -> None:
    """Three saves by a script, then by the runner, then by the script: one row of numbers."""

    def script() -> tuple[dict[str, Any], tf.train.CheckpointManager]:
        model = built()
        parts = {"model": model, "opt": adam(model), "step": tf.Variable(0, dtype=tf.int64)}
        checkpoint = tf.train.Checkpoint(**parts)
        return parts, tf.train.CheckpointManager(checkpoint, "tf_ckpts", max_to_keep=None)

    parts, manager = script()
    for _ in range(3):
        train(parts["model"], parts["opt"], steps=1)
        parts["step"].assign_add(1)
        manager.save()
    result = run(
        *SMALL,
        "checkpoint.keys={model: model, opt: optimizer, step: step}",
        "checkpoint.directory=tf_ckpts",
        "checkpoint.numbering=count",
        "checkpoint.every.steps=1",
        "checkpoint.best=null",
        "phases=train",
        "engine.limit_steps=2",
    )
    assert [path.name for path in result.checkpoints] == ["ckpt-4", "ckpt-5"]
    assert result.step == 5
    parts, manager = script()
    assert manager.restore_or_initialize() == "tf_ckpts/ckpt-5"
    assert int(parts["step"]) == int(parts["opt"].iterations) == 5
    assert manager.save() == "tf_ckpts/ckpt-6"
    assert sorted(path.stem for path in Path("tf_ckpts").glob("*.index")) == [
        f"ckpt-{number}" for number in range(1, 7)
    ]


# --- what does not fit --------------------------------------------------------------------------------------


def test_other_keys_are_refused_with_both_lists(
    workdir: Path, ckpts: Path, cli: Callable[..., Any]
) -> None:
    done = cli(
        *SMALL,
        "phases=evaluate",
        "checkpoint.best=null",
        "checkpoint.keys={model: model, opt: optimizer}",
        "checkpoint.restore=tf_ckpts/model.ckpt-3",
    )
    assert done.code == 3
    assert "keys in the checkpoint: count, head, myModel, opt, step" in _sorted_keys(done.err)
    assert "checkpoint.keys here:   model, opt" in done.err
    assert "Traceback" not in done.err


def test_another_model_is_refused_with_what_differs(
    workdir: Path, ckpts: Path, cli: Callable[..., Any]
) -> None:
    done = cli(
        *SMALL,
        "model.hidden=[6]",
        "phases=evaluate",
        "checkpoint.best=null",
        f"checkpoint.keys={OWN_KEYS}",
        "checkpoint.restore=tf_ckpts/model.ckpt-3",
    )
    assert done.code == 3
    row = "myModel dense_1/kernel: float32 [64, 4] in the checkpoint, float32 [64, 6] in this run"
    assert row in done.err
    assert "checkpoint.partial=true" in done.err


def test_evaluating_an_older_checkpoint_leaves_the_later_ones(workdir: Path) -> None:
    run(*SMALL, "run.dir=here", "checkpoint.every.steps=2")
    kept = [manifest.name for manifest in read_manifests(Path("here/checkpoints"))]
    assert kept == ["ckpt-2", "ckpt-4", "ckpt-6"]
    for number in (2, 4):
        evaluate("here", checkpoint=number)
    assert [manifest.name for manifest in read_manifests(Path("here/checkpoints"))] == kept
    assert tf.train.latest_checkpoint("here/checkpoints") == "here/checkpoints/ckpt-6"


def _sorted_keys(text: str) -> str:
    lines = []
    for line in text.splitlines():
        title, colon, names = line.partition(": ")
        lines.append(f"{title}{colon}{', '.join(sorted(names.strip().split(', ')))}")
    return "\n".join(lines)
