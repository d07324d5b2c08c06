"""Runs that are moved, linked, oddly named, sat on twice, or whose clock jumps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import run
from tests.chaos.oracle import check_latest, check_same_result, result_of
from tests.chaos.processes import ended, run_forked, start
from tests.chaos.runs import command
from tests.chaos.tally import Different, Tally
from tests.checkpoint.conftest import HOUR, Trainer, tree
from tests.test_resume import Stop, StopAt

PLACES = "a run directory that was moved, is linked, relative or oddly named"
CLOCKS = "a clock that jumps, two saves in one second"
TWICE = "two runners at once"

COMMAND = (
    "engine.limit_steps=6",
    "checkpoint.every.steps=2",
    "checkpoint.max_to_keep=1",
    "checkpoint.best=null",
    "phases.evaluate.restore=latest",
)
NAMES = ("run=[ab]", "run *", "r?n", 'it\'s "quoted"', "[!x]", "größe=語")
"""As patterns, the first five stand for these siblings."""
SIBLINGS = ("run=a", "run=b", "run x", "ron", "it's quoted", "y")


@pytest.fixture
def straight(workdir: Path) -> dict[str, str]:
    run(*COMMAND, "run.dir=straight")
    return result_of(workdir / "straight")


def _dir(path: Path | str) -> str:
    """The override, as Hydra's grammar quotes a value."""
    quoted = str(path).replace("'", "\\'")
    return f"run.dir='{quoted}'"


def _stop(path: Path | str) -> None:
    with pytest.raises(Stop):
        run(*COMMAND, _dir(path), observer=StopAt(3))


def test_a_run_goes_on_wherever_it_stands(
    workdir: Path, straight: dict[str, str], tally: Tally
) -> None:
    with tally.fault(PLACES) as cases:
        with cases.case("moved"):
            _stop("first")
            (workdir / "first").rename(workdir / "second")
            run(*COMMAND, _dir("second"))
            check_same_result(result_of(workdir / "second"), straight)
        with cases.case("linked"):
            _stop("real")
            (workdir / "link").symlink_to("real")
            run(*COMMAND, _dir("link"))
            check_same_result(result_of(workdir / "real"), straight)
        with cases.case("relative, then absolute"):
            _stop("./place")
            run(*COMMAND, _dir(workdir / "place"))
            check_same_result(result_of(workdir / "place"), straight)


@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.chaos)])
def test_odd_names_touch_no_sibling(
    workdir: Path, straight: dict[str, str], tally: Tally, few: bool
) -> None:
    """Saves that delete, in a directory whose name is a pattern that matches its siblings."""
    for sibling in SIBLINGS:
        Trainer(workdir / sibling / "checkpoints", spec={"prefix": "ckpt"}).train(4)
    before = {sibling: tree(workdir / sibling) for sibling in SIBLINGS}
    with tally.fault(PLACES) as cases:
        for name in NAMES[: 1 if few else None]:
            with cases.case(name):
                _stop(name)
                run(*COMMAND, _dir(name))
                check_same_result(result_of(workdir / name), straight)
                if {sibling: tree(workdir / sibling) for sibling in SIBLINGS} != before:
                    raise Different("a sibling was touched")


class Jumping(Trainer):
    """A run whose clock says what it is told."""

    def at(self, times: Iterator[float]) -> Jumping:
        self.store._now = lambda: next(times)
        return self


JUMPS = {
    "back": [100, 50, 40, 30, 20, 10],
    "forward and back": [10, 1e6, 20, 1e6, 30, 40],
    "still": [7, 7, 7, 7, 7, 7],
    "within one second": [7.1, 7.2, 7.3, 7.4, 7.5, 7.6],
    "before 1970": [-5, -4, -9, -8, 0, 1],
}


def test_a_clock_that_jumps(scratch: Path, tally: Tally) -> None:
    """What is newest is what was saved last, within a sitting and from one to the next."""
    with tally.fault(CLOCKS) as cases:
        for label, hours in JUMPS.items():
            for sittings in (1, 2, 6):
                with cases.case(f"{label}, {sittings} sittings"):
                    times = (hour * HOUR for hour in hours)
                    directory = scratch / f"{label}-{sittings}"
                    for until in range(6 // sittings, 7, 6 // sittings):
                        trainer = Jumping(directory, spec={"max_to_keep": 2}).at(times)
                        trainer.start()
                        assert trainer.step == until - 6 // sittings
                        trainer.train(until)
                    assert trainer.names == ["ckpt-5", "ckpt-6"]
                    check_latest(directory, steps={6}, may_be_none=False)


def test_of_two_runners_one_works_and_the_other_is_told(
    workdir: Path, straight: dict[str, str], tally: Tally
) -> None:
    with tally.fault(TWICE) as cases, cases.case("two processes"):
        (workdir / "twice").mkdir()
        child, connection = start(command, workdir / "twice", *COMMAND, "run.dir=run")
        for _ in itertools.takewhile(lambda _: child.is_alive(), itertools.count()):
            child.join(0.01)
            if (workdir / "twice/run/run.json").exists():
                break
        second = run_forked(command, workdir / "twice", *COMMAND, "run.dir=run")
        first = ended(child, connection)
        assert first.answer == (0, ""), first.error
        code, told = second.answer
        assert (code, told[:47]) == (
            1,
            f"runner: run is being worked on by process {child.pid} on"[:47],
        )
        check_same_result(result_of(workdir / "twice/run"), straight)
