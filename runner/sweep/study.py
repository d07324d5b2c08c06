"""An Optuna study: what is asked of it, and what it is told."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runner.config.sweep import Mode, SearchSpec
from runner.errors import ConfigError, UserError, shown
from runner.sweep.record import Status, Trial
from runner.sweep.samplers import pruner_of, sampler_of
from runner.sweep.space import Space, combinations, num_combinations

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

_DIRECTIONS: dict[Mode, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}
_STATUS: dict[str, Status] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
"""How a trial stands in a sweep that stands so in the study."""

# Attributes of a study or a trial, for this and for whoever looks at it.
_OBJECTIVES, _OVERRIDES, _SWEEP = "objectives", "overrides", "sweep"
_RUN, _REASON = "run", "reason"
_REPLACES = "replaces"


class StudyError(UserError):
    """The database of a search cannot be read or written."""


def check_available() -> None:
    """Raises: ConfigError: the package optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(
            "sweep=optuna: the package optuna is not installed; pip install 'tf-runner[optuna]'"
        )


@dataclass
class Study:
    """The trials of a search in a database, which several sweeps may share.

    Args:
        name: what it is called there.
        directory: the sweep's folder.
        watched: what a trial is pruned by, as split/name; None if none is.
    """

    spec: SearchSpec
    name: str
    directory: Path
    objectives: Mapping[str, Mode]
    space: Space
    watched: str | None = None
    _study: optuna.Study = field(init=False)
    _database: optuna.storages.RDBStorage = field(init=False)
    _asked: dict[int, optuna.Trial] = field(default_factory=dict)
    """What this process has asked for."""
    _reported: dict[int, set[int]] = field(default_factory=dict)
    """At which points each of them was measured."""

    def open(self) -> None:
        """Finds the study or makes it, and puts back what a dead sweep left unfinished.

        Raises:
            ConfigError: the database cannot be opened, or it has a study of other objectives.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Made before anything is written, in case an option is wrong.
        sampler, pruner = sampler_of(self.spec, number=0), pruner_of(self.spec)
        # Relative, since what may be in the path of the working directory is not all fit for a URL.
        url = self.spec.storage or f"sqlite:///{self.directory / 'optuna.db'}"
        try:
            self._database = optuna.storages.RDBStorage(url)
            self._study = optuna.create_study(
                storage=self._database,
                sampler=sampler,
                pruner=pruner,
                study_name=self.name,
                directions=[_DIRECTIONS[mode] for mode in self.objectives.values()],
                load_if_exists=True,
            )
        except Exception as error:  # Of the database's driver, or that there is none.
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise ConfigError(f"sweep.storage: the database cannot be used ({reason})") from error
        self._check_objectives()
        self.put_back()
        if self.spec.retry_failed:
            self._retry_failed()

    def close(self) -> None:
        """Leaves no trial unfinished in the name of this sweep, and closes the database."""
        if hasattr(self, "_study"):
            self.put_back()
            self._database.remove_session()
            self._database.engine.dispose()

    def num_trials(self) -> int:
        """How many trials there are to be."""
        wanted = self.spec.n_trials
        if self.spec.sampler != "grid":
            return wanted or 0
        size = num_combinations(self.space)
        return size if wanted is None else min(size, wanted)

    def trials(self) -> list[Trial]:
        """Those that have come to an end, and were not tried again."""
        trials = self._trials()
        replaced = _replaced(trials)
        return [
            self._as_trial(one)
            for one in trials
            if one.state.is_finished() and one.number not in replaced
        ]

    def ask(self) -> Trial | None:
        """The next trial, or None once there are as many as there are to be.

        Raises:
            ConfigError: the study has been asked for trials of another space.
        """
        with _errors_told():
            trials = self._trials()
            waiting = [one for one in trials if one.state.name == "WAITING"]
            if len(trials) - len(waiting) - len(_replaced(trials)) >= self.num_trials():
                return None
            if not waiting and self.spec.sampler == "grid" and not self._enqueue_point(trials):
                return None
            number = waiting[0].number if waiting else len(trials)
            self._study.sampler = sampler_of(self.spec, number=number)
            try:
                asked = self._study.ask(self.space.distributions())
            except ValueError as error:
                raise ConfigError(
                    f"sweep.space: study {self.name} was begun with another one ({error}); "
                    "give another sweep.study"
                ) from error
            return self._enter(asked)

    def report(self, number: int, *, point: int, value: float) -> bool:
        """Tells how good a trial is so far; returns whether it should stop, as others were better.

        Args:
            point: how often it had been measured before; what was told already is told once.
        """
        with _errors_told():
            asked, reported = self._asked[number], self._reported[number]
            if point not in reported:
                reported.add(point)
                asked.report(value, point)
            # It is judged by the last that is known of it.
            return point == max(reported) and bool(asked.should_prune())

    def tell(self, trial: Trial) -> None:
        """How it ended, if it did; what stopped is put back in the end."""
        from optuna.trial import TrialState

        with _errors_told():
            self._asked[trial.number].set_user_attr(_RUN, trial.run)
            self._asked[trial.number].set_user_attr(_REASON, trial.reason)
            match trial.status:
                case "finished" if trial.values:
                    self._study.tell(trial.number, [trial.values[name] for name in self.objectives])
                case "pruned":
                    self._study.tell(trial.number, state=TrialState.PRUNED)
                case "failed" | "finished":
                    self._study.tell(trial.number, state=TrialState.FAIL)

    def put_back(self) -> None:
        """Has what this sweep began and did not finish be asked for again, with its parameters."""
        from optuna.trial import TrialState

        with _errors_told():
            for one in self._trials():
                if one.state is TrialState.RUNNING and self._is_own(one):
                    self._study._storage.set_trial_state_values(one._trial_id, TrialState.WAITING)

    def _trials(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return trials

    def _enter(self, asked: optuna.Trial) -> Trial:
        trial = Trial(number=asked.number, overrides=self.space.overrides(asked.params))
        asked.set_user_attr(_OVERRIDES, trial.overrides)
        asked.set_user_attr(_SWEEP, self._own_name())
        self._asked[asked.number] = asked
        known = self._trials()[asked.number].intermediate_values
        self._reported[asked.number] = set(known)
        return trial

    def _enqueue_point(self, trials: list[FrozenTrial]) -> bool:
        """Has the first point of the grid be asked for that is in no trial; False if all are."""
        known = [one.system_attrs.get("fixed_params", one.params) for one in trials]
        point = next((one for one in combinations(self.space) if one not in known), None)
        if point is not None:
            self._study.enqueue_trial(point)
        return point is not None

    def _retry_failed(self) -> None:
        trials = self._trials()
        for one in trials:
            if one.state.name == "FAIL" and one.number not in _replaced(trials):
                self._study.enqueue_trial(one.params, user_attrs={_REPLACES: one.number})

    def _is_own(self, one: FrozenTrial) -> bool:
        """Whether it is this sweep that asked for it: nobody else has its folder."""
        return self.spec.storage is None or one.user_attrs.get(_SWEEP) == self._own_name()

    def _own_name(self) -> str:
        return f"{socket.gethostname()}:{self.directory.absolute()}"

    def _as_trial(self, one: FrozenTrial) -> Trial:
        values = dict(zip(self.objectives, one.values or (), strict=False))
        status = _STATUS[one.state.name]
        reported = {}
        if status == "pruned" and self.watched and one.last_step is not None:
            reported[self.watched] = one.intermediate_values[one.last_step]
        return Trial(
            number=one.number,
            overrides=one.user_attrs.get(_OVERRIDES) or self.space.overrides(one.params),
            status=status,
            run=one.user_attrs.get(_RUN),
            values=values if status == "finished" else {},
            metrics=reported,
            reason=one.user_attrs.get(_REASON),
        )

    def _check_objectives(self) -> None:
        begun: object = self._study.user_attrs.get(_OBJECTIVES, dict(self.objectives))
        if begun != dict(self.objectives):
            given = f"sweep.metric={shown(dict(self.objectives))}"
            raise ConfigError(
                f"{given}: study {self.name} was begun with {shown(begun)}; give another sweep.study"
            )
        self._study.set_user_attr(_OBJECTIVES, dict(self.objectives))


def _replaced(trials: list[FrozenTrial]) -> set[int]:
    """The failed ones that were, or are to be, tried again."""
    return {one.user_attrs[_REPLACES] for one in trials if _REPLACES in one.user_attrs}


@contextmanager
def _errors_told() -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"sweep.storage: the study cannot be kept ({reason})") from error
