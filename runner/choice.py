"""Choosing how a model is compiled, by measuring it on its own first batches.

Graph and XLA give other bits, so what is chosen belongs to a run's numerics: it is chosen once, stands
in run.json and in every manifest, and is remembered beside the runs, so that a second run of one config
on one machine does not differ from the first because a measurement was noisy.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.checkpoint.restore import unchanged
from runner.checkpoint.spec import EVERYTHING
from runner.engine.engine import Chunk, Engine
from runner.engine.spec import Compile
from runner.experiment import Built

log = logging.getLogger(__name__)

_COMPILES_S_PER_NODE = 1e-3
"""What XLA takes to compile a step, by the nodes of its graph; on a slow machine."""
_COMPILES_AT_MOST = 0.1
"""Of the time of the run."""
_MEASURES_S = 0.1
_CHOICES = ("graph", "xla")
_HOPELESS = 3.0
"""Who takes so many times longer for one step is not measured any longer."""


def choose(built: Built, choices: Choices) -> Built:
    """Compiled as it was before by a run of this config on this machine, or as is faster."""
    if not built.plan.num_steps:
        return built
    before = choices.recall()
    chosen = faster(built) if before is None else built
    compile = before or choices.keep(chosen.engine.compile)
    return chosen if compile == chosen.engine.compile else built.compiled(compile)


def faster(built: Built, *, clock: Callable[[], float] = time.perf_counter) -> Built:
    """A graph, compiled by XLA if that is faster for this model, data and batch size.

    The state is afterwards what it was. A run for which compiling would not pay stays a graph, and what
    measuring it takes is a few steps.
    """
    plan = built.plan
    if built.inventory.python_calls:
        return built  # What the Python of a step remembers could not be taken back.
    (chunk,) = built.data.training(plan.split, offset=0, spans=[(0, plan.longest_chunk)])
    with unchanged(built.state.parts(EVERYTHING)):
        graph_s = _step_s(built.engine, chunk, clock=clock)
        compiles_s = _COMPILES_S_PER_NODE * built.inventory.num_nodes
        if compiles_s > _COMPILES_AT_MOST * graph_s * plan.num_steps:
            return built
        try:
            compiled = built.compiled("xla")
            xla_s = _step_s(compiled.engine, chunk, hopeless_s=_HOPELESS * graph_s, clock=clock)
            if xla_s < graph_s:
                # What it cannot compile of an evaluation shows here, before the choice is kept.
                compiled.engine.evaluate([chunk])
        except Exception as error:
            log.info("XLA cannot compile this model", exc_info=error)
            return built
    log.info("a step takes %.4g ms as a graph and %.4g ms under XLA", 1e3 * graph_s, 1e3 * xla_s)
    return compiled if xla_s < graph_s else built


def _step_s(
    engine: Engine, chunk: Chunk, *, hopeless_s: float = float("inf"), clock: Callable[[], float]
) -> float:
    """Seconds for a step; of one that takes longer than ``hopeless_s``, of a single one."""

    def seconds(num_steps: int) -> float:
        begun = clock()
        engine.train(chunk, last=num_steps)
        engine.training_loss()  # Whatever computes has then come to the end.
        return (clock() - begun) / num_steps

    seconds(1)  # Compiles.
    one_s = seconds(1)
    most = int(chunk["last"])
    return one_s if one_s > hopeless_s else seconds(max(1, min(most, int(_MEASURES_S / one_s))))


class Choices:
    """Remembers choices by config and machine, in a file of one line for each.

    Of several lines for one config and machine, as two runs write them that begin together, the first
    one holds.

    Args:
        path: the file.
        run: the id of the run.
        machine: what bits depend on besides the choice; see `runner.numerics`.
    """

    def __init__(self, path: Path, *, run: str, machine: Mapping[str, Any]) -> None:
        text = json.dumps(machine, sort_keys=True)
        self._path = path
        self._key = {"run": run, "machine": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def recall(self) -> Compile | None:
        """What was chosen, if anything was."""
        with suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with suppress(ValueError, AttributeError, KeyError):
                    content = json.loads(line)
                    if self._key.items() <= content.items() and content["compile"] in _CHOICES:
                        found: Compile = content["compile"]
                        return found
        return None

    def keep(self, compile: Compile) -> Compile:
        """Remembers a choice; returns the one that holds."""
        with suppress(OSError):  # A run does not fail for what makes only the next one sure.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                # The line before may be torn.
                file.write("\n" + json.dumps({**self._key, "compile": compile}) + "\n")
        return self.recall() or compile
