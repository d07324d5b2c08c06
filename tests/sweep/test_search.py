"""`sweep=optuna`: what is asked of a study, what it is told, and that a search goes on."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from runner import run
from runner.config.compose import compose
from runner.config.hydra import experiment_of
from runner.config.schema import RunSpec
from runner.errors import ConfigError, shown
from runner.record import RunRecord, Sitting
from runner.rundir import RunDirectory
from runner.sweep import plugins
from runner.sweep.record import SweepRecord, Trial
from runner.sweep.search import SearchSweep
from runner.sweep.show import Plain, sweep_table
from runner.sweep.space import Choice, Interval, Range, Space, read_space
from runner.sweep.trial import Failure, Row, Task

SPACE = ("optimizer.learning_rate=tag(log, interval(1e-4, 1e-1))", "seed=range(100)")
RATE = "optimizer.learning_rate"


def space(*overrides: str, **given: str) -> Space:
    return read_space(given, overrides, parser=OverridesParser.create())


# --- the grammar -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("interval(1, 5)", Interval(1.0, 5.0)),
        ("int(interval(1, 5))", Interval(1, 5)),
        ("tag(log, interval(1e-4, 1e-1))", Interval(1e-4, 1e-1, is_log=True)),
        ("tag(log, int(interval(8, 256)))", Interval(8, 256, is_log=True)),
        ("range(3)", Range((0, 1, 2))),
        ("range(10, 1, -3)", Range((4, 7, 10))),
        ("tag(log, range(1, 4))", Range((1, 2, 3), is_log=True)),
        ("choice([32],[64],[32,32])", Choice(("[32]", "[64]", "[32,32]"))),
        ("mlp,cnn", Choice(("mlp", "cnn"))),
        ("choice(1,1,2)", Choice(("1", "2"))),
    ],
)
def test_a_space_is_read_as_hydra_reads_it(text: str, dimension: object) -> None:
    assert space(f"x={text}").dimensions == space(x=text).dimensions == {"x": dimension}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tag(lgo, interval(1, 2))", "there is no tag lgo; did you mean log? known: log"),
        ("interval(2, 1)", "the first number has to be the smaller one"),
        ("tag(log, interval(0, 1))", "log is for numbers above 0"),
        ("tag(log, choice(1, 2))", "a choice has no scale; log is for interval and range"),
        ("tag(log, range(0, 9))", "log is for whole numbers from 1 on"),
        ("tag(log, range(1, 9, 2))", "log is for whole numbers from 1 on"),
        ("range(3, 1)", "there is no value in it"),
        ("interval(1", "Hydra cannot read this"),
    ],
)
def test_a_space_that_is_wrong_is_told_with_its_key(text: str, problem: str) -> None:
    for given, place in ({"x": text}, "sweep.space.x"), ({}, "x"):
        overrides = [] if given else [f"x={text}"]
        with pytest.raises(ConfigError, match=re.escape(f"{place}={text}: {problem}")):
            read_space(given, overrides, parser=OverridesParser.create())


@pytest.mark.parametrize("key", ["run.dir", "run", "+run.dir", "sweep.storage", "hydra/launcher"])
def test_a_space_in_a_config_says_nothing_of_where_runs_stand(key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"sweep.space.{key}=1,2: is nothing to")):
        space(**{key: "1,2", "seed": "1,2"})
    assert space("run.dir=here", seed="1,2").fixed == ("run.dir=here",)


def test_every_problem_of_a_space_is_told() -> None:
    with pytest.raises(ConfigError) as error:
        space("x=interval(2,1)", "y=tag(lgo,range(3))")
    assert [problem.partition("=")[0] for problem in error.value.problems] == ["x", "y"]
    with pytest.raises(ConfigError, match="nothing to search"):
        space("x=3")


def test_the_command_line_has_the_last_word() -> None:
    one = space("model=cnn", "+y=interval(1,2)", "~phases.evaluate", x="1,2", model="mlp,cnn")
    assert one.fixed == ("model=cnn", "~phases.evaluate")
    assert list(one.dimensions) == ["x", "+y"]
    assert space("x=3,4", x="1,2").dimensions == {"x": Choice(("3", "4"))}
    assert space("x=3,4", x="1").fixed == ()


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii"])
def test_what_is_drawn_is_an_override_that_says_the_same(workdir: Path, sampler: str) -> None:
    texts = ("a=tag(log,int(interval(8,256)))", "b=range(2,9,3)", "c=range(0.1,0.35,0.1)")
    one = space(*texts, "d=interval(-1,1)", "e=choice([8],[8,8])")
    lab = Lab(one, f"sweep.sampler={sampler}", trials=12)
    lab.go()
    parser = OverridesParser.create()
    for trial in lab.sweep.record.trials:
        values = {o.key_or_group: o.value() for o in parser.parse_overrides(trial.overrides)}
        assert type(values["a"]) is int and 8 <= values["a"] <= 256  # type: ignore[operator]
        assert type(values["b"]) is int and values["b"] in (2, 5, 8)
        assert values["c"] in (0.1, 0.2, 0.30000000000000004)
        assert type(values["d"]) is float and -1 <= values["d"] <= 1
        assert values["e"] in ([8], [8, 8])
        known = lab.trials()[trial.number].params
        assert {key: values[key] for key in "abd"} == {key: known[key] for key in "abd"}
    assert len({tuple(trial.overrides) for trial in lab.sweep.record.trials}) > 6


# --- a laboratory: runs that are only said to have been made ----------------------------------------


class Lab:
    """A search whose trials take no time: what comes out of one is a function of its overrides.

    Args:
        outcome: gives the value of a trial, or of each objective, or raises ValueError.
        rows: what a trial measures on its way.
        runs: where its runs stand.
    """

    def __init__(
        self,
        space: Space,
        *overrides: str,
        trials: int | None = 6,
        name: str = "lab",
        runs: str | None = None,
        outcome: Callable[[Trial], object] | None = None,
        rows: Callable[[Trial], Sequence[float]] = lambda trial: (),
    ) -> None:
        self.outcome, self.rows, self.runs = outcome or rate, rows, runs or name
        self.begun: list[int] = []
        given = ["sweep=optuna", f"sweep.n_trials={shown(trials)}", "sweep.jobs=1", *overrides]
        experiment = experiment_of(compose(given))
        self.console = Console(record=True, width=200, file=io.StringIO())
        self.directory = Path("outputs/sweeps", name)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.sweep = SearchSweep(
            record=SweepRecord(overrides=[], configs="", objectives=experiment.objectives),
            directory=self.directory,
            experiment=experiment,
            compose=self.compose,
            observer=Plain(self.console),
            space=space,
        )

    def compose(self, overrides: Sequence[str]) -> Any:
        fresh = self.sweep.experiment.run.fresh
        run = RunSpec(dir=f"outputs/{self.runs}/{place(overrides)}", fresh=fresh)
        return SimpleNamespace(experiment=replace(self.sweep.experiment, run=run), id="lab")

    def go(self, *, killed_at: int | None = None) -> int:
        """Works through the search, alone or until its process is killed in the middle of a trial."""
        self.sweep.begin()
        for task in self.sweep.tasks():
            self.begin(task)
            if task.number == killed_at:
                return -9
            self.end(task)
        code = self.sweep.finish()
        self.sweep.close()
        return code

    def begin(self, task: Task) -> None:
        self.begun.append(task.number)
        self.sweep.started(task)

    def end(self, task: Task) -> None:
        trial = self.sweep.record.trial(task.number)
        for step, value in enumerate(self.rows(trial), start=1):
            reason = self.sweep.told(task, Row(content=row(step, value)))
            if reason:
                self.sweep.told(task, Failure(status="stopped", reason="SIGTERM"))
                self.sweep.ended(task, reason)
                return
        try:
            finish(trial, self.outcome(trial), self.sweep.record.objectives)
        except ValueError as error:
            self.sweep.told(task, Failure(status="failed", reason=str(error)))
        self.sweep.ended(task, None)

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """As anybody reads them."""
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.directory}/optuna.db")
        (study,) = storage.get_all_studies()
        trials = storage.get_all_trials(study._study_id)
        storage.remove_session()
        storage.engine.dispose()
        return trials

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.trials()]

    def statuses(self) -> list[str]:
        return [trial.status for trial in self.sweep.record.trials]

    def swept(self) -> list[list[str]]:
        return [trial.overrides for trial in self.sweep.record.trials]


def row(step: int, value: float, **more: str) -> dict[str, Any]:
    place = {"phase": "train", "split": "validation", "step": step, "epoch": 1.0}
    return {**place, "accuracy": value, **more}


def place(overrides: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:10]


def rate(trial: Trial) -> float:
    found = re.search(rf"{RATE}=(\S+)", " ".join(trial.overrides))
    return float(found[1]) if found else 0.5


def finish(trial: Trial, values: object, names: Iterable[str]) -> None:
    """Leaves what a run leaves that has come to its end."""
    numbers = values if isinstance(values, tuple) else (values,)
    metrics = {"train": dict(zip(names, numbers, strict=True))}
    result = {"metrics": metrics, "step": 1, "checkpoints": [], "best": None}
    sitting = Sitting(started="", host="", pid=0, command=[])
    record = RunRecord(id="lab", name="lab", status="finished", sittings=[sitting], result=result)
    Path(str(trial.run)).mkdir(parents=True, exist_ok=True)
    Path(str(trial.run), "run.json").write_text(json.dumps(asdict(record)))


def interrupt(
    trial: Trial, *rows: dict[str, Any], id: str = "lab", status: Any = "running"
) -> None:
    """Leaves what a run leaves whose process was lost on its way."""
    directory = RunDirectory(Path(str(trial.run)))
    sitting = Sitting(started="", host="", pid=0, command=[], outcome="OOM")
    with directory.locked():
        directory.write(RunRecord(id=id, name="lab", status=status, sittings=[sitting]))
    directory.rows.write_text("".join(json.dumps(one) + "\n" for one in rows))


# --- going on -------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_search(workdir: Path) -> None:
    one, again = Lab(space(*SPACE), name="one"), Lab(space(*SPACE), name="again")
    other = Lab(space(*SPACE), "sweep.sampler_seed=1", name="other")
    assert (one.go(), again.go(), other.go()) == (0, 0, 0)
    assert one.swept() == again.swept() != other.swept()


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "nsgaii"])
def test_a_search_that_was_killed_goes_on_as_it_would_have(workdir: Path, sampler: str) -> None:
    options = [f"sweep.sampler={sampler}"]
    if sampler == "tpe":
        options.append("+sweep.sampler_options.n_startup_trials=2")
    straight = Lab(space(*SPACE), *options, name="straight", trials=8)
    straight.go()
    for number in (3, 5):
        killed = Lab(space(*SPACE), *options, trials=8)
        assert killed.go(killed_at=number) == -9
        assert killed.states()[number] == "RUNNING"
        assert killed.sweep.record.trial(number).status == "running"
    resumed = Lab(space(*SPACE), *options, trials=8)
    assert resumed.go() == 0
    # The one that was interrupted is begun again, with what it was given.
    assert resumed.begun == [5, 6, 7]
    assert resumed.swept() == straight.swept()
    assert resumed.states() == ["COMPLETE"] * 8
    assert [one.values for one in resumed.trials()] == [one.values for one in straight.trials()]


def test_a_search_goes_on_to_so_many_trials_in_all(workdir: Path) -> None:
    first = Lab(space(*SPACE), trials=4)
    first.go()
    more = Lab(space(*SPACE), trials=6)
    assert more.go() == 0
    assert more.begun == [4, 5]
    assert more.swept()[:4] == first.swept()
    assert more.statuses() == ["finished"] * 6
    assert "sweep of 6 trials" in more.console.export_text(clear=False)
    for trials in (6, 3):
        done = Lab(space(*SPACE), trials=trials)
        assert done.go() == 0
        assert done.begun == []


def test_a_search_that_was_asked_to_stop_is_not_finished(workdir: Path) -> None:
    lab = Lab(space(*SPACE))
    lab.sweep.begin()
    tasks = lab.sweep.tasks()
    for task in islice(tasks, 2):
        lab.begin(task)
        lab.end(task)
    lab.sweep.stopping("SIGTERM")
    assert list(tasks) == []
    assert lab.sweep.finish() == 75
    assert "2 finished; the same command goes on" in lab.console.export_text(clear=False)
    lab.sweep.close()


def test_what_stopped_is_put_back(workdir: Path) -> None:
    lab = Lab(space(*SPACE))
    lab.sweep.begin()
    task = next(lab.sweep.tasks())
    lab.begin(task)
    lab.sweep.stopping("SIGTERM")
    lab.sweep.told(task, Failure(status="stopped", reason="SIGTERM"))
    lab.sweep.ended(task, None)
    assert lab.sweep.finish() == 75
    lab.sweep.close()
    assert lab.states() == ["WAITING"]
    again = Lab(space(*SPACE))
    again.go()
    assert again.swept()[0] == lab.swept()[0]
    assert again.states() == ["COMPLETE"] * 6


def test_a_finished_run_is_told_at_once(workdir: Path) -> None:
    """Whoever finished it."""
    Lab(space(*SPACE), name="other").go()
    lab = Lab(space(*SPACE), runs="other")
    assert lab.go() == 0
    assert lab.begun == []
    assert [trial.value for trial in lab.trials()] == [rate(one) for one in lab.sweep.record.trials]


def test_two_trials_that_are_one_run_are_at_work_once(workdir: Path) -> None:
    lab = Lab(space(f"{RATE}=choice(0.1,0.2)"), "sweep.sampler=random", trials=8)
    lab.sweep.begin()
    tasks = list(lab.sweep.tasks())
    assert len(tasks) == 2
    for task in tasks:
        lab.begin(task)
    for task in tasks:
        lab.end(task)
    assert lab.sweep.finish() == 0
    lab.sweep.close()
    assert [one.value for one in lab.trials()] == [rate(one) for one in lab.sweep.record.trials]
    assert len(lab.trials()) == 8


# --- how trials end ---------------------------------------------------------------------------------------


def test_a_failed_trial_is_told_and_the_search_goes_on(workdir: Path) -> None:
    def outcome(trial: Trial) -> float:
        if trial.number == 2:
            raise ValueError("train/loss is inf")
        return float("nan") if trial.number == 3 else rate(trial)

    lab = Lab(space(*SPACE), outcome=outcome)
    assert lab.go() == 1
    assert lab.states() == ["COMPLETE"] * 2 + ["FAIL"] * 2 + ["COMPLETE"] * 2
    assert lab.sweep.record.trial(2).reason == "train/loss is inf"
    again = Lab(space(*SPACE))
    assert again.go() == 1  # It still has, and is not tried again ...
    told = "failed before; sweep.retry_failed=true tries it again"
    assert str(again.sweep.record.trial(2).reason).startswith(told)
    retry = Lab(space(*SPACE), "sweep.retry_failed=true")
    assert retry.go() == 0  # ... unless one asks.
    assert retry.begun == [6]
    assert retry.sweep.record.trial(6).overrides == lab.swept()[2]
    assert len(retry.sweep.record.trials) == 6


def test_a_wrong_config_fails_its_trial(workdir: Path) -> None:
    lab = Lab(space("seed=1,2,3"), "sweep.sampler=grid", trials=None)

    def compose(overrides: Sequence[str]) -> Any:
        if overrides == ["seed=2"]:
            raise ConfigError("seed=2: is wrong")
        return lab.compose(overrides)

    lab.sweep.compose = compose
    assert lab.go() == 1
    assert lab.states() == ["COMPLETE", "FAIL", "COMPLETE"]
    assert lab.sweep.record.trial(1).reason == "seed=2: is wrong"
    again = lab
    for _ in range(2):  # It left no run that could tell why.
        again = Lab(again.sweep.space, trials=3)
        assert again.go() == 1
        assert again.sweep.record.trial(1).reason == (
            "failed before; sweep.retry_failed=true tries it again: seed=2: is wrong"
        )


def test_a_trial_that_was_out_of_time_has_failed(workdir: Path) -> None:
    lab = Lab(space(*SPACE), trials=1)
    lab.sweep.begin()
    task = next(lab.sweep.tasks())
    lab.begin(task)
    lab.sweep.told(task, Failure(status="stopped", reason="SIGTERM"))
    lab.sweep.ended(task, "took longer than 60 s")
    assert lab.sweep.finish() == 1
    lab.sweep.close()
    assert lab.states() == ["FAIL"]
    assert lab.sweep.record.trial(0).reason == "took longer than 60 s"


MEDIAN = ("sweep.pruner=median", "+sweep.pruner_options.n_startup_trials=2")


def test_a_trial_that_is_worse_than_others_is_pruned(workdir: Path) -> None:
    def rows(trial: Trial) -> Sequence[float]:
        return [0.5, 0.6, 0.7] if trial.number != 3 else [0.5, 0.1, 0.9]

    lab = Lab(space(*SPACE), *MEDIAN, rows=rows)
    assert lab.go() == 0
    assert lab.states() == ["COMPLETE"] * 3 + ["PRUNED"] + ["COMPLETE"] * 2
    pruned = lab.sweep.record.trial(3)
    assert (pruned.status, pruned.values) == ("pruned", {})
    assert pruned.reason == "validation/accuracy 0.1 at step 2, where others were better"
    assert lab.trials()[3].intermediate_values == {0: 0.5, 1: 0.1}
    told = r"^ 3 +│.* 0\.1000 │.* pruned"
    assert re.search(told, lab.console.export_text(clear=False), re.MULTILINE)
    assert "5 finished, 1 pruned" in lab.console.export_text(clear=False)
    assert f"trial 3/6 pruned  {pruned.reason}" in lab.console.export_text(clear=False)
    done = Lab(space(*SPACE), *MEDIAN, rows=rows)
    assert (done.go(), done.begun) == (0, [])
    assert done.statuses() == lab.statuses()
    assert re.search(told, done.console.export_text(clear=False), re.MULTILINE)


def prepared(*overrides: str) -> tuple[Lab, Task]:
    """After three good trials, one that has begun."""
    lab = Lab(space(*SPACE), *MEDIAN, *overrides, rows=lambda trial: [0.5, 0.6, 0.7])
    lab.sweep.begin()
    tasks = lab.sweep.tasks()
    for task in islice(tasks, 3):
        lab.begin(task)
        lab.end(task)
    task = next(tasks)
    lab.begin(task)
    return lab, task


def test_rows_that_come_while_a_trial_stops_do_not_count(workdir: Path) -> None:
    lab, task = prepared()
    assert lab.sweep.told(task, Row(content=row(1, 0.1)))
    assert lab.sweep.told(task, Row(content=row(2, 0.9))) is None
    lab.sweep.ended(task, "was killed by SIGKILL")
    lab.sweep.close()
    assert lab.statuses()[-1] == "pruned"
    assert lab.trials()[-1].intermediate_values == {0: 0.1}


def test_a_trial_that_came_to_its_end_before_it_could_stop_is_finished(workdir: Path) -> None:
    lab, task = prepared()
    reason = lab.sweep.told(task, Row(content=row(1, 0.1)))
    finish(lab.sweep.record.trial(3), 0.4, ["validation/accuracy"])
    lab.sweep.ended(task, reason)
    lab.sweep.close()
    assert lab.trials()[-1].value == 0.4


def test_only_what_the_objective_measures_while_training_prunes(workdir: Path) -> None:
    lab, task = prepared()
    for content in (
        row(1, 0.0, split="train"),
        row(1, 0.0, phase="evaluate"),
        {"phase": "train", "split": "validation", "step": 1, "loss": 9.0},
    ):
        assert lab.sweep.told(task, Row(content=content)) is None
    # A number that is none is written as null.
    assert lab.sweep.told(task, Row(content={**row(1, 0.0), "accuracy": None})) is None
    assert lab.sweep.told(task, Row(content=row(2, 0.0)))
    lab.sweep.close()
    assert lab.trials()[3].intermediate_values == {1: 0.0}


def test_what_a_run_measured_before_is_told_once(workdir: Path) -> None:
    lab, task = prepared()
    assert lab.sweep.told(task, Row(content=row(1, 0.9))) is None
    # Killed before this was told, or at work elsewhere.
    interrupt(lab.sweep.record.trial(3), *(row(step, 0.9) for step in (1, 2)))
    again = Lab(space(*SPACE), *MEDIAN)
    again.sweep.begin()
    task = next(again.sweep.tasks())
    again.begin(task)
    # It goes on from a checkpoint between the two, and comes to the second row again.
    for step, value in ((2, 0.9), (3, 0.8)):
        again.sweep.told(task, Row(content=row(step, value)))
    assert again.trials()[3].intermediate_values == {0: 0.9, 1: 0.9, 2: 0.8}
    again.sweep.close()


def test_a_trial_that_was_to_stop_when_the_search_was_killed_is_not_begun_again(
    workdir: Path,
) -> None:
    lab, task = prepared()
    rows = [row(step, value) for step, value in enumerate((0.5, 0.1, 0.9), start=1)]
    told = [lab.sweep.told(task, Row(content=one)) for one in rows]
    reason = "validation/accuracy 0.1 at step 2, where others were better"
    assert told == [None, reason, None]
    interrupt(lab.sweep.record.trial(3), *rows)
    again = Lab(space(*SPACE), *MEDIAN, rows=lambda trial: [0.5, 0.6, 0.7])
    assert (again.go(), again.begun) == (0, [4, 5])
    pruned = again.sweep.record.trial(3)
    assert (pruned.status, pruned.reason) == ("pruned", reason)
    assert pruned.metrics == {"validation/accuracy": 0.1}
    assert again.trials()[3].intermediate_values == {0: 0.5, 1: 0.1}


BAD = tuple(row(step, value) for step, value in enumerate((0.5, 0.1), start=1))


def test_a_trial_that_failed_is_tried_again_although_others_are_better(workdir: Path) -> None:
    lab, task = prepared()
    interrupt(lab.sweep.record.trial(3), *BAD, status="failed")
    lab.sweep.told(task, Failure(status="failed", reason="OOM"))
    lab.sweep.ended(task, None)
    lab.sweep.close()
    again = Lab(space(*SPACE), *MEDIAN, "sweep.retry_failed=true", rows=lambda trial: [0.9] * 3)
    assert again.go() == 0
    assert len(again.begun) == 3
    assert sorted(again.statuses()) == ["finished"] * 6


def test_a_trial_that_is_at_work_elsewhere_is_not_called_pruned(workdir: Path) -> None:
    lab, _ = prepared()
    trial = lab.sweep.record.trial(3)
    interrupt(trial, *BAD)
    again = Lab(space(*SPACE), *MEDIAN)
    again.sweep.begin()
    with RunDirectory(Path(str(trial.run))).locked():
        assert next(again.sweep.tasks()).number == 3
    again.sweep.close()


def test_what_another_run_measured_in_its_place_is_not_told(workdir: Path) -> None:
    lab, _ = prepared()
    interrupt(lab.sweep.record.trial(3), *BAD, id="other")
    again = Lab(space(*SPACE), *MEDIAN)
    again.sweep.begin()
    assert next(again.sweep.tasks()).number == 3
    assert again.trials()[3].intermediate_values == {}
    again.sweep.close()


def test_what_a_run_measured_that_is_moved_aside_is_not_told(workdir: Path) -> None:
    lab, task = prepared("run.fresh=true")
    lab.sweep.close()
    interrupt(lab.sweep.record.trial(3), row(1, 0.9))
    again = Lab(space(*SPACE), *MEDIAN, "run.fresh=true")
    again.sweep.begin()
    task = next(again.sweep.tasks())
    again.begin(task)
    again.sweep.told(task, Row(content=row(1, 0.8)))
    assert again.trials()[3].intermediate_values == {0: 0.8}
    again.sweep.close()


def test_a_final_measure_is_pruned_by_its_like_on_another_split(workdir: Path) -> None:
    lab, task = prepared("sweep.metric=test/accuracy", "sweep.mode=max")
    assert lab.sweep.told(task, Row(content=row(1, 0.1)))
    lab.sweep.close()


def test_several_objectives_have_a_front(workdir: Path) -> None:
    values = [(1.0, 0.5), (0.5, 0.4), (0.6, 0.4), (0.4, 0.1), (0.5, 0.3), (0.5, 0.4)]
    lab = Lab(
        space(*SPACE),
        "sweep.metric={test/loss: min, test/accuracy: max}",
        outcome=lambda trial: values[trial.number],
    )
    assert lab.go() == 0
    assert [tuple(one.values or ()) for one in lab.trials()] == values
    record = lab.sweep.record
    assert record.best == [0, 1, 3, 5]
    assert [one.number for one in record.sorted()] == [3, 1, 5, 0, 4, 2]
    lab.console.print(sweep_table(record))
    text = lab.console.export_text(clear=False)
    assert all(re.search(rf"^ {number} \*", text, re.MULTILINE) for number in record.best)
    assert not re.search(r"^ [24] \*", text, re.MULTILINE)
    assert "* Pareto front" in text


def test_a_grid_is_gone_through_once(workdir: Path) -> None:
    grid = space("seed=range(2)", f"{RATE}=choice(0.1,0.2,0.3)")
    first = Lab(grid, "sweep.sampler=grid", trials=2)
    first.go()
    lab = Lab(grid, "sweep.sampler=grid", trials=None)
    assert lab.go() == 0
    assert lab.begun == [2, 3, 4, 5]
    assert lab.swept() == [
        [f"seed={seed}", f"{RATE}={value}"] for seed in (0, 1) for value in (0.1, 0.2, 0.3)
    ]
    with pytest.raises(ConfigError, match=f"{RATE}: a grid has no intervals"):
        Lab(space(*SPACE), "sweep.sampler=grid", name="endless").go()


# --- where a study is kept ------------------------------------------------------------------------------


def test_a_shared_study_leaves_others_their_trials(workdir: Path) -> None:
    shared = ("sweep.storage=sqlite:///shared.db", "sweep.study=both")
    more: dict[str, Any] = {"trials": 4, "runs": "both"}
    mine, other = (Lab(space(*SPACE), *shared, name=name, **more) for name in ("mine", "other"))
    mine.sweep.begin()
    mine.begin(next(mine.sweep.tasks()))
    assert other.go() == 0
    assert other.begun == [1, 2, 3]
    again = Lab(space(*SPACE), *shared, name="mine", **more)
    assert again.go() == 0
    assert again.begun == [0]
    assert len(again.sweep.record.trials) == 4


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["sweep.metric=test/loss", "sweep.mode=min"], "study lab was begun with"),
        (["sweep.metric=test/los", "sweep.mode=min"], "did you mean test/loss?"),
        (["checkpoint.best=null", "phases.evaluate.restore=latest"], "needs something to go by"),
        (["+sweep.sampler_options.n_startup=3"], "did you mean n_startup_trials?"),
        (["sweep.pruner=percentile", "+sweep.pruner_options.percentile=101"], "between 0 and 100"),
        (["sweep.storage=nonsense://"], "sweep.storage: the database cannot be used"),
    ],
)
def test_what_does_not_fit_is_told(workdir: Path, overrides: list[str], problem: str) -> None:
    Lab(space(*SPACE), trials=1).go()
    lab = Lab(space(*SPACE), *overrides)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        lab.go()
    lab.sweep.close()


def test_another_space_does_not_fit_a_study(workdir: Path) -> None:
    Lab(space(f"{RATE}=choice(0.1,0.2)"), trials=1).go()
    lab = Lab(space(f"{RATE}=choice(0.3,0.4)"))
    with pytest.raises(ConfigError, match=r"sweep\.space: study lab was begun with another one"):
        lab.go()
    lab.sweep.close()
    assert "RUNNING" not in lab.states()


def test_runs_of_other_configs_are_not_mixed_into_a_study(workdir: Path) -> None:
    Lab(space(*SPACE), trials=1).go()
    lab = Lab(space(*SPACE))
    lab.sweep.compose = lambda overrides: lab.compose(["another", *overrides])
    with pytest.raises(ConfigError, match="the configs have changed since"):
        lab.go()
    lab.sweep.close()


def test_other_launchers_get_batches(workdir: Path) -> None:
    lab, batches = Lab(space(*SPACE), "sweep.jobs=4"), []

    def launch(overrides: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        batches.append((len(overrides), initial_job_idx))
        for trial in lab.sweep.record.of_status("running"):
            finish(trial, rate(trial), ["validation/accuracy"])

    launcher: Any = SimpleNamespace(launch=launch)
    lab.sweep.begin()
    plugins._hand_over(lab.sweep, launcher, SimpleNamespace(exit_code=0))
    assert lab.sweep.finish() == 0
    lab.sweep.close()
    assert batches == [(4, 0), (2, 4)]


def test_what_another_launcher_did_not_begin_when_it_was_stopped_is_left(workdir: Path) -> None:
    lab, job = Lab(space(*SPACE), "sweep.jobs=4"), SimpleNamespace(exit_code=0)

    def launch(overrides: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        finish(lab.sweep.record.of_status("running")[0], 0.5, ["validation/accuracy"])
        job.exit_code = 75  # The second one was asked to stop before it had begun.

    launcher: Any = SimpleNamespace(launch=launch)
    lab.sweep.begin()
    plugins._hand_over(lab.sweep, launcher, job)
    assert lab.sweep.finish() == 75
    lab.sweep.close()
    statuses = [trial.status for trial in lab.sweep.record.trials]
    assert statuses == ["finished", "waiting", "waiting", "waiting"]


# --- the command ------------------------------------------------------------------------------------------

TINY = ("model.hidden=[8]", "phases.train.until.epochs=1")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["sweep.sampler=tpee"],
            "sweep.sampler=tpee: did you mean tpe? known: tpe, random, grid, cmaes, nsgaii",
        ),
        (["sweep.pruner=medain"], "sweep.pruner=medain: did you mean median? known: none, median"),
        (["sweep.n_trials=0"], "sweep.n_trials=0: give a count of at least 1"),
        (["sweep.n_trials=null"], "sweep.n_trials=null: only sampler=grid has an end"),
        (["sweep.sampler_seed=-1"], "sweep.sampler_seed=-1: give a number from 0"),
        (["sweep.mode=max"], "sweep.metric=null: give what sweep.mode=max is about, or no mode"),
        (
            ["sweep.metric=test/loss"],
            "sweep.mode=null: give max or min, as what is better of test/loss",
        ),
        (["sweep.metric={test/loss: least}"], "sweep.metric.test/loss=least: known: max, min"),
        (
            ["sweep.metric={test/loss: min, test/accuracy: max}", "sweep.pruner=median"],
            "sweep.pruner=median: goes by one objective",
        ),
        (
            ["sweep.metric={test/loss: min, test/accuracy: max}", "sweep.sampler=cmaes"],
            "sweep.sampler=cmaes: goes by one objective",
        ),
        (["+sweep.space={seed: 'interval(2,1)'}"], "sweep.space.seed=interval(2,1): the first"),
        (
            ["sweep.pruner=median", "hydra/launcher=basic"],
            "sweep.pruner=median: only hydra/launch",
        ),
        (["sweep=default", "hydra/sweeper=search"], "hydra/sweeper=search: what to search is in"),
    ],
)
def test_a_wrong_search_is_told_before_anything_is_done(
    workdir: Path, cli: Callable[..., Any], overrides: list[str], problem: str
) -> None:
    done = cli("-m", "sweep=optuna", "model.dropout=interval(0,1)", *overrides)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"runner: {problem}")
    assert not Path("outputs").exists()


def test_a_missing_package_is_told(
    workdir: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *more: None if name == "optuna" else find(name, *more),
    )
    done = cli("-m", "sweep=optuna", "seed=range(3)")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "runner: sweep=optuna: the package optuna is not installed; pip install 'tf-runner[optuna]'\n"
    )


def sweep_json(workdir: Path) -> dict[str, Any]:
    (path,) = workdir.glob("outputs/sweeps/*/sweep.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.slow
def test_a_real_search(workdir: Path, cli: Callable[..., Any]) -> None:
    command = ("-m", "sweep=optuna", *TINY, f"{RATE}=tag(log, interval(1e-3, 1e-1))", "seed=1,2")
    done = cli(*command, "sweep.n_trials=2")
    assert (done.code, done.err) == (0, "")
    more = cli(*command, "sweep.n_trials=3")
    assert (more.code, more.out.count("begins")) == (0, 1)
    trials = sweep_json(workdir)["trials"]
    assert [trial["status"] for trial in trials] == ["finished"] * 3
    # A trial is the run that its overrides make alone.
    alone = run(*trials[0]["overrides"])
    assert str(alone.directory) == trials[0]["run"]
    assert trials[0]["metrics"]["test/loss"] == alone.metrics["evaluate"]["test/loss"]
    assert len(list(workdir.glob("outputs/*/*/run.json"))) == 3


@pytest.mark.slow
def test_a_real_trial_is_pruned(workdir: Path, cli: Callable[..., Any]) -> None:
    epochs = "phases.train.until.epochs=400"
    grid = (
        f"{RATE}=choice(0.01,1e-9)",
        "sweep.sampler=grid",
        "sweep.jobs=1",
        "sweep.n_trials=null",
    )
    prune = ("sweep.pruner=median", "+sweep.pruner_options.n_startup_trials=1")
    done = cli("-m", "sweep=optuna", "model.hidden=[8]", epochs, *grid, *prune)
    assert (done.code, done.err) == (0, "")
    finished, pruned = sweep_json(workdir)["trials"]
    assert (finished["status"], pruned["status"]) == ("finished", "pruned")
    content = json.loads(Path(pruned["run"], "run.json").read_text())
    assert content["status"] == "stopped"
    assert 0 < content["sittings"][-1]["to_step"] < 7800
    # Its run is an ordinary one that has stopped, and goes on alone.
    assert (Path(pruned["run"]) / "checkpoints/checkpoint").is_file()
