"""`runner -m`: every trial a run of its own, a record of them all, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner import resume, run
from runner.api import launch_of
from runner.checkpoint.manifest import read_manifests
from runner.config.compose import compose
from runner.config.sweep import Mode
from runner.rundir import RunDirectory
from runner.sweep import driver
from runner.sweep.record import SweepRecord, Trial
from runner.sweep.show import for_terminal, sweep_table
from tests.conftest import REPOSITORY

TINY = ("model.hidden=[8]", "phases.train.until.epochs=1")
SWEEP = ("-m", *TINY, "seed=1,2", "data.batch_size=64,128")

BAD = """
import os, signal
from dataclasses import dataclass
from runner.callbacks import Callback

@dataclass(frozen=True, kw_only=True)
class Bad(Callback):
    how: str = "well"

    def after_row(self, values, memory):
        match self.how:
            case "crashes":
                os.kill(os.getpid(), signal.SIGKILL)
            case "leaves":
                os._exit(0)
            case "raises":
                raise RuntimeError("a bug")
        return None
"""


def record(workdir: Path) -> dict[str, Any]:
    """The content of the only sweep.json."""
    (path,) = (workdir / "outputs/sweeps").glob("*/sweep.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def statuses(workdir: Path) -> list[str]:
    return [trial["status"] for trial in record(workdir)["trials"]]


def test_a_sweep_has_a_run_for_every_combination(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli(*SWEEP)
    assert done.code == 0, done.err
    content = record(workdir)
    assert content["status"] == "finished"
    assert content["objectives"] == {"validation/accuracy": "max"}
    swept = [trial["overrides"][-2:] for trial in content["trials"]]
    assert swept == [
        [f"seed={seed}", f"data.batch_size={size}"] for seed in (1, 2) for size in (64, 128)
    ]
    values = {one["number"]: one["values"]["validation/accuracy"] for one in content["trials"]}
    assert [values[number] for number in content["best"]][:1] == [max(values.values())]
    rows = [line for line in done.out.splitlines() if "│ finished │" in line]
    order = [int(line.split("│")[0]) for line in rows]
    assert [values[number] for number in order] == sorted(values.values(), reverse=True)
    assert done.out.endswith("\n4 finished\n")


def searched(*keys: str) -> SweepRecord:
    """A finished search over some keys."""
    rates = [0.01234567, 0.12345678, 0.23456789]
    trials = [
        Trial(
            number=number,
            overrides=[f"{key}={rate}" for key in keys],
            status="finished",
            run=f"outputs/digits_search/57589886{number}d",
            seconds=1.5,
            values={"validation/accuracy": rate},
            metrics={"validation/accuracy": rate, "test/loss": rate, "test/accuracy": rate},
        )
        for number, rate in enumerate(rates)
    ]
    objectives: dict[str, Mode] = {"validation/accuracy": "max"}
    return SweepRecord(overrides=[], configs="", objectives=objectives, trials=trials)


KEYS = ("optimizer.learning_rate", "model.dropout", "optimizer.epsilon")


@pytest.mark.parametrize(
    ("columns", "is_terminal", "place"),
    [
        (80, True, ""),
        (120, True, ""),
        (200, True, "outputs/digits_search/"),
        (80, False, "outputs/digits_search/"),
    ],
)
def test_the_table_fits_and_leaves_runs_and_statuses_whole(
    workdir: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    is_terminal: bool,
    place: str,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if is_terminal else "")
    monkeypatch.setenv("COLUMNS", str(columns))
    for_terminal().sweep_ended(searched(*KEYS), workdir, changed=[])
    lines = capfd.readouterr().out.splitlines()
    rows = [line for line in lines if "finished │" in line]
    assert [row.split()[-1] for row in rows] == [
        f"{place}57589886{number}d" for number in (2, 1, 0)
    ]
    assert rows[0].count("0.2346") >= len(KEYS)
    assert not is_terminal or max(map(len, rows)) <= columns


def test_a_key_is_called_by_its_last_part_unless_another_one_ends_so() -> None:
    table = sweep_table(searched("optimizer.learning_rate", "data.split.seed", "seed"))
    assert [str(column.header) for column in table.columns][:4] == [
        *("trial", "learning_rate", "data.split.seed", "seed")
    ]


def test_a_trial_is_the_run_that_the_same_overrides_make_alone(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    assert cli("-m", *TINY, "seed=1,2", "sweep.jobs=2").code == 0
    trial = record(workdir)["trials"][0]
    assert run(*TINY, "seed=1").directory == Path(trial["run"])
    # In another process with another share of the cores, the same bits come out.
    command = [sys.executable, "-m", "runner", *TINY, "seed=1", "run.dir=alone"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    alone, swept = (
        [one.fingerprint for one in read_manifests(Path(place, "checkpoints"))]
        for place in ("alone", trial["run"])
    )
    assert alone == swept != []


def test_what_is_finished_is_not_run_again(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*TINY, "seed=1")
    done = cli("-m", *TINY, "seed=1,2")
    assert done.out.count("begins") == 1
    assert "finished before" in done.out
    first = record(workdir)["trials"]
    again = cli("-m", *TINY, "seed=1,2")
    assert again.out.count("begins") == 0
    assert [{**trial, "seconds": None} for trial in first] == record(workdir)["trials"]
    assert (done.code, again.code) == (0, 0)
    # Another sweep of the same trials knows them by their runs.
    assert cli("-m", *TINY, "seed=2,1").out.count("begins") == 0


def test_what_an_earlier_launch_finished_is_not_even_composed(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("-m", *TINY, "seed=1,2").code == 0

    def task(self: driver.Sweep, trial: Any) -> None:
        raise AssertionError("composed")

    monkeypatch.setattr(driver.Sweep, "task", task)
    assert cli("-m", *TINY, "seed=1,2", "sweep.jobs=1").out.count("finished before") == 2
    with pytest.raises(AssertionError, match="composed"):
        cli("-m", *TINY, "seed=1,3")


def test_a_changed_config_file_has_trials_composed_again(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    group = workdir / "conf" / "optimizer" / "mine.yaml"
    group.parent.mkdir(parents=True)
    group.write_text("_target_: keras.optimizers.SGD\nlearning_rate: 0.1\n")
    sweep = ("-m", *TINY, "seed=1,2", "optimizer=mine", "--config-dir", "conf")
    assert cli(*sweep).out.count("begins") == 2
    assert cli(*sweep).out.count("begins") == 0
    group.write_text("_target_: keras.optimizers.SGD\nlearning_rate: 0.2\n")
    assert cli(*sweep).out.count("begins") == 2


def test_a_directory_for_all_trials_is_that_of_one(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli("-m", *TINY, "seed=1,2", "run.dir=here", "sweep.jobs=2")
    assert done.code == 1
    assert statuses(workdir) == ["finished", "failed"]
    assert "run.dir=here: another trial is at work there; leave it out" in done.err


def test_a_trial_that_another_process_was_at_work_on_is_looked_at_again(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = driver.Sweep.ended
    with ExitStack() as stack:
        first = Path(launch_of(compose([*TINY, "seed=1"]), []).experiment.run.dir)
        first.mkdir(parents=True)
        stack.enter_context(RunDirectory(first).locked())
        how = []

        def watched(sweep: driver.Sweep, task: Any, lost: str | None) -> None:
            ended(sweep, task, lost)
            how.append(sweep.record.trial(task.number).status)
            stack.close()

        monkeypatch.setattr(driver.Sweep, "ended", watched)
        done = cli("-m", *TINY, "seed=1,2", "sweep.jobs=1")
    assert how == ["elsewhere", "finished", "finished"]
    assert (done.code, statuses(workdir)) == (0, ["finished", "finished"])


def test_a_trial_that_another_process_stays_at_work_on_is_told(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(driver, "_GRACE_S", 0.6)
    begin = driver.Sweep.begin

    def by_the_clock(sweep: driver.Sweep) -> None:
        sweep.clock, sweep.sleep = lambda: sum(slept), slept.append
        begin(sweep)

    monkeypatch.setattr(driver.Sweep, "begin", by_the_clock)
    first = Path(launch_of(compose([*TINY, "seed=1"]), []).experiment.run.dir)
    first.mkdir(parents=True)
    with RunDirectory(first).locked():
        done = cli("-m", *TINY, "seed=1,2")
    assert (done.code, statuses(workdir)) == (1, ["elsewhere", "finished"])
    assert "is being worked on by process" in done.err
    assert len(slept) in (3, 4)


def test_what_no_phase_measures_is_no_objective(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli("-m", *TINY, "seed=1,2", "sweep.metric=test/los", "sweep.mode=min")
    assert done.code == 2
    assert "sweep.metric=test/los: no phase measures it; did you mean test/loss?" in done.err
    assert statuses(workdir) == ["failed", "failed"]
    one = ("sweep.metric=test/loss", "sweep.mode=min")
    done = cli("-m", *TINY, *one, "phases=train,train_evaluate")
    assert done.out.endswith("\n1 finished, 1 failed\n")


@pytest.mark.parametrize("flags", [("--cfg", "job", "-m"), ("-m", "--cfg", "job", "sweep=optuna")])
def test_flags_that_exclude_one_another(flags: tuple[str, ...], cli: Callable[..., Any]) -> None:
    done = cli(*flags, "seed=1,2")
    assert done.code == 2
    assert done.err.startswith("runner: give one of -m, --cfg, --info")


def test_a_wrong_value_in_one_trial_fails_that_one(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli("-m", *TINY, "seed=1,-2,3")
    assert done.code == 1
    assert statuses(workdir) == ["finished", "failed", "finished"]
    assert done.err == "runner: trial 1 failed: seed=-2: give a number from 0 to 2147483647\n"


def test_what_is_wrong_for_all_is_told_before_anything_is_run(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    done = cli("-m", *TINY, "seed=1,2", "sweep.job=2")
    assert done.code == 2
    assert "sweep.job=2: no such key; did you mean jobs?" in done.err
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "seed=interval(1,3)",
            "an interval is searched, with sweep=optuna; without it, give a range or a choice",
        ),
        ("seed=range(3,1)", "there is no value in it"),
    ],
)
def test_what_cannot_be_gone_through_is_told_with_its_override(
    workdir: Path, cli: Callable[..., Any], override: str, reason: str
) -> None:
    done = cli("-m", *TINY, "data.batch_size=64,128", override)
    assert (done.code, done.out, done.err) == (2, "", f"runner: {override}: {reason}\n")
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crashes", "was killed by SIGKILL, as the system does when memory runs out"),
        ("raises", "RuntimeError: a bug"),
        ("leaves", "left no result"),
    ],
)
def test_a_trial_that_fails_touches_no_other(
    workdir: Path,
    cli: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reason: str,
) -> None:
    (workdir / "bad.py").write_text(BAD)
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    callback = f"+callbacks.bad={{_target_: bad.Bad, how: {how}}},null"
    sweep = ("--allow", "bad.Bad", "-m", *TINY, "seed=1", callback)
    done = cli(*sweep)
    assert done.code == 1
    assert statuses(workdir) == ["failed", "finished"]
    assert f"runner: trial 0 failed: {reason}" in done.err
    directory = RunDirectory(Path(record(workdir)["trials"][0]["run"]))
    told = directory.read()
    assert told is not None
    assert (told.status, told.sittings[-1].outcome) == ("failed", reason)
    # It is not tried again unless that is asked for.
    again = cli(*sweep)
    assert again.out.count("begins") == 0
    assert "failed before; sweep.retry_failed=true tries it again" in again.err
    (workdir / "bad.py").write_text(BAD.replace("match self.how", "match 'well'"))
    assert cli(*sweep, "sweep.retry_failed=true").code == 0
    assert statuses(workdir) == ["finished", "finished"]


def test_trials_that_are_one_run_are_run_once(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli("-m", *TINY, "checkpoint.max_to_keep=1,2")
    assert done.code == 0, done.err
    assert done.out.count("begins") == 1
    first, second = record(workdir)["trials"]
    assert first["run"] == second["run"]
    assert first["values"] == second["values"] != {}


def test_a_sweep_takes_no_other_runs_for_its_trials(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*TINY, "seed=1", "run.dir=here")
    done = cli("-m", *TINY, "seed=2", "run.dir=here")
    assert done.code == 1
    assert "holds run" in done.err
    resume("here", "optimizer.learning_rate=0.1", "phases.train.until.epochs=2")
    done = cli("-m", *TINY, "seed=1", "run.dir=here")
    assert done.code == 1
    assert "resumed since with" in done.err


def test_a_sweep_can_start_over(workdir: Path, cli: Callable[..., Any]) -> None:
    sweep = ("-m", *TINY, "seed=1")
    assert cli(*sweep).out.startswith("sweep of 1 trial: ")
    assert cli(*sweep, "run.fresh=true").out.count("begins") == 1
    assert len(list((workdir / "outputs/digits_mlp").glob("*.1"))) == 1


SECRET = """
import keras

