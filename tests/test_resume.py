"""A run that was stopped and launched again ends with the same bits as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from rich.console import Console

from runner import Result, run
from runner.checkpoint.manifest import read_manifests
from runner.interrupt import Interrupted
from runner.report.console import Plain
from runner.rows import WALL_CLOCK
from tests.observers import Stop, StopAt

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = (
    "engine.limit_steps=24",
    "checkpoint.every.steps=5",
    "checkpoint.max_to_keep=2",
    "tracking.log_every.steps=4",
)


def outcome(result: Result) -> dict[str, Any]:
    """Everything that has to be equal: kept checkpoints to the bit, and rows but the wall clock."""
    rows = [
        json.loads(line) for line in (result.directory / "metrics.jsonl").read_text().splitlines()
    ]
    for row in rows:
        for name in WALL_CLOCK:
            row.pop(name, None)
    manifests = read_manifests(result.directory / "checkpoints")
    return {
        "rows": rows,
        "checkpoints": {manifest.name: manifest.fingerprint for manifest in manifests},
        "best": result.best and result.best.name,
        "metrics": result.metrics,
    }


def straight_and_interrupted(stops: list[int], *overrides: str) -> tuple[Result, Result]:
    straight = run(*SMALL, *overrides, "run.dir=straight")
    with pytest.MonkeyPatch.context() as patch:
        # Calls of one step, so that it can be stopped after any.
        patch.setattr("runner.phases.train._CALL_S", 0.0)
        for stop in stops:
            with pytest.raises(Stop):
                run(*SMALL, *overrides, "run.dir=interrupted", observer=StopAt(stop))
    return straight, run(*SMALL, *overrides, "run.dir=interrupted")


@pytest.mark.parametrize("stops", [[1], [20], [3, 8, 8, 13, 24]])
def test_interrupted_run_ends_with_the_same_bits(workdir: Path, stops: list[int]) -> None:
    straight, interrupted = straight_and_interrupted(stops)
    assert outcome(interrupted) == outcome(straight)


class StopAtRow(StopAt):
    """Ends the process's work when a row is written, whichever of its call."""

    def advanced(self, *, step: int, epoch: float) -> None:
        return

    def row_written(self, row: dict[str, Any]) -> None:
        if row["step"] == self._step:
            raise Stop


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_a_run_that_is_killed_between_the_rows_of_a_call_ends_the_same(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(
        "runner.phases.train._CALL_S", 1e6
    )  # After the first step, all to the save.
    overrides = (*SMALL, "tracking.log_every.steps=1")
    straight = run(*overrides, "run.dir=straight")
    with pytest.raises(Stop):
        run(*overrides, "run.dir=killed", observer=StopAtRow(step))
    assert len(Path("killed/metrics.jsonl").read_text().splitlines()) == step
    assert outcome(run(*overrides, "run.dir=killed")) == outcome(straight)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=cnn",),
        ("model=gpt", "data=pydoc", "task=language_model", "data.context=16", "data.limit=500"),
        ("optimizer=sgd", "optimizer/learning_rate=cosine", "engine.compile=xla"),
        ("optimizer=adamw", "+optimizer.use_ema=true", "+optimizer.gradient_accumulation_steps=3"),
        ("checkpoint.numbering=count", "checkpoint.prefix=model.ckpt"),
        ("checkpoint.numbering=epoch",),
        ("checkpoint.numbering=100",),
        ("callbacks=early_stopping", "callbacks.early_stopping.patience=1"),
        (
            "data=diabetes",
            "model=linear",
            "task=regression",
            "checkpoint.best=null",
            "phases.evaluate.restore=latest",
        ),
        ("engine.compile=eager",),
        ("engine.dtype_policy=mixed_bfloat16",),
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_kind_of_state_comes_back(workdir: Path, overrides: tuple[str, ...]) -> None:
    straight, interrupted = straight_and_interrupted([13], *overrides)
    assert outcome(interrupted) == outcome(straight)


class Ask(Plain):
    """Sends the process a SIGTERM when a step is done, as a preemption does."""

    def __init__(self, step: int) -> None:
        super().__init__(Console(quiet=True))
        self._step = step

    def advanced(self, *, step: int, epoch: float) -> None:
        if step >= self._step:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("single_steps")
@pytest.mark.parametrize("numbering", ["step", "epoch", "count", "7"])
def test_a_run_that_was_asked_to_stop_leaves_no_trace_of_it(workdir: Path, numbering: str) -> None:
    overrides = (*SMALL, f"checkpoint.numbering={numbering}")
    straight = run(*overrides, "run.dir=straight")
    for step in (3, 10, 17):
        with pytest.raises(Interrupted, match="SIGTERM: stopped at step"):
            run(*overrides, "run.dir=stopped", observer=Ask(step))
        last = tf.train.latest_checkpoint("stopped/checkpoints")
        assert tf.train.load_checkpoint(last) is not None
    assert outcome(run(*overrides, "run.dir=stopped")) == outcome(straight)


def test_the_bits_do_not_depend_on_logging_saving_evaluating_or_chunks(workdir: Path) -> None:
    straight = run(*SMALL, "run.dir=straight")
    other = run(
        *SMALL,
        "run.dir=other",
        "checkpoint.every.steps=7",
        "tracking.log_every.steps=24",
        "engine.max_chunk=3",
    )
    last = [read_manifests(result.directory / "checkpoints")[-1] for result in (straight, other)]
    assert [manifest.step for manifest in last] == [24, 24]
    tensors = [_tensors(result.checkpoints[-1]) for result in (straight, other)]
    assert tensors[0] == tensors[1]


def _tensors(path: Path) -> dict[str, bytes]:
    """Model and optimizer, without the progress, which counts saves."""
    reader = tf.train.load_checkpoint(str(path))
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name).tobytes()
        for name in names
        if name.startswith(("model", "opt"))
    }


