"""Processes of their own: what one of them does touches no other, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from runner.sweep.pool import GRACE_S, Pool
from tests.sweep.works import work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinity and pause")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """As in the foreground: a job in the background ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass
class Log:
    """What the pool told, in order."""

    on_told: Callable[[Any], None] = lambda message: None
    done: list[Any] = field(default_factory=list)

    def started(self, task: Any) -> None:
        self.done.append(("started", task))

    def told(self, task: Any, message: Any) -> None:
        self.done.append(("told", task, message))
        self.on_told(message)

    def ended(self, task: Any, how: str | None) -> None:
        self.done.append(("ended", task, how))

    def stopping(self, reason: str) -> None:
        self.done.append(("stopping", reason))

    def of_kind(self, kind: str) -> list[Any]:
        return [one[1:] for one in self.done if one[0] == kind]


def pool(jobs: int = 1, **more: Any) -> Pool[Any]:
    return Pool(work, jobs=jobs, preload="tests.sweep.works", **more)


def run(tasks: Iterable[Any], log: Log, **more: Any) -> Pool[Any]:
    one = pool(**more)
    one.run(iter(tasks), log)
    return one


def test_each_task_has_a_process_of_its_own() -> None:
    log = Log()
    run([("tell",), ("tell",)], log, jobs=2)
    pids = {message["pid"] for _, message in log.of_kind("told")}
    assert len(pids | {os.getpid()}) == 3
    assert log.of_kind("ended") == [(("tell",), None)] * 2


def test_cores_are_shared_out() -> None:
    log = Log()
    run([("tell",), ("tell",)], log, jobs=2)
    shared = [core for _, message in log.of_kind("told") for core in message["cores"]]
    assert sorted(shared) == sorted(os.sched_getaffinity(0))
    log = Log()
    run([("tell",)], log, jobs=1)
    assert log.of_kind("told")[0][1]["cores"] == sorted(os.sched_getaffinity(0))


def test_a_crash_touches_no_other() -> None:
    log = Log()
    run([("crash",), ("exit",), ("tell",)], log, jobs=1)
    how = dict(log.of_kind("ended"))
    assert how["crash",] == "was killed by SIGKILL, as the system does when memory runs out"
    assert how["exit",] == "exit code 7"
    assert how["tell",] is None


def test_the_next_task_is_asked_for_when_there_is_room() -> None:
    log = Log()

    def tasks() -> Iterable[Any]:
        yield ("tell", 1)
        assert [task for task, _ in log.of_kind("ended")] == [("tell", 1)]
        yield ("tell", 2)

    run(tasks(), log, jobs=1)
    assert len(log.of_kind("ended")) == 2


class Clock:
    """Stands until something happens."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("what", "told"), [("wait", []), ("save", ["saved"])])
def test_what_takes_too_long_is_asked_to_stop(what: str, told: list[str]) -> None:
    clock = Clock()
    log = Log(on_told=lambda message: setattr(clock, "now_s", 61.0 if message == "waits" else 62.0))
    run([(what,)], log, timeout_s=60.0, clock=clock)
    assert log.of_kind("ended") == [((what,), "took longer than 60 s")]
    assert [message for _, message in log.of_kind("told")] == ["waits", *told]


def test_what_does_not_stop_is_killed() -> None:
    class Passing(Clock):
        def __call__(self) -> float:
            self.now_s += GRACE_S
            return self.now_s

    log = Log()
    run([("deaf",)], log, timeout_s=1e-3, clock=Passing())
    assert log.of_kind("ended") == [(("deaf",), "took longer than 0.001 s")]


def test_a_signal_lets_all_save_and_begins_no_more() -> None:
    waiting: list[Any] = []

    def on_told(message: Any) -> None:
        waiting.append(message)
        if waiting == ["waits", "waits"]:
            os.kill(os.getpid(), signal.SIGTERM)

    log = Log(on_told)
    one = run([("save", 1), ("save", 2), ("tell",)], log, jobs=2)
    assert one.signals == ["SIGTERM"]
    assert log.of_kind("stopping") == [("SIGTERM",)]
    assert sorted(log.of_kind("ended")) == [(("save", 1), None), (("save", 2), None)]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_while_the_next_task_is_made_begins_it_no_more() -> None:
    def tasks() -> Iterable[Any]:
        yield ("tell", 1)
        os.kill(os.getpid(), signal.SIGTERM)
        yield ("tell", 2)

    log = Log()
    assert run(tasks(), log, jobs=1).signals == ["SIGTERM"]
    assert log.of_kind("started") == [(("tell", 1),)]


def test_whoever_is_told_can_have_a_process_stop() -> None:
    log = Log()
    log.told = lambda task, message: "worse than others"  # type: ignore[method-assign]
    run([("wait",), ("save",)], log, jobs=2)
    assert sorted(log.of_kind("ended")) == [
        (("save",), "worse than others"),
        (("wait",), "worse than others"),
    ]


def test_a_second_signal_kills_what_does_not_stop() -> None:
    clock = Clock()

    def on_told(message: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        clock.now_s += GRACE_S

    log = Log(on_told)
    one = run([("deaf",)], log, clock=clock)
    assert one.signals == ["SIGINT", "SIGINT"]
    assert log.of_kind("ended") == [(("deaf",), "stopped at once")]


def test_a_second_signal_is_heeded_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.sweep.pool.GRACE_S", 0.0)
    pid, later = os.getpid(), []

    def on_told(message: Any) -> None:
        os.kill(pid, signal.SIGINT)
        # The second one comes from elsewhere, once the pool waits again.
        again = f"import os, time; time.sleep(0.5); os.kill({pid}, {int(signal.SIGINT)})"
        later.append(subprocess.Popen([sys.executable, "-c", again]))

    log = Log(on_told)
    run([("deaf",)], log)
    assert later[0].wait() == 0
    assert log.of_kind("ended") == [(("deaf",), "stopped at once")]


def test_an_end_shows_although_a_child_lives_on() -> None:
    log = Log()
    run([("parent",)], log)
    (ended,) = log.of_kind("ended")
    assert ended[1].startswith("was killed by SIGKILL")
    (told,) = log.of_kind("told")
    assert told[1] > 0


def test_an_error_leaves_no_process_behind() -> None:
    pids: list[int] = []

    def tasks() -> Iterable[Any]:
        yield ("wait",)
        raise ValueError("no more")

    log = Log()
    one = pool(jobs=2)
    start = one._start

    def remembered(task: Any, slot: int) -> Any:
        process = start(task, slot)
        pids.append(process.handle.pid)
        return process

    one._start = remembered  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="no more"):
        one.run(iter(tasks()), log)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_process_whose_starter_is_killed_stops() -> None:
    script = """
        import os, signal
        from tests.sweep.test_pool import Log, run
        if __name__ == "__main__":
            log = Log(lambda message: (print(message, flush=True), os.kill(os.getpid(), signal.SIGKILL)))
            run([("save",)], log)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    # The pipe is at its end when the last process that could write to it is gone.
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "waits\n")