def make(note: str, shape: list[int] = None, outputs: int = 10) -> keras.Model:
    raise RuntimeError(f"cannot use {note!r}")
"""


def test_a_trial_that_fails_keeps_the_environment_to_itself(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "tell\nnobody")
    (workdir / "noted.py").write_text(SECRET)
    monkeypatch.syspath_prepend(workdir)
    asked = ("model=own", "model._target_=noted.make", "+model.note=${oc.env:TOKEN}", "seed=1")
    done = cli("--allow", "noted.make", "-m", *asked)
    assert done.code == 1
    assert "cannot use" in done.err
    told = [done.out, done.err, *(path.read_text() for path in files(workdir))]
    assert not [text for text in told if "nobody" in text]


def files(workdir: Path) -> list[Path]:
    """All that a sweep and its runs wrote."""
    return [path for path in workdir.glob("outputs/**/*") if path.is_file()]


def test_a_trial_has_its_own_dtype_policy(workdir: Path, cli: Callable[..., Any]) -> None:
    policies = "engine.dtype_policy=mixed_bfloat16,float32"
    assert cli("-m", *TINY, policies, "sweep.jobs=1").code == 0
    runs = [Path(trial["run"]) for trial in record(workdir)["trials"]]
    told = [json.loads((run / "run.json").read_text())["numerics"] for run in runs]
    assert [one["dtype_policy"] for one in told] == ["mixed_bfloat16", "float32"]
    alone = run(*TINY, "engine.dtype_policy=float32", "run.dir=alone")
    manifests = [read_manifests(place / "checkpoints") for place in (runs[1], alone.directory)]
    assert manifests[0][-1].fingerprint == manifests[1][-1].fingerprint


def test_a_sweep_that_is_interrupted_goes_on(workdir: Path) -> None:
    long = ("-m", "model.hidden=[8]", "seed=1,2,3", "phases.train.until.epochs=100000")
    sweep = start(workdir, *long, "sweep.jobs=2", "tracking.log_every.steps=1")
    wait_for_rows(workdir, sweep, num_runs=2)
    os.killpg(sweep.pid, signal.SIGINT)  # As a terminal does: to everybody.
    out, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 75
    assert "SIGINT: stops after saving" in out
    assert out.endswith("2 stopped, 1 waiting; the same command goes on\n")
    assert statuses(workdir) == ["stopped", "stopped", "waiting"]
    assert no_trial_is_left(workdir)
    again = start(workdir, *long, "sweep.jobs=2", "run.max_time=0s")
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 75
    text = (next((workdir / "outputs/sweeps").iterdir()) / "trial-0.log").read_text()
    assert "goes on from" in text


def test_a_sweep_that_is_killed_is_readable_and_leaves_no_process(workdir: Path) -> None:
    sweep = start(workdir, "-m", "seed=1,2", "phases.train.until.epochs=100000", "sweep.jobs=2")
    wait_for_rows(workdir, sweep, num_runs=2)
    sweep.kill()
    sweep.communicate(timeout=60)  # The pipe ends with the last process that has it.
    assert statuses(workdir) == ["running", "running"]
    assert no_trial_is_left(workdir)


def start(workdir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "runner", *arguments],
        cwd=workdir,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A job in the background ignores it, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for_rows(workdir: Path, sweep: subprocess.Popen[str], *, num_runs: int) -> None:
    """Until so many runs have written rows."""
    while (
        len([one for one in workdir.glob("outputs/*/*/metrics.jsonl") if one.stat().st_size])
        < num_runs
    ):
        assert sweep.poll() is None


def no_trial_is_left(workdir: Path) -> bool:
    """Whether no process holds a run any more."""
    runs = [path.parent for path in workdir.glob("outputs/*/*/run.json")]
    return bool(runs) and not any(RunDirectory(run).is_locked() for run in runs)
