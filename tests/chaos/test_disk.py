"""Real runs on a disk that fills up, is mounted read-only, or on which they are over their quota.

Each time the command ends with one message that names the directory; what was saved before is intact;
and when there is room, the same command ends as if nothing had happened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.manifest import read_manifests
from tests.chaos.disks import (
    command_with_event,
    die,
    fill,
    in_fork,
    limit_files,
    make_room,
    mount,
    remount,
)
from tests.chaos.oracle import check_same_result, latest_fault, result_of
from tests.chaos.processes import Ended, run_forked
from tests.chaos.runs import COMMAND, command
from tests.chaos.tally import Lost, Tally

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

FAULT = "a disk that is full, read-only or over quota"
OVERRIDES = (*COMMAND, "run.dir=disk/run", "model.hidden=[128,64]", "checkpoint.max_to_keep=null")
"""A run whose every checkpoint takes 0.2 MB and stays."""
SAVES = (0, 1, 4, 9)
"""After how many saves it happens; after none, before the start."""
FREE_BYTES = (0, 1, 4 << 10, 20 << 10, 300 << 10, 600 << 10)
LIMITS = (0, 1, 1 << 10, 20 << 10, 100 << 10)


@dataclass(frozen=True, kw_only=True)
class Story:
    """A run that could not write, and what became of it."""

    told: list[Any]
    """Exit code and standard error of every launch while it could not."""
    faults: list[Any]
    """After each of them, what was wrong with the earlier checkpoints."""
    last: Any
    """Exit code and standard error when it could again."""
    result: Any


@pytest.mark.parametrize("after_saves", SAVES)
def test_a_disk_that_fills_up(after_saves: int, scratch: Path, tally: Tally) -> None:
    straight = _straight(scratch)
    with tally.fault(FAULT) as cases:
        for free_bytes in FREE_BYTES:
            with cases.case(f"{free_bytes} bytes free after {after_saves} saves"):
                place = _new(scratch / f"full-{free_bytes}")
                ended = run_forked(_fill_up, place, free_bytes, after_saves)
                _check(_told(ended), straight, saved=after_saves)


def test_a_disk_that_is_mounted_read_only(scratch: Path, tally: Tally) -> None:
    straight = _straight(scratch)
    with tally.fault(FAULT) as cases:
        for after_saves in SAVES[1:]:
            with cases.case(f"read-only after {after_saves} saves"):
                ended = run_forked(_forbid, _new(scratch / f"forbidden-{after_saves}"), after_saves)
                _check(_told(ended), straight, saved=after_saves)


@pytest.mark.parametrize("after_saves", SAVES)
def test_a_quota(after_saves: int, scratch: Path, tally: Tally) -> None:
    straight = _straight(scratch)
    with tally.fault(FAULT) as cases:
        for num_bytes in LIMITS:
            with cases.case(f"no file over {num_bytes} bytes after {after_saves} saves"):
                place = _new(scratch / f"limited-{num_bytes}")
                ended = run_forked(_limit, place, num_bytes, after_saves)
                _check(_told(ended), straight, saved=after_saves)


def _fill_up(place: Path, free_bytes: int, after_saves: int) -> Story:
    disk = place / "disk"
    mount(disk)
    event = functools.partial(fill, disk, free_bytes=free_bytes)
    launches: list[Callable[[], Any]] = [
        functools.partial(command_with_event, place, event, after_saves, *OVERRIDES),
        functools.partial(command, place, *OVERRIDES),
    ]
    return _story(place, launches, lambda: make_room(disk))


def _forbid(place: Path, after_saves: int) -> Story:
    disk = place / "disk"
    mount(disk)
    in_fork(command_with_event, place, die, after_saves, *OVERRIDES)
    remount(disk, read_only=True)
    launch = functools.partial(command, place, *OVERRIDES)
    return _story(place, [launch], lambda: remount(disk, read_only=False))


def _limit(place: Path, num_bytes: int, after_saves: int) -> Story:
    event = functools.partial(limit_files, num_bytes)
    launches = [
        functools.partial(command_with_event, place, event, saves, *OVERRIDES)
        for saves in (after_saves, 0)
    ]
    return _story(place, launches, lambda: None)


def _story(place: Path, launches: list[Callable[[], Any]], mend: Callable[[], None]) -> Story:
    """Every process is a fork of this one, which alone sees the disk."""
    run = place / "disk" / "run"
    told, faults = [], []
    for launch in launches:
        told.append(in_fork(launch))
        faults.append(in_fork(_faults, run / "checkpoints"))
    mend()
    last = in_fork(command, place, *OVERRIDES)
    return Story(told=told, faults=faults, last=last, result=in_fork(result_of, run))


def _faults(checkpoints: Path) -> tuple[int, list[str]]:
    """How many checkpoints there are, and what is wrong with them."""
    manifests = read_manifests(checkpoints)
    found = [latest_fault(checkpoints), *(one.fault(checkpoints) for one in manifests)]
    return len(manifests), [fault for fault in found if fault is not None]


def _told(ended: Ended) -> Story:
    assert ended.code == 0, ended.error
    return ended.answer


def _check(story: Story, straight: dict[str, str], *, saved: int) -> None:
    for told, (count, faults) in zip(story.told, story.faults, strict=True):
        assert isinstance(told, tuple), f"a traceback: {told}"
        code, error = told
        messages = [line for line in error.splitlines() if line.startswith("runner: ")]
        assert code in (1, 3), f"exit code {code}: {error}"
        assert len(messages) == 1, f"{len(messages)} messages: {error}"
        assert "disk/run" in messages[0], f"names no directory: {error}"
        assert "Traceback" not in error and "Logging error" not in error, error
        assert not faults, faults
        assert count >= saved, f"{count} checkpoints are left of {saved}"
    if story.last is None or story.last[0] != 0:
        raise Lost(f"{story.last}")
    check_same_result(story.result, straight)


def _straight(scratch: Path) -> dict[str, str]:
    place = _new(scratch / "straight")
    ended = run_forked(command, place, *OVERRIDES)
    assert ended.answer == (0, ""), ended.error
    return result_of(place / "disk" / "run")


def _new(place: Path) -> Path:
    (place / "disk").mkdir(parents=True)
    return place
