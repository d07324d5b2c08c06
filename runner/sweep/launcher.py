"""What the runner's launchers have in common: they work through a sweep, one trial apart from the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from runner.errors import UserError
from runner.interrupt import Interrupted
from runner.sweep.driver import Sweep
from runner.sweep.objective import returned
from runner.sweep.open import opened
from runner.sweep.record import Trial


class RunnerLauncher(Launcher):
    """Takes the trials from a sweep, and tells it how each of them ended as soon as it has."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._config = hydra_context, config
        self._job: Any = task_function

    @abstractmethod
    def work_through(self, sweep: Sweep) -> None:
        """Until all is done or, after a signal, what had begun."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """For other sweepers than the runner's own: a batch is a sweep of its own."""
        if self._job.exit_code == Interrupted.exit_code:
            raise KeyboardInterrupt  # The batch before was asked to stop.
        setup_globals()
        trials = [list(overrides) for overrides in job_overrides]
        given = [override for overrides in trials for override in overrides]
        with opened(self._context, self._config, given=given, trials=trials) as sweep:
            code = sweep.work_through(self.work_through)
            self._job.exit_code = max(self._job.exit_code, code)
        return [_returned(trial) for trial in sweep.record.trials]


def _returned(trial: Trial) -> JobReturn:
    """A trial as Hydra's sweepers want it: with the value of the objective, or a reason."""
    is_done = trial.status == "finished"
    job = JobReturn(overrides=trial.overrides, working_dir=trial.run)
    job.status = JobStatus.COMPLETED if is_done else JobStatus.FAILED
    failure = UserError(trial.reason or trial.status)
    job.return_value = returned(trial.values) if is_done else failure
    return job
