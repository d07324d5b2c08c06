"""Declarative, exactly resumable TensorFlow experiments from Hydra configs."""

from __future__ import annotations

from runner.api import evaluate, reproduce, resume, run
from runner.reproduction import Reproduction
from runner.results import Result

__all__ = ["Reproduction", "Result", "evaluate", "reproduce", "resume", "run"]
