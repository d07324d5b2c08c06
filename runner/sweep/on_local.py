"""Processes of this machine, by way of hydra-submitit-launcher and submitit."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from runner.errors import UserError
from runner.sweep.cluster import Over
from runner.sweep.driver import Sweep
from runner.sweep.on_submitit import NUMBER, SHARED, Submitit, Submitted
from runner.sweep.pool import share

if TYPE_CHECKING:
    import submitit


class Local(Submitit):
    """Each trial a process that submitit starts on this machine."""

    NAME = "submitit_local"
    KIND = "local"
    IS_HERE = True
    DEFAULTS: ClassVar[dict[str, Any]] = {
        **SHARED,
        "timeout_min": 60 * 24 * 365,
        "max_num_timeout": 0,
    }

    def work_through(self, sweep: Sweep) -> None:
        """As the runner's launchers do."""
        self._jobs, self._slots = sweep.num_jobs(), dict[int, int]()
        super().work_through(sweep)

    def wait(self, handles: Sequence[Submitted]) -> Sequence[Over[Submitted]]:
        """As for all clusters."""
        # Once more: submitit passes over what comes before the run looks at signals itself.
        _ask_to_stop(trial for trial in handles if trial.is_cancelled)
        over = super().wait(handles)
        for one in over:
            self._slots.pop(one.handle.number, None)
        return over

    def cancel(self, handles: Sequence[Submitted]) -> None:
        """As for all clusters."""
        for trial in handles:
            trial.is_cancelled = True
        _ask_to_stop(handles)

    def _submit(self, arguments: Sequence[tuple[Any, ...]]) -> Sequence[submitit.Job[Any]]:
        return [job for one in arguments for job in self._submit_one(one)]

    def _submit_one(self, arguments: tuple[Any, ...]) -> Sequence[submitit.Job[Any]]:
        number = arguments[NUMBER]
        if number not in self._slots:
            self._slots[number] = min(set(range(self._jobs)) - set(self._slots.values()))
        with _inherited(share(self._slots[number], of=self._jobs)):
            try:
                return super()._submit([arguments])
            except UserError:
                del self._slots[number]
                raise


def _ask_to_stop(trials: Iterable[Submitted]) -> None:
    """Not by submitit, which waits a second and then kills."""
    for trial in trials:
        if not trial.job.done():
            os.kill(int(trial.job.job_id), signal.SIGTERM)


@contextmanager
def _inherited(cores: Sequence[int]) -> Iterator[None]:
    """What is started within has these cores, and does not get the terminal's Ctrl-C.

    It is for the launcher, which has trials save: submitit would kill them a second later.
    """
    before = os.sched_getaffinity(0) if cores else set[int]()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        if cores:
            os.sched_setaffinity(0, cores)
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
