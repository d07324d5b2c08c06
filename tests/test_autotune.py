"""How a model is compiled: measured without a trace in the state, chosen once, and remembered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner import evaluate, run
from runner.autotune import Found, Timed, _pays, choose, faster, fastest
from runner.checkpoint import graph
from runner.checkpoint.spec import EVERYTHING
from runner.choices import Choice, Choices, choices_path
from runner.config import Experiment
from runner.config.compose import compose
from runner.config.hydra import experiment_of, job_part
from runner.engine.engine import Engine
from runner.engine.numerics import running_threads
from runner.engine.spec import available_cores
from runner.errors import StepError
from runner.experiment import Built, build, read

SMALL = ("model.hidden=[8]", "phases=train", "phases.train.evaluate=null", "checkpoint.best=null")


def experiment(*overrides: str) -> Experiment:
    return experiment_of(job_part(compose([*SMALL, *overrides])))


def built(*overrides: str) -> Built:
    one = experiment(*overrides)
    threads = running_threads() or available_cores()
    return build(one, read(one), threads=threads, compile="graph")


class Clock:
    """On which a step takes so many seconds, by how it is compiled, and compiling takes none.

    Args:
        call_s: what a call takes besides its steps.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, call_s: float = 0.0, **step_s: float
    ) -> None:
        self.now_s = 0.0
        self.steps: list[tuple[str, int]] = []
        real = Engine.train

        def train(engine: Engine, chunk: Any, *, last: int) -> None:
            real(engine, chunk, last=last)
            self.now_s += step_s[engine.compile] * last + call_s
            self.steps.append((engine.compile, last))

        monkeypatch.setattr(Engine, "train", train)

    def __call__(self) -> float:
        return self.now_s


def bits(one: Built) -> dict[str, Any]:
    parts = one.state.parts(EVERYTHING)
    return {
        way: part.numpy().tobytes() if isinstance(part, graph.Variable) else part.serialize()
        for way, part in graph.leaves(parts)
    }


@pytest.mark.parametrize(("xla_s", "compile"), [(0.001, "xla"), (0.02, "graph"), (0.5, "graph")])
def test_what_is_faster_is_taken_and_the_state_stays(
    monkeypatch: pytest.MonkeyPatch, xla_s: float, compile: str
) -> None:
    one = built("phases.train.until.epochs=10000")
    before, clock = bits(one), Clock(monkeypatch, graph=0.01, xla=xla_s)
    found = faster(one, clock=clock)
    assert found.built.engine.compile == compile
    assert found.step_s == pytest.approx(min(0.01, xla_s))
    assert found.why == f"10 ms a step as a graph, {1000 * xla_s:.3g} ms by XLA"
    assert bits(one) == before
    assert {name for name, _ in clock.steps} == {"graph", "xla"}


def test_a_hopeless_one_is_measured_for_a_single_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, graph=0.01, xla=0.5)
    faster(built("phases.train.until.epochs=10000"), clock=clock)
    assert clock.steps == [("graph", 1), ("graph", 1), ("graph", 20), ("xla", 1), ("xla", 1)]


def test_what_a_call_takes_by_itself_is_held_against_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, call_s=0.001, graph=0.0003, xla=0.0001)
    found = faster(built("phases.train.until.epochs=10000"), clock=clock)
    assert found.built.engine.compile == "xla"


def test_a_run_that_is_too_short_for_compiling_to_pay_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, graph=0.001, xla=0.0001)
    found = faster(built("engine.limit_steps=500"), clock=clock)
    assert found.built.engine.compile == "graph"
    assert "too short a run for XLA" in found.why
    assert {name for name, _ in clock.steps} == {"graph"}


@pytest.mark.parametrize(
    ("costs_s", "run_s", "tried"),
    [
        (0.8, 4, True),
        (0.8, 3, False),  # More than a quarter of it.
        (5.9, 60, True),
        (6.1, 59, False),  # More than a tenth of a minute.
        (60, 601, True),
    ],
)
def test_what_is_tried_costs_a_tenth_of_a_run_or_a_quarter_of_a_short_one(
    costs_s: float, run_s: float, tried: bool
) -> None:
    assert _pays(costs_s, run_s=run_s) is tried


def test_a_run_of_some_thousand_steps_tries_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, graph=0.0003, xla=0.00005)
    one = built("model.hidden=[128]", "phases.train.until={steps: 15000, epochs: null}")
    assert faster(one, clock=clock).built.engine.compile == "xla"


def test_what_xla_cannot_compile_stays_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, graph=0.01, xla=0.001)
    one = built("phases.train.until.epochs=10000")
    real = Engine.train

    def train(engine: Engine, chunk: Any, *, last: int) -> None:
        if engine.compile == "xla":
            raise StepError("no kernel")
        real(engine, chunk, last=last)

    monkeypatch.setattr(Engine, "train", train)
    before = bits(one)
    found = faster(one, clock=clock)
    assert found.built is one
    assert "XLA cannot compile it" in found.why
    assert bits(one) == before


