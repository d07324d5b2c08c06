"""Sweeps on real clusters: what is killed is gone on with, and the bits are those of one machine."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.lock.owner import Owner
from runner.record import RunRecord
from runner.rundir import RunDirectory
from tests.chaos.oracle import check_same_result, result_of
from tests.cluster.nodes import Cluster, Node, wait_for
from tests.cluster.slurm import ask
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# What depends on the machine's speed is given: bits depend on it.
PINNED = ("model.hidden=[8]", "engine.threads=1", "engine.compile=graph")
SWEEP = (*PINNED, "seed=range(12)", "phases.train.until.epochs=400")
EPOCHS = "phases.train.until.epochs=3000"
LONG = (*PINNED, "seed=1,2", EPOCHS)
"""Longer than it takes to see that a trial is at work, and to tell it so."""


@dataclass
class Sweep:
    """One launch of a sweep."""

    process: subprocess.Popen[bytes]
    directory: Path
    log: Path

    def end(self) -> tuple[int, str]:
        """The exit code and what was printed."""
        return self.process.wait(), self.log.read_text()

    def at_work(self) -> dict[int, Path]:
        """The runs that have a checkpoint and are being worked on, by the process that does so."""
        owners = {}
        for path in self.directory.glob("outputs/digits_mlp/*/.lock.*"):
            owner = Owner.read(path.read_bytes()) if path.exists() else None
            is_alive = owner is not None and owner.is_alive()
            if is_alive and (path.parent / "checkpoints/checkpoint").exists():
                owners[owner.pid] = path.parent
        return owners

    def at_work_on(self, node: Node) -> dict[int, Path]:
        """Those of them on a node."""
        processes = node.processes()
        return {pid: run for pid, run in self.at_work().items() if pid in processes}


@dataclass
class Launches:
    """Starts sweeps, none of which outlives the test."""

    directory: Path
    started: list[Sweep] = field(default_factory=list)

    def __call__(
        self, *arguments: str, launcher: str, environment: dict[str, str] | None = None
    ) -> Sweep:
        log = self.directory / f"launch-{len(self.started)}.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "runner", "-m", f"hydra/launcher={launcher}", *arguments],
                cwd=self.directory,
                env={**(environment or os.environ), "PYTHONPATH": str(REPOSITORY)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # A group of its own, as what a terminal starts.
            )
        self.started.append(Sweep(process, self.directory, log))
        return self.started[-1]


@pytest.fixture
def launch(workdir: Path) -> Any:
    launches = Launches(workdir)
    # Ignored in these tests, as where they run in the background, it would be in what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield launches
    signal.signal(signal.SIGINT, before)
    for sweep in launches.started:
        sweep.process.kill()
        sweep.process.wait()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Where a sweep was worked through on this machine, with nothing that happened to it."""
    known: dict[tuple[str, ...], Path] = {}

    def directory(*arguments: str) -> Path:
        if arguments not in known:
            known[arguments] = tmp_path_factory.mktemp("alone")
            done = Launches(known[arguments])(*arguments, launcher="isolated").end()
            assert done[0] == 0, done[1]
        return known[arguments]

    return directory


def check_same(directory: Path, alone: Path) -> None:
    """Every run has come to the same result, to the last bit."""
    runs = sorted(path.parent.name for path in alone.glob("outputs/digits_mlp/*/run.json"))
    assert sorted(p.parent.name for p in directory.glob("outputs/digits_mlp/*/run.json")) == runs
    for run in runs:
        found, straight = (place / "outputs/digits_mlp" / run for place in (directory, alone))
        check_same_result(result_of(found), result_of(straight))


def record_of(run: Path) -> RunRecord:
    record = RunDirectory(run).read()
    assert record is not None
    return record


