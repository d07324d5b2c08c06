"""A run directory that hosts share, and a clock on which only what is asked for goes by."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.lock import Lock
from runner.lock.owner import Host, Owner
from runner.lock.records import Records


class Shared:
    """What the processes on several hosts see and do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / ".lock"
        self.slept_s = 0.0
        self.told: list[str] = []

    def host(self, name: str) -> Host:
        return Host(name, f"a boot of {name}")

    def on(self, name: str, *, meanwhile: Callable[[], None] = lambda: None) -> Lock:
        """The lock as a process on the host has it; ``meanwhile`` is what happens while it waits."""

        def sleep(seconds: float) -> None:
            self.slept_s += seconds
            meanwhile()

        return Lock(self.path, host=lambda: self.host(name), sleep=sleep)

    def here(self) -> Lock:
        """The lock as this process has it; it must not wait."""

        def sleep(seconds: float) -> None:
            raise AssertionError("there was nothing to wait for")

        return Lock(self.path, sleep=sleep)

    def record(self, number: int = 1) -> Path:
        return self.directory / f".lock.{number}"

    def leave(self, host: Host, *, number: int = 1, **changes: Any) -> None:
        """What an owner that was killed leaves; unless changed, its process number lives here."""
        owner = {**vars(Owner.this_process(host)), **changes}
        Records(self.path).create(number, Owner(**owner))

    def touch(self, number: int = 1) -> None:
        """What an owner that lives does every now and then."""
        before = self.record(number).stat()
        os.utime(self.record(number), (before.st_atime, before.st_mtime + 2))

    def names(self) -> set[str]:
        return {file.name for file in self.directory.iterdir()}


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    (tmp_path / "run").mkdir()
    return Shared(tmp_path / "run")


@pytest.fixture
def fail_flock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every flock fail with an error of that number."""

    def fail(number: int) -> None:
        def flock(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return fail


@pytest.fixture
def no_flock(fail_flock: Callable[[int], None]) -> None:
    """A file system without flock."""
    fail_flock(errno.ENOSYS)


@pytest.fixture
def flock_per_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system where a flock on one host is nothing to another."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
