"""A sweep as it goes: a live table on a terminal, a line a trial elsewhere; a table at its end."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table

from runner.report.console import plain_console
from runner.report.tables import least_width, number, shown_path
from runner.sweep.observer import SweepObserver
from runner.sweep.record import SweepRecord, Trial, values_of

Form: TypeAlias = Literal["whole", "ids", "objectives"]
"""``ids``: of runs, the last part of the path; ``objectives``: besides, no numbers but these."""
FORMS: tuple[Form, ...] = get_args(Form)

_LIVE_ROWS = 20


def for_terminal(console: Console | None = None) -> SweepObserver:
    """The observer that suits where the output goes."""
    console = console or plain_console()
    return Live(console) if console.is_terminal else Plain(console)


def sweep_table(
    record: SweepRecord,
    *,
    trials: list[Trial] | None = None,
    latest: Mapping[int, Mapping[str, float]] = MappingProxyType({}),
    form: Form = "whole",
) -> Table:
    """One line a trial, the best first: what was swept over, what came out, how long it took.

    Args:
        trials: some of them, in another order.
        latest: the numbers of those at work.
        form: how much of it is shown.
    """
    keys, is_narrow = record.swept(), form != "whole"
    names = [name for name in _last_measured(record) if name not in record.objectives]
    titles = [*record.objectives] if form == "objectives" else [*record.objectives, *names, "s"]
    marked = {trial.number for trial in record.front()} if len(record.objectives) > 1 else set()
    table = _empty_table(_titles(keys), titles, is_narrow=is_narrow)
    for trial in record.sorted() if trials is None else trials:
        # A trial that came to no end has no value to compare, yet it may have measured one.
        measured = {**trial.metrics, **latest.get(trial.number, {}), **trial.values}
        values = map(measured.get, [*record.objectives, *names])
        seconds = "-" if trial.seconds is None else f"{trial.seconds:.1f}"
        cells = [*map(number, values), seconds][: len(titles)]
        run = Path(trial.run or "")
        place = "" if trial.run is None else run.name if is_narrow else shown_path(run)
        swept = map(_shortened, values_of(trial.overrides, keys))
        label = f"{trial.number} *" if trial.number in marked else str(trial.number)
        table.add_row(label, *swept, *cells, _status(trial), place)
    return table


def _empty_table(keys: list[str], numbers: list[str], *, is_narrow: bool) -> Table:
    """Only what was swept over wraps."""
    if is_narrow:
        keys, numbers = (
            [re.sub("[/_]", r"\g<0>\n", one) for one in each] for each in (keys, numbers)
        )
    table = Table(show_edge=False)
    table.add_column("trial", no_wrap=True)
    for title in keys:
        table.add_column(title, overflow="fold")
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("status", "run"):
        table.add_column(title, no_wrap=True)
    return table


def fitting_table(record: SweepRecord, console: Console, **more: Any) -> Table:
    """The table in the first form for which there is room; ``more`` is passed to ``sweep_table``."""
    for form in FORMS:
        table = sweep_table(record, form=form, **more)
        if least_width(table, console) <= console.width:
            break
    return table


class _Common(SweepObserver):
    """What both ways of showing a sweep have in common: its beginning and its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._record = SweepRecord(overrides=[], configs="")

    def sweep_started(self, record: SweepRecord, directory: Path) -> None:
        self._record = record
        trials = "1 trial" if record.num_trials == 1 else f"{record.num_trials} trials"
        self._say(f"sweep of {trials}: {shown_path(directory)}")

    def stopping(self, reason: str) -> None:
        self._say(f"{reason}: stops after saving; once more stops at once")

    def closed(self) -> None:
        pass

    def sweep_ended(self, record: SweepRecord, directory: Path, *, changed: list[str]) -> None:
        self._console.print()
        self._console.print(fitting_table(record, self._console))
        self._console.print()
        if len(record.objectives) > 1 and record.best:
            self._say("* Pareto front: no other trial is better in one and no worse in any")
        for trial in record.of_status("failed", "elsewhere"):
            log = directory / f"trial-{trial.number}.log"
            where = f" (see {shown_path(log)})" if log.exists() else ""
            told = f"runner: trial {trial.number} {trial.status}: {trial.reason}{where}"
            print(told, file=sys.stderr)
        if changed:
            self._say(f"the code has changed since: {', '.join(changed)}")
        left = "; the same command goes on" if record.num_left() else ""
        self._say(f"{_summary(record)}{left}")

    def _say(self, line: str) -> None:
        self._console.print(line)