@pytest.mark.usefixtures("single_steps")
@pytest.mark.parametrize("lost", [[20], [15, 20]], ids=["the newest", "all"])
def test_checkpoints_are_known_without_their_manifests(workdir: Path, lost: list[int]) -> None:
    """By the progress in them: one is set aside like any damaged one; if none is left, it is used."""
    command = (*SMALL, "checkpoint.best=null", "phases.evaluate.restore=latest")
    straight = run(*command, "run.dir=straight")
    with pytest.raises(Stop):
        run(*command, "run.dir=interrupted", observer=StopAt(21))
    checkpoints = workdir / "interrupted/checkpoints"
    for number in lost:
        (checkpoints / f"ckpt-{number}.json").unlink()
    if lost == [20]:
        before = (checkpoints / "ckpt-20.index").read_bytes()
        assert outcome(run(*command, "run.dir=interrupted")) == outcome(straight)
        assert (checkpoints / "corrupt/ckpt-20.index").read_bytes() == before
        return
    ended = outcome(run(*command, "run.dir=interrupted"))
    wanted = outcome(straight)
    assert ended["rows"] == wanted["rows"]
    # What has no manifest is in nobody's list any more.
    assert ended["checkpoints"] == {"ckpt-24": wanted["checkpoints"]["ckpt-24"]}


_KILLED = """
import os, signal, sys
from rich.console import Console
from runner import run
from runner.interrupt import Interrupted
from runner.report.console import Plain

class Kill(Plain):
    def advanced(self, *, step, epoch):
        if step >= {step}:
            os.kill(os.getpid(), signal.SIGKILL)

run(*sys.argv[1:], observer=Kill(Console()))
"""


def test_a_killed_process_goes_on(
    workdir: Path, process: Callable[..., Any], tmp_path: Path
) -> None:
    """With SIGKILL, in processes of their own, and by the command line alone."""
    for step in (7, 17):
        killed = subprocess.run(
            [sys.executable, "-c", _KILLED.format(step=step), *SMALL],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL
    done = process(*SMALL)
    assert done.code == 0, done.err
    assert "goes on from" in done.out
    interrupted = next(Path("outputs/digits_mlp").iterdir())
    straight = process(*SMALL, "run.dir=straight")
    assert straight.code == 0
    assert _outcome_of(interrupted) == _outcome_of(Path("straight"))


def _outcome_of(directory: Path) -> tuple[list[Any], dict[str, str]]:
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: row[name] for name in row if name not in WALL_CLOCK} for row in rows]
    manifests = read_manifests(directory / "checkpoints")
    return kept, {manifest.name: manifest.fingerprint for manifest in manifests}