def test_an_evaluation_that_xla_cannot_compile_keeps_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = built("phases.train.until.epochs=10000")
    clock = Clock(monkeypatch, graph=0.01, xla=0.001)

    def evaluate(engine: Engine, chunks: Any) -> None:
        raise StepError("no kernel")

    monkeypatch.setattr(Engine, "evaluate", evaluate)
    assert faster(one, clock=clock).built is one


def test_what_takes_no_step_is_neither_measured_nor_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, clock = experiment("phases.train.until.epochs=0"), Clock(monkeypatch, graph=1.0)
    choices = Choices(tmp_path / "choices", run="a", machine={})
    told: list[str] = []
    choose(one, read(one), threads=running_threads(), choices=choices, notify=told.append)
    assert clock.steps == []
    assert told == []
    assert not (tmp_path / "choices").exists()


# --- threads ----------------------------------------------------------------------------------------


STOPS = """
from dataclasses import dataclass
from runner.callbacks import Callback

@dataclass(frozen=True, kw_only=True)
class Stops(Callback):
    def after_row(self, values, memory):
        memory["rows"] = memory.get("rows", 0) + 1
        return "enough" if memory["rows"] == 4 else None
"""


def timed(threads: int, step_s: float, *, took_s: float = 1.0) -> Timed:
    taken = Choice(threads=threads, compile="xla")
    return Timed(choice=taken, step_s=step_s, took_s=took_s, why="by XLA")


@pytest.mark.parametrize(("one_s", "threads"), [(0.005, 1), (0.0099, 8), (0.02, 8)])
def test_one_thread_is_taken_if_it_is_clearly_faster(one_s: float, threads: int) -> None:
    times = {8: timed(8, 0.01), 1: timed(1, one_s)}
    found = fastest(times.get, cores=8, num_steps=10_000)
    assert found and found.choice == Choice(threads=threads, compile="xla")
    assert found.why == f"by XLA; {1000 * one_s:.3g} ms with 1 thread, 10 ms with 8"


def test_one_thread_is_not_tried_where_that_would_not_pay() -> None:
    times = {8: timed(8, 0.01)}
    assert fastest(times.__getitem__, cores=8, num_steps=500) is times[8]


def test_what_cannot_be_measured_is_not_chosen() -> None:
    assert fastest({}.get, cores=8, num_steps=10_000) is None
    assert fastest({8: timed(8, 0.01)}.get, cores=8, num_steps=10_000) == timed(8, 0.01)


def test_measuring_in_forks_leaves_no_trace_in_the_bits(tmp_path: Path) -> None:
    # Long enough for threads to be measured, and stopped long before its end.
    asked = [*SMALL, "phases.train.until={steps: 500000, epochs: null}", "checkpoint.max_to_keep=1"]
    stops = ["+callbacks.stops={_target_: stops.Stops}", "tracking.log_every.steps=500"]
    (tmp_path / "stops.py").write_text(STOPS)
    command = [sys.executable, "-m", "runner", "--allow", "stops.Stops", *asked, *stops]

    def bits(place: str, *overrides: str) -> dict[str, bytes]:
        given = [*command, f"run.dir={place}", *overrides]
        done = subprocess.run(given, cwd=tmp_path, check=True, capture_output=True, text=True)
        output[place] = done.stdout
        reader = tf.train.load_checkpoint(str(tmp_path / place / "checkpoints"))
        names = reader.get_variable_to_shape_map()
        # Python state holds the id of the run, which goes by the config.
        return {name: bytes(reader.get_tensor(name)) for name in names if "py_state" not in name}

    output: dict[str, str] = {}
    measured = bits("measured")
    chosen = json.loads((tmp_path / "measured" / "run.json").read_text())["numerics"]
    (line,) = filter(None, choices_path().read_text().splitlines())
    assert json.loads(line).items() >= {key: chosen[key] for key in ("threads", "compile")}.items()
    given = [f"engine.{key}={chosen[key]}" for key in ("threads", "compile")]
    assert bits("given", *given) == measured
    assert (
        f"engine.compile=auto: {chosen['compile']}, {chosen['threads']} thread"
        in output["measured"]
    )
    assert "engine.compile=auto" not in output["given"]


# --- remembered -------------------------------------------------------------------------------------


GRAPH = Choice(threads=2, compile="graph")
XLA = Choice(threads=2, compile="xla")


