"""Trials on other machines: a cluster is given them, and tells which of them are over.

All machines see the working directory under the same path, and have the same environment. A trial
that is over has told how it went in its run directory, so that nothing is lost with who asked for it.
"""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from runner import api, session
from runner.allowances import additions, allowing
from runner.config.hydra import task_overrides
from runner.errors import ConfigError, UserError
from runner.interrupt import StopRequest
from runner.report.console import Plain, plain_console
from runner.rows import NewRows
from runner.rundir import RunDirectory
from runner.session import Launch
from runner.sweep.driver import Sweep
from runner.sweep.launcher import RunnerLauncher
from runner.sweep.standing import own_record
from runner.sweep.trial import Failure, Row, Task, print_to, telling_failures

H = TypeVar("H")
Beginning = tuple[str, str, int]
"""When and by whom a run was begun, by which it is told from one that was moved aside."""

_LOOKS_S = 0.01
"""For each trial at least so long, from one look at what all of them measured to the next."""
CANCELLED = "was cancelled"
"""How a trial was lost that was asked to stop, and could not tell."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What a cluster calls with the config of a trial, in a process that is the trial's own.

    It is pickled, so it holds nothing that is secret.
    """

    directory: Path = field(default_factory=Path.cwd)
    """The working directory of the sweep."""
    logs: Path
    """Where what trials print goes; absolute."""
    allow: list[str] = field(default_factory=additions)
    """What the user allows the config; see `runner.allowances`."""
    earlier: dict[int, Beginning | None] = field(default_factory=dict)
    """By trial, the run that stood in its directory when it was handed over."""

    def __call__(self, config: DictConfig) -> Failure | None:
        """Runs, resumes or recalls the trial's run; returns why it did not come to its end."""
        hydra: Any = HydraConfig.get()
        told: list[Failure] = []
        with allowing(self.allow), telling_failures(told.append):
            os.chdir(self.directory)
            sys.path.insert(0, str(self.directory))
            print_to(self.logs / f"trial-{hydra.job.num}.log")
            launch = api.launch(config, hydra, task_overrides(hydra))
            session.run(self._once_fresh(launch, hydra.job.num), Plain(plain_console()))
        return told[0] if told else None

    def _once_fresh(self, launch: Launch, number: int) -> Launch:
        """With run.fresh only if the run was not begun anew before, and this goes on with it."""
        run = launch.experiment.run
        if not (run.fresh and _is_anew(run.dir, self.earlier.get(number))):
            return launch
        goes_on = replace(launch.experiment, run=replace(run, fresh=False))
        return replace(launch, experiment=goes_on)


@dataclass(frozen=True, kw_only=True)
class Over(Generic[H]):
    """A trial that no process works on any more."""

    handle: H
    failure: Failure | None = None
    """What it told, if it could not come to its end."""
    lost: str | None = None
    """How it was lost, if it could not tell either."""


class _AtWork:
    """A trial that the cluster has, whose rows are looked at here: where it runs, nobody listens.

    Args:
        earlier: the run that stood in its directory before.
    """

    def __init__(self, task: Task, earlier: Beginning | None) -> None:
        self.task = task
        self._earlier, self._is_begun = earlier, False
        self._rows = NewRows(RunDirectory(Path(task.launch.experiment.run.dir)).rows)

    def tell(self, sweep: Sweep) -> bool:
        """Tells the sweep what came since the last time; returns whether the trial has to stop."""
        self._is_begun = self._is_begun or self._begins()
        if not self._is_begun:
            return False
        return any(sweep.told(self.task, Row(content=row)) for row in self._rows.read())

    def _begins(self) -> bool:
        """Whether the run there is the trial's, and not one that is in its place, or to be moved aside."""
        run, id = self.task.launch.experiment.run, self.task.launch.id
        is_own = own_record(run.dir, id) is not None
        return is_own and (not run.fresh or _is_anew(run.dir, self._earlier))


