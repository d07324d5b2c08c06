"""Directories that move, that are reached by links, and whose names look like patterns."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import run
from tests.chaos.oracle import check_same_tree
from tests.chaos.processes import run_forked, run_watched
from tests.chaos.scenarios import TINY, copy, sit_until
from tests.chaos.syscalls import Call
from tests.chaos.tally import Bounded, Different, Lost, Tally
from tests.checkpoint.conftest import Trainer, tree
from tests.test_resume import Stop, StopAt, outcome

PLACES = "moved, linked, relative directories; odd names"

# --- where a directory is, and how it is reached ------------------------------------------------------


def absolute(home: Path) -> tuple[Path, Path]:
    return home, home


def relative(home: Path) -> tuple[Path, Path]:
    return home, Path(os.path.relpath(home))


def roundabout(home: Path) -> tuple[Path, Path]:
    return home, home / ".." / home.name


def linked(home: Path) -> tuple[Path, Path]:
    link = home.with_name(f"link-to-{home.name}")
    link.unlink(missing_ok=True)
    link.symlink_to(home.name)
    return home, link


def linked_above(home: Path) -> tuple[Path, Path]:
    link = home.parent.with_name(f"link-above-{home.name}")
    link.unlink(missing_ok=True)
    link.symlink_to(home.parent)
    return home, link / home.name


def renamed(home: Path) -> tuple[Path, Path]:
    moved = home.rename(home.with_name(f"{home.name}'"))
    return moved, moved


def moved_away(home: Path) -> tuple[Path, Path]:
    """To another depth, and what stood there is a link now."""
    place = home.parent / "archive" / home.name
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    shutil.copytree(home, place)
    shutil.rmtree(home)
    home.symlink_to(place)
    return place, home


WAYS = (absolute, relative, roundabout, linked, linked_above, renamed, moved_away)


def test_a_directory_may_move_and_be_linked_between_sittings(
    scratch: Path, tally: Tally, bounded: Bounded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scratch)
    sit_until(scratch / "straight", since=0, until=4)
    triples = list(itertools.product(WAYS, repeat=3))
    with tally.fault(PLACES) as cases:
        for index, ways in enumerate(bounded(triples, 20)):
            with cases.case([way.__name__ for way in ways]):
                home = scratch / f"case-{index}" / "run"
                sit_until(home, since=0, until=1)
                for step, way in enumerate(ways, start=1):
                    home, path = way(home)
                    sit_until(path, since=step, until=step + 1)
                check_same_tree(home, scratch / "straight")


def test_a_run_may_move_and_be_linked_between_sittings(
    scratch: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    monkeypatch.chdir(scratch)
    with tally.fault(PLACES) as cases, cases.case("a run"):
        with pytest.raises(Stop):
            run(*TINY, f"run.dir={scratch}/first/run", observer=StopAt(5))
        Path("first").rename("second")
        Path("link").symlink_to("second/run")
        Path("below").mkdir()
        monkeypatch.chdir("below")
        if outcome(run(*TINY, "run.dir=../link")) != uninterrupted:
            raise Different("it does not end as one that stayed where it was")
        assert {path.name for path in scratch.iterdir()} == {"second", "link", "below"}


# --- names that look like patterns ----------------------------------------------------------------------

ALL_OF_THEM = "run=[abc] 'it' \"is\" *? äß子"
NAMES = (
    *(ALL_OF_THEM, "[ab]", "[!x]", "run=[abc],seed=*", "*", "a*", "a?b", "??", "{x,y}", "a**b"),
    *("it's", '"a"', " a ", "späß 子", "e\u0301", "back\\slash", "a\nb"),
    *("-rf", "~", "$HOME", "%s%n"),
)
SIBLINGS = (
    *("a", "b", "ab", "aXb", "aXXb", "x", "y", "run=a", "run=b", "run=a,seed=1"),
    *("its", "backslash", "run=a 'it' \"is\" XY äß子", "späß", "\u00e9", "HOME", "s"),
)


@pytest.fixture
def siblings(scratch: Path) -> Callable[[], None]:
    """Directories with checkpoints of the very same names; checks that they are as they were."""
    places = [scratch / "runs" / name for name in SIBLINGS]
    for place in places:
        Trainer(place, run="another", spec={"max_to_keep": None}).train(5)
    before = [tree(place) for place in places]

    def check() -> None:
        for place, content in zip(places, before, strict=True):
            if tree(place) != content:
                raise Different(f"{place.name} was changed")

    return check


def test_a_directory_may_have_any_name(
    scratch: Path, tally: Tally, siblings: Callable[[], None]
) -> None:
    """Every save deletes; what a dead one left is swept away."""
    sit_until(scratch / "straight", since=0, until=5)
    with tally.fault(PLACES) as cases:
        for name in NAMES:
            with cases.case(repr(name)):
                directory = scratch / "runs" / name
                for step in range(4):
                    sit_until(directory, since=step, until=step + 1)
                litter = directory / ".saving-run1"
                litter.mkdir()
                (litter / "ckpt-5.index").write_bytes(b"half")
                sit_until(directory, since=4, until=5)
                check_same_tree(directory, scratch / "straight")
                siblings()
                shutil.rmtree(directory)


@pytest.mark.parametrize(
    "name", [ALL_OF_THEM, *(pytest.param(name, marks=pytest.mark.chaos) for name in NAMES[1:])]
)
def test_killed_while_it_deletes_in_a_directory_of_any_name(
    scratch: Path,
    tally: Tally,
    bounded: Bounded,
    siblings: Callable[[], None],
    syscalls: None,
    name: str,
) -> None:
    runs = scratch / "runs"
    sit_until(scratch / "straight", since=0, until=5)
    sit_until(scratch / "template", since=0, until=3)
    directory = copy(scratch / "template", runs / name)
    calls = run_watched(runs, _four, directory).calls
    assert {path.split("/")[0] for call in calls for path in call.paths} == {name}
    moves = [at for at, call in enumerate(calls) if call.name.startswith(("rename", "unlink"))]
    with tally.fault(PLACES) as cases:
        for at in bounded(moves, 2):
            with cases.case(f"{name!r}: {at} {calls[at]}"):
                shutil.rmtree(directory)
                copy(scratch / "template", directory)
                assert run_watched(runs, _four, directory, answer=_kill(at)).code == -signal.SIGKILL
                siblings()
                ended = run_forked(_five, directory)
                if ended.code:
                    raise Lost(f"a new process does not get to the end: {ended.error}")
                check_same_tree(directory, scratch / "straight")
                siblings()


def _kill(at: int) -> Callable[[int, Call], int | None]:
    return lambda index, _: None if index == at else 0


def _four(directory: Path) -> None:
    sit_until(directory, since=3, until=4)


def _five(directory: Path) -> None:
    """The save that was killed has either not happened, or is completed."""
    try:
        sit_until(directory, since=3, until=5)
    except Different:
        sit_until(directory, since=4, until=5)


def test_a_run_may_have_any_name(
    scratch: Path,
    tally: Tally,
    bounded: Bounded,
    siblings: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: dict[str, Any],
) -> None:
    monkeypatch.chdir(scratch / "runs")
    with tally.fault(PLACES) as cases:
        for name in bounded(NAMES, 1):
            with cases.case(repr(name)):
                given = f"run.dir={_quoted(name)}"
                with pytest.raises(Stop):
                    run(*TINY, given, observer=StopAt(5))
                result = run(*TINY, given)
                assert result.directory == Path(name)
                if outcome(result) != uninterrupted:
                    raise Different("it does not end as one with a plain name")
                siblings()


def _quoted(name: str) -> str:
    """As Hydra takes it."""
    return "'" + name.replace("'", "\\'") + "'"
