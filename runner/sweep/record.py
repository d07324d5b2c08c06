"""sweep.json: what a sweep is, and what became of its trials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.errors import UserError
from runner.files import write_atomically, writing

Status = Literal["waiting", "running", "finished", "failed", "stopped", "elsewhere"]
"""``elsewhere``: another process is at work on the run."""

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
    value: float | None = None
    """Of the objective."""
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
    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    status: Literal["running", "finished", "failed", "stopped"] = "running"
    trials: list[Trial] = field(default_factory=list)
    best: int | None = None
    """The number of the best trial."""
    format: int = _FORMAT

    def sorted(self) -> list[Trial]:
        """The best first; those without a value come last, in the order of their numbers."""
        sign = -1 if self.mode == "max" else 1
        rated = [trial for trial in self.trials if trial.value is not None]
        others = [trial for trial in self.trials if trial.value is None]
        return [
            *sorted(rated, key=lambda trial: (sign * (trial.value or 0.0), trial.number)),
            *others,
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
        ranked = [trial for trial in self.sorted() if trial.value is not None]
        self.best = ranked[0].number if ranked else None
        with writing(path):
            write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


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
        key, _, value = override.partition("=")
        yield key.lstrip("+~"), value
