"""How a model is compiled: measured without a trace in the state, chosen once, and remembered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner import choice, evaluate, run
from runner.checkpoint import graph
from runner.checkpoint.spec import EVERYTHING
from runner.choice import Choices, choose, faster
from runner.config.compose import compose
from runner.config.hydra import experiment_of, job_part
from runner.engine.engine import Engine
from runner.engine.spec import available_cores
from runner.errors import StepError
from runner.experiment import Built, build

SMALL = ("model.hidden=[8]", "phases=train", "phases.train.evaluate=null", "checkpoint.best=null")


def built(*overrides: str) -> Built:
    experiment = experiment_of(job_part(compose([*SMALL, *overrides])))
    threads = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
    return build(experiment, threads=threads, compile="graph")


class Clock:
    """On which a step takes so many seconds, by how it is compiled, and compiling takes none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **step_s: float) -> None:
        self.now_s = 0.0
        self.steps: list[tuple[str, int]] = []
        real = Engine.train

        def train(engine: Engine, chunk: Any, *, last: int) -> None:
            real(engine, chunk, last=last)
            self.now_s += step_s[engine.compile] * last
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
    assert faster(one, clock=clock).engine.compile == compile
    assert bits(one) == before
    assert {name for name, _ in clock.steps} == {"graph", "xla"}


def test_a_hopeless_one_is_measured_for_a_single_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, graph=0.01, xla=0.5)
    faster(built("phases.train.until.epochs=10000"), clock=clock)
    assert clock.steps == [("graph", 1), ("graph", 1), ("graph", 10), ("xla", 1), ("xla", 1)]


def test_a_run_that_is_shorter_than_compiling_is_worth_is_not_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, graph=0.001, xla=0.0001)
    assert faster(built("engine.limit_steps=500"), clock=clock).engine.compile == "graph"
    assert {name for name, _ in clock.steps} == {"graph"}


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
    assert faster(one, clock=clock) is one
    assert bits(one) == before


def test_an_evaluation_that_xla_cannot_compile_keeps_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = built("phases.train.until.epochs=10000")
    clock = Clock(monkeypatch, graph=0.01, xla=0.001)

    def evaluate(engine: Engine, chunks: Any) -> None:
        raise StepError("no kernel")

    monkeypatch.setattr(Engine, "evaluate", evaluate)
    assert faster(one, clock=clock) is one


def test_what_takes_no_step_is_neither_measured_nor_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, clock = built("phases.train.until.epochs=0"), Clock(monkeypatch, graph=1.0)
    assert choose(one, Choices(tmp_path / "choices", run="a", machine={})) is one
    assert clock.steps == []
    assert not (tmp_path / "choices").exists()


# --- remembered -------------------------------------------------------------------------------------


def test_the_first_of_two_choices_holds(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "choices"
    here = Choices(path, run="a", machine={"threads": 2})
    assert here.recall() is None
    assert here.keep("xla") == "xla"
    assert here.keep("graph") == "xla"
    assert Choices(path, run="a", machine={"threads": 2}).recall() == "xla"
    assert Choices(path, run="b", machine={"threads": 2}).recall() is None
    assert Choices(path, run="a", machine={"threads": 4}).keep("graph") == "graph"


@pytest.mark.parametrize("content", [b"\0\0", b"[1]\n{}\nnull\n", b'{"run": "a"', b'{"torn'])
def test_what_is_no_line_of_a_choice_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "choices").write_bytes(content)
    here = Choices(tmp_path / "choices", run="a", machine={})
    assert here.recall() is None
    assert here.keep("xla") == here.recall() == "xla"


def test_a_choice_that_cannot_be_remembered_holds_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    assert Choices(tmp_path / "outputs" / "choices", run="a", machine={}).keep("xla") == "xla"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets what measuring finds from now on."""
    found: list[str] = []

    def faster(one: Built) -> Built:
        compile: Any = found[-1]
        return one if compile == "graph" else one.compiled(compile)

    monkeypatch.setattr(choice, "faster", faster)
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
    assert numerics_of_other_seed() == "graph"


def numerics_of_other_seed() -> str:
    run(*SMALL, *STEPS, "seed=9", "run.dir=other")
    return str(numerics("other")["compile"])


def test_an_evaluation_is_compiled_as_the_run_that_it_measures(
    workdir: Path, measured: Callable[[str], None]
) -> None:
    measured("xla")
    run(*SMALL, *STEPS, "run.dir=here")
    done = evaluate("here", "phases=evaluate", "phases.evaluate.restore=null")
    assert numerics(str(done.directory))["compile"] == "xla"


def test_a_run_goes_on_as_it_was_compiled_at_first(
    workdir: Path, measured: Callable[[str], None]
) -> None:
    measured("xla")
    run(*SMALL, *STEPS, "run.dir=here")
    content = json.loads(Path("here/run.json").read_text())
    Path("here/run.json").write_text(json.dumps({**content, "status": "running"}))
    Path("outputs/.choices.jsonl").unlink()
    measured("graph")
    run(*SMALL, *STEPS, "run.dir=here")
    last = json.loads(Path("here/run.json").read_text())
    assert last["numerics"]["compile"] == "xla"
    assert last["sittings"][-1]["not_identical"] == []
