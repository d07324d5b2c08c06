"""A sweep whose trials follow from how the earlier ones ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.config import Experiment
from runner.config.sweep import SearchSpec
from runner.errors import ConfigError
from runner.rows import Rows
from runner.rundir import RunDirectory
from runner.sweep.driver import Sweep
from runner.sweep.objective import check_measured, measured_on_the_way
from runner.sweep.record import Status, Trial
from runner.sweep.space import Space
from runner.sweep.standing import failed_before, own_record
from runner.sweep.study import Study
from runner.sweep.trial import Row, Task


def search_spec(experiment: Experiment) -> SearchSpec:
    """What is searched.

    Raises:
        ConfigError: the config describes no search.
    """
    if not isinstance(experiment.sweep, SearchSpec):
        raise ConfigError("hydra/sweeper=search: what to search is in sweep=optuna; add that")
    return experiment.sweep


@dataclass
class SearchSweep(Sweep):
    """Asks a study for the next trial when there is room for one, and tells it what came out."""

    space: Space = field(default_factory=Space)
    study: Study = field(init=False)
    _watched: str | None = None
    """What a trial is pruned by, as split/name; None if none is."""
    _steps: dict[int, list[int]] = field(default_factory=dict)
    """At which steps each trial at work was measured."""
    _pruned: dict[int, str] = field(default_factory=dict)
    """Why trials were told to stop."""

    def batch_size(self) -> int:
        """So many as are at work at once: the next ones follow from how these end."""
        return self.num_jobs()

    def begin(self) -> None:
        """Opens the study, and takes over what it knows.

        Raises:
            ConfigError: it is not of this search, or there is nothing to search by.
        """
        spec = search_spec(self.experiment)
        if not self.experiment.objectives:
            fix = "give one, such as test/loss, and sweep.mode"
            raise ConfigError(f"sweep.metric=null: a search needs something to go by; {fix}")
        check_measured(self.experiment.objectives, by=self.experiment)
        self._watched = measured_on_the_way(self.experiment) if spec.pruner != "none" else None
        name = spec.study or self.directory.name
        self.study = Study(
            spec, name, self.directory, self.record.objectives, self.space, self._watched
        )
        self.study.open()
        self.record.num_trials = self.study.num_trials()
        self.record.trials = self.study.trials()
        if not self._is_same():
            self._check_runs()
        self.observer.sweep_started(self.record, self.directory)
        for trial in self.record.trials:
            # What else it measured stands in its run, and why it failed.
            if trial.status in ("finished", "failed"):
                _, reason = self._look(trial)
            if trial.status == "failed":
                trial.reason = failed_before(reason or trial.reason)
        self._write()

    def task(self, trial: Trial) -> Task | None:
        """As for any sweep; None too if what its run has measured already has it stop."""
        task = super().task(trial)
        if task is None:
            return None
        self._steps[trial.number] = []
        rows = () if task.launch.experiment.run.fresh else self._earlier_rows(trial)
        if not self._is_interrupted(trial):
            for row in rows:
                self._report(trial, row)
            return task
        if not any(self._heed(trial, row) for row in rows):
            return task
        self.started(task)
        self.ended(task, None)
        return None

    def told(self, task: Task, message: Any) -> str | None:
        super().told(task, message)
        # Rows that come while a pruned trial stops are a matter of chance: the study sees none.
        if not isinstance(message, Row) or task.number in self._pruned:
            return None
        return self._heed(self.record.trial(task.number), message.content)

    def freed(self) -> bool:
        """The study has given these up, and chosen others."""
        return False

    def close(self) -> None:
        super().close()
        if hasattr(self, "study"):
            self.study.close()

    def _coming(self) -> Iterator[Trial]:
        """Each is chosen when it is asked for."""
        while not self.is_stopping and (trial := self.study.ask()) is not None:
            self.record.trials.append(trial)
            yield trial
        if not self.is_stopping:
            # Others may have had a part in those that there are to be.
            self.record.num_trials = len(self.record.trials)

    def _end(self, trial: Trial, status: Status, reason: str | None) -> None:
        super()._end(trial, status, reason)
        if trial.number not in self._steps:
            self._steps[trial.number] = []
            for row in self._earlier_rows(trial):
                self._report(trial, row)
        self.study.tell(trial)

    def _outcome(self, trial: Trial, how: str | None) -> tuple[Status, str | None]:
        status, _ = self._told.get(trial.number) or self._look(trial)
        if trial.number in self._pruned and status in (None, "running", "stopped"):
            return "pruned", self._pruned[trial.number]
        return super()._outcome(trial, how)

    def _earlier_rows(self, trial: Trial) -> Iterator[Mapping[str, Any]]:
        """What a run had measured before this search came to it, or was interrupted."""
        if self._watched and trial.run and own_record(trial.run, trial.id):
            directory = RunDirectory(Path(trial.run))
            yield from Rows(directory.rows, copy=directory.rows_copy).read()

    def _is_interrupted(self, trial: Trial) -> bool:
        """Whether its run has neither ended nor is being worked on."""
        record = own_record(str(trial.run), trial.id)
        is_open = record is not None and record.status in ("running", "stopped")
        return is_open and not RunDirectory(Path(str(trial.run))).is_locked()

    def _heed(self, trial: Trial, row: Mapping[str, Any]) -> str | None:
        """Tells the study of a row; returns why the trial has to stop, if it has."""
        reason = self._report(trial, row)
        if reason is not None:
            self._pruned[trial.number] = reason
            trial.metrics = {str(self._watched): self._watched_in(row)}
        return reason

    def _report(self, trial: Trial, row: Mapping[str, Any]) -> str | None:
        """Tells the study if it is one that it watches; returns why others are better, if they are."""
        if self._watched is None or not self._is_watched(row):
            return None
        steps = self._steps[trial.number]
        if row["step"] in steps:
            return None  # Known from before: the run had gone on from an earlier checkpoint.
        steps.append(row["step"])
        value = self._watched_in(row)
        if value is None or not math.isfinite(value):
            return None  # Nothing that could be compared.
        if not self.study.report(trial.number, point=len(steps) - 1, value=value):
            return None
        return f"{self._watched} {value:.4g} at step {row['step']:,}, where others were better"

    def _watched_in(self, row: Mapping[str, Any]) -> Any:
        return row[str(self._watched).partition("/")[2]]

    def _is_watched(self, row: Mapping[str, Any]) -> bool:
        phase = self.experiment.phases.get(str(row.get("phase")))
        split, _, metric = (self._watched or "").partition("/")
        is_of_split = row.get("split") == split and {"step", metric} <= row.keys()
        return phase is not None and phase.trains and is_of_split

    def _check_runs(self) -> None:
        """Configs have changed, or are not known: the study's trials have to be the same runs yet.

        Raises:
            ConfigError: the same overrides are other runs now.
        """
        for trial in self.record.trials:
            if trial.run is not None and self._place(trial) != trial.run:
                raise ConfigError(
                    f"sweep.study={self.study.name}: the configs have changed since; trial "
                    f"{trial.number} was {trial.run}, and would be another run now; another "
                    "sweep.study begins a new search"
                )

    def _place(self, trial: Trial) -> str | None:
        try:
            return self.compose(trial.overrides).experiment.run.dir
        except ConfigError:
            return None
