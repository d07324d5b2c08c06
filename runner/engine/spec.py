"""The config of the engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runner.errors import Invalid

Compile: TypeAlias = Literal["graph", "xla", "eager"]


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """How steps are computed. All but ``max_chunk`` can change bits, and so belongs to the run's id."""

    compile: Literal["auto", "graph", "xla", "eager"] = "auto"
    """One graph for a chunk of steps, the same compiled by XLA, or op by op for debugging.

    auto measures graph and xla on the first launch of a run that is long enough for it to pay, keeps
    to what was faster, and takes that for other runs of the same config on the same machine.
    """
    dtype_policy: Literal[
        "float32", "float64", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16"
    ] = "float32"
    """Keras's global dtype policy."""
    deterministic: bool = True
    """Only ops that give the same bits every time; TensorFlow refuses those it cannot make so."""
    threads: int | None = None
    """Threads within an op. null takes one per core on the first launch and keeps to it; with
    ``compile`` auto, in a long run on Linux, a single one if that is faster."""
    limit_steps: int | None = None
    """No train phase goes further than this; for trying things out."""
    max_chunk: int = 500
    """The most steps in one call, fewer where they would fill the memory or take long; bits do not
    depend on it."""

    def __post_init__(self) -> None:
        for name in ("threads", "limit_steps", "max_chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise Invalid(name, value, "give a count of at least 1")


def available_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
