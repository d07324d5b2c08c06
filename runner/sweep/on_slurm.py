"""Slurm, by way of hydra-submitit-launcher and submitit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from runner.sweep.on_submitit import SHARED, Submitit, Submitted

if TYPE_CHECKING:
    import submitit

_ASKS_S = 10
_OF_SBATCH = (
    *("account", "comment", "constraint", "exclude", "gres", "partition", "qos"),
    *("cpus_per_gpu", "gpus_per_task", "mem_per_cpu", "mem_per_gpu"),
)


class Slurm(Submitit):
    """Each trial an element of an array of Slurm's jobs."""

    NAME = "submitit_slurm"
    KIND = "slurm"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        **SHARED,
        # Time is no limit to a trial: it saves so many seconds before, and goes on in its next turn.
        "signal_delay_s": 120,
        "max_num_timeout": 1000,
        "array_parallelism": 256,
        **dict.fromkeys(_OF_SBATCH),
        "additional_parameters": {},
        "setup": None,
    }

    def cancel(self, handles: Sequence[Submitted]) -> None:
        """As for all clusters."""
        for trial in handles:
            trial.is_cancelled = True
            trial.job.cancel(check=False)

    def _watched(self, jobs: Sequence[submitit.Job[Any]]) -> Sequence[submitit.Job[Any]]:
        for job in jobs:
            job.watcher = self._queue
            self._queue.register_job(job.job_id)
        return jobs

    @cached_property
    def _queue(self) -> Any:
        from runner.sweep.slurm_queue import Queue

        return Queue(delay_s=_ASKS_S)
