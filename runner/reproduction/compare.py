"""What is equal and what differs between two finished run directories. Neither is changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias

from runner import numerics
from runner.checkpoint.manifest import Manifest, read_manifests
from runner.errors import ConfigError
from runner.record import RunRecord
from runner.results import Result
from runner.rows import WALL_CLOCK, Rows
from runner.rundir import RunDirectory

Verdict: TypeAlias = Literal["equal", "within", "differs", "gone"]

_PLACE = ("phase", "split", "step", "epoch")
"""What says where a row belongs: equal or not, with any tolerance."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that was compared."""

    what: str
    original: Any
    again: Any
    verdict: Verdict
    """within stands for numbers within the tolerance and for bits that it lets differ, gone for what
    the original no longer has."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A run, the same run afresh, and what is equal."""

    original: Path
    directory: Path
    """The run directory of the run afresh."""
    items: Sequence[Item]
    tolerance: float | None = None
    """Relative; None where only equal bits count."""
    matters: Sequence[str] = ()
    """What could matter and is not as it was, as far as that was known before."""
    numerics: Sequence[str] = ()
    """In what the run afresh was computed otherwise."""

    @property
    def is_identical(self) -> bool:
        """Whether all is equal, bit for bit."""
        return all(item.verdict == "equal" for item in self.items)

    @property
    def is_reproduced(self) -> bool:
        """Whether all is equal, or within the tolerance if there is one."""
        return all(item.verdict in ("equal", "within") for item in self.items)

    @property
    def differing(self) -> list[Item]:
        """What is neither equal nor within the tolerance."""
        return [item for item in self.items if item.verdict not in ("equal", "within")]


def compare(original: Path, again: Path, *, tolerance: float | None = None) -> Reproduction:
    """Fingerprints of checkpoints, rows but for the wall clock, and results.

    Args:
        original, again: directories of finished runs.
        tolerance: relative; numbers of rows and results that differ by no more are taken for equal,
            and fingerprints, which tell nothing of how much differs, do not count.

    Raises:
        ConfigError: a directory holds no finished run, or the tolerance is none.
        RunDirectoryError: a run.json cannot be read.
    """
    check_tolerance(tolerance)
    one, other = _Finished(original), _Finished(again)
    items = [
        *_checkpoints(one, other, tolerance),
        *_rows(one.rows(), other.rows(), tolerance),
        *_results(one.result, other.result, tolerance),
    ]
    return Reproduction(
        original=original,
        directory=again,
        items=items,
        tolerance=tolerance,
        numerics=numerics.differences(one.record.numerics, other.record.numerics),
    )


def check_tolerance(tolerance: float | None) -> None:
    """Looks whether it is one.

    Raises:
        ConfigError: it is not.
    """
    if tolerance is not None and not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance={tolerance}: give a number from 0 to below 1, such as 1e-6")


class _Finished:
    """What a finished run left."""

    def __init__(self, path: Path) -> None:
        self._directory = RunDirectory(path)
        record = self._directory.read()
        result = None if record is None else self._directory.result(record)
        if record is None or result is None:
            raise ConfigError(f"{path}: holds no finished run")
        self.record: RunRecord = record
        self.result: Result = result

    def manifests(self) -> dict[str, Manifest]:
        """Those of the run's checkpoints that are there, by name."""
        found = read_manifests(self._directory.checkpoints(self.record))
        return {one.name: one for one in found if one.run == self.record.id and one.scheduled}

    def rows(self) -> list[dict[str, Any]]:
        """The rows without what the clock says."""
        rows = Rows(self._directory.rows, copy=self._directory.rows_copy).read()
        return [{name: row[name] for name in row if name not in WALL_CLOCK} for row in rows]


