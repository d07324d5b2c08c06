"""A run as it goes: a live progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from runner.config import Experiment
from runner.observer import SessionObserver
from runner.report.tables import number, places, result_table, shown_path
from runner.results import Result

_PLACE = ("phase", "split", "step", "epoch", "steps_per_s", "time")
_NAME_WIDTH = 12
_LINE_EVERY_S = 1.0


def for_terminal(console: Console | None = None) -> SessionObserver:
    """The observer that suits where the output goes."""
    console = console or Console(highlight=False, soft_wrap=True)
    return Live(console) if console.is_terminal else Plain(console)


class _Common(SessionObserver):
    """What both ways of showing a run have in common: everything but the steps in between."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def recalled(self, result: Result, *, changed: list[str]) -> None:
        if changed:
            self._say(f"the code has changed since: {', '.join(changed)}")
        self._say("finished before; this is its result (run.fresh=true runs it again)")
        self.finished(result)

    def started(self, experiment: Experiment, directory: Path, *, changed: list[str]) -> None:
        self._say(f"{experiment.name}: {shown_path(directory)}")
        if changed:
            self._say(f"the code has changed since the last sitting: {', '.join(changed)}")

    def restored(self, checkpoint: Path | None, *, step: int) -> None:
        if checkpoint is not None:
            self._say(f"goes on from {shown_path(checkpoint)}, step {step:,}")

    def finished(self, result: Result) -> None:
        self._console.print()
        self._console.print(result_table(result))
        self._console.print()
        for line in places(result):
            self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)


class Plain(_Common):
    """Lines that nothing redraws, at most one a second within a phase, and always its last one.

    Args:
        console: where to print.
        clock: seconds from any origin.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._printed_at = 0.0
        self._held_back: str | None = None
        self._until = 0

    def phase_started(self, name: str, *, step: int, until: int) -> None:
        self._until = until
        self._printed_at = self._clock()

    def advanced(self, *, step: int, epoch: float) -> None:
        pass

    def row_written(self, row: Mapping[str, Any]) -> None:
        place = f"step {row['step']:,}/{self._until:,}" if self._until else f"step {row['step']:,}"
        rate = f"  {row['steps_per_s']:,.0f} steps/s" if "steps_per_s" in row else ""
        line = (
            f"{row['phase']:{_NAME_WIDTH}} {place}  epoch {row['epoch']:.1f}  {_values(row)}{rate}"
        )
        if self._clock() - self._printed_at < _LINE_EVERY_S:
            self._held_back = line
        else:
            self._print(line)

    def saved(self, name: str, *, is_best: bool) -> None:
        pass

    def phase_ended(self, name: str, *, reason: str | None) -> None:
        if self._held_back:
            self._print(self._held_back)
        if reason:
            self._say(f"{name:{_NAME_WIDTH}} ended early: {reason}")

    def _print(self, line: str) -> None:
        self._say(line)
        self._printed_at, self._held_back = self._clock(), None


class Live(_Common):
    """A bar for the phase at work, its last line kept when it ends."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._values: dict[str, str] = {}
        self._saves = 0

    def phase_started(self, name: str, *, step: int, until: int) -> None:
        self._values, self._saves = {}, 0
        self._progress = Progress(
            TextColumn(f"{name:{_NAME_WIDTH}}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
        )
        self._task = self._progress.add_task(name, completed=step, total=until, text="")
        self._progress.start()

    def advanced(self, *, step: int, epoch: float) -> None:
        self._values["epoch"] = f"epoch {epoch:.1f}"
        self._show(completed=step)

    def row_written(self, row: Mapping[str, Any]) -> None:
        self._values[row["split"]] = _values(row)
        if "steps_per_s" in row:
            self._values["rate"] = f"{row['steps_per_s']:,.0f} steps/s"
        self._show()

    def saved(self, name: str, *, is_best: bool) -> None:
        self._saves += 1
        self._values["saved"] = f"{self._saves} saved, last {name}{' (best)' if is_best else ''}"
        self._show()

    def phase_ended(self, name: str, *, reason: str | None) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if reason:
            self._say(f"{name:{_NAME_WIDTH}} ended early: {reason}")

    def _show(self, **update: Any) -> None:
        if self._progress is not None:
            self._progress.update(self._task, text="  ".join(self._values.values()), **update)


def _values(row: Mapping[str, Any]) -> str:
    values = {name: value for name, value in row.items() if name not in _PLACE}
    return "  ".join(f"{row['split']}/{name} {number(value)}" for name, value in values.items())
