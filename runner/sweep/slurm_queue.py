"""Which of Slurm's jobs are over, asked of the queue."""

from __future__ import annotations

from submitit.slurm.slurm import SlurmInfoWatcher

_ENDS = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
)


class Queue(SlurmInfoWatcher):
    """As submitit's, which asks the accounting: not every cluster has one, and then no end shows.

    The queue has every job that is not over, and for some minutes those that are.
    """

    def _make_command(self) -> list[str] | None:
        asks = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T"]
        return asks if self._registered - self._finished else None

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """The state of every job that was asked about: RUNNING until it is over."""
        text = string if isinstance(string, str) else string.decode()
        told = dict(line.split("|") for line in text.splitlines())
        states = {job: told.get(job, "COMPLETED") for job in self._registered}
        return {
            job: {"State": state if state in _ENDS else "RUNNING"} for job, state in states.items()
        }
