"""What launchers for clusters have in common; on clusters they are tried by `make test-cluster`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cloudpickle
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer
from rich.console import Console

from runner import session
from runner.config.hydra import job_part, keep_environment, register_resolvers
from runner.errors import UserError
from runner.record import RunRecord, Sitting
from runner.report.console import Plain
from runner.rundir import RunDirectory
from runner.sweep import plugins
from runner.sweep.cluster import CANCELLED, Cluster, Handed, Over, _AtWork, _beginning
from runner.sweep.trial import Failure, Task, telling_failures
from tests.conftest import REPOSITORY

TINY = ("model.hidden=[8]", "phases.train.until.epochs=1")


class InTurn(Cluster[int]):
    """Does at once what it is given, and loses what it is told to."""

    NAME = "submitit_local"
    NEEDS = "hydra-core"
    EXTRA = "none"
    DEFAULTS: ClassVar[dict[str, Any]] = {}
    begun: ClassVar[list[list[int]]]
    cancelled: ClassVar[list[int]]
    lost: ClassVar[set[int]]
    on_begin: ClassVar[Callable[[], None]]

    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[int]:
        self.begun.append([task.number for task in tasks])
        self.told: dict[int, Failure] = {}
        for task in tasks:
            if task.number not in self.lost:
                with telling_failures(lambda told, n=task.number: self.told.update({n: told})):
                    session.run(task.launch, Plain(Console(quiet=True)))
        type(self).on_begin()
        return [task.number for task in tasks]

    def wait(self, handles: Sequence[int]) -> Sequence[Over[int]]:
        lost = dict.fromkeys(self.lost, "its node failed")
        one = handles[0]
        return [Over(handle=one, failure=self.told.get(one), lost=lost.get(one))]

    def cancel(self, handles: Sequence[int]) -> None:
        self.cancelled.extend(handles)


class AtWork(InTurn):
    """Its trials are at work until they are waited for, one after the other."""

    refuses: ClassVar[set[int]]

    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[int]:
        if {task.number for task in tasks} & self.refuses:
            raise UserError("the queue is full")
        self.begun.append([task.number for task in tasks])
        self.tasks = {**getattr(self, "tasks", {}), **{task.number: task for task in tasks}}
        type(self).on_begin()
        return [task.number for task in tasks]

    def wait(self, handles: Sequence[int]) -> Sequence[Over[int]]:
        one = handles[0]
        if one in self.cancelled:
            return [Over(handle=one, lost=CANCELLED)]
        session.run(self.tasks[one].launch, Plain(Console(quiet=True)))
        return [Over(handle=one)]


class Slow(AtWork):
    """Its trials have measured all when they are first waited for, and are over the next time."""

    def wait(self, handles: Sequence[int]) -> Sequence[Over[int]]:
        one = handles[0]
        task = self.tasks.pop(one, None)
        if task is not None:
            session.run(task.launch, Plain(Console(quiet=True)))
            return []
        failure = Failure(status="stopped", reason="SIGTERM") if one in self.cancelled else None
        return [Over(handle=one, failure=failure)]


class Twice(InTurn):
    """Runs a trial as a cluster does, and once more, as where it was lost at its very end."""

    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[int]:
        self.told = {}
        for task in tasks:
            config = self._context.config_loader.load_sweep_config(self._config, task.overrides)
            with open_dict(config):
                config.hydra.job.num = task.number
            for _ in range(2):
                HydraConfig.instance().set_config(config)
                assert job(job_part(config)) is None
        return [task.number for task in tasks]


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch, in_turn: type[InTurn]) -> type[AtWork]:
    monkeypatch.setattr(plugins, "Local", AtWork)
    AtWork.refuses, AtWork.on_begin = set(), staticmethod(lambda: None)
    return AtWork


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> type[InTurn]:
    monkeypatch.setattr(plugins, "Local", InTurn)
    InTurn.begun, InTurn.cancelled, InTurn.lost = [], [], set()
    InTurn.on_begin = staticmethod(lambda: None)
    return InTurn


def statuses(workdir: Path) -> list[str]:
    (path,) = workdir.glob("outputs/sweeps/*/sweep.json")
    return [trial["status"] for trial in json.loads(path.read_text())["trials"]]


SWEEP = ("-m", *TINY, "seed=1,2,3", "hydra/launcher=submitit_local")


def test_all_trials_are_given_at_once_unless_jobs_says_how_many(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    assert cli(*SWEEP).code == 0
    assert in_turn.begun == [[0, 1, 2]]
    assert cli(*SWEEP, "sweep.jobs=2", "run.fresh=true").code == 0
    assert in_turn.begun[1:] == [[0, 1], [2]]
    assert cli(*SWEEP).out.count("finished before") == 3
    assert len(in_turn.begun) == 3


def test_a_trial_that_is_lost_fails_alone(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    in_turn.lost = {1}
    done = cli(*SWEEP)
    assert done.code == 1
    assert "trial 1 failed: its node failed" in done.err
    assert statuses(workdir) == ["finished", "failed", "finished"]


def test_why_a_trial_failed_comes_back(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    done = cli(*SWEEP[:-2], "data.split.test=0.1,0.97", SWEEP[-1])
    assert done.code == 1
    assert statuses(workdir) == ["finished", "failed"]
    assert "trial 1 failed: data.split" in done.err


def test_a_signal_cancels_what_is_at_work_and_begins_no_more(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        in_turn.on_begin = staticmethod(lambda: signal.raise_signal(signal.SIGTERM))
        done = cli(*SWEEP, "sweep.jobs=1")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.code == 75
    assert (in_turn.begun, in_turn.cancelled) == ([[0]], [0])
    assert statuses(workdir) == ["finished", "waiting", "waiting"]


def test_a_trial_that_was_cancelled_at_work_has_stopped(
    workdir: Path, cli: Callable[..., Any], at_work: type[AtWork]
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        at_work.on_begin = staticmethod(lambda: signal.raise_signal(signal.SIGTERM))
        done = cli(*SWEEP, "sweep.jobs=2")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.code == 75
    assert (at_work.begun, at_work.cancelled) == ([[0, 1]], [0, 1])
    assert statuses(workdir) == ["stopped", "stopped", "waiting"]


def test_a_trial_that_the_cluster_refuses_fails_alone(
    workdir: Path, cli: Callable[..., Any], at_work: type[AtWork]
) -> None:
    at_work.refuses = {2}
    done = cli(*SWEEP, "sweep.jobs=2")
    assert done.code == 1
    assert "trial 2 failed: the queue is full" in done.err
    assert (at_work.begun, at_work.cancelled) == ([[0, 1]], [])
    assert statuses(workdir) == ["finished", "finished", "failed"]


def test_a_cluster_that_refuses_all_is_told_at_once(
    workdir: Path, cli: Callable[..., Any], at_work: type[AtWork]
) -> None:
    at_work.refuses = {0}
    done = cli(*SWEEP)
    assert (done.code, done.err.splitlines()[-1]) == (1, "runner: the queue is full")


def test_a_trial_that_is_run_again_goes_on_with_its_fresh_run(
    workdir: Path,
    cli: Callable[..., Any],
    in_turn: type[InTurn],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli(*SWEEP).code == 0
    monkeypatch.setattr(plugins, "Local", Twice)
    monkeypatch.setattr("runner.sweep.cluster.print_to", lambda log: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    runs = sorted(path.parent.name for path in workdir.glob("outputs/digits_mlp/*/run.json"))
    assert cli(*SWEEP, "run.fresh=true").code == 0
    found = sorted(path.parent.name for path in workdir.glob("outputs/digits_mlp/*/run.json"))
    assert found == sorted([*runs, *(f"{run}.1" for run in runs)])


def test_a_fresh_run_has_begun_once_its_state_is_there(tmp_path: Path) -> None:
    sitting = Sitting(started="now", host="here", pid=1, command=[])
    directory, record = RunDirectory(tmp_path), RunRecord(id="1", name="one", sittings=[sitting])
    with directory.locked():
        directory.write(record)
        assert _beginning(str(tmp_path)) is None
        sitting.from_step = 0
        directory.write(record)
        assert _beginning(str(tmp_path)) == ("now", "here", 1)


def test_what_a_cluster_cannot_do_is_refused(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    done = cli(*SWEEP, "sweep.trial_timeout=30m")
    assert done.code == 2
    assert done.err.startswith("runner: sweep.trial_timeout=30m: only hydra/launcher=isolated")


def test_a_search_says_how_wide_it_is_on_a_cluster(
    workdir: Path, cli: Callable[..., Any], in_turn: type[InTurn]
) -> None:
    search = ("-m", *TINY, "sweep=optuna", "sweep.n_trials=2", "seed=range(1,9)", SWEEP[-1])
    done = cli(*search)
    assert (done.code, in_turn.begun) == (2, [])
    assert done.err.startswith("runner: sweep.jobs=null: a search follows from how trials end")
    assert cli(*search, "sweep.jobs=2").code == 0
    assert in_turn.begun == [[0, 1]]


def test_a_trial_on_a_cluster_is_pruned_by_its_rows(
    workdir: Path,
    cli: Callable[..., Any],
    at_work: type[AtWork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "Local", Slow)
    grid = ("optimizer.learning_rate=choice(0.01,1e-9)", "sweep.sampler=grid", "sweep.jobs=1")
    prune = ("sweep.pruner=median", "+sweep.pruner_options.n_startup_trials=1")
    done = cli("-m", *TINY, "sweep=optuna", *grid, *prune, "sweep.n_trials=null", SWEEP[-1])
    assert (done.code, done.err) == (0, "")
    assert (at_work.begun, at_work.cancelled) == ([[0], [1]], [1])
    assert statuses(workdir) == ["finished", "pruned"]


def test_rows_of_another_run_in_its_place_are_not_those_of_the_trial(tmp_path: Path) -> None:
    directory, told = RunDirectory(tmp_path), list[Any]()
    sweep: Any = SimpleNamespace(told=lambda task, row: told.append(row.content["step"]))

    def begin(started: str, *steps: int, id: str = "1") -> None:
        sitting = Sitting(started=started, host="here", pid=1, command=[], from_step=0)
        with directory.locked():
            directory.write(RunRecord(id=id, name="one", sittings=[sitting]))
        directory.rows.write_text("".join(f'{{"step": {step}}}\n' for step in steps))

    begin("yesterday", 10, 20)
    run = SimpleNamespace(dir=str(tmp_path), fresh=True)
    launch = SimpleNamespace(experiment=SimpleNamespace(run=run), id="1")
    task: Any = SimpleNamespace(launch=launch)
    trial = _AtWork(task, _beginning(run.dir))
    assert (trial.tell(sweep), told) == (False, [])
    begin("today", 30, id="2")
    assert (trial.tell(sweep), told) == (False, [])
    begin("today", 10)
    assert (trial.tell(sweep), told) == (False, [10])


@pytest.mark.parametrize("setting", ["nodes=2", "tasks_per_node=2"])
def test_a_trial_of_several_processes_is_refused(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(plugins.Local, "NEEDS", "hydra-core")
    done = cli("-m", *TINY, "seed=1,2", SWEEP[-1], f"hydra.launcher.{setting}")
    expected = f"runner: hydra.launcher.{setting}: a trial is one process; give 1\n"
    assert (done.code, done.err) == (2, expected)


@pytest.mark.parametrize(
    ("name", "extra", "needs"),
    [
        ("ray", "ray", "hydra-ray-launcher"),
        ("submitit_slurm", "submitit", "hydra-submitit-launcher"),
        ("submitit_local", "submitit", "hydra-submitit-launcher"),
    ],
)
def test_a_launcher_that_is_not_installed_says_how_to_get_it(
    workdir: Path, cli: Callable[..., Any], name: str, extra: str, needs: str
) -> None:
    if any(metadata.distributions(name=needs)):
        pytest.skip(f"{needs} is installed")
    done = cli("-m", *TINY, "seed=1,2", f"hydra/launcher={name}")
    assert (done.code, done.err) == (
        2,
        f"runner: hydra/launcher={name}: the package {needs} is not installed; "
        f"pip install 'tf-runner[{extra}]'\n",
    )


def test_what_was_read_of_the_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_TEST_NOTE", "battery-staple")
    register_resolvers()
    config = OmegaConf.create({"note": "${oc.env:RUNNER_TEST_NOTE}"})
    assert config.note == "battery-staple"
    try:
        keep_environment()
        pickled = cloudpickle.dumps(BaseContainer._resolvers["oc.env"]).hex()
    finally:
        register_resolvers()
    script = (
        "import pickle, sys; from omegaconf import OmegaConf;"
        "from omegaconf.basecontainer import BaseContainer;"
        "BaseContainer._resolvers['oc.env'] = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "print(OmegaConf.create({'note': '${oc.env:RUNNER_TEST_NOTE}'}).note);"
        "from runner.config.hydra import register_resolvers; register_resolvers();"
        "print(OmegaConf.create({'note': '${oc.env:RUNNER_TEST_NOTE}'}).note)"
    )
    environment = {name: one for name, one in os.environ.items() if name != "RUNNER_TEST_NOTE"}
    done = subprocess.run(
        [sys.executable, "-c", script, pickled],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )
    assert (done.stdout, done.stderr) == ("battery-staple\n" * 2, "")