class Plain(_Common):
    """A line whenever a trial that had to be run begins or ends."""

    def trial_started(self, trial: Trial) -> None:
        self._say(f"{self._place(trial)} begins: {' '.join(trial.overrides)}")

    def trial_advanced(self, trial: Trial, row: Mapping[str, Any]) -> None:
        pass

    def trial_ended(self, trial: Trial) -> None:
        if trial.seconds is not None or trial.status != "finished":
            values = "".join(f"  {name} {number(one)}" for name, one in trial.values.items())
            seconds = "" if trial.seconds is None else f"  {trial.seconds:.1f} s"
            reason = f"  {trial.reason}" if trial.status == "pruned" else ""
            self._say(f"{self._place(trial)} {_status(trial)}{values}{reason}{seconds}")

    def _place(self, trial: Trial) -> str:
        return f"trial {trial.number}/{self._record.num_trials}"


class Live(_Common):
    """The trials at work with their latest numbers and, as far as there is room, the best so far."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._picture: RichLive | None = None
        self._latest: dict[int, dict[str, float]] = {}

    def sweep_started(self, record: SweepRecord, directory: Path) -> None:
        super().sweep_started(record, directory)
        self._picture = RichLive(
            console=self._console, get_renderable=self._draw, refresh_per_second=4, transient=True
        )
        self._picture.start()

    def trial_started(self, trial: Trial) -> None:
        pass

    def trial_advanced(self, trial: Trial, row: Mapping[str, Any]) -> None:
        place = ("phase", "split", "step", "epoch", "steps_per_s", "time")
        numbers = {name: value for name, value in row.items() if name not in place}
        latest = {f"{row.get('split')}/{name}": one for name, one in numbers.items()}
        # Replaced, since it may be drawn at this moment.
        self._latest = {
            **self._latest,
            trial.number: {**self._latest.get(trial.number, {}), **latest},
        }

    def trial_ended(self, trial: Trial) -> None:
        pass

    def closed(self) -> None:
        if self._picture is not None:
            self._picture.stop()
            self._picture = None

    def sweep_ended(self, record: SweepRecord, directory: Path, *, changed: list[str]) -> None:
        self.closed()
        super().sweep_ended(record, directory, changed=changed)

    def _draw(self) -> Table:
        record = self._record
        running = record.of_status("running")
        ended = [one for one in record.sorted() if one.status not in ("running", "waiting")]
        shown = [*running, *ended][:_LIVE_ROWS]
        table = fitting_table(record, self._console, trials=shown, latest=self._latest)
        table.caption, table.caption_justify = _summary(record), "left"
        return table


def _last_measured(record: SweepRecord) -> list[str]:
    """The numbers of the split that was measured last: those of the last phase."""
    names = list(dict.fromkeys(name for trial in record.trials for name in trial.metrics))
    splits = [name.partition("/")[0] for name in names]
    return [name for name, split in zip(names, splits, strict=True) if split == splits[-1]]


def _titles(keys: list[str]) -> list[str]:
    """The last part of each key, if no other one ends so."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [key if ends.count(end) > 1 else end for key, end in zip(keys, ends, strict=True)]


def _status(trial: Trial) -> str:
    is_old = trial.status == "finished" and trial.seconds is None
    return "finished before" if is_old else trial.status


def _shortened(text: str) -> str:
    """A fraction with all its digits, as a search chooses it, would take half the table."""
    is_long = re.fullmatch(r"-?\d+\.\d{6,}(e-?\d+)?", text)
    return f"{float(text):.4g}" if is_long else text


def _summary(record: SweepRecord) -> str:
    counts = dict.fromkeys(("finished", "pruned", "failed", "elsewhere", "stopped", "running"), 0)
    for trial in record.trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    told = [f"{count} {status}" for status, count in counts.items() if count]
    return ", ".join(told)
