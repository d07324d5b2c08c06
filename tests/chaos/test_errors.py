"""An error from every single system call of a sitting that can change a file.

The calls are recorded once, TensorFlow's own among them, and then each of them fails in a new process,
as it does on a disk that is full or gone read-only. The process is told of it in one error, or does
not need the call; it saves the step after that; and a process that is launched then ends with the
same files, byte for byte, as if nothing had happened.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.errors import CheckpointError
from tests.chaos.oracle import check_latest, check_same_tree
from tests.chaos.processes import run_forked, run_watched
from tests.chaos.scenarios import SCENARIOS, Scenario, copy, go_on, sit
from tests.chaos.tally import Lost, Tally

pytestmark = pytest.mark.usefixtures("syscalls")

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS]
FAULT = "ENOSPC, EDQUOT, EIO, EACCES, EROFS from a system call of a save or a launch"
QUICK = ("a save of the same number", errno.ENOSPC)


def _cases() -> list[object]:
    names = (
        "the first save",
        "a save that deletes",
        "a save of the same number",
        "setting one aside",
    )
    pairs = [(name, number) for name in names for number in ERRORS]
    return [
        pytest.param(
            SCENARIOS[name],
            number,
            id=f"{name}, {errno.errorcode[number]}",
            marks=[] if (name, number) == QUICK else pytest.mark.chaos,
        )
        for name, number in pairs
    ]


def sit_until_it_succeeds(scenario: Scenario, directory: Path) -> str:
    """The sitting, once more in the same process if something failed; returns what was told of it."""
    try:
        sit(scenario, directory)
    except CheckpointError as error:
        sit(scenario, directory)
        return str(error)
    return ""


@pytest.mark.parametrize(("scenario", "number"), _cases())
def test_an_error_of_any_system_call(
    scenario: Scenario, number: int, scratch: Path, tally: Tally
) -> None:
    template, straight = scratch / "template", scratch / "straight"
    assert run_forked(scenario.prepare, template).code == 0
    assert run_forked(go_on, scenario, copy(template, straight)).code == 0
    recorded = run_watched(
        copy(template, scratch / "recorded"), sit, scenario, scratch / "recorded"
    )
    assert recorded.code == 0
    with tally.fault(FAULT) as cases:
        for at, call in enumerate(recorded.calls):
            with cases.case(f"{at} {call}"):
                directory = copy(template, scratch / f"failed-{at}")
                _fail(scenario, directory, at=at, number=number)
                check_same_tree(directory, straight)


def _fail(scenario: Scenario, directory: Path, *, at: int, number: int) -> None:
    """Lets call ``at`` fail in a process that then goes on; looks at all it leaves."""
    tried = run_watched(
        directory,
        sit_until_it_succeeds,
        scenario,
        directory,
        answer=lambda index, _: number if index == at else 0,
    )
    if tried.code:
        raise Lost(f"the process that was told cannot go on: {tried.error}")
    assert not tried.answer or os.strerror(number) in tried.answer, tried.answer
    if not scenario.is_as_found(directory):
        steps = {scenario.saved, scenario.until, *scenario.latest}
        check_latest(directory, steps=steps, may_be_none=not scenario.saved)
    ended = run_forked(go_on, scenario, directory)
    if ended.code:
        raise Lost(f"a new process does not get to the end: {ended.error}")
