"""What is equal and what differs between two finished run directories, none of which ever trained."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from runner.checkpoint.manifest import Manifest
from runner.errors import ConfigError
from runner.record import RunRecord
from runner.report.tables import verdict
from runner.reproduction import Reproduction, compare
from runner.rundir import RunDirectory

ROWS: list[dict[str, Any]] = [
    {"phase": "train", "split": "train", "step": 5, "epoch": 1.0, "loss": 0.5, "time": 1.0},
    {"phase": "train", "split": "train", "step": 9, "epoch": 1.8, "loss": None, "time": 2.0},
    {"phase": "evaluate", "split": "test", "step": 9, "epoch": 1.8, "loss": 0.25, "time": 3.0},
]
RESULT: dict[str, Any] = {
    "metrics": {"evaluate": {"test/loss": 0.25}},
    "step": 9,
    "checkpoints": ["checkpoints/ckpt-5", "checkpoints/ckpt-9"],
    "best": "checkpoints/ckpt-5",
}


def manifest(step: int, **other: Any) -> Manifest:
    fields: dict[str, Any] = {
        "name": f"ckpt-{step}",
        "run": "0123456789",
        "number": step,
        "order": step,
        "step": step,
        "epoch": step / 5,
        "phase": "train",
        "record": {},
        "saved_at": 0.0,
        "keys": {},
        "optimizers": {},
        "variables": {},
        "begun_at": 0.0,
        "fingerprint": f"{step:064x}",
        "files": {f"ckpt-{step}.index": {"bytes": 1, "sha256": ""}},
    }
    return Manifest(**{**fields, **other})


def write(path: Path, one: Manifest) -> None:
    (path / f"checkpoints/{one.name}.json").write_bytes(one.as_bytes())


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_result(path: Path, result: Any, **fields: Any) -> None:
    record = RunRecord(id="0123456789", name="it", status="finished", result=result)
    (path / "run.json").write_text(json.dumps({**asdict(record), **fields}))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A finished run and the same once more, at another time of day."""
    one = tmp_path / "one"
    (one / "checkpoints").mkdir(parents=True)
    for step in (5, 9):
        write(one, manifest(step))
    write_rows(one, ROWS)
    write_result(one, RESULT)
    shutil.copytree(one, tmp_path / "two")
    write_rows(tmp_path / "two", [{**row, "time": 7.0, "steps_per_s": 2.0} for row in ROWS])
    return one, tmp_path / "two"


def differing(found: Reproduction) -> list[tuple[str, Any, Any]]:
    return [(item.what, item.original, item.again) for item in found.differing]


def test_equal_but_for_the_clock(two: tuple[Path, Path]) -> None:
    found = compare(*two)
    assert found.is_identical
    assert verdict(found) == "equal, bit for bit"
    assert [item.what for item in found.items] == [
        "checkpoints kept",
        "fingerprints of earlier ones",
        "fingerprint of ckpt-9",
        "rows",
        "step",
        "best checkpoint",
        "evaluate test/loss",
    ]
    assert verdict(compare(*two, tolerance=0.1)) == "equal, bit for bit"


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [(0, "loss", 0.5000001), (1, "loss", 0.5), (2, "step", 10), (2, "split", "validation")],
)
def test_the_first_row_that_differs_is_told_with_both_values(
    two: tuple[Path, Path], number: int, name: str, value: Any
) -> None:
    rows = [dict(row) for row in ROWS]
    rows[number][name] = value
    rows[2]["epoch"] = 1.9 if number < 2 else 1.8
    write_rows(two[0], rows)
    found = compare(*two)
    assert not found.is_reproduced
    row = rows[number]
    place = f"row {number + 1} ({row['phase']} {row['split']}, step {row['step']})"
    assert differing(found) == [("rows", 3, 3), (f"{place} {name}", value, ROWS[number][name])]


def test_a_row_that_is_not_there(two: tuple[Path, Path]) -> None:
    write_rows(two[1], ROWS[:2])
    found = differing(compare(*two))
    assert found[:2] == [("rows", 3, 2), ("row 3 (evaluate test, step 9) phase", "evaluate", None)]


def test_rows_that_a_damaged_file_lost_are_missed(two: tuple[Path, Path]) -> None:
    (two[0] / "metrics.jsonl").write_text("")
    assert differing(compare(*two))[0] == ("rows", 0, 3)


@pytest.mark.parametrize("step", [5, 9])
def test_a_fingerprint_that_differs(two: tuple[Path, Path], step: int) -> None:
    write(two[0], manifest(step, fingerprint="f" * 64))
    found = compare(*two)
    assert differing(found) == [(f"fingerprint of ckpt-{step}", "f" * 64, f"{step:064x}")]
    assert verdict(found) == f"not the same: fingerprint of ckpt-{step}"


