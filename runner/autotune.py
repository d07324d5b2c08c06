"""Choosing threads and how a model is compiled, by measuring it on its own first batches.

Both give other bits, so what is chosen belongs to a run's numerics: it is chosen once, and stands in
run.json and in every manifest.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from runner.checkpoint.restore import unchanged
from runner.checkpoint.spec import EVERYTHING
from runner.choices import Choice, Choices
from runner.config import Experiment
from runner.data.pipeline import Pipelines
from runner.engine.engine import Chunk, Engine
from runner.engine.spec import available_cores
from runner.experiment import Built, build, plan_of
from runner.forks import CAN_FORK, in_fork

log = logging.getLogger(__name__)

_MEASURES_S = 0.2
_HOPELESS = 3.0
"""Who takes so many times longer for one step is not measured any longer."""
_COMPILES_S_PER_NODE = 1e-3
"""What XLA takes to compile a step, by the nodes of its graph; on a slow machine."""
_AT_MOST = 0.1
"""Of the time of a run, for what is tried."""
_AT_MOST_OF_A_SHORT_ONE, _SHORT_COSTS_S = 0.25, 6.0
"""Of the time of a run that is over within a minute, because what XLA saves is often more than half."""
_MANY_STEPS = 500_000
"""With fewer of them, threads are not worth a look: one is faster only where steps are short."""
_CLEARLY = 0.95
"""One thread is taken if it needs at most so much of the time that one per core need."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is compiled as is fastest."""

    built: Built
    step_s: float
    """Seconds for a step; 0 if that was not measured."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What measuring a number of threads came to."""

    choice: Choice
    step_s: float
    """Seconds for a step."""
    took_s: float
    """Seconds for measuring it."""
    why: str


def choose(
    experiment: Experiment,
    data: Pipelines,
    *,
    threads: int | None,
    choices: Choices,
    notify: Callable[[str], None],
) -> Built:
    """Built as it was before by a run of this config on this machine, or as is faster.

    Args:
        data: what ``experiment.read`` gave just before.
        threads: those within an op, where they are not to be chosen.
        notify: is told what is taken, and why.
    """
    cores, plan = available_cores(), plan_of(experiment, data)
    choice, why = choices.recall(), "as an earlier run of this config"
    many_steps = plan.num_steps >= _MANY_STEPS
    if choice is None and threads is None and many_steps and cores > 1 and CAN_FORK:
        time_it = functools.partial(_timed_in_fork, experiment, data)
        if quickest := fastest(time_it, cores=cores, num_steps=plan.num_steps):
            choice, why = choices.keep(quickest.choice), quickest.why
    if choice is not None:
        _tell(choice, why, notify)
        return build(experiment, data, threads=choice.threads, compile=choice.compile)
    built = build(experiment, data, threads=threads or cores, compile="graph")
    if not plan.num_steps:
        return built
    found = faster(built)
    compile = found.built.engine.compile
    choice = choices.keep(Choice(threads=threads or cores, compile=compile))
    _tell(choice, found.why, notify)
    return found.built if choice.compile == compile else built.compiled(choice.compile)


def _tell(choice: Choice, why: str, notify: Callable[[str], None]) -> None:
    count = "1 thread" if choice.threads == 1 else f"{choice.threads} threads"
    text = f"engine.compile=auto: {choice.compile}, {count} ({why})"
    log.info(text)
    notify(text)


def fastest(time_it: Callable[[int], Timed | None], *, cores: int, num_steps: int) -> Timed | None:
    """One thread per core, or a single one if that is clearly faster and the run long enough to tell.

    None if nothing could be measured.
    """
    many = time_it(cores)
    if many is None or not _pays(2 * many.took_s, run_s=many.step_s * num_steps):
        return many
    one = time_it(1)
    if one is None:
        return many
    taken = one if one.step_s <= _CLEARLY * many.step_s else many
    times = f"{_ms(one.step_s)} with 1 thread, {_ms(many.step_s)} with {cores}"
    return replace(taken, why=f"{taken.why}; {times}")


