"""Tables of results, runs and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from runner.config.changes import Change
from runner.results import Result


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
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[title]) for title in titles))
    return table


def checkpoint_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One line a checkpoint."""
    table = Table(show_edge=False)
    titles = ("checkpoint", "step", "epoch", "phase", "metrics", "size", "intact")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(row.get(title, "")) for title in titles))
    return table


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
