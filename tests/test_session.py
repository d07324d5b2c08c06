"""Launching: what a run leaves on disk, what the same command does again, who may work on it."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import yaml

from runner import Result, evaluate, quiet, run
from runner import cli as command_line
from runner.checkpoint.manifest import read_manifest
from runner.checkpoint.snapshot import Snapshots
from runner.config.compose import compose
from runner.config.hydra import has_more_to_do
from runner.errors import CheckpointError, ConfigError, NameTakenError, UserError
from runner.files import UnwritableError
from runner.interrupt import StopRequest
from runner.lock import Lock, LockedError
from runner.lock.owner import Host
from runner.rows import WALL_CLOCK, Rows
from runner.rundir import RunDirectoryError

TINY = ("engine.limit_steps=3",)
TINY_NAMED = (*TINY, "run.dir=here")


def record(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "run.json").read_text())
    return content


def test_a_run_directory_tells_what_ran(workdir: Path) -> None:
    result = run("seed=3", *TINY)
    assert result.directory.parent == Path("outputs/digits_mlp")
    assert result.directory.name == result.id
    assert (Path("outputs/latest") / "run.json").samefile(result.directory / "run.json")
    names = {path.name for path in result.directory.iterdir()}
    seen = {"checkpoints", "metrics.jsonl", "run.json", "run.log"}
    # The code that is tested may be one that no revision holds.
    assert names - {"code.diff"} == {".hydra", ".lock", ".metrics.jsonl", *seen}
    content = record(result.directory)
    assert content["status"] == "finished"
    assert content["sittings"][0]["to_step"] == 3
    assert (
        content["versions"]["tensorflow" if _has("tensorflow") else "tensorflow-cpu"]
        == tf.__version__
    )
    assert set(content["sources"]) >= {"models/mlp.py", "runner/phases/train.py"}
    assert content["result"]["metrics"] == result.metrics
    overrides = yaml.safe_load((result.directory / ".hydra/overrides.yaml").read_text())
    assert overrides == ["seed=3", *TINY]
    config = yaml.safe_load((result.directory / ".hydra/config.yaml").read_text())
    assert config["seed"] == 3
    assert "hydra" in yaml.safe_load((result.directory / ".hydra/hydra.yaml").read_text())


def test_a_phase_of_no_steps_leaves_what_the_run_starts_from(workdir: Path) -> None:
    no_step = "phases.train.until.epochs=0"
    untrained = run(no_step, "phases.evaluate.restore=null", "run.dir=untrained")
    assert (untrained.step, [*untrained.metrics]) == (0, ["evaluate"])
    trained = run(*TINY_NAMED)
    # Another run's checkpoint is one to measure as well.
    elsewhere = ("checkpoint.directory=here/checkpoints", "checkpoint.restore=none")
    again = run(no_step, *elsewhere, "run.dir=again")
    assert again.metrics["evaluate"] == trained.metrics["evaluate"]
    assert again.metrics != untrained.metrics


def _has(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def test_the_same_command_recalls_a_finished_run(cli: Callable[..., Any]) -> None:
    first = cli(*TINY_NAMED)
    before = (Path("here") / "run.json").read_bytes()
    second = cli(*TINY_NAMED)
    assert first.code == second.code == 0
    assert "finished before" in second.out
    table = first.out[first.out.index("digits_mlp ") :]
    assert second.out.endswith(table[table.index("\n") :])
    assert (Path("here") / "run.json").read_bytes() == before


def test_a_finished_run_and_looking_at_it_import_no_tensorflow(
    workdir: Path, process: Callable[..., Any]
) -> None:
    run(*TINY_NAMED)
    # A tensorflow that cannot be imported stands in front of the real one, which keras imports too.
    (workdir / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    commands = (TINY_NAMED, ("show", "here"), ("checkpoints", "here", "--verify"), ("--cfg", "job"))
    for command in commands:
        done = process(*command)
        assert (done.code, done.err) == (0, "")
    assert process("seed=1").err == "tensorflow was imported\n"


def test_fresh_moves_the_earlier_run_aside(workdir: Path) -> None:
    first = run(*TINY_NAMED)
    kept = (first.directory / "metrics.jsonl").read_bytes()
    again = run(*TINY_NAMED, "run.fresh=true")
    assert (workdir / "here.1/metrics.jsonl").read_bytes() == kept
    assert len(record(again.directory)["sittings"]) == 1
    run(*TINY_NAMED, "run.fresh=true")
    assert (workdir / "here.2/run.json").exists()


@pytest.mark.parametrize("there", ["notes.txt", "src/code.py"])
def test_a_directory_with_other_things_in_it_is_no_run_directory(workdir: Path, there: str) -> None:
    path = workdir / "here" / there
    path.parent.mkdir(parents=True)
    path.touch()
    told = rf"run\.dir=here: holds {path.relative_to(workdir / 'here').parts[0]}, and no run; give"
    with pytest.raises(ConfigError, match=told):
        run(*TINY_NAMED)
    assert [one for one in (workdir / "here").rglob("*") if one.is_file()] == [path]


def test_outputs_latest_means_what_it_meant_when_it_was_given(workdir: Path) -> None:
    first = run(*TINY, "name=first")
    place = "outputs/latest/checkpoints/ckpt-3"
    second = run(
        "name=second", "engine.limit_steps=5", f"checkpoint.restore={place}", "phases=train"
    )
    restored = record(second.directory)["sittings"][0]["restored"]
    assert Path(restored).parent == first.directory.resolve() / "checkpoints"
    evaluated = run("phases=evaluate", f"phases.evaluate.restore={place.replace('3', '5')}")
    assert evaluated.metrics["evaluate"]


def test_a_run_whose_checkpoints_were_removed_does_not_begin_anew_in_silence(workdir: Path) -> None:
    result = run(*TINY_NAMED)
    content = record(workdir / "here")
    assert content["saved"]
    (workdir / "here/run.json").write_text(json.dumps({**content, "status": "running"}))
    shutil.rmtree("here/checkpoints")
    rows = (workdir / "here/metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="no checkpoint of this run, which has saved some"):
        run(*TINY_NAMED)
    assert (workdir / "here/metrics.jsonl").read_bytes() == rows
    assert run(*TINY_NAMED, "run.fresh=true").metrics == result.metrics


def test_a_run_that_went_on_from_a_checkpoint_has_saved(workdir: Path) -> None:
    """Also where it was killed before it could note that."""
    run(*TINY_NAMED)
    content = record(workdir / "here")
    content |= {"status": "running", "saved": False}
    (workdir / "here/run.json").write_text(json.dumps(content))
    run(*TINY_NAMED)
    assert record(workdir / "here")["saved"]


def test_a_run_that_has_not_saved_yet_begins_again(workdir: Path) -> None:
    with pytest.raises(UserError, match="train/loss"):
        run(*TINY_NAMED, "optimizer.learning_rate=1e30", "tracking.log_every.steps=1")
    assert not record(workdir / "here")["saved"]
    with pytest.raises(UserError, match="train/loss"):
        run(*TINY_NAMED, "optimizer.learning_rate=1e30", "tracking.log_every.steps=1")


def test_what_tensorflow_refuses_is_one_message(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli(*TINY_NAMED, "data=diabetes")
    assert done.code == 1
    assert done.err == (
        "runner: a step failed: indices[0] = -1 is not in [0, 1); RUNNER_TRACEBACK=1 shows where\n"
    )


def test_runs_are_listed_wherever_they_stand_below(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*TINY, "run.dir=a/b/c/here")
    evaluate("a/b/c/here")
    for place in (".", "a", "a/b/c", "a/b/c/here"):
        done = cli("ls", place)
        assert done.out.count("a/b/c/here") == 1, done.out
        assert "evaluations" not in done.out


@pytest.mark.parametrize("columns", [40, 80])
def test_what_is_listed_on_a_terminal_can_be_copied(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    place = f"a/{'long/' * 8}path"
    run(*TINY, f"run.dir={place}")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    (line,) = (line for line in cli("ls", ".").out.splitlines() if place in line)
    assert "finished" in line


def test_of_many_runs_that_begin_so_a_dozen_are_told(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    for number in range(20):
        place = Path(f"outputs/many/ab{number:02}")
        place.mkdir(parents=True)
        (place / "run.json").write_text("{}")
    for text in ("", "ab"):
        done = cli("show", text)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(
            f"runner: RUN={text}: more than one run begins so: outputs/many/ab"
        )
        assert done.err.count("outputs/") == 12
        assert done.err.endswith(" and 8 more\n")


def test_a_place_to_list_that_does_not_exist_is_told(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    done = cli("ls", "nowhere")
    assert (done.code, done.err) == (2, "runner: DIRECTORY=nowhere: there is no such directory\n")
    assert cli("ls").code == 1


def test_a_run_shows_how_it_was_launched(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*TINY, "run.dir=here", "model.hidden=[8]")
    (line,) = (line for line in cli("show", "here").out.splitlines() if "run.dir" in line)
    assert shlex.split(line)[-1] == "model.hidden=[8]"
    Path("here/.hydra/overrides.yaml").write_text("[")
    assert cli("show", "here").code == 0


def test_checkpoints_without_a_manifest_are_listed(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*TINY_NAMED, "checkpoint.every.steps=1")
    assert cli("checkpoints", "here", "--verify").code == 0
    (workdir / "here/checkpoints/ckpt-2.json").unlink()
    done = cli("checkpoints", "here", "--verify")
    assert done.code == 3
    line = next(line for line in done.out.splitlines() if "ckpt-2" in line)
    assert line.strip().endswith("no manifest")


def test_a_directory_belongs_to_one_run(workdir: Path) -> None:
    run(*TINY_NAMED)
    with pytest.raises(ConfigError, match=r"run\.dir=here: holds run \w{10} of another config"):
        run(*TINY_NAMED, "seed=1")


def test_two_runners_do_not_work_on_one_run(workdir: Path) -> None:
    (workdir / "here").mkdir()
    with Lock(workdir / "here/.lock", host=lambda: Host("elsewhere", "")).held():
        owner = f"process {os.getpid()} on elsewhere"
        with pytest.raises(LockedError, match=f"here is being worked on by {owner}; wait for it"):
            run(*TINY_NAMED)
    assert run(*TINY_NAMED).step == 3


def test_two_runners_do_not_save_one_run_in_one_place(workdir: Path) -> None:
    """The same run, asked for in two run directories, with its checkpoints outside of both."""
    shared = ("checkpoint.directory=shared", "engine.limit_steps=3")
    first = run(*shared, "run.dir=first")
    with Lock(workdir / f"shared/.lock-{first.id}", host=lambda: Host("elsewhere", "")).held():
        with pytest.raises(LockedError, match="shared is being worked on by process"):
            run(*shared, "run.dir=second")
        assert evaluate("first", "phases.evaluate.data=validation").step == 3
    assert run(*shared, "run.dir=second").checkpoints == [Path("shared/ckpt-3")]


def test_a_checkpoint_directory_in_a_linked_run_directory_is_the_runs_own(workdir: Path) -> None:
    (workdir / "real").mkdir()
    (workdir / "link").symlink_to("real")
    place = workdir / "real/checkpoints"
    run(*TINY, "run.dir=link", f"checkpoint.directory={place}")
    assert not list(place.glob(".lock*"))


def test_another_run_is_kept_out_while_its_checkpoints_are_moved(workdir: Path) -> None:
    first = run(*TINY_NAMED, "checkpoint.every.steps=1")
    shared = ("checkpoint.directory=here/checkpoints", "checkpoint.restore=1", "run.dir=other")
    at_work = Lock(workdir / "here/.lock", host=lambda: Host("elsewhere", "")).held()
    with at_work, pytest.raises(LockedError, match="here is being worked on by process"):
        run(*TINY, *shared, "seed=1")
    assert all(path.with_suffix(".index").exists() for path in first.checkpoints)
    again = run(*TINY, *shared, "seed=1")
    assert [path.name for path in again.checkpoints] == ["ckpt-3"]
    assert (workdir / "here/checkpoints/abandoned/ckpt-2.json").exists()


def test_changed_code_is_named(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(workdir)
    (workdir / "own_layers.py").write_text(_LAYERS)
    (workdir / "own_model.py").write_text(_MODEL)
    own = ("model=own", "model._target_=own_model.Small", "+model.outputs=10")
    own = (*own, "--allow=own_model.Small")
    first = cli(*TINY_NAMED, *own)
    assert first.code == 0, first.err
    sources = record(workdir / "here")["sources"]
    assert {"own_layers.py", "own_model.py"} <= set(sources)
    (workdir / "own_layers.py").write_text(_LAYERS + "# changed\n")
    second = cli(*TINY_NAMED, *own)
    assert "the code has changed since: own_layers.py" in second.out
    assert "models/mlp.py" not in second.out


_LAYERS = """
import keras

