"""What is done with a batch."""

from runner.tasks.spec import Supervised, Task

__all__ = ["Supervised", "Task"]
