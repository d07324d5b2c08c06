"""Going on with a run from its own config: what may change, what then holds, and what stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from runner import Result, evaluate, resume, run
from runner.checkpoint.manifest import read_manifests
from runner.config.changes import Change
from runner.errors import CheckpointError, ConfigError
from runner.interrupt import Interrupted
from runner.report.console import Plain
from runner.rows import WALL_CLOCK, Rows
from runner.rundir import RunDirectory, RunDirectoryError
from tests.observers import Ask, Stop, StopAt

pytestmark = pytest.mark.usefixtures("single_steps")

SMALL = (
    "experiment=digits_mlp",
    "model.hidden=[8]",
    "data.limit=320",
    "phases.train.until.epochs=2",
    "checkpoint.every.steps=3",
    "checkpoint.max_to_keep=2",
    "tracking.log_every.steps=4",
)
"""320 examples in batches of 64: 5 steps an epoch, 10 in all."""
HERE = (*SMALL, "run.dir=here")
FOUR = "phases.train.until.epochs=4"


class Listen(Plain):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.changes: list[Change] | None = None
        self.start: tuple[str | None, int] | None = None
        self.recalls = 0

    def amended(self, changes: list[Change]) -> None:
        self.changes = changes

    def restored(self, checkpoint: Path | None, *, step: int) -> None:
        self.start = (checkpoint and checkpoint.name, step)

    def recalled(self, result: Result, *, changed: list[str], again: str) -> None:
        self.recalls += 1


def record(directory: str | Path = "here") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(directory) / "run.json").read_text())
    return content


def rows(directory: str | Path = "here") -> list[dict[str, Any]]:
    lines = (Path(directory) / "metrics.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    return [{name: row[name] for name in row if name not in WALL_CLOCK} for row in kept]


def outcome(directory: str | Path = "here") -> tuple[Any, Any, Any]:
    """Everything that has to be equal: rows but the wall clock, checkpoints to the bit, the result."""
    manifests = read_manifests(Path(directory) / "checkpoints")
    fingerprints = {manifest.name: manifest.fingerprint for manifest in manifests}
    return rows(directory), fingerprints, record(directory)["result"]


def tensors(directory: str | Path, number: int) -> dict[str, bytes]:
    """Model and optimizer, without the progress, which counts rows and saves."""
    reader = tf.train.load_checkpoint(str(Path(directory) / f"checkpoints/ckpt-{number}"))
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name).tobytes()
        for name in names
        if name.startswith(("model", "opt"))
    }


def files(directory: str | Path) -> dict[str, bytes]:
    """Everything but what was said."""
    paths = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if path.name not in ("run.log", ".lock")}


# --- without changes --------------------------------------------------------------------------------


def test_an_unfinished_run_goes_on_as_with_its_own_command(workdir: Path) -> None:
    run(*SMALL, "run.dir=straight")
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(5))
    listen = Listen()
    resume("here", observer=listen)
    assert (listen.start, listen.changes) == (("ckpt-3", 3), [])
    assert outcome() == outcome("straight")
    assert len(record()["sittings"]) == 2


def test_a_finished_run_is_recalled(workdir: Path, cli: Callable[..., Any]) -> None:
    first = run(*HERE)
    before = files("here")
    done = cli("resume", "here")
    assert (done.code, done.err) == (0, "")
    assert "finished before; this is its result" in done.out
    assert resume("here").metrics == first.metrics
    assert files("here") == before


def test_a_run_that_was_moved_goes_on_where_it_stands(workdir: Path) -> None:
    straight = run(*SMALL, "run.dir=straight")
    with pytest.raises(Stop):
        run(*SMALL, observer=StopAt(5))
    (directory,) = (path.parent for path in Path("outputs").glob("*/*/run.json"))
    directory.rename("here")
    moved = resume("here")
    assert (moved.id, moved.directory) == (directory.name, workdir / "here")
    assert moved.metrics == straight.metrics
    assert outcome() == outcome("straight")
    assert not directory.exists()


def test_a_checkpoint_directory_elsewhere_is_found_from_anywhere(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop):
        run(*HERE, "checkpoint.directory=tf_ckpts", observer=StopAt(5))
    (workdir / "below").mkdir()
    monkeypatch.chdir("below")
    listen = Listen()
    resume(workdir / "here", observer=listen)
    assert listen.start == ("ckpt-3", 3)
    assert [path.name for path in workdir.iterdir() if path.is_dir()].count("tf_ckpts") == 1
    assert not Path("tf_ckpts").exists()


# --- with changes -----------------------------------------------------------------------------------


def test_a_saved_config_that_was_edited_is_told(workdir: Path) -> None:
    for name in ("edited", "as-it-was"):
        run(*SMALL, f"run.dir={name}")
    path = Path("edited/.hydra/config.yaml")
    text = path.read_text()
    assert "dropout: 0.2" in text
    path.write_text(text.replace("dropout: 0.2", "dropout: 0.5"))
    for name in ("edited", "as-it-was"):
        shutil.move(name, f"moved-{name}")
        resume(f"moved-{name}", FOUR)
    (reason,) = record("moved-edited")["sittings"][-1]["not_identical"]
    assert reason.startswith("its saved config was edited, and is that of run ")
    assert record("moved-as-it-was")["sittings"][-1]["not_identical"] == []


def test_a_finished_run_trains_on(workdir: Path, cli: Callable[..., Any]) -> None:
    first = run(*HERE)
    ended = rows()
    (workdir / "here/.hydra/overrides.yaml").unlink()
    config = files("here/.hydra")
    done = cli("resume", "here", FOUR, "checkpoint.max_to_keep=3")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:6] == [
        "digits_mlp: here",
        "changes the trajectory:",
        "  phases.train.until.epochs: 2 -> 4",
        "harmless:",
        "  checkpoint.max_to_keep: 2 -> 3",
        "goes on from here/checkpoints/ckpt-10, step 10",
    ]
    # The evaluation of the first end is cut off; what was trained before stays, and no row is twice.
    assert [row["phase"] for row in rows()].count("evaluate") == 1
    assert rows()[: len(ended) - 1] == ended[:-1]
    straight = run(*SMALL, FOUR, "run.dir=straight")
    assert tensors("here", 20) == tensors("straight", 20)
    assert files("here/.hydra") == config
    assert record()["id"] == first.id != straight.id
    assert record()["result"]["step"] == 20
    assert record()["sittings"][0]["result"]["metrics"] == first.metrics
    assert record()["sittings"][1]["result"] is None


def test_what_was_changed_is_recorded_and_shown(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*HERE)
    resume("here", FOUR, "+optimizer.clipnorm=1.0", "run.max_time=1h")
    sitting = record()["sittings"][1]
    assert sitting["overrides"] == [FOUR, "+optimizer.clipnorm=1.0"]
    assert sitting["from_step"] == 10
    assert sitting["changes"] == [
        {"key": "optimizer.clipnorm", "new": 1.0, "class": "trajectory"},
        {"key": "phases.train.until.epochs", "old": 2, "new": 4, "class": "trajectory"},
    ]
    lines = cli("show", "here").out.splitlines()
    assert lines[4:7] == [
        "    changes the trajectory:",
        "      optimizer.clipnorm: not set -> 1.0",
        "      phases.train.until.epochs: 2 -> 4",
    ]


@pytest.mark.parametrize("stops", [[11], [13, 13, 17]])
def test_a_resumed_run_that_was_killed_ends_with_the_same_bits(
    workdir: Path, stops: list[int]
) -> None:
    changes = (FOUR, "optimizer.learning_rate=0.1", "+optimizer.clipnorm=1.0")
    for directory in ("straight", "here"):
        run(*SMALL, f"run.dir={directory}")
    resume("straight", *changes)
    for number, stop in enumerate(stops):
        with pytest.raises(Stop):
            # The first of them changes the values, the others go on with what was changed.
            resume("here", *(() if number else changes), observer=StopAt(stop))
    resume("here")
    assert outcome() == outcome("straight")
    finished = Listen()
    resume("here", observer=finished)
    assert (finished.recalls, finished.changes) == (1, [])


def test_the_same_resume_again_goes_on_after_it_was_asked_to_stop(workdir: Path) -> None:
    changes = (FOUR, "+optimizer.clipnorm=1.0", "~callbacks.stop_on_nan")
    for directory in ("straight", "here"):
        run(*SMALL, f"run.dir={directory}")
    resume("straight", *changes)
    with pytest.raises(Interrupted):
        resume("here", *changes, observer=Ask(16))
    listen = Listen()
    resume("here", *changes, observer=listen)
    assert (listen.start, listen.changes) == (("ckpt-stopped-16", 16), [])
    assert outcome() == outcome("straight")


def test_one_change_after_another(workdir: Path) -> None:
    run(*HERE)
    resume("here", "phases.train.until.epochs=3", "optimizer.learning_rate=0.1")
    listen = Listen()
    resume("here", FOUR, "optimizer/learning_rate=cosine", observer=listen)
    assert listen.start == ("ckpt-15", 15)
    assert listen.changes is not None
    assert {change.key: change.old for change in listen.changes} == {
        "optimizer.learning_rate": 0.1,
        "phases.train.until.epochs": 3,
    }
    results = [sitting["result"] for sitting in record()["sittings"]]
    assert [result and result["step"] for result in results] == [10, 15, None]


def test_harmless_changes_alone_do_not_start_a_finished_run(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    run(*HERE)
    before = files("here")
    done = cli("resume", "here", "checkpoint.max_to_keep=1", "tracking.tensorboard=true")
    assert done.code == 0, done.err
    assert done.out.splitlines()[:4] == [
        "harmless:",
        "  checkpoint.max_to_keep: 2 -> 1",
        "  tracking.tensorboard: false -> true",
        "finished before; this is its result (there was nothing left to do, so these are not kept; "
        "overrides that change what it computes go on with it)",
    ]
    assert files("here") == before


def test_harmless_changes_hold_and_leave_the_first_command_alone(workdir: Path) -> None:
    run(*SMALL, "run.dir=straight")
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(5))
    with pytest.raises(Stop):
        resume("here", "checkpoint.every.steps=1", observer=StopAt(7))
    # Beside the two newest, the best one, of the evaluation at step 5.
    assert [one.step for one in read_manifests(workdir / "here/checkpoints")] == [4, 5, 6]
    with pytest.raises(Stop):
        resume("here", observer=StopAt(9))
    assert [one.step for one in read_manifests(workdir / "here/checkpoints")] == [5, 7, 8]
    run(*HERE)
    assert tensors("here", 10) == tensors("straight", 10)


def test_the_first_command_does_not_go_on_with_something_else(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    run(*HERE)
    with pytest.raises(Stop):
        resume("here", FOUR, "optimizer.learning_rate=0.1", observer=StopAt(13))
    for again in (1, 2):
        before = files("here")
        refused = cli(*HERE)
        assert refused.code == 2
        assert refused.err == (
            "runner: run.dir=here: resumed since with optimizer.learning_rate: 0.001 -> 0.1 from step "
            "10, phases.train.until.epochs: 2 -> 4 from step 10; runner resume here goes on so, "
            "run.fresh=true moves it aside and starts over\n"
        )
        assert files("here") == before
        if again == 1:
            assert cli("resume", "here").code == 0
    fresh = cli(*HERE, "run.fresh=true")
    assert fresh.code == 0
    assert record()["result"]["step"] == 10
    assert record("here.1")["result"]["step"] == 20


def test_a_value_that_was_changed_back_was_another_one_for_a_while(workdir: Path) -> None:
    run(*HERE)
    resume("here", "phases.train.until.epochs=3", "optimizer.learning_rate=0.1")
    resume("here", FOUR, "optimizer.learning_rate=0.001")
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.1 -> 0\.001 from step 15"):
        run(*HERE)


# --- what a run cannot take -------------------------------------------------------------------------


def test_everything_that_is_impossible_is_told_at_once_and_nothing_written(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    run(*HERE)
    before = files("here"), (workdir / "here/run.log").read_bytes()
    done = cli("resume", "here", "seed=1", "phases.train.until.epochs=1", "model.dropout=0.5")
    assert done.code == 2
    assert done.err == (
        "runner: 2 problems\n"
        "  phases.train.until.epochs=1: phase train would end at its step 5, and is at 10 already; give "
        "more, or start another run with it\n"
        "  seed=1: the order of the examples so far came of the old one; start another run with it\n"
    )
    assert (files("here"), (workdir / "here/run.log").read_bytes()) == before


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_model_that_does_not_fit_leaves_the_run_as_it_was(
    workdir: Path, is_finished: bool
) -> None:
    run(*SMALL, "run.dir=straight")
    if is_finished:
        run(*HERE)
    else:
        with pytest.raises(Stop):
            run(*HERE, observer=StopAt(8))
    before = files("here")
    with pytest.raises(CheckpointError, match=r"kernel: .* in the checkpoint, .* in this run"):
        resume("here", "model.hidden=[9]", FOUR)
    assert files("here") == before
    resume("here")
    assert outcome() == outcome("straight")


def test_a_change_that_was_killed_before_it_took_hold_never_was(workdir: Path) -> None:
    run(*HERE)
    before = files("here")

    class Kill(Listen):
        def amended(self, changes: list[Change]) -> None:
            raise Stop

    with pytest.raises(Stop):
        resume("here", FOUR, observer=Kill())
    assert files("here") == before
    assert run(*HERE).step == 10


def test_a_change_holds_before_the_first_row_is_cut(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in ("straight", "here"):
        run(*SMALL, f"run.dir={directory}")
    resume("straight", FOUR)
    original = Rows.cut

    def cut(self: Rows, count: int) -> int:
        original(self, count)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "cut", cut)
        with pytest.raises(Stop):
            resume("here", FOUR)
    resume("here")
    assert outcome() == outcome("straight")


def test_a_run_that_another_runner_went_on_with_in_the_meantime(workdir: Path) -> None:
    run(*HERE)

    class Overtake(RunDirectory):
        def read(self) -> Any:
            found = super().read()
            assert found is not None
            found.sittings.append(found.sittings[-1])
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.session.RunDirectory", Overtake)
        with pytest.raises(
            RunDirectoryError, match="was worked on in the meantime; give the comma"
        ):
            resume("here", FOUR)
    assert resume("here", FOUR).step == 20


@pytest.mark.parametrize("run_text", ["nowhere", "."])
def test_there_is_no_such_run(workdir: Path, cli: Callable[..., Any], run_text: str) -> None:
    done = cli("resume", run_text)
    assert done.code == 2
    assert done.err.startswith(f"runner: RUN={run_text}: no such directory with a run.json")
    with pytest.raises(ConfigError, match=r"no such directory with a run\.json"):
        resume(run_text)


# --- what a checkpoint would bring back ------------------------------------------------------------


SGD = (
    "run.dir=here",
    "data.limit=320",
    "model=linear",
    "optimizer=sgd",
    "optimizer.momentum=0.0",
    "optimizer.learning_rate=0.5",
    "engine.compile=eager",
    "checkpoint.every.steps=1",
    "checkpoint.best=null",
    "phases=train",
)


def test_the_first_step_takes_the_new_learning_rate(workdir: Path) -> None:
    """To the bit: what a bare script makes of the checkpoint and the next batch."""
    with pytest.raises(Stop):
        run(*SGD, observer=StopAt(4))
    gradient = by_hand("here", 3)
    with pytest.raises(Stop):
        resume("here", "optimizer.learning_rate=0.25", observer=StopAt(5))
    before, after = (weights("here", number) for number in (3, 4))
    for name, change in gradient.items():
        expected = before[name] - change * np.float32(0.25)
        np.testing.assert_array_equal(after[name], expected)


def weights(directory: str, number: int) -> dict[str, Any]:
    model = linear()
    path = str(Path(directory) / f"checkpoints/ckpt-{number}")
    tf.train.Checkpoint(model=model).read(path).expect_partial()
    return {weight.name: weight.numpy() for weight in model.weights}


def linear() -> keras.Model:
    from models.linear import linear

    return linear(shape=[8, 8, 1], outputs=10)


def by_hand(directory: str, number: int) -> dict[str, Any]:
    """The gradient of the step after a checkpoint."""
    from runner.data import Head
    from runner.data.digits import Digits
    from runner.data.pipeline import Pipelines

    source = Head(Digits(shape=[8, 8, 1], outputs=10).load()["train"], 320)
    data = Pipelines(sources={"train": source}, batch_size=64, seed=0, max_chunk=1)
    (chunk,) = data.training("train", offset=0, spans=[(number, number + 1)])
    model = linear()
    path = str(Path(directory) / f"checkpoints/ckpt-{number}")
    tf.train.Checkpoint(model=model).read(path).expect_partial()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss(chunk["y"][0], model(chunk["x"][0], training=True))) / 64.0
    found = tape.gradient(value, model.trainable_variables)
    return {
        one.name: gradient.numpy()
        for one, gradient in zip(model.trainable_variables, found, strict=True)
    }


def rate_in(directory: str, number: int) -> list[float]:
    """The learning rate in a checkpoint, if there is one."""
    path = str(Path(directory) / f"checkpoints/ckpt-{number}")
    names = [name for name, _ in tf.train.list_variables(path) if "/_learning_rate/" in name]
    return [float(tf.train.load_variable(path, name)) for name in names]


@pytest.mark.parametrize(
    "precision", ["engine.dtype_policy=float32", "engine.dtype_policy=mixed_float16"]
)
def test_the_new_learning_rate_is_what_is_saved(workdir: Path, precision: str) -> None:
    run(*HERE, precision, "checkpoint.max_to_keep=null")
    resume("here", FOUR, "optimizer.learning_rate=0.25")
    # The optimizer that scales the loss in half precision has one of its own, without a use.
    assert 0.25 in rate_in("here", 20)
    assert 0.25 not in rate_in("here", 10)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop", "lion"])
def test_nothing_else_that_an_optimizer_is_given_is_in_a_checkpoint(optimizer: str) -> None:
    from runner.config.compose import compose
    from runner.config.hydra import experiment_of

    target = experiment_of(compose([f"optimizer={optimizer}"])).optimizer
    built = target.build()
    numbers = [v.name for v in built.variables]
    assert numbers == ["iteration", "learning_rate"]


def test_a_number_becomes_a_schedule_and_a_number_again(workdir: Path) -> None:
    """As constant schedules, so that the bits are those of the numbers."""
    constant = (
        "optimizer/learning_rate=constant",
        "optimizer.learning_rate.initial_learning_rate=",
    )
    for directory in ("straight", "here"):
        run(*SMALL, f"run.dir={directory}")
    resume("straight", "phases.train.until.epochs=3", "optimizer.learning_rate=0.25")
    resume("here", "phases.train.until.epochs=3", constant[0], f"{constant[1]}0.25")
    assert (rate_in("straight", 15), rate_in("here", 15)) == ([0.25], [])
    kept = without_rate(tensors("straight", 15)), without_rate(tensors("here", 15))
    assert kept[0] == kept[1]
    resume("straight", FOUR, "optimizer.learning_rate=0.125")
    with pytest.raises(Stop):
        resume("here", FOUR, "optimizer.learning_rate=0.125", observer=StopAt(16))
    resume("here")
    assert rate_in("here", 20) == [0.125]
    assert tensors("here", 20) == tensors("straight", 20)


def without_rate(content: dict[str, bytes]) -> list[bytes]:
    """By their order: the places of the slots have moved."""
    return [content[name] for name in sorted(content) if "learning_rate" not in name]


def test_a_checkpoint_from_before_is_evaluated_with_what_the_run_is_now(workdir: Path) -> None:
    run(*HERE, "checkpoint.max_to_keep=null")
    at_first = evaluate("here", checkpoint=10)
    resume("here", FOUR, "optimizer/learning_rate=cosine", "phases.evaluate.data=validation")
    later = evaluate("here", checkpoint=10)
    assert next(iter(at_first.metrics["evaluate"])) == "test/loss"
    assert next(iter(later.metrics["evaluate"])) == "validation/loss"
    again = evaluate("here", "phases.evaluate.data=test", checkpoint=10)
    assert again.metrics == at_first.metrics


EARLY = (
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=1",
    "callbacks.early_stopping.min_delta=9",
    "phases.train.until.epochs=6",
)
"""Ends after the second evaluation, at step 10."""


def test_a_phase_that_a_callback_ended_goes_on_as_if_it_had_not(workdir: Path) -> None:
    run(*HERE, *EARLY)
    assert record()["result"]["step"] == 10
    straight = run(*SMALL, *EARLY, "callbacks.early_stopping.patience=3", "run.dir=straight")
    assert straight.step == 20
    with pytest.raises(
        ConfigError, match="phase train ended at step 10: validation/loss has not im"
    ):
        resume("here", "phases.train.until.epochs=9")
    with pytest.raises(Stop):
        resume("here", "callbacks.early_stopping.patience=3", observer=StopAt(11))
    listen = Listen()
    resume("here", "phases.train.until.epochs=9", observer=listen)
    assert listen.start == ("ckpt-10", 10)
    assert record()["result"]["step"] == 20
    assert tensors("here", 20) == tensors("straight", 20)


def test_a_callback_that_looks_at_something_else_begins_anew(workdir: Path) -> None:
    run(*HERE, *EARLY)
    resume(
        "here",
        "callbacks.early_stopping.metric=validation/accuracy",
        "callbacks.early_stopping.mode=max",
    )
    # Its first evaluation at step 15 sets the mark, its second ends the phase.
    assert record()["result"]["step"] == 20


def test_a_number_of_threads_that_is_given_is_used(
    workdir: Path, process: Callable[..., Any]
) -> None:
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(5))
    chosen = record()["numerics"]["threads"]
    done = process("resume", "here", f"engine.threads={chosen + 1}")
    assert done.code == 0, done.err
    reason = f"threads is {chosen + 1}, was {chosen}"
    assert record()["sittings"][-1]["not_identical"] == [reason]
    assert f"not bit-identical to the run so far because {reason}" in done.err
    before = record()
    with pytest.raises(
        ConfigError, match=f"engine.threads={chosen + 2}: TensorFlow already runs wi"
    ):
        resume("here", f"engine.threads={chosen + 2}", FOUR)
    assert record() == before


@pytest.mark.parametrize("content", [b"{", None])
def test_what_was_changed_outlives_run_json(workdir: Path, content: bytes | None) -> None:
    """Every manifest says it too, once one was saved since."""
    run(*HERE)
    with pytest.raises(Stop):
        resume("here", FOUR, "optimizer.learning_rate=0.01", observer=StopAt(14))
    shutil.copytree("here", "straight")
    path = workdir / "here/run.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"resumed since with .*learning_rate: 0\.001 -> 0\.01"):
        run(*HERE)
    resume("here")
    resume("straight")
    assert outcome("here") == outcome("straight")
