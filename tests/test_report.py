"""What people see of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.report.console import Live, Plain, for_terminal
from runner.report.tables import number, places, result_table
from runner.results import Result, last_values, result_from_json

RESULT = Result(
    id="0123456789",
    name="digits_mlp",
    directory=Path("outputs/digits_mlp/0123456789"),
    metrics={
        "train": {"train/loss": 0.25, "validation/loss": 0.5, "validation/accuracy": 0.875},
        "evaluate": {"test/loss": 0.5, "test/accuracy": 1.0},
    },
    step=590,
    checkpoints=[Path("outputs/digits_mlp/0123456789/checkpoints/ckpt-590"), Path("/far/ckpt-7")],
    best=Path("/far/ckpt-7"),
)


def row(split: str, step: int, **values: float) -> dict[str, Any]:
    return {"phase": "train", "split": split, "step": step, "epoch": step / 10, **values}


def printed(*objects: object, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    for thing in objects:
        console.print(thing)
    return stream.getvalue()


def test_a_result_survives_json_and_a_move() -> None:
    again = result_from_json(
        RESULT.as_json(), id=RESULT.id, name=RESULT.name, directory=Path("elsewhere")
    )
    assert again.checkpoints == [Path("elsewhere/checkpoints/ckpt-590"), Path("/far/ckpt-7")]
    assert (again.metrics, again.step, again.best) == (RESULT.metrics, 590, Path("/far/ckpt-7"))


def test_the_last_value_of_every_number_counts() -> None:
    rows = [row("train", 1, loss=3.0), row("validation", 1, loss=2.0), row("train", 2, loss=1.0)]
    assert last_values(rows) == {"train": {"train/loss": 1.0, "validation/loss": 2.0}}


def test_the_table_has_a_row_for_every_split_and_a_dash_for_what_is_missing() -> None:
    lines = [line.rstrip() for line in printed(result_table(RESULT)).splitlines()]
    assert lines == [
        "digits_mlp 0123456789",
        " phase    ┃ split      ┃   loss ┃ accuracy",
        "━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━",
        " train    │ train      │ 0.2500 │        -",
        " train    │ validation │ 0.5000 │   0.8750",
        " evaluate │ test       │ 0.5000 │   1.0000",
    ]


def test_places_say_where_everything_is() -> None:
    assert places(RESULT) == [
        "run         outputs/digits_mlp/0123456789",
        "best        /far/ckpt-7",
        "latest      /far/ckpt-7",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.97771, "0.9777"), (1234.5, "1234"), (0.00001234, "1.234e-05"), (0.0, "0")],
)
def test_numbers_have_four_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def plain(times: list[float]) -> tuple[Plain, io.StringIO]:
    stream = io.StringIO()
    ahead = iter(times)
    console = Console(file=stream, width=120, highlight=False, soft_wrap=True)
    return Plain(console, clock=lambda: next(ahead)), stream


def test_plain_lines_come_at_most_once_a_second_and_the_last_one_always() -> None:
    # One reading when the phase starts, one at every row, one more at every line printed.
    observer, stream = plain([0.0, 0.5, 1.5, 1.5, 2.0, 2.1, 2.1])
    observer.phase_started("train", step=0, until=40)
    observer.row_written(row("train", 10, loss=4.0, steps_per_s=1234.0))
    observer.row_written(row("train", 20, loss=3.0, steps_per_s=1234.0))
    observer.row_written(row("train", 30, loss=2.0))
    observer.row_written(row("validation", 40, loss=1.0))
    observer.phase_ended("train", reason="it was enough")
    assert stream.getvalue().splitlines() == [
        "train        step 20/40  epoch 2.0  train/loss 3.0000  1,234 steps/s",
        "train        step 40/40  epoch 4.0  validation/loss 1.0000",
        "train        ended early: it was enough",
    ]


def test_without_a_terminal_lines_are_plain() -> None:
    assert isinstance(for_terminal(Console(file=io.StringIO())), Plain)
    assert isinstance(for_terminal(Console(file=io.StringIO(), force_terminal=True)), Live)


def test_on_a_terminal_the_last_picture_tells_step_rate_numbers_and_saves() -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=100, highlight=False, color_system=None
    )
    observer = Live(console)
    observer.phase_started("train", step=0, until=40)
    observer.advanced(step=40, epoch=4.0)
    observer.row_written(row("train", 40, loss=2.0, steps_per_s=1234.0))
    observer.row_written(row("validation", 40, loss=1.0))
    observer.saved("ckpt-40", is_best=True)
    observer.phase_ended("train", reason=None)
    last = stream.getvalue().rsplit("\x1b[2K", 1)[-1]
    whole = stream.getvalue()
    for part in ("40/40", "epoch 4.0", "1,234 steps/s", "train/loss 2.0000"):
        assert part in whole
    assert "1 saved, best so far ckpt-40" in last


def test_what_is_left_of_a_picture_is_cleared_when_a_sitting_ends() -> None:
    observer = Live(Console(file=io.StringIO(), force_terminal=True))
    observer.phase_started("train", step=0, until=40)
    observer.closed()
    observer.closed()
