"""Damage to what a run writes beside its checkpoints: metrics.jsonl and run.json, cut at any byte, or gone.

A run is interrupted near its end, by an exception that nothing may catch; every case goes on from a
copy of it, and ends with the checkpoints and the rows of a run that nothing happened to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import run
from runner.errors import UserError
from tests.chaos.damages import Damage
from tests.chaos.scenarios import TINY, copy
from tests.chaos.tally import Bounded, Different, Lost, Tally
from tests.test_resume import Stop, StopAt, outcome

ROWS, COPY, RECORD = "metrics.jsonl", ".metrics.jsonl", "run.json"

ROWS_CUT = "metrics.jsonl cut"
RECORD_CUT = "run.json cut"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after step 5; its checkpoint is of step 4."""
    directory = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(Stop):
        run(*TINY, f"run.dir={directory}", observer=StopAt(5))
    return directory


def rows_cut(interrupted: Path) -> Iterator[Damage]:
    """One of the two files at any byte, by zeros or by the end of the file."""
    whole = (interrupted / ROWS).read_bytes()
    for size, name in itertools.product(range(len(whole)), (ROWS, COPY)):
        yield {name: whole[:size]}
        yield {name: whole[:size] + bytes(len(whole) - size)}


def record_cut(interrupted: Path) -> Iterator[Damage]:
    whole = (interrupted / RECORD).read_bytes()
    for size in range(len(whole)):
        yield {RECORD: whole[:size]}
        yield {RECORD: whole[:size] + bytes(len(whole) - size)}


def test_rows_cut_at_any_byte_come_back(
    interrupted: Path,
    scratch: Path,
    tally: Tally,
    bounded: Bounded,
    uninterrupted: dict[str, Any],
) -> None:
    rows = (interrupted / ROWS).read_bytes()
    with tally.fault(ROWS_CUT) as cases:
        # All bytes would take an hour; test_rows tries them on the rows alone.
        chosen = [*list(rows_cut(interrupted))[::41], {ROWS: None}, {COPY: None}]
        for damage in [{ROWS: rows[: len(rows) // 2]}, *bounded(chosen, 1)]:
            with cases.case(_label(damage)):
                _check(damage, copy(interrupted, scratch / f"{cases.tried}"), uninterrupted)


def test_a_run_json_cut_at_any_byte_is_begun_anew(
    interrupted: Path,
    scratch: Path,
    tally: Tally,
    bounded: Bounded,
    uninterrupted: dict[str, Any],
) -> None:
    """Also where rows are lost besides."""
    rows = (interrupted / ROWS).read_bytes()
    others: list[Damage] = [{RECORD: None}, {RECORD: b"", ROWS: rows[: len(rows) // 2]}]
    chosen = [*list(record_cut(interrupted))[::151], *others]
    with tally.fault(RECORD_CUT) as cases:
        for damage in [*bounded(chosen, 1), {RECORD: None, ROWS: None}]:
            with cases.case(_label(damage)):
                _check(damage, copy(interrupted, scratch / f"{cases.tried}"), uninterrupted)


def _label(damage: Damage) -> str:
    shown = {None: "gone"}
    return ", ".join(f"{name}: {shown.get(content, content)!r}" for name, content in damage.items())


def _check(damage: Damage, directory: Path, uninterrupted: dict[str, Any]) -> None:
    for name, content in damage.items():
        path = directory / name
        path.unlink() if content is None else path.write_bytes(content)
    try:
        result = run(*TINY, f"run.dir={directory}")
    except UserError as error:
        raise Lost(f"{error}") from error
    record = json.loads((directory / RECORD).read_text())
    last = record["sittings"][-1]
    if last["from_step"] != 4 or last["restored"] != str(directory / "checkpoints/ckpt-4"):
        raise Different(f"starts at step {last['from_step']} from {last['restored']}")
    if outcome(result) != uninterrupted:
        raise Different(f"ends with {outcome(result)}, not with {uninterrupted}")
    assert record["status"] == "finished"
    assert (directory / ROWS).read_bytes() == (directory / COPY).read_bytes()
