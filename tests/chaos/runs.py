"""Real runs in processes of their own, and where in the run one of them was killed."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

COMMAND = (
    "run.dir=run",
    "engine.limit_steps=24",
    "checkpoint.every.steps=1",
    "checkpoint.max_to_keep=2",
    "tracking.log_every.steps=4",
    "phases.train.evaluate.every={steps: 5, epochs: null}",
    "+phases.more={_target_: runner.phases.Train, data: train, until: {steps: 12}}",
    "+phases.test={_target_: runner.phases.Evaluate, data: test, restore: best}",
)
"""Two phases that train, each followed by one that evaluates the best checkpoint; many saves."""

_TARGET = "tests.chaos.odd_models"
_OWN = ("model=own", "+model.shape=${data.shape}", "+model.outputs=${data.outputs}")


def _own(name: str) -> tuple[str, ...]:
    return (*_OWN, f"model._target_={_TARGET}.{name}", f"--allow={_TARGET}.{name}")


CONFIGS = {
    "dropout and batch normalization": _own("normed"),
    "recurrent dropout": _own("recurrent"),
    "layers in a list and a dict": _own("Listed"),
    "Adam with averaged weights and accumulated gradients": (
        "model.hidden=[32]",
        "+optimizer.use_ema=true",
        "+optimizer.gradient_accumulation_steps=3",
    ),
    "a scaled loss": ("model.hidden=[32]", "engine.dtype_policy=mixed_float16"),
}
"""Arguments, by what is special about the state."""

_MOST_READ = 1 << 16  # What a pipe holds.
START_UP = "start-up"
STAGES = (
    START_UP,
    "restore",
    "train",
    "evaluation",
    "save",
    "between phases",
    "after the last phase",
)
"""Where a run can be killed."""


def command(directory: Path, *overrides: str, kill_at: int | None = None) -> tuple[int, str]:
    """What the command line does in ``directory``; returns the exit code and standard error.

    For a process of its own. Every beginning of a stage is told in run.log.

    Args:
        kill_at: kills the process when a stage is told that has so many before it.
    """
    os.chdir(directory)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # Not a file, which a full disk or a limit would keep from being written.
    read, write = os.pipe()
    os.dup2(write, 2)
    os.set_blocking(read, False)
    _tell_stages(kill_at)
    from runner.cli import run_command

    code = run_command(overrides)
    with suppress(BlockingIOError):
        return code, os.read(read, _MOST_READ).decode()
    return code, ""


def stage_of(log: Path, *, since: int) -> str:
    """Where the process was that wrote all but the first ``since`` bytes of run.log."""
    told = stages_of(log, since=since)
    return told[-1] if told else START_UP


def stages_of(log: Path, *, since: int = 0) -> list[str]:
    """All stages that were told after the first ``since`` bytes of run.log."""
    content = log.read_bytes()[since:].decode(errors="replace") if log.exists() else ""
    return re.findall(r"INFO runner\.chaos: (.+)\n", content)


def _tell_stages(kill_at: int | None) -> None:
    from runner.checkpoint.saver import Saver
    from runner.checkpoint.store import CheckpointStore
    from runner.engine.engine import Engine
    from runner.phases import Evaluate, Train
    from runner.worker import Worker

    under_way = ["after the last phase"]
    numbers = itertools.count()
    log = logging.getLogger("runner.chaos")

    def tell(stage: str) -> None:
        log.info(stage)
        if next(numbers) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    stages: list[tuple[str, Any, str]] = [
        ("between phases", Worker, "work"),
        ("restore", Worker, "_start"),
        ("train", Train, "run"),
        ("evaluation", Evaluate, "run"),
        ("evaluation", Engine, "evaluate"),
        ("save", CheckpointStore, "begin"),
        ("save", Saver, "_finish"),
    ]
    for stage, owner, name in stages:
        setattr(owner, name, _telling(getattr(owner, name), stage, under_way, tell))


def _telling(
    method: Callable[..., Any], stage: str, under_way: list[str], tell: Callable[[str], None]
) -> Callable[..., Any]:
    """The method; it tells its stage when it begins, and the one around it when it ends."""

    @functools.wraps(method)
    def telling(*arguments: Any, **options: Any) -> Any:
        under_way.append(stage)
        tell(stage)
        try:
            return method(*arguments, **options)
        finally:
            under_way.remove(stage)  # Not the last one: saves are made beside the rest.
            tell(under_way[-1])

    return telling
