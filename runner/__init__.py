"""Declarative, exactly resumable TensorFlow experiments from Hydra configs."""

from __future__ import annotations

from runner.api import evaluate, reproduce, resume, run
from runner.results import Result

__all__ = ["Result", "evaluate", "reproduce", "resume", "run"]
