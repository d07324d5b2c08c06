"""Jobs of submitit, by way of hydra-submitit-launcher: on Slurm, or on this machine.

Slurm itself begins again what stood on a node that failed, and submitit what its time limit stopped.
A trial whose process was killed is missed here, and submitted again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from runner.errors import ConfigError, UserError
from runner.sweep.cluster import CANCELLED, Cluster, Handed, Over
from runner.sweep.trial import Failure, Task

if TYPE_CHECKING:
    import submitit

_WAITS_S = 1.0
_RESULTS_S = 3
"""For a result to show that was written on another machine, after its job has ended."""
SHARED: dict[str, Any] = {
    "submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
    "name": "${hydra.job.name}",
    "timeout_min": 60,
    "nodes": 1,
    "tasks_per_node": 1,
    "cpus_per_task": 1,
    "gpus_per_node": None,
    "mem_gb": None,
    "stderr_to_stdout": False,
    # How often a trial that was lost is submitted again; as Ray does.
    "max_retries": 3,
}
"""What submitit understands everywhere; null leaves it to the cluster."""
NUMBER = 2
"""Where the number of the trial stands in what a job is called with."""


@dataclass(frozen=True, kw_only=True)
class Limited(Handed):
    """One that saves when submitit says that its time is nearly over, and has itself queued again."""

    def __call__(self, config: DictConfig) -> Failure | None:
        """As for all clusters."""
        requeue, asked = signal.getsignal(signal.SIGUSR2), []

        def save(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGUSR2, save)
        failure = super().__call__(config)
        if asked and failure is not None and failure.status == "stopped" and callable(requeue):
            # It ends this process, or raises if there is no other time.
            with suppress(Exception):
                requeue(signal.SIGUSR2, None)
        return failure


@dataclass(eq=False)
class Submitted:
    """A trial in the hands of submitit."""

    arguments: tuple[Any, ...]
    job: submitit.Job[Any]
    retries: int = 0
    is_cancelled: bool = False

    @property
    def number(self) -> int:
        """Of the trial."""
        return int(self.arguments[NUMBER])


class Submitit(Cluster[Submitted]):
    """Each trial a job of submitit's.

    Args:
        max_retries: of a trial that was lost.
        options: what else stands below ``hydra.launcher``, as submitit takes it.
    """

    NEEDS = "hydra-submitit-launcher"
    EXTRA = "submitit"
    JOB = Limited
    KIND: ClassVar[str]
    """What submitit calls it."""

    def __init__(self, max_retries: int, **options: Any) -> None:
        self._max_retries, self._options = max_retries, options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """As for all clusters.

        Raises:
            ConfigError: a trial is to be several processes.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        for key in ("nodes", "tasks_per_node"):
            if self._options.get(key) not in (1, None):
                value = self._options[key]
                raise ConfigError(f"hydra.launcher.{key}={value}: a trial is one process; give 1")

    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[Submitted]:
        """As for all clusters."""
        self._hydra.setup(hydra_context=self._context, task_function=job, config=self._config)
        arguments = [
            (
                task.overrides,
                "hydra.sweep.dir",
                task.number,
                str(task.number),
                Singleton.get_state(),
            )
            for task in tasks
        ]
        jobs = self._submit(arguments)
        return [Submitted(*one) for one in zip(arguments, jobs, strict=True)]

    def wait(self, handles: Sequence[Submitted]) -> Sequence[Over[Submitted]]:
        """As for all clusters."""
        over = [one for one in map(self._look, handles) if one is not None]
        if not over:
            time.sleep(_WAITS_S)
        return over

    def _look(self, trial: Submitted) -> Over[Submitted] | None:
        """How a trial has ended; None if it has not, or was submitted again."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if not trial.job.done():
            return None
        if trial.is_cancelled and not trial.job.paths.result_pickle.exists():
            return Over(handle=trial, lost=CANCELLED)
        try:
            return Over(handle=trial, failure=trial.job.result().return_value)
        except FailedJobError:
            return Over(handle=trial, lost=f"could not begin; see {trial.job.paths.stderr}")
        except UncompletedJobError:
            state = trial.job.state
        if trial.is_cancelled:
            return Over(handle=trial, lost=CANCELLED)
        if state == "CANCELLED":
            return Over(handle=trial, failure=Failure(status="stopped", reason=CANCELLED))
        if trial.retries >= self._max_retries:
            return Over(handle=trial, lost=f"was lost {1 + trial.retries} times, at last {state}")
        trial.retries += 1
        try:
            (trial.job,) = self._submit([trial.arguments])
        except UserError as error:
            return Over(handle=trial, lost=f"was lost ({state}), and not taken again: {error}")
        return None

    def _submit(self, arguments: Sequence[tuple[Any, ...]]) -> Sequence[submitit.Job[Any]]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            jobs = self._executor.map_array(self._hydra, *zip(*arguments, strict=True))
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"hydra/launcher={self.NAME}: {_last_line(error)}") from error
        except (TypeError, ValueError) as error:
            raise self._refused(error) from error
        for job in jobs:
            job._results_timeout_s = _RESULTS_S
        return self._watched(jobs)

    def _refused(self, error: Exception) -> UserError:
        """What to tell of a value that submitit does not take."""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return UserError(f"hydra/launcher={self.NAME}: submitit refuses a setting: {reason}")

    def _watched(self, jobs: Sequence[submitit.Job[Any]]) -> Sequence[submitit.Job[Any]]:
        """The jobs, which can tell whether they are over."""
        return jobs

    @cached_property
    def _hydra(self) -> Any:
        """The launcher of hydra-submitit-launcher, which is what a job calls."""
        from hydra_plugins.hydra_submitit_launcher import submitit_launcher

        return getattr(submitit_launcher, f"{self.KIND.capitalize()}Launcher")(**self._options)

    @cached_property
    def _executor(self) -> submitit.AutoExecutor:
        import submitit

        options = dict(self._hydra.params)
        folder, timeouts = options.pop("submitit_folder"), options.pop("max_num_timeout")
        named = {
            name if name in SHARED else f"{self.KIND}_{name}": value
            for name, value in options.items()
        }
        at_first = {f"{self.KIND}_max_num_timeout": timeouts}
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=self.KIND, **at_first)
            executor.update_parameters(**named)
        except (AssertionError, NameError, RuntimeError) as error:
            raise UserError(f"hydra/launcher={self.NAME}: {_last_line(error)}") from error
        except (TypeError, ValueError) as error:
            raise self._refused(error) from error
        return executor


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
