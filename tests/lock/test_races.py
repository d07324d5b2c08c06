"""Two processes want the lock at the same time, on hosts that see each other's files only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner.lock import Lock, LockedError
from runner.lock import lock as module
from runner.lock.records import Records

SWITCHES = range(13)
"""Where to go over to the other one: a contender is through after twelve looks at the files."""

pytestmark = pytest.mark.usefixtures("flock_per_host")


class Stepped(Records):
    """Waits for its turn before every look at the directory and at a file."""

    def __init__(self, path: Path, turn: Callable[[], None]) -> None:
        super().__init__(path)
        self._turn = turn

    def _numbers(self) -> list[int]:
        self._turn()
        return super()._numbers()

    def _file(self, number: int) -> Path:
        self._turn()
        return super()._file(number)


class Contender(threading.Thread):
    """A process that wants the lock and, if it gets it, works until the end."""

    def __init__(self, shared: Any, name: str, *, sleep: Callable[[Contender], None]) -> None:
        super().__init__(daemon=True)
        self._go, self._stands, self._end = (threading.Semaphore(0) for _ in range(3))
        self._path = shared.path
        self.is_asleep = self.is_through = self.has_it = False
        self.lock = Lock(self._path, host=lambda: shared.host(name), sleep=lambda _: sleep(self))
        self.lock._records = Stepped(self._path, self.turn)
        self.start()
        self._stands.acquire()

    def turn(self) -> None:
        if not self.is_through:
            self._stands.release()
            self._go.acquire()

    def step(self, times: int = 1) -> None:
        """Goes on to where it has looked once more, or to where it has the lock or has failed."""
        for _ in range(times):
            if not self.is_through:
                self._go.release()
                self._stands.acquire()

    def run(self) -> None:
        try:
            with self.lock.held():
                self.has_it = True
                self._be_through()
                self._end.acquire()
        except LockedError:
            self._be_through()

    def _be_through(self) -> None:
        self.is_through = True
        self._stands.release()

    def still_has_it(self) -> bool:
        try:
            self.lock.check()
        except LockedError:
            return False
        return self.has_it

    def end(self) -> None:
        self._end.release()
        self.join()


@pytest.fixture
def contend(shared: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Contender]]:
    """Lets two contend, going over from one to the other after so many looks."""
    monkeypatch.setattr(module, "_DEAD_AFTER_S", 0.5)
    monkeypatch.setattr(Lock, "_beat", lambda *_: None)

    def play(switches: tuple[int, ...], *, sleep: Callable[..., None]) -> list[Contender]:
        both: list[Contender] = []
        for name in ("hostB", "hostC"):
            both.append(Contender(shared, name, sleep=lambda me: sleep(me, both)))
        for turn, times in enumerate((*switches, 99, 99)):
            both[turn % 2].step(times)
        return both

    return play


def live_on(me: Contender, both: list[Contender]) -> None:
    """While one sleeps, the other gets on until it sleeps too or is through, and shows that it lives."""
    me.is_asleep = True
    me.turn()
    for other in both:
        while not (other is me or other.is_asleep or other.is_through):
            other.step()
        if other is not me and other.has_it:
            number = other.lock._own[0]
            os.utime(me.lock._path.with_name(f".lock.{number}"), (3e9, 3e9))
    me.is_asleep = False


def be_suspended(me: Contender, both: list[Contender]) -> None:
    """The other one may be anywhere when the time is over, and has shown nothing."""
    me.turn()


@pytest.mark.parametrize("left", ["nothing", "a dead owner"])
@pytest.mark.parametrize("first", SWITCHES)
def test_exactly_one_gets_it(shared: Any, contend: Any, left: str, first: int) -> None:
    for second in SWITCHES:
        for third in SWITCHES:
            if left == "a dead owner":
                shared.leave(shared.host("hostA"))
            both = contend((first, second, third), sleep=live_on)
            assert [one.is_through for one in both] == [True, True]
            assert sum(one.has_it for one in both) == 1
            assert sum(one.still_has_it() for one in both) == 1
            for one in both:
                one.end()
            assert shared.names() == {".lock"}


@pytest.mark.parametrize("first", SWITCHES)
def test_of_those_that_slept_at_any_point_no_two_may_write(
    shared: Any, contend: Any, first: int
) -> None:
    for second in SWITCHES:
        for third in SWITCHES:
            shared.leave(shared.host("hostA"))
            both = contend((first, second, third), sleep=be_suspended)
            assert sum(one.still_has_it() for one in both) <= 1
            for one in both:
                one.end()
            for name in shared.names() - {".lock"}:
                (shared.directory / name).unlink()


def test_one_that_slept_since_it_looked_takes_nothing_from_an_owner(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers begin again after a release, so that the one it means to create is free."""
    shared.leave(shared.host("hostA"))
    sleeper, later, create = shared.on("hostC"), shared.on("hostD"), Records.create
    with ExitStack() as until_later:

        def late(records: Records, *arguments: Any) -> None:
            monkeypatch.setattr(Records, "create", create)
            with shared.on("hostB").held():
                pass
            until_later.enter_context(later.held())
            create(records, *arguments)

        monkeypatch.setattr(Records, "create", late)
        with pytest.raises(LockedError, match=f"process {os.getpid()} on hostD"), sleeper.held():
            raise AssertionError("two have the lock")
        assert shared.names() == {".lock", ".lock.1"}
        later.check()
    assert shared.names() == {".lock"}


def test_a_dead_owner_that_wakes_up_while_it_is_succeeded_keeps_the_lock(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, create = shared.on("hostA"), Records.create
    with owner.held():

        def wake_up(records: Records, *arguments: Any) -> None:
            shared.touch()
            create(records, *arguments)

        monkeypatch.setattr(Records, "create", wake_up)
        with pytest.raises(LockedError, match="on hostA"), shared.on("hostB").held():
            raise AssertionError("two have the lock")
        owner.check()
    assert shared.names() == {".lock"}
