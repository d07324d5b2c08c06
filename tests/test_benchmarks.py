"""The table of the benchmarks; nothing is timed here."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.launch import command
from tests.benchmarks.table import Line, markdown


def test_the_probe_tells_how_long_the_first_step_and_the_saves_took(
    workdir: Path,
) -> None:
    arguments = ["debug=smoke", "engine.compile=graph", "run.dir=run"]
    done = command(["-m", "tests.benchmarks.probe", *arguments], cwd=workdir)
    assert done.answer["first_step_s"] > 0
    assert len(done.answer["saves_s"]) > 0


def line(unit: str, *, target: float, pairs: list[tuple[float, float]]) -> Line:
    return Line(what="work", unit=unit, rival="other", target=target, pairs=pairs)


def test_a_ratio_is_the_median_of_pairs_that_were_measured_side_by_side() -> None:
    # By the medians of each side it would be 1.
    speed = line("steps/s", target=2.0, pairs=[(10.0, 5.0), (40.0, 40.0), (60.0, 20.0)])
    assert speed.ratios == [1.0, 2.0, 3.0]
    assert speed.ratio == 2.0
    assert speed.figures() == (40.0, 20.0)


def test_more_steps_are_better_and_fewer_seconds() -> None:
    pairs = [(3.0, 2.0)]
    assert line("steps/s", target=1.5, pairs=pairs).is_reached
    assert not line("steps/s", target=1.6, pairs=pairs).is_reached
    assert line("s", target=1.5, pairs=pairs).is_reached
    assert not line("s", target=1.4, pairs=pairs).is_reached


def test_the_table_says_where_a_target_is_not_reached() -> None:
    reached = line("s", target=1.1, pairs=[(1.0, 1.0), (2.1, 2.0)])
    missed = line("steps/s", target=3.0, pairs=[(12000.0, 6000.0)])
    assert markdown([reached, missed]).splitlines()[2:] == [
        "| work | 1.55 s | other | 1.5 s | 1.02 (1 to 1.05) | ≤ 1.1 |  |",
        "| work | 12,000 steps/s | other | 6,000 steps/s | 2 (2 to 2) | ≥ 3 | not reached |",
    ]
