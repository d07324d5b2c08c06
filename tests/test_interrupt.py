"""Asking a run to stop where it can go on later."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner import run
from runner.autotune import _Time
from runner.choices import choices_path
from runner.engine.engine import Engine
from runner.interrupt import Interrupted, StopRequest, duration_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), ("2d", 172800.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2 h", "1h30m", "2y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 30m, 2h or 1d"):
        duration_s(text)


def test_time_is_up_by_the_clock() -> None:
    now = [100.0]
    stop = StopRequest(max_time_s=60.0, clock=lambda: now[0])
    assert stop.reason(step=0) is None
    now[0] = 159.9
    assert stop.reason(step=0) is None
    now[0] = 160.0
    assert stop.reason(step=0) == "run.max_time is over"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_a_second_one_does_what_it_did_before(number: signal.Signals) -> None:
    told: list[str] = []
    # Whoever starts the tests in the background may have it ignored, which is to stay so.
    found = signal.signal(number, signal.default_int_handler)
    before = signal.getsignal(number)
    stop = StopRequest(notify=told.append)
    try:
        with stop.on_signals():
            assert stop.reason(step=0) is None
            os.kill(os.getpid(), number)
            assert stop.reason(step=0) == number.name
            assert signal.getsignal(number) is before
        assert told == [number.name]
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, found)


def test_a_bad_max_time_is_told(cli: Callable[..., Any]) -> None:
    done = cli("run.max_time=soon")
    assert done.code == 2
    assert "run.max_time=soon: give a number and a unit, such as 90s, 30m, 2h or 1d" in done.err


def test_a_run_out_of_time_saves_and_exits_with_75(cli: Callable[..., Any]) -> None:
    small = ("engine.limit_steps=6", "run.dir=here")
    done = cli(*small, "run.max_time=0s")
    assert done.code == Interrupted.exit_code == 75
    assert done.err == (
        "runner: run.max_time is over: stopped at step 1 after saving; the same command goes on\n"
    )
    assert (Path("here/checkpoints/ckpt-stopped-1.index")).exists()
    assert "stopped" in cli("ls", ".").out
    shown = cli("show", "here").out
    assert "stopped" in shown
    again = cli(*small)
    assert "goes on from here/checkpoints/ckpt-stopped-1, step 1" in again.out
    assert not Path("here/checkpoints/ckpt-stopped-1.index").exists()


def test_a_step_is_as_far_as_it_goes() -> None:
    stop = StopRequest(at_step=3)
    assert [stop.reason(step=step) for step in (2, 3, 4)] == [
        None,
        "step 3 is reached",
        "step 4 is reached",
    ]
    assert StopRequest().reason(step=3) is None


@pytest.mark.parametrize("when", ["before", "within", "taken for a problem"])
def test_where_nothing_has_to_be_saved_a_signal_interrupts_at_once(when: str) -> None:
    told: list[str] = []
    done: list[str] = []
    stop = StopRequest(notify=told.append)
    reason = "SIGTERM: stopped before its first step; the same command goes on"
    with pytest.raises(Interrupted, match=reason), stop.on_signals():
        if when == "before":
            os.kill(os.getpid(), signal.SIGTERM)
        with stop.at_once():
            done.append("begun")
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("gone on")
            except BaseException as error:
                if when == "taken for a problem":
                    raise KeyError from error
                raise
        done.append("left")
    assert done == ([] if when == "before" else ["begun"])
    assert told == (["SIGTERM"] if when == "before" else [])


def test_a_signal_after_the_last_step_loses_nothing(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def closing(_: Any) -> Iterator[None]:
        yield
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("runner.session._closing", closing)
    assert run("engine.limit_steps=3", "run.dir=here").step == 3
    assert json.loads(Path("here/run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("place", ["engine.engine.Engine.build", "autotune._time"])
def test_a_signal_while_a_run_is_built_ends_it_there(
    place: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: Engine, *_: Any, **__: Any) -> Any:
        if place == "autotune._time" and engine.compile == "graph":
            return _Time(one_s=1.0, step_s=1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(f"runner.{place}", interrupted)
        patch.setattr("runner.autotune._pays", lambda *_, **__: True)
        with pytest.raises(Interrupted, match="SIGTERM: stopped before its first step"):
            run("engine.limit_steps=3", "run.dir=here")
    assert json.loads(Path("here/run.json").read_text())["status"] == "stopped"
    assert not choices_path().exists()
    assert run("engine.limit_steps=3", "run.dir=here").step == 3
