"""Figures as a Markdown table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one comparison came to."""

    what: str
    unit: str
    rival: str
    target: float
    pairs: Sequence[tuple[float, float]]
    """The runner's figure and its rival's, of every round."""

    @property
    def ratios(self) -> list[float]:
        """The runner's by the rival's, in ascending order."""
        return sorted(own / other for own, other in self.pairs)

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def more_is_better(self) -> bool:
        return self.unit == "steps/s"

    @property
    def is_reached(self) -> bool:
        """Whether the median keeps to the target."""
        return self.ratio >= self.target if self.more_is_better else self.ratio <= self.target

    def figures(self) -> tuple[float, float]:
        """The medians of the runner and of the rival."""
        own, other = zip(*self.pairs, strict=True)
        return statistics.median(own), statistics.median(other)


def markdown(lines: Sequence[Line]) -> str:
    """One row for every comparison."""
    rows = [
        "| what | runner | against | its figure | ratio (min to max) | target | |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for line in lines:
        own, other = line.figures()
        ratios = line.ratios
        sign = "≥" if line.more_is_better else "≤"
        rows.append(
            f"| {line.what} | {_shown(own)} {line.unit} | {line.rival} "
            f"| {_shown(other)} {line.unit} "
            f"| {_shown(line.ratio)} ({_shown(ratios[0])} to {_shown(ratios[-1])}) "
            f"| {sign} {_shown(line.target)} | {'' if line.is_reached else 'not reached'} |"
        )
    return "\n".join(rows) + "\n"


def _shown(value: float) -> str:
    """Three digits that tell something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def plot(lines: Sequence[Line], path: Path) -> None:
    """How many times better the runner is, over a logarithmic axis, beside what it is to be."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.8 + 0.34 * len(lines)), layout="constrained")
    for place, line in enumerate(lines):
        ratios = [_times_better(line, ratio) for ratio in (line.ratio, *line.ratios)]
        color = "tab:green" if line.is_reached else "tab:red"
        axes.plot([min(ratios), max(ratios)], [place, place], color=color, linewidth=2)
        axes.plot(ratios[0], place, "o", color=color)
        axes.plot(_times_better(line, line.target), place, "|", color="black", markersize=14)
    axes.set_yticks(range(len(lines)), [f"{line.what}: {line.rival}" for line in lines])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_xlabel("times better than the other, median and range; the black mark is the target")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path)
    pyplot.close(figure)


def _times_better(line: Line, ratio: float) -> float:
    return ratio if line.more_is_better else 1 / ratio
