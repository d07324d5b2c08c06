"""A sweep from its overrides to its end: what is finished is recalled, what is left is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import provenance
from runner.allowances import additions
from runner.config import Experiment
from runner.config.sweep import SweepSpec
from runner.engine.spec import available_cores
from runner.errors import ConfigError, UserError
from runner.interrupt import Interrupted, duration_s
from runner.redaction import remembered
from runner.rundir import RunDirectory
from runner.session import Launch
from runner.sweep.objective import check_measured, objectives
from runner.sweep.observer import SweepObserver
from runner.sweep.record import RECORD, Status, SweepRecord, Trial
from runner.sweep.standing import failed_before, mark_failed, own_record
from runner.sweep.trial import Failure, Row, Task
from runner.targets import hashes

_GRACE_S = 15.0
_LOOKS_EVERY_S = 0.2


@dataclass
class Sweep:
    """The trials of a sweep, and what is known of them.

    Args:
        compose: makes a trial's overrides a launch.
        earlier: what an earlier launch of the sweep left.
    """

    record: SweepRecord
    directory: Path
    experiment: Experiment
    """What the trials have in common."""
    compose: Callable[[Sequence[str]], Launch]
    observer: SweepObserver
    earlier: SweepRecord | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _begun: dict[int, float] = field(default_factory=dict)
    """When each trial that was not recalled began."""
    _told: dict[int, tuple[Status | None, str | None]] = field(default_factory=dict)
    """What processes told of their failure."""
    _sources: set[tuple[tuple[str, str], ...]] = field(default_factory=set)
    """The hashes of the sources that finished runs were made from, each set of them once."""
    _twins: dict[tuple[str, str], list[Trial]] = field(default_factory=dict)
    """By directory and id of the run that is worked on, the other trials that are this run too."""
    is_stopping: bool = False
    """Whether no more trials are to be begun."""

    @property
    def spec(self) -> SweepSpec:
        """How the trials are to be worked through."""
        return self.experiment.sweep

    def num_jobs(self) -> int:
        """How many trials are at work at once."""
        return self.spec.jobs or available_cores()

    def timeout_s(self) -> float | None:
        """What a trial may take."""
        text = self.spec.trial_timeout
        return None if text is None else duration_s(text)

    def batch_size(self) -> int | None:
        """How many trials another launcher is given at once; None for all."""
        return None

    def work_through(self, launch: Callable[[Sweep], None]) -> int:
        """From its beginning to its end; returns the exit code.

        Args:
            launch: runs what is left; after a signal, it ends what had begun.
        """
        self.begin()
        launch(self)
        while self.freed():
            launch(self)
        return self.finish()

    def begin(self) -> None:
        """Recalls what an earlier launch of this sweep knows to be finished."""
        self.observer.sweep_started(self.record, self.directory)
        is_known = self._is_same() and not self.experiment.run.fresh
        known = self.earlier.trials if self.earlier and is_known else []
        places = {tuple(trial.overrides): (trial.run, trial.id) for trial in known}
        for trial in self.record.trials:
            trial.run, trial.id = places.get(tuple(trial.overrides), (None, None))
            self._recall(trial)
        self._write()

    def tasks(self) -> Iterator[Task]:
        """What is left to run, one trial after the other, composed when it is asked for.

        Raises:
            ConfigError: not one of the trials can be run.
        """
        problems = []
        for trial in self._coming():
            try:
                task = self.task(trial)
            except ConfigError as error:
                self._end(trial, "failed", str(error))
                problems.append(error)
                continue
            if task is not None:
                yield task
        if problems and len(problems) == len(self.record.trials):
            self.record.status = "failed"
            self._write()
            raise problems[0]

    def task(self, trial: Trial) -> Task | None:
        """The trial to run; None if there is nothing to do.

        Raises:
            ConfigError: its config is wrong.
        """
        launch = self.compose(trial.overrides)
        trial.run, trial.id = launch.experiment.run.dir, launch.id
        check_measured(self.spec.objectives(), by=launch.experiment)
        if (trial.run, trial.id) in self._twins:
            self._twins[trial.run, trial.id].append(trial)
            return None
        if any(directory == trial.run for directory, _ in self._twins):
            reason = "another trial is at work there; leave it out, or give each trial its own"
            raise ConfigError(f"run.dir={trial.run}: {reason}")
        if not launch.experiment.run.fresh and self._recall(trial):
            return None
        self._twins[trial.run, trial.id] = []
        log = self.directory / f"trial-{trial.number}.log"
        return Task(
            number=trial.number,
            overrides=list(trial.overrides),
            launch=launch,
            log=log,
            allow=additions(),
            secrets=remembered(),
        )

    def started(self, task: Task) -> None:
        trial = self.record.trial(task.number)
        trial.status, self._begun[task.number] = "running", self.clock()
        self._told.pop(task.number, None)
        self._write()
        self.observer.trial_started(trial)

    def told(self, task: Task, message: Any) -> str | None:
        trial = self.record.trial(task.number)
        match message:
            case Row(content=content):
                self.observer.trial_advanced(trial, content)
            case Failure(status=status, reason=reason):
                self._told[task.number] = status, reason
        return None

    def ended(self, task: Task, how: str | None) -> None:
        trial = self.record.trial(task.number)
        trial.seconds = round(self.clock() - self._begun[task.number], 3)
        status, reason = self._outcome(trial, how)
        if status == "failed":
            mark_failed(RunDirectory(Path(str(trial.run))), str(reason))
        self._end(trial, status, reason)
        for twin in self._twins.pop((str(trial.run), str(trial.id)), []):
            twin.values, twin.metrics = dict(trial.values), dict(trial.metrics)
            self._end(twin, status, reason)

    def freed(self) -> bool:
        """Whether trials that other processes were at work on are free now; waits for that for a while.

        What a killed sweep leaves at work saves and stops within seconds.
        """
        ends = self.clock() + _GRACE_S
        while taken := self.record.of_status("elsewhere"):
            free = [one for one in taken if not RunDirectory(Path(str(one.run))).is_locked()]
            for trial in free:
                trial.status = "waiting"
            if free or self.is_stopping or self.clock() >= ends:
                return bool(free)
            self.sleep(_LOOKS_EVERY_S)
        return False

    def stopping(self, reason: str) -> None:
        self.is_stopping = True
        self.observer.stopping(reason)

    def finish(self) -> int:
        """Closes the record; returns the exit code of the sweep."""
        record = self.record
        failed = record.of_status("failed", "elsewhere")
        record.status = "stopped" if record.num_left() else "failed" if failed else "finished"
        self._write()
        before = {name: one for sources in self._sources for name, one in sources}
        changed = provenance.changed(before, hashes(before))
        self.observer.sweep_ended(record, self.directory, changed=changed)
        return {"finished": 0, "failed": UserError.exit_code}.get(
            record.status, Interrupted.exit_code
        )

    def close(self) -> None:
        """Lets go of what it holds open, however it ended; what was at work then has stopped."""
        self.observer.closed()
        if self.record.status == "running":
            self.record.status = "stopped"
            for trial in self.record.of_status("running"):
                trial.status = "stopped"
            with suppress(UserError):
                self._write()

    def _coming(self) -> Iterator[Trial]:
        """What has not come to an end, one after the other."""
        yield from self.record.of_status("waiting")

    def _is_same(self) -> bool:
        """Whether the earlier launch composed its trials of the same configs."""
        return self.earlier is not None and self.earlier.configs == self.record.configs

    def _outcome(self, trial: Trial, how: str | None) -> tuple[Status, str | None]:
        """How a trial stands whose process is gone."""
        status, reason = self._told.get(trial.number) or self._look(trial)
        # Out of time, it may have said that it stops; then it has failed all the same.
        if how is not None and status in (None, "running", "stopped"):
            return ("stopped", how) if self.is_stopping else ("failed", how)
        if status is None and self.is_stopping:
            return "waiting", None
        return ("failed", "left no result") if status in (None, "running") else (status, reason)

    def _recall(self, trial: Trial) -> bool:
        """Takes over how its run ended, if that was in a way that is not to be tried again."""
        status, reason = self._look(trial)
        if status == "failed" and not self.spec.retry_failed:
            reason = failed_before(reason)
        elif status != "finished":
            return False
        self._end(trial, status, reason)
        return True

    def _look(self, trial: Trial) -> tuple[Status | None, str | None]:
        """How its run stands by run.json, whose results are taken over if there are any."""
        record = own_record(trial.run, trial.id) if trial.run else None
        if record is None:
            return None, None
        result = RunDirectory(Path(str(trial.run))).result(record)
        if result is None:
            outcome = record.sittings[-1].outcome if record.sittings else None
            return record.status if record.status != "finished" else None, outcome
        self._sources.add(tuple(record.sources.items()))
        trial.metrics = {
            name: one for each in result.metrics.values() for name, one in each.items()
        }
        trial.values = objectives(result, self.experiment)
        return "finished", None

    def _end(self, trial: Trial, status: Status, reason: str | None) -> None:
        trial.status, trial.reason = status, reason
        if trial.number in self._begun:
            self._write()
        self.observer.trial_ended(trial)

    def _write(self) -> None:
        self.record.write(self.directory / RECORD)