def _checkpoints(one: _Finished, other: _Finished, tolerance: float | None) -> Iterator[Item]:
    """The last one's fingerprint, those of the others that both have, and which were kept."""
    ours, theirs = one.manifests(), other.manifests()
    # What is kept for good by the clock differs from run to run.
    kept = [_kept(one.result, ours), _kept(other.result, theirs)]
    if not any(kept):
        return
    same = kept[0] == kept[1]
    yield Item(
        what="checkpoints kept",
        original=len(kept[0]) if same else " ".join(kept[0]),
        again=len(kept[1]) if same else " ".join(kept[1]),
        verdict="equal" if same else "differs",
    )
    common = [name for name in kept[0] if name in kept[1]]
    found = [_fingerprint(name, ours.get(name), theirs.get(name), tolerance) for name in common]
    # What somebody removed to make room is not missed where the last one is there, which tells it all.
    earlier = [item for item in found[:-1] if item.original is not None]
    equal = [item for item in earlier if item.verdict == "equal"]
    if equal:
        count = len(equal)
        what = "fingerprints of earlier ones"
        yield Item(what=what, original=count, again=count, verdict="equal")
    yield from (item for item in earlier if item.verdict != "equal")
    yield from found[-1:]


def _fingerprint(
    name: str, before: Manifest | None, now: Manifest | None, tolerance: float | None
) -> Item:
    return Item(
        what=f"fingerprint of {name}",
        original=before and before.fingerprint,
        again=now and now.fingerprint,
        verdict=_of_fingerprints(before, now, tolerance),
    )


def _kept(result: Result, manifests: Mapping[str, Manifest]) -> list[str]:
    names = [path.name for path in result.checkpoints]
    return [name for name in names if not (name in manifests and manifests[name].held)]


def _of_fingerprints(
    before: Manifest | None, now: Manifest | None, tolerance: float | None
) -> Verdict:
    if before is not None and now is not None and before.fingerprint == now.fingerprint:
        return "equal"
    if tolerance is not None:
        return "within"
    return "gone" if before is None else "differs"


def _rows(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], tolerance: float | None
) -> Iterator[Item]:
    """All of them as one, and of the first that differs every value that does."""
    verdicts = [_of_rows(*pair, tolerance) for pair in zip_longest(ours, theirs)]
    worst: Verdict = next((one for one in ("differs", "within") if one in verdicts), "equal")
    yield Item(what="rows", original=len(ours), again=len(theirs), verdict=worst)
    if worst == "equal":
        return
    number = verdicts.index(worst)
    before, now = (rows[number] if number < len(rows) else {} for rows in (ours, theirs))
    row = before or now
    place = f"row {number + 1} ({row.get('phase')} {row.get('split')}, step {row.get('step')})"
    for name in {**before, **now}:
        verdict = _of_values(before.get(name), now.get(name), None if name in _PLACE else tolerance)
        if verdict != "equal":
            yield Item(
                what=f"{place} {name}",
                original=before.get(name),
                again=now.get(name),
                verdict=verdict,
            )


def _of_rows(
    before: Mapping[str, Any] | None, now: Mapping[str, Any] | None, tolerance: float | None
) -> Verdict:
    if before is None or now is None or before.keys() != now.keys():
        return "differs"
    verdicts = {
        _of_values(before[name], now[name], None if name in _PLACE else tolerance)
        for name in before
    }
    return "differs" if "differs" in verdicts else "within" if "within" in verdicts else "equal"


def _results(one: Result, other: Result, tolerance: float | None) -> Iterator[Item]:
    ours, theirs = _numbers(one), _numbers(other)
    for name in {**ours, **theirs}:
        before, now = ours.get(name), theirs.get(name)
        exact = name in ("step", "best checkpoint")
        verdict = _of_values(before, now, None if exact else tolerance)
        yield Item(what=name, original=before, again=now, verdict=verdict)


def _numbers(result: Result) -> dict[str, Any]:
    """What came out, by name."""
    metrics = {
        f"{phase} {name}": value
        for phase, values in result.metrics.items()
        for name, value in values.items()
    }
    best = {"best checkpoint": result.best.name} if result.best else {}
    return {"step": result.step, **best, **metrics}


def _of_values(before: Any, now: Any, tolerance: float | None) -> Verdict:
    if type(before) is type(now) and before == now:
        return "equal"
    numbers = isinstance(before, int | float) and isinstance(now, int | float)
    if numbers and tolerance is not None and math.isclose(before, now, rel_tol=tolerance):
        return "within"
    return "differs"
