"""Counts what was tried and what became of it, for the table at the end of ``make chaos``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

COUNTS = ("tried", "lost", "different", "otherwise")
_SHOWN = 10

Bounded: TypeAlias = Callable[[Sequence[Any], int], Sequence[Any]]
"""Takes of many cases all under --chaos, otherwise about so many, evenly spread."""


class Lost(AssertionError):
    """A run could not be brought to its end by launching it again."""


class Different(AssertionError):
    """A run ended otherwise than the one that nothing happened to."""


@dataclass
class Tally:
    """The counts of one process, by fault, in the order in which the faults were first tried."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, counts: dict[str, dict[str, int]]) -> None:
        """Adds the counts of another process."""
        for fault, row in counts.items():
            mine = self._row(fault)
            for name, count in row.items():
                mine[name] = mine.get(name, 0) + count

    @contextmanager
    def fault(self, name: str) -> Iterator[Cases]:
        """Collects the cases of one fault; at the end of the block, fails if one of them did."""
        cases = Cases(self._row(name))
        yield cases
        assert cases.tried, f"{name}: no case was tried"
        shown = "\n".join(cases.failed[:_SHOWN])
        assert not cases.failed, f"{len(cases.failed)} of {cases.tried} cases:\n{shown}"

    def table(self) -> str:
        """All counts, as Markdown."""
        rows = [(fault, row["tried"], row["lost"], row["different"]) for fault, row in self]
        total = ("all", *(sum(row[name] for _, row in self) for name in COUNTS[:3]))
        lines = [
            "| fault | cases tried | runs lost | bits different |",
            "| --- | ---: | ---: | ---: |",
        ]
        lines += [f"| {fault} | {a:,} | {b:,} | {c:,} |" for fault, a, b, c in [*rows, total]]
        otherwise = [f"{fault} {row['otherwise']}" for fault, row in self if row["otherwise"]]
        if otherwise:
            lines += ["", f"Cases that failed otherwise: {', '.join(otherwise)}."]
        for fault, row in self:
            places = [f"{name} {row[name]}" for name in row if name not in COUNTS]
            lines += ["", f"{fault}, of which: {', '.join(places)}."] if places else []
        return "\n".join(lines) + "\n"

    def __iter__(self) -> Iterator[tuple[str, dict[str, int]]]:
        return iter(self.counts.items())

    def _row(self, fault: str) -> dict[str, int]:
        return self.counts.setdefault(fault, dict.fromkeys(COUNTS, 0))


class Cases:
    """The cases of one fault in one test, each tried whatever became of those before it."""

    def __init__(self, row: dict[str, int]) -> None:
        self._row = row
        self.tried = 0
        self.failed: list[str] = []

    def place(self, name: str) -> None:
        """Counts where a case took place, to be told below the table."""
        self._row[name] = self._row.get(name, 0) + 1

    @contextmanager
    def case(self, label: object, *, size: int = 1) -> Iterator[None]:
        """One case: a failure inside the block is counted and kept for the end.

        Args:
            size: how many faults it is made of, if there were several in a row.
        """
        self.tried += size
        self._row["tried"] += size
        try:
            yield
        except Exception as error:
            kind = {Lost: "lost", Different: "different"}.get(type(error), "otherwise")
            self._row[kind] += 1
            self.failed.append(f"{label}: {type(error).__name__}: {error}")
