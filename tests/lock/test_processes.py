"""Real processes, and real deaths."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.lock import LockedError

REPOSITORY = Path(__file__).resolve().parents[2]

START = """
import errno, fcntl, os, subprocess, sys
from pathlib import Path
from runner.lock import Lock

def refuse(*_):
    raise OSError(errno.ENOSYS, "none here")

def say(*words):
    print(*words, flush=True)

if sys.argv[2] == "without flock":
    fcntl.flock = refuse
lock = Lock(Path(sys.argv[1]))
"""
WORK = "with lock.held():\n    say('works')\n    sys.stdin.read()"
"""Works until it is killed, or until the test closes its input."""
CHILD = "import sys; print('works', flush=True); sys.stdin.read()"

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture(params=["with flock", "without flock"])
def start(
    request: pytest.FixtureRequest, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Starts a script in a process of its own and waits for its first line."""
    if request.param == "without flock":
        request.getfixturevalue("no_flock")
    processes: list[subprocess.Popen[str]] = []

    def script(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", START + code, shared.path, request.param],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        processes.append(process)
        assert process.stdout.readline() == "works\n"
        return process

    yield script
    for process in processes:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_at_once(shared: Any, start: Start) -> None:
    first = start(WORK)
    told = f"being worked on by process {first.pid} on "
    with pytest.raises(LockedError, match=told), shared.here().held():
        raise AssertionError("two have the lock")
    assert shared.here().holder().startswith(f"process {first.pid} on ")
    first.communicate()
    assert shared.names() == {".lock"}
    assert shared.here().holder() is None


def test_a_killed_process_leaves_the_lock_free_even_before_its_parent_has_noticed(
    shared: Any, start: Start
) -> None:
    first = start(WORK)
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert shared.names() == {".lock", ".lock.1"}
    assert shared.here().holder() is None
    with shared.here().held():
        assert shared.names() == {".lock", ".lock.2"}
    assert shared.names() == {".lock"}


@pytest.mark.parametrize("end", ["os._exit(1)", "os.abort()", "sys.exit(1)", "1 / 0"])
def test_so_does_one_that_ends_in_any_other_way(shared: Any, start: Start, end: str) -> None:
    code = f"os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n{WORK}\n    {end}"
    first = start(code)
    first.communicate()
    assert first.returncode != 0
    with shared.here().held():
        pass


FORK = """
with lock.held():
    if os.fork() == 0:
        say('works')
        sys.stdin.read()
        os._exit(0)
    os.kill(os.getpid(), 9)
"""
SUBPROCESS = f"""
with lock.held():
    subprocess.Popen([sys.executable, "-c", {CHILD!r}], close_fds=False)
    os._exit(1)
"""


@pytest.mark.parametrize("code", [FORK, SUBPROCESS], ids=["fork", "subprocess"])
def test_a_child_that_lives_on_keeps_nothing(shared: Any, start: Start, code: str) -> None:
    first = start(code)
    first.wait()
    with shared.here().held():
        pass


CHILD_LEAVES = """
child = None
with lock.held():
    child = os.fork()
    if child == 0:
        try:
            lock.check()
        except Exception as error:
            say('works' if 'not locked by this process' in str(error) else error)
    else:
        os.waitpid(child, 0)
        lock.check()
        say('still has it')
        sys.stdin.read()
"""


def test_a_child_that_leaves_the_block_takes_nothing_from_its_parent(
    shared: Any, start: Start
) -> None:
    first = start(CHILD_LEAVES)
    assert first.stdout.readline() == "still has it\n"
    told = f"being worked on by process {first.pid} on "
    with pytest.raises(LockedError, match=told), shared.here().held():
        raise AssertionError("two have the lock")
    assert shared.names() == {".lock", ".lock.1"}
