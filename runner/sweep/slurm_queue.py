"""Which of Slurm's jobs are over, asked of the queue."""

from __future__ import annotations

from submitit.slurm.slurm import SlurmInfoWatcher

_ENDS = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
)


class Queue(SlurmInfoWatcher):
    """As submitit's, which asks the accounting: not every cluster has one, and then no end shows.

    The queue has every job that is not over, and for some minutes those that are. An answer may come
    out empty or cut off all the same, so what is to be taken for over is missing in two of them.
    """

    def __init__(self, delay_s: int) -> None:
        super().__init__(delay_s)
        self._missing = set[str]()

    def _make_command(self) -> list[str] | None:
        asks = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T"]
        return asks if self._registered - self._finished else None

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """The state of every job that was asked about: RUNNING until it is over."""
        text = string if isinstance(string, str) else string.decode()
        parts = [line.partition("|") for line in text.splitlines()]
        told = {job: state for job, bar, state in parts if bar}
        asked = self._registered - self._finished
        missing_before, self._missing = self._missing, asked - told.keys()
        for job in self._missing & missing_before:
            told[job] = "COMPLETED"
        states = {job: told.get(job, "RUNNING") for job in asked}
        return {
            job: {"State": state if state in _ENDS else "RUNNING"} for job, state in states.items()
        }