def _timed_in_fork(experiment: Experiment, data: Pipelines, threads: int) -> Timed | None:
    """In a fork, because TensorFlow takes a number of threads once in a process."""

    def timed() -> Timed:
        begun = time.perf_counter()
        found = faster(build(experiment, data, threads=threads, compile="graph"))
        return Timed(
            choice=Choice(threads=threads, compile=found.built.engine.compile),
            step_s=found.step_s,
            took_s=time.perf_counter() - begun,
            why=found.why,
        )

    return in_fork(timed)


def faster(built: Built, *, clock: Callable[[], float] = time.perf_counter) -> Found:
    """A graph, compiled by XLA if that is faster for this model, data and batch size.

    The state is afterwards what it was. A run that is too short for compiling to pay stays a graph, and
    what measuring it takes is a few steps.
    """
    plan = built.plan
    if built.inventory.python_calls:  # Whose memory could not be taken back.
        return Found(built=built, step_s=0.0, why="not measured, as a step calls Python")
    (chunk,) = built.data.training(plan.split, offset=0, spans=[(0, plan.longest_chunk)])
    with unchanged(built.state.parts(EVERYTHING)):
        graph = _time(built.engine, chunk, clock=clock)
        why = f"{_ms(graph.step_s)} a step as a graph"
        stays = Found(built=built, step_s=graph.step_s, why=why)
        compiles_s = _COMPILES_S_PER_NODE * built.inventory.num_nodes
        if _pays(compiles_s, run_s=graph.step_s * plan.num_steps):
            return _or_by_xla(stays, chunk, hopeless_s=_HOPELESS * graph.one_s, clock=clock)
        why = f"{why}; too short a run for XLA, which may compile {compiles_s:.1g} s"
        return replace(stays, why=why)


def _or_by_xla(
    graph: Found, chunk: Chunk, *, hopeless_s: float, clock: Callable[[], float]
) -> Found:
    """What is measured as a graph or, if that is faster, the same by XLA."""
    try:
        compiled = graph.built.compiled("xla")
        xla = _time(compiled.engine, chunk, hopeless_s=hopeless_s, clock=clock)
        if xla.step_s < graph.step_s:
            # What it cannot compile of an evaluation shows here, before the choice is kept.
            split = (*compiled.plan.evaluated, compiled.plan.split)[0]
            compiled.engine.evaluate(itertools.islice(compiled.data.evaluation(split), 1))
    except Exception as error:
        log.info("XLA cannot compile this model", exc_info=error)
        return replace(graph, why=f"{graph.why}; XLA cannot compile it")
    why = f"{graph.why}, {_ms(xla.step_s)} by XLA"
    if xla.step_s < graph.step_s:
        return Found(built=compiled, step_s=xla.step_s, why=why)
    return replace(graph, why=why)


def _pays(costs_s: float, *, run_s: float) -> bool:
    """Whether to try what costs so much in a run that takes so long without."""
    return costs_s <= max(_AT_MOST * run_s, min(_AT_MOST_OF_A_SHORT_ONE * run_s, _SHORT_COSTS_S))


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


@dataclass(frozen=True, kw_only=True)
class _Time:
    one_s: float
    """Seconds for a call of one step."""
    step_s: float
    """Seconds for a step of a call of many."""


def _time(
    engine: Engine, chunk: Chunk, *, hopeless_s: float = float("inf"), clock: Callable[[], float]
) -> _Time:
    """Times steps; of those that take longer than ``hopeless_s``, a single one."""

    def seconds(num_steps: int) -> float:
        begun = clock()
        engine.train(chunk, last=num_steps)
        engine.training_loss()  # Whatever computes has then come to the end.
        return (clock() - begun) / num_steps

    seconds(1)  # Compiles.
    one_s = seconds(1)
    if one_s > hopeless_s:
        return _Time(one_s=one_s, step_s=one_s)
    num_steps = max(1, min(int(chunk["last"]), int(_MEASURES_S / one_s)))
    return _Time(one_s=one_s, step_s=seconds(num_steps))
