"""A run as it goes: a live progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from runner.config import Experiment
from runner.config.changes import Change
from runner.observer import SessionObserver
from runner.report.tables import change_lines, number, places, result_table, shown_path
from runner.results import Result

_PLACE = ("phase", "split", "step", "epoch", "steps_per_s", "time")
_NAME_WIDTH = 12
_LINE_EVERY_S = 1.0
_WIDTH_ELSEWHERE = 10_000
"""Characters; a table in a file or a pipe takes what it needs of them."""


def for_terminal(console: Console | None = None) -> SessionObserver:
    """The observer that suits where the output goes."""
    console = console or plain_console()
    return Live(console) if console.is_terminal else Plain(console)


class _Lasting(Console):
    """Prints on to nowhere when whoever read the output has gone: a run does not end for that."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def plain_console() -> Console:
    """A console without decoration of its own, wide enough for every table where it is no terminal."""
    console = _Lasting(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH_ELSEWHERE
    return console


class _Common(SessionObserver):
    """What both ways of showing a run have in common: everything but the steps in between."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def recalled(self, result: Result, *, changed: list[str], again: str) -> None:
        if changed:
            self._say(f"the code has changed since: {', '.join(changed)}")
        self._say(f"finished before; this is its result ({again})")
        self.finished(result)

    def waiting(self, reason: str) -> None:
        self._say(reason)

    def amended(self, changes: list[Change]) -> None:
        for line in change_lines(changes):
            self._say(line)

    def reproducing(self, run: Path, directory: Path, *, matters: list[str]) -> None:
        self._say(f"reproduces {shown_path(run)} in {shown_path(directory)}")
        self._say("what could matter:" if matters else "nothing that could matter has changed")
        for line in matters:
            self._say(f"  {line}")

    def moved_aside(self, directory: Path) -> None:
        self._say(
            f"the earlier run now stands in {shown_path(directory)}; without run.fresh=true, the same "
            "command goes on with the new one"
        )

    def started(self, experiment: Experiment, directory: Path, *, changed: list[str]) -> None:
        self._say(f"{experiment.name}: {shown_path(directory)}")
        if changed:
            self._say(f"the code has changed since the last sitting: {', '.join(changed)}")

    def chosen(self, text: str) -> None:
        self._say(text)

    def restored(self, checkpoint: Path | None, *, step: int) -> None:
        if checkpoint is not None:
            self._say(f"goes on from {shown_path(checkpoint)}, step {step:,}")

    def stopping(self, reason: str) -> None:
        self._say(f"{reason}: stops after saving; once more stops at once")

    def finished(self, result: Result) -> None:
        self._console.print()
        self._console.print(result_table(result))
        self._console.print()
        for line in places(result):
            self._say(line)

    def closed(self) -> None:
        pass

    def _say(self, line: str) -> None:
        self._console.print(line)


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
            self._print_line(line)

    def saved(self, name: str, *, is_best: bool) -> None:
        pass

    def phase_ended(self, name: str, *, reason: str | None) -> None:
        self.closed()
        if reason:
            self._say(f"{name:{_NAME_WIDTH}} ended early: {reason}")

    def closed(self) -> None:
        if self._held_back:
            self._print_line(self._held_back)

    def _print_line(self, line: str) -> None:
        self._say(line)
        self._printed_at, self._held_back = self._clock(), None


class Live(_Common):
    """A bar and the latest numbers for the phase at work; the last picture stays when it ends."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = TaskID(0)
        self._picture: RichLive | None = None
        self._numbers: dict[str, str] = {}
        self._place: dict[str, str] = {}
        self._saves = 0

    def phase_started(self, name: str, *, step: int, until: int) -> None:
        self._numbers, self._place, self._saves = {}, {}, 0
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        label = f"{name:{_NAME_WIDTH}}"
        # The time left is an estimate from the steps of this sitting.
        self._task = self._bar.add_task(label, completed=step, total=until, text="")
        self._picture = RichLive(self._draw(), console=self._console, refresh_per_second=8)
        self._picture.start()

    def advanced(self, *, step: int, epoch: float) -> None:
        self._place["epoch"] = f"epoch {epoch:.1f}"
        self._show(completed=step)

    def row_written(self, row: Mapping[str, Any]) -> None:
        self._numbers[row["split"]] = _values(row)
        if "steps_per_s" in row:
            self._place["rate"] = f"{row['steps_per_s']:,.0f} steps/s"
        self._show()

    def saved(self, name: str, *, is_best: bool) -> None:
        self._saves += 1
        kind = "best so far" if is_best else "latest"
        self._numbers["saved"] = f"{self._saves} saved, {kind} {name}"
        self._show()

    def phase_ended(self, name: str, *, reason: str | None) -> None:
        self.closed()
        if reason:
            self._say(f"{name:{_NAME_WIDTH}} ended early: {reason}")

    def closed(self) -> None:
        if self._picture is not None:
            self._picture.update(self._draw())
            self._picture.stop()
            self._picture = None

    def _show(self, **update: Any) -> None:
        self._bar.update(self._task, text="  ".join(self._place.values()), **update)
        if self._picture is not None:
            self._picture.update(self._draw())

    def _draw(self) -> Group:
        indent = " " * (_NAME_WIDTH + 1)
        lines = [Text(f"{indent}{text}", overflow="ellipsis") for text in self._numbers.values()]
        return Group(self._bar, *lines)


def _values(row: Mapping[str, Any]) -> str:
    values = {name: value for name, value in row.items() if name not in _PLACE}
    return "  ".join(f"{row['split']}/{name} {number(value)}" for name, value in values.items())
