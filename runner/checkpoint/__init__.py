"""Checkpoints: which state, in which files, and how they come back."""

from runner.checkpoint.spec import Best, CheckpointSpec

__all__ = ["Best", "CheckpointSpec"]
