"""What a phase is, and all that it gets to see."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from runner.callbacks import Callback
from runner.schedule import Every

if TYPE_CHECKING:
    from runner.data.pipeline import Pipelines
    from runner.engine.engine import Engine
    from runner.state import State

Row: TypeAlias = dict[str, Any]
"""``{"phase", "split", "step", "epoch", "loss", <metrics>, "steps_per_s", "time"}``"""


class Observer(Protocol):
    """Is told what happens; shows it to people, changes nothing."""

    def phase_started(self, name: str, *, step: int, until: int) -> None: ...

    def advanced(self, *, step: int, epoch: float) -> None: ...

    def row_written(self, row: Row) -> None: ...

    def saved(self, name: str, *, is_best: bool) -> None: ...

    def phase_ended(self, name: str, *, reason: str | None) -> None: ...


class Save(Protocol):
    """Saves the state at the end of the step just done.

    A save that is not scheduled, because the run was asked to stop, leaves no trace once the run
    has gone on from it: it takes no number from those that are.
    """

    def __call__(
        self, *, epoch: float, metrics: Mapping[str, float], scheduled: bool = True
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Given:
    """Everything a phase gets. It knows nothing of the run around it."""

    name: str
    """The phase's own name."""
    state: State
    engine: Engine
    data: Pipelines
    log_every: Every
    save_every: Every
    save: Save
    would_be_best: Callable[[Mapping[str, float]], bool]
    borrow: Callable[[str | int], AbstractContextManager[int]]
    """Restores what a word, number or path means for the length of a with block; gives its step."""
    write: Callable[[Row], None]
    """Appends a row to metrics.jsonl."""
    observer: Observer
    callbacks: Mapping[str, Callback] = field(default_factory=dict)
    stop: Callable[[], str | None] = lambda: None
    """Why the run should stop where it can go on later, or None."""
    stop_at: int | None = None
    """A step of the whole run after which to ask that, wherever a call would end."""
    clock: Callable[[], float] = time.monotonic
    """Seconds from any origin, for rates and rhythms."""


@dataclass(frozen=True, kw_only=True)
class Phase(ABC):
    """A stage of a run. Running one that is over does nothing."""

    trains: ClassVar[bool] = False
    """Whether it changes the state."""

    @abstractmethod
    def run(self, given: Given) -> None:
        """Takes the state from where it is to the end of the phase."""

    @abstractmethod
    def splits(self) -> Iterable[str]:
        """The splits of the data it needs."""

    def evaluates(self) -> Iterable[str]:
        """The splits it measures while it trains: what a best checkpoint can go by."""
        return ()


def row(given: Given, *, split: str, step: int, epoch: float, values: Mapping[str, float]) -> Row:
    """A row of metrics.jsonl; the writer adds the time."""
    place = {"phase": given.name, "split": split, "step": step, "epoch": round(epoch, 6)}
    return {**place, **values}


def named(split: str, values: Mapping[str, float]) -> dict[str, float]:
    """``{"accuracy": 0.9}`` of split validation as ``{"validation/accuracy": 0.9}``."""
    return {f"{split}/{name}": value for name, value in values.items()}
