"""metrics.jsonl and the event files made from it."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.files import UnwritableError
from runner.rows import NewRows, Rows


def rows_in(directory: Path, **options: Any) -> Rows:
    return Rows(directory / "rows", copy=directory / "copy", **options)


def test_rows_end_with_the_time_and_hold_no_nan(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, now=lambda: 12.34567)
    rows.append({"step": 1, "loss": float("nan"), "accuracy": 0.5})
    text = (tmp_path / "rows").read_text()
    assert text == '{"step": 1, "loss": null, "accuracy": 0.5, "time": 12.346}\n'


@pytest.mark.parametrize("count", [0, 1, 2])
def test_cut_keeps_the_first_rows(tmp_path: Path, count: int) -> None:
    rows = rows_in(tmp_path, now=lambda: 0.0)
    for step in range(2):
        rows.append({"step": step})
    whole = (tmp_path / "rows").read_bytes()
    assert rows.cut(count) == count
    assert (tmp_path / "rows").read_bytes() == b"".join(whole.splitlines(keepends=True)[:count])


def test_a_row_that_is_not_whole_does_not_count(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, now=lambda: 0.0)
    rows.append({"step": 1})
    for name in ("rows", "copy"):
        with (tmp_path / name).open("a") as file:
            file.write('{"step": 2, "lo')
    assert [row["step"] for row in rows.read()] == [1]
    assert rows.cut(5) == 1
    rows.append({"step": 2})
    assert [row["step"] for row in rows.read()] == [1, 2]


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    rows = rows_in(tmp_path)
    assert rows.cut(3) == 0
    rows.sync()
    assert list(rows.read()) == []
    assert not (tmp_path / "rows").exists()


def test_new_rows_come_once_and_again_where_some_were_cut_off(tmp_path: Path) -> None:
    rows, new = rows_in(tmp_path), NewRows(tmp_path / "rows")

    def steps() -> list[int]:
        return [row["step"] for row in new.read()]

    assert steps() == []
    for step in (1, 2):
        rows.append({"step": step})
    assert (steps(), steps()) == ([1, 2], [])
    with (tmp_path / "rows").open("a") as file:
        file.write('{"step": 3')
        file.flush()
        assert steps() == []
        file.write("}\n")
    assert steps() == [3]
    rows.cut(1)
    assert steps() == [1]
    for step in (2, 3, 4):
        rows.append({"step": step})
    assert steps() == [2, 3, 4]
    rows.cut(1)
    for step in range(20, 30):  # It is longer than before by the time that it is looked at.
        rows.append({"step": step})
    assert steps() == [1, *range(20, 30)]


@pytest.mark.parametrize("damaged", ["rows", "copy"])
def test_rows_that_one_file_has_lost_come_back_from_the_other(tmp_path: Path, damaged: str) -> None:
    """Cut at any byte, filled with zeros, gone, or opened and changed by somebody."""
    rows = rows_in(tmp_path, now=lambda: 0.0)
    for step in range(3):
        rows.append({"step": step})
    path, whole = tmp_path / damaged, (tmp_path / damaged).read_bytes()
    cuts = [whole[:size] for size in range(len(whole))]
    for content in [*cuts, bytes(len(whole)), b"\n" + whole, whole.replace(b"1", b"?"), None]:
        path.unlink() if content is None else path.write_bytes(content)
        assert rows.cut(3) == 3
        assert (tmp_path / "rows").read_bytes() == (tmp_path / "copy").read_bytes() == whole


@pytest.mark.parametrize("room", [0, 5])
def test_rows_wait_for_room_or_are_told(tmp_path: Path, room: int) -> None:
    """Not even half a row stays behind where the disk is full."""
    patient, hasty = (
        Rows(
            tmp_path / name,
            copy=tmp_path / f"{name}-copy",
            patient=name == "patient",
            now=lambda: 0.0,
        )
        for name in ("patient", "hasty")
    )
    for rows in (patient, hasty):
        rows.append({"step": 1})
    whole = (tmp_path / "hasty").read_bytes()
    with files_no_larger_than(len(whole) + room):
        for step in (2, 3):
            patient.append({"step": step})
        with pytest.raises(UnwritableError):
            hasty.append({"step": 2})
        with pytest.raises(UnwritableError):
            patient.flush()
        for name in ("patient", "patient-copy", "hasty"):
            assert (tmp_path / name).read_bytes() == whole
    patient.flush()
    assert [row["step"] for row in patient.read()] == [1, 2, 3]
    assert (tmp_path / "patient").read_bytes() == (tmp_path / "patient-copy").read_bytes()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_event_files_hold_what_the_rows_hold(workdir: Path, cli: Callable[..., Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = cli(
        "tracking=tensorboard", "engine.limit_steps=4", "tracking.log_every.steps=2", "run.dir=a"
    )
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in Path("a/metrics.jsonl").read_text().splitlines()]
    for split in ("train", "validation", "test"):
        events = EventAccumulator(f"a/tensorboard/{split}")
        events.Reload()
        found = [(event.step, event.value) for event in events.Scalars("loss")]
        assert found == [(row["step"], row["loss"]) for row in rows if row["split"] == split]
