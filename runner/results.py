"""What came out of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PLACE = ("phase", "split", "step", "epoch", "steps_per_s", "time")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a finished run."""

    id: str
    name: str
    directory: Path
    metrics: dict[str, dict[str, float]]
    """By phase, the last value of each number as split/name."""
    step: int
    """Optimizer updates in all."""
    checkpoints: list[Path] = field(default_factory=list)
    """The kept ones, oldest first, as paths that ``tf.train.Checkpoint.restore`` takes."""
    best: Path | None = None
    """The best of them, if the config says what is best."""

    def as_json(self) -> dict[str, Any]:
        """For run.json; paths are relative to the run directory where they lie in it."""
        return {
            "metrics": self.metrics,
            "step": self.step,
            "checkpoints": [self._relative(path) for path in self.checkpoints],
            "best": self.best and self._relative(self.best),
        }

    def _relative(self, path: Path) -> str:
        inside = path.is_relative_to(self.directory)
        return str(path.relative_to(self.directory) if inside else path.absolute())


def check_result(content: Mapping[str, Any]) -> None:
    """Looks whether ``content`` is what ``as_json`` gives.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not.
    """
    numbers = [number for values in content["metrics"].values() for number in values.values()]
    if not all(isinstance(number, int | float | None) for number in [*numbers, content["step"]]):
        raise ValueError(f"result has metrics {content['metrics']!r}")
    paths = [*content["checkpoints"], content["best"]]
    if not all(isinstance(path, str | None) for path in paths):
        raise ValueError(f"result has checkpoints {paths!r}")


def result_from_json(content: Mapping[str, Any], *, id: str, name: str, directory: Path) -> Result:
    """The result that ``as_json`` gave, for a run that now stands in ``directory``."""
    best = content["best"]
    return Result(
        id=id,
        name=name,
        directory=directory,
        metrics=content["metrics"],
        step=content["step"],
        checkpoints=[directory / path for path in content["checkpoints"]],
        best=directory / best if best else None,
    )


def last_values(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By phase, the last value of each number as split/name."""
    metrics: dict[str, dict[str, float]] = {}
    for row in rows:
        if not {"phase", "split"} <= row.keys():
            continue  # Somebody else's: the file is open to everybody.
        of_phase = metrics.setdefault(row["phase"], {})
        numbers = {name: value for name, value in row.items() if name not in _PLACE}
        of_phase.update({f"{row['split']}/{name}": value for name, value in numbers.items()})
    return metrics
