"""Choosing threads and how a model is compiled, by measuring it on its own first batches.

Both give other bits, so what is chosen belongs to a run's numerics: it is chosen once, stands in run.json
and in every manifest, and is remembered beside the runs, so that a second run of one config on one
machine does not differ from the first because a measurement was noisy.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.checkpoint.restore import unchanged
from runner.checkpoint.spec import EVERYTHING
from runner.config import Experiment
from runner.data.pipeline import Pipelines
from runner.engine.engine import Chunk, Engine
from runner.engine.spec import Compile, available_cores
from runner.experiment import Built, build, plan_of
from runner.forks import CAN_FORK, in_fork

log = logging.getLogger(__name__)

_MEASURES_S = 0.2
_HOPELESS = 3.0
"""Who takes so many times longer for one step is not measured any longer."""
_COMPILES_S_PER_NODE = 1e-3
"""What XLA takes to compile a step, by the nodes of its graph; on a slow machine."""
_AT_MOST = 0.05
"""Of the time of the run, for one thing that is tried."""
_MANY_STEPS = 20_000
"""With fewer of them, threads are not worth a look: one is faster only where steps are short."""
_CLEARLY = 0.95
"""One thread is taken if it needs at most so much of the time that one per core need."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a config leaves open."""

    threads: int
    compile: Compile


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What measuring a number of threads came to, compiled as is faster with it."""

    choice: Choice
    step_s: float
    """Seconds for a step."""
    took_s: float
    """Seconds for measuring it."""


def choose(
    experiment: Experiment, data: Pipelines, *, threads: int | None, choices: Choices
) -> Built:
    """Built as it was before by a run of this config on this machine, or as is faster.

    Args:
        data: what ``experiment.read`` gave just before.
        threads: those within an op, where they are not to be chosen.
    """
    cores, plan = available_cores(), plan_of(experiment, data)
    choice = choices.recall()
    if choice is None and threads is None and plan.num_steps >= _MANY_STEPS and CAN_FORK:
        time_it = functools.partial(_timed_in_fork, experiment, data)
        quickest = fastest(time_it, cores=cores, num_steps=plan.num_steps)
        choice = quickest and choices.keep(quickest)
    if choice is not None:
        return build(experiment, data, threads=choice.threads, compile=choice.compile)
    built = build(experiment, data, threads=threads or cores, compile="graph")
    if not plan.num_steps:
        return built
    found, _ = faster(built)
    own = Choice(threads=threads or cores, compile=found.engine.compile)
    compile = choices.keep(own).compile
    return found if compile == own.compile else built.compiled(compile)


def fastest(time_it: Callable[[int], Timed | None], *, cores: int, num_steps: int) -> Choice | None:
    """One thread per core, or a single one if that is clearly faster and the run long enough to tell.

    None if nothing could be measured.
    """
    many = time_it(cores)
    if many is None:
        return None
    if cores == 1 or many.took_s > _AT_MOST * many.step_s * num_steps:
        return many.choice
    one = time_it(1)
    return one.choice if one and one.step_s <= _CLEARLY * many.step_s else many.choice


def _timed_in_fork(experiment: Experiment, data: Pipelines, threads: int) -> Timed | None:
    """In a fork, because TensorFlow takes a number of threads once in a process."""

    def timed() -> Timed:
        begun = time.perf_counter()
        built = build(experiment, data, threads=threads, compile="graph")
        found, step_s = faster(built)
        choice = Choice(threads=threads, compile=found.engine.compile)
        return Timed(choice=choice, step_s=step_s, took_s=time.perf_counter() - begun)

    return in_fork(timed)


def faster(built: Built, *, clock: Callable[[], float] = time.perf_counter) -> tuple[Built, float]:
    """A graph, compiled by XLA if that is faster for this model, data and batch size.

    The state is afterwards what it was. A run for which compiling would not pay stays a graph, and what
    measuring it takes is a few steps.

    Returns:
        It, and what a step took in seconds: 0 if that cannot be measured without a trace, because the
        Python of a step is called, whose memory could not be taken back.
    """
    plan = built.plan
    if built.inventory.python_calls:
        return built, 0.0
    (chunk,) = built.data.training(plan.split, offset=0, spans=[(0, plan.longest_chunk)])
    with unchanged(built.state.parts(EVERYTHING)):
        graph = _time(built.engine, chunk, clock=clock)
        compiles_s = _COMPILES_S_PER_NODE * built.inventory.num_nodes
        if compiles_s > _AT_MOST * graph.step_s * plan.num_steps:
            return built, graph.step_s
        try:
            compiled = built.compiled("xla")
            hopeless_s = _HOPELESS * graph.one_s
            xla = _time(compiled.engine, chunk, hopeless_s=hopeless_s, clock=clock)
            if xla.step_s < graph.step_s:
                # What it cannot compile of an evaluation shows here, before the choice is kept.
                compiled.engine.evaluate([chunk])
        except Exception as error:
            log.info("XLA cannot compile this model", exc_info=error)
            return built, graph.step_s
    log.info("a step: %.4g ms as a graph, %.4g ms by XLA", 1e3 * graph.step_s, 1e3 * xla.step_s)
    return min((built, graph.step_s), (compiled, xla.step_s), key=lambda found: found[1])


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


class Choices:
    """Remembers choices by config and machine, in a file of one line for each.

    Of several lines for one config and machine, as two runs write them that begin together, the first
    one holds.

    Args:
        path: the file.
        run: the id of the run.
        machine: what bits depend on besides the choice; see `runner.numerics`.
        threads: those within an op, where they are not to be chosen.
    """

    def __init__(
        self, path: Path, *, run: str, machine: Mapping[str, Any], threads: int | None = None
    ) -> None:
        text = json.dumps(machine, sort_keys=True)
        self._path = path
        self._threads = threads
        self._key = {"run": run, "machine": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def recall(self) -> Choice | None:
        """What was chosen, if anything was."""
        with suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    content = json.loads(line)
                    choice = _read(content)
                    fits = self._threads in (None, choice.threads)
                    if fits and self._key.items() <= content.items():
                        return choice
        return None

    def keep(self, choice: Choice) -> Choice:
        """Remembers a choice; returns the one that holds."""
        with suppress(OSError):  # A run does not fail for what makes only the next one sure.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                # The line before may be torn.
                file.write("\n" + json.dumps({**self._key, **asdict(choice)}) + "\n")
        return self.recall() or choice


def _read(content: Mapping[str, Any]) -> Choice:
    threads, compile = content["threads"], content["compile"]
    if compile not in ("graph", "xla") or type(threads) is not int or threads < 1:
        raise ValueError(content)
    return Choice(threads=threads, compile=compile)
