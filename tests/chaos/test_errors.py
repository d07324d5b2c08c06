"""Every single system call of a sitting that can change a file fails once, for every likely reason.

The sitting goes on as if nothing had failed, or is told of it by one error with the reason. Then the
same process can save again, and a new one that is launched instead ends with the same files, byte for
byte; and at no instant does plain TensorFlow find less than a complete checkpoint.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tests.chaos.oracle import check_latest, check_same_tree
from tests.chaos.processes import Ended, run_forked, run_watched
from tests.chaos.scenarios import (
    SCENARIOS,
    Scenario,
    copy,
    go_on,
    go_on_in_each,
    sit,
    sit_through,
    skip,
)
from tests.chaos.syscalls import Call
from tests.chaos.tally import Cases, Different, Lost, Tally
from tests.checkpoint.conftest import tree

pytestmark = pytest.mark.usefixtures("syscalls")

FAILURE = "ENOSPC, EIO, EACCES, EROFS or EDQUOT from a system call of a save or a launch"
REASONS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)
NAMES = (
    "the first save",
    "a save that deletes",
    "a save of the same number",
    "setting one aside",
)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", REASONS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", NAMES)
def test_any_system_call_may_fail(name: str, number: int, scratch: Path, tally: Tally) -> None:
    _fail_every(SCENARIOS[name], number, scratch, tally)


def test_some_system_calls_of_a_save_may_fail(scratch: Path, tally: Tally) -> None:
    _fail_every(SCENARIOS["a save of the same number"], errno.ENOSPC, scratch, tally, stride=9)


def _fail_every(
    scenario: Scenario, number: int, scratch: Path, tally: Tally, *, stride: int = 1
) -> None:
    template = scratch / "template"
    assert run_forked(scenario.prepare, template).code == 0
    ends = _Ends(scenario, template, scratch)
    recorded = copy(template, scratch / "recorded")
    calls = run_watched(recorded, sit, scenario, recorded).calls
    assert len(calls) > 40
    failed = []
    with tally.fault(FAILURE) as cases:
        for at in range(0, len(calls), stride):
            with cases.case(f"{os.strerror(number)} at {at}, {calls[at]}"):
                directory = copy(template, scratch / f"failed-{at}")
                failed.append(scratch / f"left-{at}")
                watch = _Watch(scenario, directory, number, at=at)
                ended = run_watched(
                    directory, sit_through, scenario, directory, failed[-1], answer=watch.answer
                )
                _check_told(ended, number)
                cases.place("told" if ended.answer else "carried on")
                assert not watch.faults
                ends.check(directory, may_skip=bool(ended.answer))
        ends.check_gone_on_from([path for path in failed if path.exists()], cases)


class _Watch:
    """Has one call fail, and from then on looks at every call at what plain TensorFlow finds."""

    def __init__(self, scenario: Scenario, directory: Path, number: int, *, at: int) -> None:
        self._scenario = scenario
        self._directory = directory
        self._number = number
        self._at = at
        self._seen: set[bytes] = set()
        self.faults: list[str] = []

    def answer(self, index: int, call: Call) -> int:
        if index >= self._at:
            self._look(call)
        return self._number if index == self._at else 0

    def _look(self, call: Call) -> None:
        one, directory = self._scenario, self._directory
        content = hashlib.sha256(repr(tree(directory)).encode()).digest()
        if content in self._seen or one.is_as_found(directory):
            return
        self._seen.add(content)
        steps = {one.saved, one.until, one.until + 1, *one.latest}
        try:
            check_latest(directory, steps=steps, may_be_none=not one.saved)
        except Exception as error:
            self.faults.append(f"before {call}: {error}")


class _Ends:
    """How a sitting may end."""

    def __init__(self, scenario: Scenario, template: Path, scratch: Path) -> None:
        self._scenario = scenario
        self._straight, self._skipped = scratch / "straight", scratch / "skipped"
        for part, directory in ((go_on, self._straight), (skip, self._skipped)):
            assert run_forked(part, scenario, copy(template, directory)).code == 0

    def check(self, directory: Path, *, may_skip: bool) -> None:
        """As without the failure or, if it was told of, as without the save that failed."""
        try:
            check_same_tree(directory, self._straight)
        except Different:
            if not may_skip:
                raise
            check_same_tree(directory, self._skipped)

    def check_gone_on_from(self, directories: list[Path], cases: Cases) -> None:
        """A new process ends as if nothing had failed; it belongs to cases counted before."""
        ended = run_forked(go_on_in_each, self._scenario, directories)
        for directory, error in zip(directories, ended.answer, strict=True):
            with cases.case(f"a new process in {directory.name}", size=0):
                if error:
                    raise Lost(f"it does not get to the end: {error}")
                check_same_tree(directory, self._straight)


def _check_told(ended: Ended, number: int) -> None:
    if ended.code:
        raise Lost(ended.error)
    if ended.answer:
        reason = os.strerror(number)
        assert reason in ended.answer, f"{reason} is not in {ended.answer}"
