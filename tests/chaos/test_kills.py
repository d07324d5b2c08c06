"""Killed before every single system call of a sitting that can change a file.

The calls are recorded once, TensorFlow's own among them, and then a new process is killed before each
of them, while it stands still. At that instant plain TensorFlow finds a complete checkpoint; and a
process that is launched then ends with the same files, byte for byte, as if nothing had happened.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.chaos.oracle import check_latest, check_same_tree
from tests.chaos.processes import run_forked, run_watched
from tests.chaos.scenarios import SCENARIOS, Scenario, copy, go_on, launch, sit
from tests.chaos.syscalls import Call
from tests.chaos.tally import Lost, Tally

pytestmark = pytest.mark.usefixtures("syscalls")

Sitting: TypeAlias = Callable[[Scenario, Path], None]

QUICK = "a save of the same number"
KILL = "SIGKILL before a system call of a save or a launch"
KILL_TWICE = "SIGKILL before a system call of the launch after one"


def _every(*names: str) -> list[object]:
    """The scenarios of these names, or all; only one of them is for every day."""
    marks = {name: [] if name == QUICK else [pytest.mark.chaos] for name in names or SCENARIOS}
    return [pytest.param(SCENARIOS[name], id=name, marks=marks[name]) for name in marks]


@pytest.mark.parametrize("scenario", _every())
def test_killed_before_any_system_call(scenario: Scenario, scratch: Path, tally: Tally) -> None:
    template, straight = _prepared(scenario, scratch)
    calls = _recorded(sit, scenario, template, scratch / "recorded")
    assert len(calls) > 40
    with tally.fault(KILL) as cases:
        for at, call in enumerate(calls):
            with cases.case(f"{at} {call}"):
                directory = copy(template, scratch / f"killed-{at}")
                assert _kill(sit, scenario, directory, at=at) == calls[: at + 1]
                _check_latest(scenario, directory)
                _check_end(scenario, directory, straight)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "scenario", _every("the first save", "a save that deletes", "a save of the same number")
)
def test_killed_again_while_recovering(scenario: Scenario, scratch: Path, tally: Tally) -> None:
    """Before every call of a sitting, and then before every call of the launch that follows."""
    template, straight = _prepared(scenario, scratch)
    calls = _recorded(sit, scenario, template, scratch / "recorded")
    with tally.fault(KILL_TWICE) as cases:
        for at in range(len(calls)):
            killed = copy(template, scratch / f"killed-{at}")
            _kill(sit, scenario, killed, at=at)
            for second, call in enumerate(_recorded(launch, scenario, killed, scratch / f"{at}")):
                with cases.case(f"{at}, then {second} {call}"):
                    directory = copy(killed, scratch / f"killed-{at}-{second}")
                    _kill(launch, scenario, directory, at=second)
                    _check_latest(scenario, directory)
                    _check_end(scenario, directory, straight)


def _prepared(scenario: Scenario, scratch: Path) -> tuple[Path, Path]:
    """The directory as the sitting finds it, and how it is after a run that nothing happened to."""
    template, straight = scratch / "template", scratch / "straight"
    assert run_forked(scenario.prepare, template).code == 0
    assert run_forked(go_on, scenario, copy(template, straight)).code == 0
    return template, straight


def _recorded(part: Sitting, scenario: Scenario, template: Path, directory: Path) -> list[str]:
    ended = run_watched(copy(template, directory), part, scenario, directory)
    assert ended.code == 0
    return _shown(ended.calls)


def _kill(part: Sitting, scenario: Scenario, directory: Path, *, at: int) -> list[str]:
    """Kills a process before its call ``at``; returns its calls up to that one."""
    killed = run_watched(
        directory, part, scenario, directory, answer=lambda index, _: None if index == at else 0
    )
    assert killed.code == -signal.SIGKILL
    return _shown(killed.calls)


def _shown(calls: list[Call]) -> list[str]:
    """The calls in words, without the numbers that TensorFlow draws for names of its own."""
    return [
        re.sub(r"tempstate\d+", "tempstate", f"{one.name} {' '.join(one.paths)}") for one in calls
    ]


def _check_latest(scenario: Scenario, directory: Path) -> None:
    """At the very instant: with nothing but TensorFlow, and before anything is mended."""
    if not scenario.is_as_found(directory):
        steps = {scenario.saved, scenario.until, *scenario.latest}
        check_latest(directory, steps=steps, may_be_none=not scenario.saved)


def _check_end(scenario: Scenario, directory: Path, straight: Path) -> None:
    """A process that is launched goes on to the end, and it is as if nothing had happened."""
    ended = run_forked(go_on, scenario, directory)
    if ended.code:
        raise Lost(f"a new process does not get to the end: {ended.error}")
    check_same_tree(directory, straight)