def head(outputs):
    return keras.layers.Dense(outputs, name="logits")
"""

_MODEL = """
import keras
from own_layers import head

class Small(keras.Model):
    def __init__(self, *, outputs):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.dropout = keras.layers.Dropout(0.5)
        self.hidden = [keras.layers.Dense(4), keras.layers.Dense(4)]
        self.head = head(outputs)

    def call(self, x, training=False):
        x = self.flatten(x)
        for layer in self.hidden:
            x = layer(x)
        return self.head(self.dropout(x, training=training))
"""


def test_a_saved_config_is_the_same_run(cli: Callable[..., Any]) -> None:
    first = cli("seed=5", *TINY)
    directory = next(Path("outputs/digits_mlp").iterdir())
    again = cli("--config-path", f"{directory}/.hydra", "--config-name", "config")
    assert first.code == again.code == 0
    assert "finished before" in again.out
    other = cli("--config-path", f"{directory}/.hydra", "--config-name", "config", "seed=6")
    assert "finished before" not in other.out
    assert len([path for path in Path("outputs/digits_mlp").iterdir() if path.is_dir()]) == 2


def test_the_saved_config_is_never_overwritten(workdir: Path, cli: Callable[..., Any]) -> None:
    cli(*TINY_NAMED)
    before = {path: path.read_bytes() for path in (workdir / "here/.hydra").iterdir()}
    content = record(workdir / "here")
    content["status"] = "running"
    (workdir / "here/run.json").write_text(json.dumps(content))
    assert cli(*TINY_NAMED, "tracking.log_every.steps=1").code == 0
    assert {path: path.read_bytes() for path in (workdir / "here/.hydra").iterdir()} == before
    assert len(record(workdir / "here")["sittings"]) == 2


def test_help_is_what_hydra_would_show(process: Callable[..., Any]) -> None:
    shown, gathered = process("--help"), process("--help", "model=mlp")
    assert (shown.code, shown.err) == (0, "")
    assert "\noptimizer/learning_rate: constant, cosine, exponential, piecewise\n" in shown.out
    lines = [line for line in gathered.out.splitlines() if line]
    assert [line for line in shown.out.splitlines() if line] == lines


@pytest.mark.parametrize(
    "argument",
    ["seed=1,2", "seed=range(3)", "hydra.mode=MULTIRUN", "-m", "--cfg=job", "hydra.verbose=true"],
)
def test_what_is_more_than_one_run_is_left_to_hydra(argument: str, workdir: Path) -> None:
    assert command_line._single([*TINY, argument]) is None


@pytest.mark.parametrize(
    "more",
    [
        "hydra.mode=MULTIRUN",
        "hydra.job.chdir=true",
        "hydra.output_subdir=.hydra",
        "hydra/job_logging=default",
        "+hydra.job.env_set.A=b",
        "+hydra.callbacks.own._target_=own.Callback",
    ],
)
def test_what_a_config_asks_of_hydra_is_left_to_it(more: str, workdir: Path) -> None:
    assert not has_more_to_do(compose(TINY).hydra)
    assert has_more_to_do(compose([*TINY, more]).hydra)


def test_a_single_run_is_described_without_hydra_or_told_to_be_wrong(workdir: Path) -> None:
    single = command_line._single(TINY)
    assert single is not None
    assert single.hydra.hydra.runtime.output_dir == str(workdir / single.experiment.run.dir)
    with pytest.raises(ConfigError, match=r"sed=3: no such key"):
        command_line._single(["sed=3"])


def test_a_trial_of_a_sweep_is_the_run_it_would_be_alone(
    workdir: Path, process: Callable[..., Any]
) -> None:
    done = process("-m", "seed=1,2,3", *TINY)
    assert done.code == 0, done.err
    swept = {path.parent.name: record(path.parent) for path in Path("outputs").glob("*/*/run.json")}
    assert len(swept) == 3
    alone = run("seed=2", *TINY)
    assert swept[alone.id]["status"] == "finished"
    fresh = run("seed=2", *TINY, "run.fresh=true")
    assert fresh.metrics == alone.metrics == swept[alone.id]["result"]["metrics"]


def test_a_failing_trial_does_not_end_a_sweep(workdir: Path, process: Callable[..., Any]) -> None:
    done = process("-m", "optimizer.learning_rate=1e30,0.001", *TINY, "tracking.log_every.steps=1")
    assert done.code == 1
    assert "runner: trial 0 failed: train/loss is " in done.err
    assert "Traceback" not in done.err
    statuses = [record(path.parent)["status"] for path in Path("outputs").glob("*/*/run.json")]
    assert sorted(statuses) == ["failed", "finished"]


def test_evaluate_works_from_the_saved_config_alone(workdir: Path) -> None:
    result = run(
        "experiment=digits_mlp", "engine.limit_steps=6", "checkpoint.every.steps=2", "run.dir=a"
    )
    before = {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()}
    Path("a").rename("moved")
    best = evaluate("moved")
    assert best.metrics["evaluate"] == result.metrics["evaluate"]
    two = evaluate("moved", checkpoint=2)
    assert two.metrics["evaluate"] != best.metrics["evaluate"]
    assert evaluate("moved", checkpoint="2").metrics == two.metrics
    for path, content in before.items():
        assert Path("moved", path.relative_to("a")).read_bytes() == content


def test_keras_applications_are_models_too(workdir: Path) -> None:
    result = run(
        "model=application",
        "+model.alpha=0.35",
        "data=arrays",
        "data.shape=[32,32,1]",
        "data.outputs=10",
        f"data.x={_arrays(workdir)}:x",
        f"data.y={workdir}/data.npz:y",
        "data.batch_size=4",
        "engine.limit_steps=2",
    )
    assert result.step == 2


def _arrays(directory: Path) -> Path:
    import numpy as np

    generator = np.random.default_rng(0)
    x = generator.random([40, 32, 32, 1], np.float32)
    np.savez(directory / "data.npz", x=x, y=np.arange(40) % 10)
    return directory / "data.npz"


def test_a_closed_pipe_does_not_end_a_run(workdir: Path) -> None:
    command = f"{sys.executable} -m runner run.dir=here engine.limit_steps=30 | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run(command, shell=True, cwd=workdir, env=environment, check=True)
    assert record(workdir / "here")["status"] == "finished"


def test_start_up_noise_goes_to_the_log_and_errors_do_not(
    workdir: Path, process: Callable[..., Any]
) -> None:
    done = process(*TINY_NAMED)
    assert (done.code, done.err) == (0, "")
    assert "\r" not in done.out
    assert "\x1b" not in done.out
    assert "cpu_feature_guard" in (workdir / "here/run.log").read_text()
    (workdir / "broken.py").write_text("def model():\n    raise RuntimeError('own trouble')\n")
    own = ("model=own", "model._target_=broken.model", "--allow", "broken.model")
    failed = process(*TINY, *own)
    assert failed.code == 2
    assert failed.err == "runner: model=broken.model: RuntimeError: own trouble\n"
    shown = process(*TINY, *own, RUNNER_TRACEBACK="1")
    assert "in model\n    raise RuntimeError" in shown.err


def test_fresh_moves_a_broken_run_aside_too(workdir: Path, cli: Callable[..., Any]) -> None:
    cli(*TINY_NAMED)
    (workdir / "here/run.json").write_text("{")
    shutil.rmtree("here/checkpoints")  # Nothing says any more which run this is.
    refused = cli(*TINY_NAMED)
    assert refused.code == 1
    assert "run.fresh=true moves this run aside" in refused.err
    assert "unreadable" in cli("ls", ".").out
    fresh = cli(*TINY_NAMED, "run.fresh=true")
    assert fresh.code == 0
    assert "the earlier run now stands in here.1" in fresh.out
    assert (workdir / "here.1/run.json").read_text() == "{"


@pytest.mark.parametrize("content", [b"", b"{", bytes(100), None])
def test_a_lost_run_json_loses_nothing_else(workdir: Path, content: bytes | None) -> None:
    """What it held of the numerics stands in every manifest; the rest is begun anew."""
    run(*TINY_NAMED)
    before, path = record(workdir / "here"), workdir / "here/run.json"
    rows = path.with_name("metrics.jsonl").read_bytes().splitlines()
    manifest = path.with_name("checkpoints") / "ckpt-3.json"
    changed = replace(
        read_manifest(manifest), numerics={**before["numerics"], "processor": "other"}
    )
    manifest.write_bytes(changed.as_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    again = run(*TINY_NAMED)
    after = record(workdir / "here")
    assert again.metrics == before["result"]["metrics"]
    assert after["numerics"] == changed.numerics
    assert after["sittings"][-1]["not_identical"][0].startswith("processor is ")
    assert path.with_name("metrics.jsonl").read_bytes().splitlines()[:-1] == rows[:-1]
    asides = [one.read_bytes() for one in workdir.glob("here/run.json.damaged.*")]
    assert asides == ([] if content is None else [content])


def test_a_run_json_that_is_no_damaged_one_is_left_alone(workdir: Path) -> None:
    run(*TINY_NAMED)
    path = workdir / "here/run.json"
    newer = json.dumps({**record(workdir / "here"), "format": 99, "unheard": "of"})
    path.write_text(newer)
    with pytest.raises(RunDirectoryError, match=r"run\.json: a newer version of runner wrote it"):
        run(*TINY_NAMED)
    assert path.read_text() == newer
    path.unlink()
    path.mkdir()
    with pytest.raises(RunDirectoryError, match=r"run\.json cannot be read: Is a directory"):
        run(*TINY_NAMED)


def test_a_run_json_is_not_begun_anew_over_another_run(workdir: Path) -> None:
    run(*TINY_NAMED)
    (workdir / "here/run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json is not readable"):
        run(*TINY_NAMED, "seed=9")
    assert (workdir / "here/run.json").read_text() == "{"


def test_what_was_asked_of_one_launch_is_not_saved(workdir: Path) -> None:
    run(*TINY_NAMED, "run.fresh=true", "run.max_time=2h")
    saved = yaml.safe_load((workdir / "here/.hydra/config.yaml").read_text())
    assert (saved["run"]["fresh"], saved["run"]["max_time"]) == (False, None)


@pytest.mark.parametrize("restore", ["auto", "none"])
def test_an_evaluation_of_nothing_is_refused(workdir: Path, restore: str) -> None:
    with pytest.raises(CheckpointError, match="there is nothing to evaluate"):
        run("phases=evaluate", "checkpoint.directory=typo", f"checkpoint.restore={restore}")


def test_a_phase_may_name_the_checkpoint_that_it_evaluates(workdir: Path) -> None:
    trained = run(*TINY_NAMED)
    path = trained.checkpoints[-1]
    found = run("phases=evaluate", f"phases.evaluate.restore={path}")
    assert found.metrics["evaluate"] == trained.metrics["evaluate"]


def test_data_that_contradict_the_config_are_told(workdir: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.outputs=5: .* label 9; give 10"):
        run(*TINY_NAMED, "data.outputs=5")


def test_a_model_has_an_output_for_every_label(workdir: Path) -> None:
    few = "model=models.mlp.mlp: gives 5 outputs where data.outputs=10; give it one for each label"
    with pytest.raises(ConfigError, match=f"^{re.escape(few)}$"):
        run(*TINY_NAMED, "model.outputs=5")
    assert run(*TINY_NAMED, "model.outputs=12", "run.fresh=true").step == 3


def test_lost_rows_are_told_and_not_doubled(
    workdir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*TINY_NAMED, "tracking.log_every.steps=1")
    content = record(workdir / "here")
    content["status"] = "running"
    (workdir / "here/run.json").write_text(json.dumps(content))
    for name in ("metrics.jsonl", ".metrics.jsonl"):
        (workdir / "here" / name).unlink()
    run(*TINY_NAMED, "tracking.log_every.steps=1")
    assert "metrics.jsonl and its copy have lost 4 of 4 rows" in capfd.readouterr().err
    rows = (workdir / "here/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["split"] for row in rows] == ["test"]


def test_a_half_precision_run_scales_its_loss(workdir: Path) -> None:
    result = run(*TINY_NAMED, "engine.dtype_policy=mixed_float16")
    names = [name for name, _ in tf.train.list_variables(str(result.checkpoints[-1]))]
    assert any("dynamic_scale" in name for name in names)


def test_evaluate_takes_its_arguments_in_any_order(cli: Callable[..., Any]) -> None:
    assert cli(*TINY_NAMED).code == 0
    done = cli("evaluate", "here", "--checkpoint", "3", "phases.evaluate.data=validation")
    assert done.code == 0, done.err
    assert "validation/accuracy" in done.out


def test_a_place_that_nothing_tells_any_more_is_not_guessed(workdir: Path) -> None:
    """Without the progress, only manifests say at which step a checkpoint was saved."""
    keys = ("checkpoint.keys={net: model, opt: optimizer}", "checkpoint.every.steps=1")
    run(*TINY_NAMED, *keys)
    content = record(workdir / "here")
    (workdir / "here/run.json").write_text(json.dumps({**content, "status": "running"}))
    rows = (workdir / "here/metrics.jsonl").read_bytes()
    for manifest in (workdir / "here/checkpoints").glob("*.json"):
        manifest.unlink()
    with pytest.raises(CheckpointError, match="ckpt-3 has lost its manifest, and without the key"):
        run(*TINY_NAMED, *keys)
    assert (workdir / "here/metrics.jsonl").read_bytes() == rows


def test_a_run_that_starts_from_another_one_has_its_own_learning_rate(workdir: Path) -> None:
    first = run(*TINY_NAMED)
    start = (f"checkpoint.restore={first.checkpoints[-1]}", "engine.limit_steps=4")
    second = run(*start, "optimizer.learning_rate=0.5", "run.dir=second")
    reader = tf.train.load_checkpoint(str(second.checkpoints[-1]))
    (rate,) = (
        reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "learning_rate" in name and "VARIABLE_VALUE" in name
    )
    assert rate == 0.5


def test_keys_that_leave_out_part_of_the_state_are_told_once(
    workdir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*TINY_NAMED, "checkpoint.keys={net: model}")
    assert capfd.readouterr().err == (
        "checkpoint.keys leaves out optimizer, progress: a run that goes on from its checkpoints has "
        "not the optimizer's slots nor the metrics in progress, and it ends with "
        "other bits than one that was not interrupted\n"
    )


def test_a_damaged_checkpoint_is_told_with_its_reason(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    run(*TINY_NAMED, "checkpoint.every.steps=1")
    content = record(workdir / "here")
    (workdir / "here/run.json").write_text(json.dumps({**content, "status": "running"}))
    (workdir / "here/checkpoints/ckpt-3.index").write_bytes(b"")
    run(*TINY_NAMED, "checkpoint.every.steps=1")
    assert record(workdir / "here")["sittings"][-1]["set_aside"] == {
        "here/checkpoints/corrupt/ckpt-3": "ckpt-3.index has 0 bytes instead of "
        f"{Path('here/checkpoints/ckpt-2.index').stat().st_size}"
    }
    assert "ckpt-3 is damaged (ckpt-3.index has 0 bytes" in (workdir / "here/run.log").read_text()
    told = "    damaged, now here/checkpoints/corrupt/ckpt-3: ckpt-3.index has 0 bytes instead of"
    assert told in cli("show", "here").out


def test_a_sitting_that_has_lost_all_tells_what_was_set_aside(workdir: Path) -> None:
    run(*TINY_NAMED)
    content = record(workdir / "here")
    (workdir / "here/run.json").write_text(json.dumps({**content, "status": "running"}))
    (workdir / "here/checkpoints/ckpt-3.index").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of this run"):
        run(*TINY_NAMED)
    reasons = record(workdir / "here")["sittings"][-1]["set_aside"]
    assert reasons == {"here/checkpoints/corrupt/ckpt-3": "ckpt-3.index is missing"}


def test_a_save_that_fails_ends_the_sitting_and_loses_nothing(
    workdir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(*TINY, "checkpoint.every.steps=1", "run.dir=straight")
    _fail_saves(monkeypatch, at=(2,))
    with pytest.raises(CheckpointError) as told:
        run(*TINY_NAMED, "checkpoint.every.steps=1")
    text = str(told.value)
    assert text.startswith("here/checkpoints/ckpt-2 could not be saved: [Errno 28] No space left")
    assert "; a checkpoint takes 0.61 MB, and " in text
    assert " MB are free; make room or give the right to write there" in text
    again = run(*TINY_NAMED, "checkpoint.every.steps=1")
    assert _names(again) == _names(straight) == ["ckpt-1", "ckpt-2", "ckpt-3"]


def test_training_may_go_on_after_a_save_that_failed(
    workdir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = ("checkpoint.every.steps=1", "checkpoint.on_save_error=continue")
    _fail_saves(monkeypatch, at=(2,))
    done = run(*TINY_NAMED, *goes_on, "checkpoint.numbering=count")
    assert _names(done) == ["ckpt-1", "ckpt-3"]
    told = capfd.readouterr().err
    assert "ckpt-2 could not be saved: [Errno 28]" in told
    assert "training goes on (checkpoint.on_save_error=continue)" in told


def test_training_may_go_on_over_rows_that_could_not_be_written(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = ("checkpoint.every.steps=1", "tracking.log_every.steps=1")
    straight = run(*TINY, *goes_on, "run.dir=straight")
    real, numbers = Rows._write, iter(range(1, 100))

    def write(rows: Rows, path: Path) -> None:
        if next(numbers) in (1, 2, 3):
            raise UnwritableError(f"{path} cannot be written")
        real(rows, path)

    monkeypatch.setattr(Rows, "_write", write)
    with pytest.raises(UnwritableError):
        run(*TINY_NAMED, *goes_on)
    numbers = iter(range(1, 100))
    done = run(*TINY_NAMED, *goes_on, "checkpoint.on_save_error=continue")
    assert _names(done) == ["ckpt-2", "ckpt-3"]
    assert _rows(done.directory) == _rows(straight.directory)


def _rows(directory: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [{key: one[key] for key in one if key not in WALL_CLOCK} for one in rows]


def test_the_rows_of_the_last_phase_are_on_the_disk_when_the_run_is_done(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[str]] = []
    real = Rows.sync

    def sync(rows: Rows) -> None:
        real(rows)
        synced.append([row["split"] for row in rows.read()])

    monkeypatch.setattr(Rows, "sync", sync)
    run(*TINY_NAMED)
    assert synced[-1][-1] == "test"


def test_a_name_that_somebody_else_has_stops_the_run_at_once(workdir: Path) -> None:
    run(*TINY_NAMED, "checkpoint.directory=shared")
    goes_on = ("checkpoint.directory=shared", "checkpoint.on_save_error=continue")
    with pytest.raises(NameTakenError, match="ckpt-3 is there already, saved by run"):
        run(*TINY, *goes_on, "seed=1", "checkpoint.restore=none", "run.dir=other")


@pytest.mark.parametrize("goes_on", ["stop", "continue"])
def test_a_run_that_stops_says_that_it_saved_only_if_it_did(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, goes_on: str
) -> None:
    """Its last save was due anyway, and is at work when it is asked to stop."""
    steps = ("checkpoint.every.steps=1", f"checkpoint.on_save_error={goes_on}")
    _fail_saves(monkeypatch, at=(2,))
    monkeypatch.setattr(
        StopRequest, "reason", lambda stop, step: "SIGTERM" if _is_saving(2) else None
    )
    with pytest.raises(CheckpointError, match="ckpt-2 could not be saved"):
        run(*TINY_NAMED, *steps)
    assert record(workdir / "here")["status"] == "failed"


def _is_saving(step: int) -> bool:
    log = Path("here/run.log").read_text()
    return f"saved ckpt-{step - 1} at step {step - 1}" in log


def test_the_last_save_of_a_phase_has_to_succeed(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = ("checkpoint.every.steps=1", "checkpoint.on_save_error=continue")
    _fail_saves(monkeypatch, at=(3,))
    with pytest.raises(CheckpointError, match="ckpt-3 could not be saved"):
        run(*TINY_NAMED, *goes_on)
    assert record(workdir / "here")["status"] == "failed"
    assert _names(run(*TINY_NAMED, *goes_on)) == ["ckpt-1", "ckpt-2", "ckpt-3"]


def _fail_saves(monkeypatch: pytest.MonkeyPatch, *, at: tuple[int, ...]) -> None:
    """The disk is full at these saves, once."""
    real, numbers = Snapshots.take, iter(range(1, 100))

    def take(snapshots: Snapshots, path: Path) -> Callable[[], None]:
        is_full = next(numbers) in at
        write = real(snapshots, path)

        def written() -> None:
            if is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write()

        return written

    monkeypatch.setattr(Snapshots, "take", take)


def _names(result: Result) -> list[str]:
    return [path.name for path in result.checkpoints]


@pytest.mark.parametrize(
    ("writer", "file"),
    [
        ("runner.rundir.write_atomically", ".hydra"),
        ("runner.rundir.write_atomically", "run.json"),
        ("runner.rows.sync", "metrics.jsonl"),
    ],
)
def test_a_full_disk_is_told_with_the_file(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, writer: str, file: str
) -> None:
    def full(path: Path, *rest: Any) -> None:
        if file in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as while_full:
        while_full.setattr(writer, full)
        told = cli(*TINY_NAMED)
    assert told.code == 1
    assert told.err == (
        f"runner: here/{file} cannot be written: No space left on device; make room or give the right "
        "to write there; the same command goes on\n"
    )
    assert cli(*TINY_NAMED).code == 0


@pytest.fixture
def no_room() -> Iterator[Callable[[], None]]:
    """From when it is called, not a byte more fits into any file of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_full_disk_does_not_take_of_the_log_hides_no_error(
    tmp_path: Path, no_room: Callable[[], None]
) -> None:
    with pytest.raises(KeyError), quiet.logging_to(tmp_path / "run.log"):
        no_room()
        logging.getLogger("runner.somewhere").info("lost")
        raise KeyError


@pytest.mark.parametrize("place", ["/proc/nope", "file", "file/below"])
def test_a_run_directory_that_cannot_be_made_is_told(
    workdir: Path, cli: Callable[..., Any], place: str
) -> None:
    (workdir / "file").write_text("")
    done = cli(*TINY, f"run.dir={place}")
    assert done.code == 2
    assert done.err.startswith(f"runner: run.dir={place}: cannot be created (")


def test_a_whole_number_is_a_learning_rate_too(workdir: Path) -> None:
    assert run(*TINY_NAMED, "optimizer=sgd", "optimizer.learning_rate=1").step == 3