def test_checkpoints_of_others_and_unscheduled_ones_do_not_count(two: tuple[Path, Path]) -> None:
    write(
        two[0],
        manifest(
            9,
            name="ckpt-stopped-9",
            files={"ckpt-stopped-9.index": {"bytes": 1, "sha256": ""}},
            scheduled=False,
        ),
    )
    write(two[1], manifest(7, run="another"))
    assert compare(*two).is_identical


def test_what_somebody_removed_of_the_original(two: tuple[Path, Path]) -> None:
    (two[0] / "checkpoints/ckpt-5.json").unlink()
    assert compare(*two).is_identical
    (two[0] / "checkpoints/ckpt-9.json").unlink()
    found = compare(*two)
    assert [(item.what, item.verdict) for item in found.differing] == [
        ("fingerprint of ckpt-9", "gone")
    ]
    assert not found.is_reproduced


def test_the_set_of_kept_checkpoints_counts_but_not_what_the_clock_held(
    two: tuple[Path, Path],
) -> None:
    for path in two[:1]:
        write_result(
            path, {**RESULT, "checkpoints": ["checkpoints/ckpt-1", *RESULT["checkpoints"]]}
        )
    write(two[0], manifest(1))
    assert differing(compare(*two)) == [
        ("checkpoints kept", "ckpt-1 ckpt-5 ckpt-9", "ckpt-5 ckpt-9")
    ]
    write(two[0], manifest(1, held=True))
    assert compare(*two).is_identical


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": 8}, ("step", 8, 9)),
        ({"best": "checkpoints/ckpt-9"}, ("best checkpoint", "ckpt-9", "ckpt-5")),
        ({"best": None}, ("best checkpoint", None, "ckpt-5")),
        ({"metrics": {"evaluate": {"test/loss": 0.3}}}, ("evaluate test/loss", 0.3, 0.25)),
        ({"metrics": {}}, ("evaluate test/loss", None, 0.25)),
    ],
)
def test_every_result_counts(
    two: tuple[Path, Path], change: dict[str, Any], told: tuple[Any, ...]
) -> None:
    write_result(two[0], {**RESULT, **change})
    assert differing(compare(*two)) == [told]


def near(two: tuple[Path, Path]) -> None:
    """The original's numbers are off by a ten-millionth, and so are its bits."""
    write_rows(two[0], [{**ROWS[0], "loss": 0.5 * (1 + 1e-7)}, *ROWS[1:]])
    write_result(two[0], {**RESULT, "metrics": {"evaluate": {"test/loss": 0.25 * (1 + 1e-7)}}})
    write(two[0], manifest(9, fingerprint="f" * 64))


def test_numbers_within_the_tolerance_are_taken_for_equal_and_it_is_said(
    two: tuple[Path, Path],
) -> None:
    near(two)
    assert len(compare(*two).differing) == 4
    found = compare(*two, tolerance=1e-6)
    assert (found.is_reproduced, found.is_identical) == (True, False)
    assert verdict(found) == "equal within 1e-06, not bit for bit"
    assert verdict(compare(*two, tolerance=1e-8)) == (
        "not the same by more than 1e-08: rows, row 1 (train train, step 5) loss, evaluate test/loss"
    )


def test_the_tolerance_is_relative_and_for_numbers_that_were_measured(
    two: tuple[Path, Path],
) -> None:
    write_rows(two[0], [{**ROWS[0], "loss": 0.0}, *ROWS[1:]])
    assert not compare(*two, tolerance=0.9).is_reproduced
    write_rows(two[0], [{**ROWS[0], "step": 6}, *ROWS[1:]])
    assert not compare(*two, tolerance=0.9).is_reproduced
    write_rows(two[0], [*ROWS[:2], {**ROWS[2], "loss": None}])
    assert not compare(*two, tolerance=0.9).is_reproduced


@pytest.mark.parametrize("tolerance", [-1.0, 1.0, math.nan, math.inf])
def test_what_is_no_tolerance(two: tuple[Path, Path], tolerance: float) -> None:
    with pytest.raises(ConfigError, match=r"^tolerance=.*: give a number from 0 to below 1"):
        compare(*two, tolerance=tolerance)


def test_it_says_in_what_it_was_computed_otherwise(two: tuple[Path, Path]) -> None:
    write_result(two[0], RESULT, numerics={"threads": 2})
    write_result(two[1], RESULT, numerics={"threads": 1})
    assert list(compare(*two).numerics) == ["threads is 1, was 2"]


def test_neither_directory_is_changed_and_both_have_to_hold_a_finished_run(
    two: tuple[Path, Path],
) -> None:
    before = {path: path.stat().st_mtime_ns for path in two[0].parent.rglob("*")}
    compare(*two)
    assert {path: path.stat().st_mtime_ns for path in two[0].parent.rglob("*")} == before
    write_result(two[1], None, status="stopped")
    with pytest.raises(ConfigError, match="two: holds no finished run"):
        compare(*two)
    assert RunDirectory(two[0]).read() is not None