class Cluster(RunnerLauncher, Generic[H]):
    """A launcher whose trials are known by handles."""

    NAME: ClassVar[str]
    """In ``hydra/launcher=NAME``."""
    DEFAULTS: ClassVar[dict[str, Any]]
    """What stands below ``hydra.launcher`` unless it is given."""
    NEEDS: ClassVar[str]
    """The package that it needs."""
    EXTRA: ClassVar[str]
    """What brings it: ``pip install 'tf-runner[EXTRA]'``."""
    JOB: ClassVar[type[Handed]] = Handed
    """What it calls."""
    IS_HERE: ClassVar[bool] = False
    """Whether all of it is this machine."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Raises: ConfigError: what it needs is not installed."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if not any(metadata.distributions(name=self.NEEDS)):
            raise ConfigError(
                f"hydra/launcher={self.NAME}: the package {self.NEEDS} is not installed; "
                f"pip install 'tf-runner[{self.EXTRA}]'"
            )

    @abstractmethod
    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[H]:
        """Has trials run when there is room for them."""

    @abstractmethod
    def wait(self, handles: Sequence[H]) -> Sequence[Over[H]]:
        """Those that are over; waits a second if there are none."""

    @abstractmethod
    def cancel(self, handles: Sequence[H]) -> None:
        """Asks trials to save and stop, and has those that wait not begin."""

    def most(self, sweep: Sweep) -> int | None:
        """How many trials it is given at once; None for all there are."""
        return sweep.num_jobs() if self.IS_HERE else sweep.spec.jobs or sweep.batch_size()

    def work_through(self, sweep: Sweep) -> None:
        """As the runner's launchers do.

        Raises:
            ConfigError: it cannot do what is asked for.
        """
        if sweep.spec.trial_timeout is not None:
            raise ConfigError(
                f"sweep.trial_timeout={sweep.spec.trial_timeout}: only hydra/launcher=isolated "
                f"ends what takes too long; give null with hydra/launcher={self.NAME}"
            )
        if sweep.batch_size() is not None and sweep.spec.jobs is None and not self.IS_HERE:
            raise ConfigError(
                "sweep.jobs=null: a search follows from how trials end, and how many the cluster "
                "has room for is not known here; say how many are to be at work at once"
            )
        job = self.JOB(logs=sweep.directory.absolute())
        with StopRequest(notify=sweep.stopping).on_signals():
            self._work_through(sweep, job)

    def _work_through(self, sweep: Sweep, job: Handed) -> None:
        tasks, running = sweep.tasks(), dict[H, _AtWork]()
        is_cancelled, looks = False, sweep.clock()
        try:
            while self._fill(running, tasks, sweep, job) or running:
                if sweep.is_stopping and not is_cancelled:
                    is_cancelled = True
                    self.cancel(list(running))
                for over in self.wait(list(running)):
                    _end(sweep, running.pop(over.handle), over)
                if sweep.clock() >= looks:
                    self.cancel([handle for handle, one in running.items() if one.tell(sweep)])
                    looks = sweep.clock() + _LOOKS_S * len(running)
        finally:
            if running and not is_cancelled:  # Nobody would hear of them.
                self.cancel(list(running))

    def _fill(
        self, running: dict[H, _AtWork], tasks: Iterator[Task], sweep: Sweep, job: Handed
    ) -> bool:
        """Begins what there is room for; whether there was something."""
        most = self.most(sweep)
        batch = [] if sweep.is_stopping else list(islice(tasks, most and most - len(running)))
        if not batch or sweep.is_stopping:  # A signal may have come while they were composed.
            return False
        for task in batch:
            job.earlier[task.number] = _beginning(task.launch.experiment.run.dir)
        at_work = [_AtWork(task, job.earlier[task.number]) for task in batch]
        try:
            running.update(zip(self.begin(batch, job), at_work, strict=True))
        except UserError as error:
            if not running:
                raise
            _refuse(sweep, batch, str(error))  # What is at work is not to be lost by it.
            return True
        for task in batch:
            sweep.started(task)
        return True


def _refuse(sweep: Sweep, batch: Sequence[Task], reason: str) -> None:
    for task in batch:
        sweep.started(task)
        sweep.told(task, Failure(status="failed", reason=reason))
        sweep.ended(task, None)


def _end(sweep: Sweep, trial: _AtWork, over: Over[Any]) -> None:
    trial.tell(sweep)
    if over.failure is not None:
        sweep.told(trial.task, over.failure)
    sweep.ended(trial.task, over.lost)


def _is_anew(directory: str, earlier: Beginning | None) -> bool:
    """Whether another run stands there than before."""
    return _beginning(directory) not in (None, earlier)


def _beginning(directory: str) -> Beginning | None:
    """Of the run there; None if there is none, nothing tells, or it has not come to its first step.

    Until then, checkpoints of an earlier run in a directory of their own may not be aside yet.
    """
    with suppress(UserError):
        record = RunDirectory(Path(directory)).read()
        first = record.sittings[0] if record is not None and record.sittings else None
        if first is not None and first.from_step is not None:
            return first.started, first.host, first.pid
    return None
