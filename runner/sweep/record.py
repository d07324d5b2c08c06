"""sweep.json: what a sweep is, and what became of its trials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.config.problems import key_of
from runner.config.sweep import Mode
from runner.errors import UserError
from runner.files import write_atomically, writing

Status = Literal["waiting", "running", "finished", "failed", "stopped", "pruned", "elsewhere"]
"""``pruned``: was told to stop, because others had been better at the same point; ``elsewhere``:
another process is at work on the run."""

RECORD = "sweep.json"
_FORMAT = 1


class DamagedSweepError(UserError):
    """sweep.json is not what a runner wrote."""


@dataclass(kw_only=True)
class Trial:
    """One run of a sweep."""

    number: int
    overrides: list[str]
    status: Status = "waiting"
    run: str | None = None
    """Its run directory, once that is known."""
    id: str | None = None
    """The id of the run."""
    values: dict[str, float] = field(default_factory=dict)
    """Of the objectives; all of them or none."""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    """In this launch of the sweep; None for one that was finished before."""
    reason: str | None = None
    """Why it failed or stopped."""


@dataclass(kw_only=True)
class SweepRecord:
    """A sweep, readable at any moment: it is written whenever a trial begins or ends."""

    overrides: list[str]
    """As they were given, with the values to sweep over."""
    configs: str
    """A hash of all that trials are composed from besides their overrides."""
    objectives: dict[str, Mode] = field(default_factory=dict)
    """What trials are compared by; of several, the first one settles the order in tables."""
    status: Literal["running", "finished", "failed", "stopped"] = "running"
    num_trials: int = 0
    """How many there are to be; those of a search are there one by one."""
    trials: list[Trial] = field(default_factory=list)
    best: list[int] = field(default_factory=list)
    """The numbers of the trials that no other one is better than."""
    format: int = _FORMAT

    def trial(self, number: int) -> Trial:
        """The trial of that number."""
        return next(trial for trial in self.trials if trial.number == number)

    def front(self) -> list[Trial]:
        """Those that no other one is better than in one objective and no worse in any."""
        front: list[Trial] = []
        # What is better than a trial comes before it in this order.
        for trial in sorted((one for one in self.trials if one.values), key=self._costs):
            if not any(_is_better(self._costs(one), self._costs(trial)) for one in front):
                front.append(trial)
        return sorted(front, key=lambda one: one.number)

    def sorted(self) -> list[Trial]:
        """The best first; those without a value come last, in the order of their numbers."""
        best = {trial.number for trial in self.front()}
        rated = [trial for trial in self.trials if trial.values]
        others = [trial for trial in self.trials if not trial.values]
        rated.sort(key=lambda one: (one.number not in best, self._costs(one)[0], one.number))
        return [*rated, *sorted(others, key=lambda one: one.number)]

    def num_left(self) -> int:
        """How many trials have not come to an end."""
        missing = max(0, self.num_trials - len(self.trials))
        return missing + len(self.of_status("waiting", "running", "stopped"))

    def _costs(self, trial: Trial) -> list[float]:
        """The values of its objectives, less of each being better."""
        return [
            -trial.values[name] if mode == "max" else trial.values[name]
            for name, mode in self.objectives.items()
        ]

    def of_status(self, *status: Status) -> list[Trial]:
        """The trials that stand so."""
        return [trial for trial in self.trials if trial.status in status]

    def swept(self) -> list[str]:
        """The keys that do not have one value in all trials."""
        values: dict[str, set[str | None]] = {}
        each = [dict(_parts(trial.overrides)) for trial in self.trials]
        for key in dict.fromkeys(key for one in each for key in one):
            values[key] = {one.get(key) for one in each}
        return [key for key, found in values.items() if len(found) > 1]

    def write(self, path: Path) -> None:
        """Replaces sweep.json.

        Raises:
            UnwritableError: it cannot be written.
        """
        self.best = [trial.number for trial in self.front()]
        with writing(path):
            write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


def _is_better(costs: Sequence[float], than: Sequence[float]) -> bool:
    pairs = list(zip(costs, than, strict=True))
    return all(one <= other for one, other in pairs) and any(one < other for one, other in pairs)


def values_of(overrides: Sequence[str], keys: Sequence[str]) -> list[str]:
    """What a trial's overrides give for some keys."""
    given = dict(_parts(overrides))
    return [given.get(key, "") for key in keys]


def read(path: Path) -> SweepRecord | None:
    """The content of sweep.json, or None if there is none.

    Raises:
        DamagedSweepError: it is no record.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        trials = [Trial(**trial) for trial in content.pop("trials")]
        return SweepRecord(**content, trials=trials)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedSweepError(f"{path} is not readable ({error})") from error


def _parts(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    for override in overrides:
        yield key_of(override), override.partition("=")[2]
