"""Compares the runner with what people would use instead: `make bench`.

In every round, the runner and its rivals take turns, each in a process of its own, so that a ratio is
one of neighbours in time. What is measured is told in `measures`, against what in `groups`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.benchmarks.groups import Group, groups
from tests.benchmarks.launch import FailedError
from tests.benchmarks.table import Line, markdown, plot

_PACKAGES = ("tensorflow", "keras", "torch", "lightning", "jax", "orbax-checkpoint")


def main() -> int:
    """0, 1 if something could not be measured, 2 for bad usage; a target not reached is no failure."""
    options = _options()
    lines, failures = [], []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        known = {group.name: group for group in groups(Path(scratch), seconds=options.seconds)}
        if unknown := set(options.only or ()) - set(known):
            print(
                f"no such group: {', '.join(sorted(unknown))}; known: {', '.join(known)}",
                file=sys.stderr,
            )
            return 2
        for group in (known[name] for name in options.only or known):
            print(f"{group.name}: {group.what}", flush=True)
            try:
                lines += list(_lines(group, _rounds(group, options.rounds)))
            except FailedError as error:
                failures.append(group.name)
                print(error, file=sys.stderr)
            if lines:
                _write(lines, options.output, rounds=options.rounds)
    if failures:
        print(f"not measured: {', '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="count steps for at least so long"
    )
    parser.add_argument("--only", nargs="*", metavar="GROUP", help="mlp, cnn, save, ...")
    parser.add_argument("--output", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--scratch", type=Path, help="where there is room for 3 GB")
    return parser.parse_args()


def _rounds(group: Group, count: int) -> list[list[float]]:
    """The figures of the runner and of each rival, of every round."""
    measures = [group.runner, *(rival.measure for rival in group.rivals)]
    found = []
    for number in range(count):
        # Every other round backwards: what changes in the course of a round does so for both.
        order = range(len(measures)) if number % 2 == 0 else reversed(range(len(measures)))
        figures = {index: measures[index]() for index in order}
        found.append([figures[index] for index in range(len(measures))])
        shown = ", ".join(f"{value:,.4g}" for value in found[-1])
        print(f"  round {number + 1}: {shown} {group.unit}", flush=True)
    return found


def _lines(group: Group, rounds: Sequence[Sequence[float]]) -> Iterator[Line]:
    for index, rival in enumerate(group.rivals, start=1):
        yield Line(
            what=group.what,
            unit=group.unit,
            rival=rival.name,
            target=rival.target,
            pairs=[(figures[0], figures[index]) for figures in rounds],
        )


def _write(lines: Sequence[Line], output: Path, *, rounds: int) -> None:
    """Anew after every group, so that what was measured is there whatever comes."""
    output.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    machine = f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}"
    note = f"Medians of {rounds} rounds; {machine}; Python {platform.python_version()}, {versions}."
    (output / "table.md").write_text(f"{markdown(lines)}\n{note}\n")
    (output / "figures.json").write_text(json.dumps([asdict(line) for line in lines], indent=1))
    plot(lines, output / "plot.svg")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