@pytest.mark.parametrize(
    ("cache", "home", "place"),
    [
        ("/cache", "/home/me", "/cache"),
        ("cache", "/home/me", "/home/me/.cache"),
        (None, "/home/me", "/home/me/.cache"),
        (None, None, "outputs"),
        ("", "", "outputs"),
    ],
)
def test_where_choices_stand(
    cache: str | None, home: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("XDG_CACHE_HOME", cache), ("HOME", home)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert choices_path() == Path(place, "tf-runner", "choices.jsonl")


def test_the_first_of_two_choices_holds(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "choices"
    here = Choices(path, run="a", machine={"processor": "fast"})
    assert here.recall() is None
    assert here.keep(XLA) == XLA
    assert here.keep(GRAPH) == XLA
    assert Choices(path, run="a", machine={"processor": "fast"}).recall() == XLA
    assert Choices(path, run="b", machine={"processor": "fast"}).recall() is None
    assert Choices(path, run="a", machine={"processor": "slow"}).keep(GRAPH) == GRAPH


@pytest.mark.parametrize("content", [b"\0\0", b"[1]\n{}\nnull\n", b'{"run": "a"', b'{"torn'])
def test_what_is_no_line_of_a_choice_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "choices").write_bytes(content)
    here = Choices(tmp_path / "choices", run="a", machine={})
    assert here.recall() is None
    assert here.keep(XLA) == here.recall() == XLA


def test_a_choice_that_cannot_be_remembered_holds_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    assert Choices(tmp_path / "outputs" / "choices", run="a", machine={}).keep(XLA) == XLA


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets what measuring finds from now on."""
    found: list[str] = []

    def faster(one: Built) -> Found:
        compile: Any = found[-1]
        taken = one if compile == "graph" else one.compiled(compile)
        return Found(built=taken, step_s=0.001, why="so it was told")

    monkeypatch.setattr("runner.autotune.faster", faster)
    yield found.append


STEPS = ("engine.limit_steps=6", "checkpoint.every.steps=2")


def numerics(place: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(place, "run.json").read_text())["numerics"]
    return content


def test_a_second_run_of_one_config_is_compiled_as_the_first(
    workdir: Path, measured: Callable[[str], None]
) -> None:
    measured("xla")
    first = run(*SMALL, *STEPS, "run.dir=first")
    measured("graph")
    second = run(*SMALL, *STEPS, "run.dir=second")
    assert numerics("first")["compile"] == numerics("second")["compile"] == "xla"
    data = [one.checkpoints[-1].with_suffix(".data-00000-of-00001") for one in (first, second)]
    assert data[0].read_bytes() == data[1].read_bytes()
    run(*SMALL, *STEPS, "seed=9", "run.dir=other")
    assert numerics("other")["compile"] == "graph"


def test_threads_that_are_given_are_not_chosen_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "choices"
    Choices(path, run="a", machine={}).keep(Choice(threads=1, compile="xla"))
    two = Choices(path, run="a", machine={}, threads=2)
    assert two.recall() is None
    assert two.keep(Choice(threads=2, compile="graph")) == Choice(threads=2, compile="graph")
    assert two.recall() == Choice(threads=2, compile="graph")
    assert Choices(path, run="a", machine={}).recall() == Choice(threads=1, compile="xla")


def test_an_evaluation_is_compiled_as_the_run_that_it_measures(
    workdir: Path, measured: Callable[[str], None]
) -> None:
    measured("xla")
    run(*SMALL, *STEPS, "run.dir=here")
    done = evaluate("here", "phases=evaluate", "phases.evaluate.restore=null")
    assert numerics(str(done.directory))["compile"] == "xla"


def test_an_evaluation_does_without_threads_that_this_process_cannot_have(workdir: Path) -> None:
    run(*SMALL, *STEPS, "engine.compile=graph", "run.dir=here")
    threads = numerics("here")["threads"]
    content = json.loads(Path("here/run.json").read_text())
    content["numerics"]["threads"] = threads + 1
    Path("here/run.json").write_text(json.dumps(content))
    done = evaluate("here", "phases=evaluate", "phases.evaluate.restore=null")
    assert numerics(str(done.directory))["threads"] == threads


def test_a_run_goes_on_as_it_was_compiled_at_first(
    workdir: Path, measured: Callable[[str], None]
) -> None:
    measured("xla")
    run(*SMALL, *STEPS, "run.dir=here")
    content = json.loads(Path("here/run.json").read_text())
    Path("here/run.json").write_text(json.dumps({**content, "status": "running"}))
    choices_path().unlink()
    measured("graph")
    run(*SMALL, *STEPS, "run.dir=here")
    last = json.loads(Path("here/run.json").read_text())
    assert last["numerics"]["compile"] == "xla"
    assert last["sittings"][-1]["not_identical"] == []


def test_a_run_elsewhere_is_done_as_the_first_one_was(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None]
) -> None:
    measured("xla")
    run(*SMALL, *STEPS, "run.dir=here")
    measured("graph")
    (workdir / "elsewhere").mkdir()
    monkeypatch.chdir(workdir / "elsewhere")
    run(*SMALL, *STEPS, "run.dir=here")
    first, second = (
        json.loads(path.read_text())["numerics"] for path in sorted(workdir.rglob("run.json"))
    )
    assert first == second
    assert first["compile"] == "xla"
