"""Tables of results, runs and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from runner.results import Result

if TYPE_CHECKING:
    from runner.config.changes import Change
    from runner.reproduction import Item, Reproduction

_DIGITS = 10
_BOUNDLESS = 10_000
"""Characters."""
_VERDICTS = {
    "equal": "equal",
    "within": "other bits",
    "differs": "differs",
    "gone": "no longer there",
}


def result_table(result: Result) -> Table:
    """The last numbers of every phase, and where everything is."""
    table = Table(title=f"{result.name} {result.id}", title_justify="left", show_edge=False)
    table.add_column("phase")
    table.add_column("split")
    names = sorted(
        {name.partition("/")[2] for values in result.metrics.values() for name in values},
        key=lambda name: (name != "loss", name),
    )
    for name in names:
        table.add_column(name, justify="right")
    for phase, values in result.metrics.items():
        for split in dict.fromkeys(name.partition("/")[0] for name in values):
            cells = [number(values.get(f"{split}/{name}")) for name in names]
            table.add_row(phase, split, *cells)
    return table


def places(result: Result) -> list[str]:
    """Lines that say where the run and its best and latest checkpoints are."""
    lines = [f"run         {shown_path(result.directory)}"]
    if result.best:
        lines.append(f"best        {shown_path(result.best)}")
    if result.checkpoints:
        lines.append(f"latest      {shown_path(result.checkpoints[-1])}")
    return lines


def run_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One line a run."""
    table = Table(show_edge=False)
    titles = ("run", "status", "step", "result")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title != "result")
    for row in rows:
        table.add_row(*(str(row[title]) for title in titles))
    return table


def least_width(table: Table, console: Console) -> int:
    """The characters that it takes to keep words, and columns that do not wrap, in one piece."""
    for column in table.columns:
        if column.no_wrap:
            text = "\n".join(map(str, (column.header, *column.cells)))
            column.min_width = max(map(cell_len, text.splitlines()))
    return console.measure(table, options=console.options.update(width=_BOUNDLESS)).minimum


def checkpoint_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One line a checkpoint."""
    table = Table(show_edge=False)
    titles = ("checkpoint", "step", "epoch", "phase", "metrics", "size", "intact")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(row.get(title, "")) for title in titles))
    return table


def reproduction_table(reproduction: Reproduction) -> Table:
    """What was compared, in the original and afresh; values in full where they differ."""
    table = Table(show_edge=False)
    for title in ("compared", "original", "afresh", ""):
        table.add_column(title, overflow="fold")
    for item in reproduction.items:
        values = [_compared(value, item) for value in (item.original, item.again)]
        table.add_row(item.what, *values, _VERDICTS[item.verdict])
    return table


def _compared(value: Any, item: Item) -> str:
    if item.verdict == "equal" and isinstance(value, float):
        return number(value)
    if value is None:
        return "-"
    # Of a hash, the beginning tells two from each other.
    return str(value)[:_DIGITS] if item.what.startswith("fingerprint") else str(value)


def verdict(reproduction: Reproduction) -> str:
    """What the comparison comes to."""
    if reproduction.is_identical:
        return "equal, bit for bit"
    if reproduction.is_reproduced:
        return f"equal within {reproduction.tolerance:g}, not bit for bit"
    names = ", ".join(item.what for item in reproduction.differing)
    within = "" if reproduction.tolerance is None else f" by more than {reproduction.tolerance:g}"
    return f"not the same{within}: {names}"


def change_lines(changes: Sequence[Change]) -> list[str]:
    """The changes of a resume, by what they do to the run."""
    lines = []
    for kind, title in (("trajectory", "changes the trajectory"), ("harmless", "harmless")):
        of_kind = [f"  {change}" for change in changes if change.kind == kind]
        lines += [f"{title}:", *of_kind] if of_kind else []
    return lines


def number(value: float | None) -> str:
    """Four significant digits, or a dash."""
    return (
        "-" if value is None else f"{value:.4f}" if 0.001 <= abs(value) < 1000 else f"{value:.4g}"
    )


def shown_path(path: Path) -> str:
    """The shorter of the path and the path from here."""
    relative = os.path.relpath(path)
    return min(relative, str(path), key=len)