def test_trials_that_are_killed_go_on_on_the_other_node(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    sweep = launch(*SWEEP, launcher=cluster.launcher, environment=dict(cluster.environment))
    one, two = cluster.nodes["one"], cluster.nodes["two"]
    pid, run = wait_for(lambda: [*sweep.at_work_on(one).items()], while_lives=sweep.process)[0]
    os.kill(pid, signal.SIGKILL)
    lost = wait_for(lambda: [*sweep.at_work_on(two).values()], while_lives=sweep.process)[0]
    two.kill()
    code, printed = sweep.end()
    assert code == 0, printed
    assert "\n12 finished\n" in printed
    for killed in (run, lost):
        first, second = record_of(killed).sittings
        assert (first.ended, second.outcome) == (None, "finished")
        assert second.from_step is not None and second.from_step > 0
    check_same(workdir, alone(*SWEEP))


def test_a_signal_has_all_save_and_the_same_command_goes_on(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    sweep = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    wait_for(lambda: len(sweep.at_work()) == 2, while_lives=sweep.process)
    sweep.process.terminate()
    code, printed = sweep.end()
    assert code == 75, printed
    assert "2 stopped; the same command goes on" in printed
    assert not sweep.at_work()
    again = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    code, printed = again.end()
    assert code == 0, printed
    check_same(workdir, alone(*LONG))
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        first, second = record_of(path.parent).sittings
        assert first.to_step == second.from_step


def test_the_same_command_goes_on_when_who_launched_it_was_killed(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    sweep = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    wait_for(lambda: len(sweep.at_work()) == 2, while_lives=sweep.process)
    sweep.process.kill()
    sweep.end()
    # Ray ends what has nobody who asks for it; Slurm goes on.
    wait_for(lambda: not sweep.at_work(), while_lives=cluster.nodes["one"])
    code, printed = launch(
        *LONG, launcher=cluster.launcher, environment=dict(cluster.environment)
    ).end()
    assert code == 0, printed
    check_same(workdir, alone(*LONG))


def test_two_launchers_never_run_a_trial_at_the_same_time(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    sweep = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    wait_for(lambda: len(sweep.at_work()) == 2, while_lives=sweep.process)
    at_work = list(sweep.at_work())
    for pid in at_work:
        os.kill(pid, signal.SIGSTOP)  # They do not end before the others have looked.
    same = launch(*LONG, launcher="isolated")
    other_order = (*PINNED, "seed=2,1", EPOCHS)
    other = launch(*other_order, launcher="isolated")
    code, printed = same.end()
    assert (code, "is being worked on by process" in printed) == (1, True), printed
    code, printed = other.end()
    assert code == 1, printed
    assert printed.count("elsewhere: ") == 2 and "\n2 elsewhere\n" in printed
    for pid in at_work:
        os.kill(pid, signal.SIGCONT)
    code, printed = sweep.end()
    assert code == 0, printed
    # Who asked in vain has changed nothing, and now gets the result.
    assert "2 finished" in launch(*other_order, launcher="isolated").end()[1]
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        assert len(record_of(path.parent).sittings) == 1
    check_same(workdir, alone(*LONG))


def test_two_launchers_may_be_given_the_same_trials_at_once(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    first = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    other_order = (*PINNED, "seed=2,1", EPOCHS)
    second = launch(*other_order, launcher="submitit_local")
    for code, printed in (first.end(), second.end()):
        (summary,) = re.findall(r"^\d+ \w+(?:, \d+ \w+)*$", printed, re.MULTILINE)
        told = set(re.findall(r"[a-z]+", summary))
        assert told <= {"finished", "elsewhere"}, printed
        assert code == int("elsewhere" in told), printed
    code, printed = launch(*LONG, launcher="isolated").end()
    assert code == 0, printed
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        assert len(record_of(path.parent).sittings) == 1
    check_same(workdir, alone(*LONG))


def test_a_search_stops_what_others_are_better_than(
    workdir: Path, launch: Launches, cluster: Cluster
) -> None:
    rates = ("optimizer.learning_rate=choice(0.01,1e-9)", "sweep.sampler=grid", "sweep.jobs=1")
    prune = ("sweep.pruner=median", "+sweep.pruner_options.n_startup_trials=1")
    asked = (*PINNED, EPOCHS, *rates, *prune)
    code, printed = launch(
        *asked,
        *("sweep=optuna", "sweep.n_trials=null"),
        launcher=cluster.launcher,
        environment=dict(cluster.environment),
    ).end()
    assert code == 0, printed
    assert "\n1 finished, 1 pruned\n" in printed, printed
    (path,) = workdir.glob("outputs/sweeps/*/sweep.json")
    finished, pruned = json.loads(path.read_text())["trials"]
    (sitting,) = record_of(Path(pruned["run"])).sittings
    assert sitting.to_step is not None and 0 < sitting.to_step < 58_500
    again = subprocess.run(
        [sys.executable, "-m", "runner", "reproduce", finished["run"]],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout + again.stderr


NEEDY = """
import os
import signal
import keras

def make(outputs: int, note: str = "known") -> keras.Model:
    if note == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if not note.startswith("known"):
        raise RuntimeError(f"cannot use {note!r}")
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(outputs)])
"""
OWN = ("--allow", "needy.make", "model=own", "model._target_=needy.make", "+model.outputs=10")
SHORT = ("engine.threads=1", "engine.compile=graph", "phases.train.until.epochs=1")


def test_what_a_trial_needs_comes_along(workdir: Path, launch: Launches, cluster: Cluster) -> None:
    (workdir / "needy.py").write_text(NEEDY)
    size = 'data.batch_size="${oc.decode:${oc.env:RUNNER_TEST_SIZE}}"'
    asked = (*OWN, *SHORT, "+model.note=${oc.env:RUNNER_TEST_NOTE},other", size)
    note = f"known-{secrets.token_hex()}"
    environment = {**cluster.environment, "RUNNER_TEST_NOTE": note, "RUNNER_TEST_SIZE": "128"}
    code, printed = launch(*asked, launcher=cluster.launcher, environment=environment).end()
    assert code == 1, printed
    assert "\n1 finished, 1 failed\n" in printed, printed
    assert "trial 1 failed: model=needy.make: RuntimeError: cannot use 'other'" in printed
    places = [workdir / "outputs"]
    if cluster.launcher == "ray":  # Slurm itself keeps the environment of what it was given.
        places.append(cluster.nodes["one"].log.parent)
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert [path for path in files if note.encode() in path.read_bytes()] == []


def test_a_trial_that_is_lost_again_and_again_fails_alone(
    workdir: Path, launch: Launches, cluster: Cluster
) -> None:
    (workdir / "needy.py").write_text(NEEDY)
    place = {"ray": "hydra.launcher.ray.remote", "submitit_slurm": "hydra.launcher"}
    once = f"{place[cluster.launcher]}.max_retries=1"
    asked = (*OWN, *SHORT, "+model.note=dies,known", once)
    code, printed = launch(
        *asked, launcher=cluster.launcher, environment=dict(cluster.environment)
    ).end()
    assert code == 1, printed
    assert "\n1 finished, 1 failed\n" in printed, printed
    (path,) = workdir.glob("outputs/sweeps/*/sweep.json")
    failed, finished = json.loads(path.read_text())["trials"]
    assert (failed["status"], finished["status"]) == ("failed", "finished")
    assert len(record_of(Path(failed["run"])).sittings) == 2


@pytest.mark.parametrize("cluster", ["slurm"], indirect=True)
def test_a_trial_whose_time_is_over_goes_on_in_its_next_turn(
    workdir: Path, launch: Launches, cluster: Cluster, alone: Callable[..., Path]
) -> None:
    sweep = launch(*LONG, launcher=cluster.launcher, environment=dict(cluster.environment))
    wait_for(lambda: len(sweep.at_work()) == 2, while_lives=sweep.process)
    jobs = ask(cluster, "squeue", "--noheader", "--array", "--format=%i").split()
    for job in jobs:
        ask(cluster, "scancel", "--signal=USR2", job)  # As Slurm does before the time is over.
    code, printed = sweep.end()
    assert code == 0, printed
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        first, second = record_of(path.parent).sittings
        assert first.to_step == second.from_step
    check_same(workdir, alone(*LONG))


def test_submitit_works_on_this_machine_too(
    workdir: Path, launch: Launches, alone: Callable[..., Path]
) -> None:
    code, printed = launch(*LONG, launcher="submitit_local").end()
    assert code == 0, printed
    check_same(workdir, alone(*LONG))


def test_ctrl_c_has_trials_on_this_machine_save(
    workdir: Path, launch: Launches, alone: Callable[..., Path]
) -> None:
    sweep = launch(*LONG, "sweep.jobs=2", launcher="submitit_local")
    wait_for(lambda: len(sweep.at_work()) == 2, while_lives=sweep.process)
    os.killpg(sweep.process.pid, signal.SIGINT)
    code, printed = sweep.end()
    assert code == 75, printed
    assert "2 stopped; the same command goes on" in printed
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        (sitting,) = record_of(path.parent).sittings
        assert str(sitting.outcome).startswith("SIGTERM: "), sitting
    code, printed = launch(*LONG, launcher="submitit_local").end()
    assert code == 0, printed
    for path in workdir.glob("outputs/digits_mlp/*/run.json"):
        first, second = record_of(path.parent).sittings
        assert first.to_step == second.from_step
    check_same(workdir, alone(*LONG))


@pytest.mark.parametrize(
    ("launcher", "setting", "told"),
    [
        ("ray", "hydra.launcher.ray.init.address=127.0.0.2:1", "no cluster at 127.0.0.2:1: "),
        ("submitit_slurm", "hydra.launcher.partition=none", "sbatch: "),
    ],
)
def test_a_cluster_that_is_not_there_is_told_in_one_line(
    workdir: Path, launch: Launches, launcher: str, setting: str, told: str
) -> None:
    environment = {**os.environ, "SLURM_CONF": "none"}
    asked = (*SHORT, "seed=1,2", setting)
    code, printed = launch(*asked, launcher=launcher, environment=environment).end()
    assert code == 1
    assert printed.splitlines()[-1].startswith(f"runner: hydra/launcher={launcher}: {told}")
    assert "Traceback" not in printed
