"""Clocks that are set back and forward between saves and between sittings, and that stand still."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from runner import run
from runner.checkpoint.store import CheckpointStore
from runner.rows import Rows
from tests.chaos.oracle import check_same_tree
from tests.chaos.scenarios import TINY, sit_until
from tests.chaos.tally import Bounded, Different, Tally
from tests.checkpoint.conftest import HOUR, Trainer, tree
from tests.test_resume import Stop, StopAt, outcome

CLOCKS = "clock jumps, two saves in one second"

JUMPS = (-5 * HOUR, 0.0, 0.4, 5 * HOUR)
SPECS: dict[str, dict[str, Any]] = {
    "the newest two": {"max_to_keep": 2},
    "one name": {"numbering": 100},
    "one in two hours": {"max_to_keep": 1, "keep_every_n_hours": 2},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_a_clock_that_jumps_changes_nothing(
    scratch: Path, tally: Tally, bounded: Bounded, spec: dict[str, Any]
) -> None:
    """Between the saves of one sitting, and between sittings: the last saved is the latest."""
    sit_until(scratch / "steady", since=0, until=5, spec=spec)
    with tally.fault(CLOCKS) as cases:
        for index, jumps in enumerate(bounded(list(itertools.product(JUMPS, repeat=4)), 12)):
            with cases.case([jump / HOUR for jump in jumps]):
                clock = dict(enumerate(itertools.accumulate(jumps, initial=1e6), start=1))
                straight, directory = scratch / f"straight-{index}", scratch / f"{index}"
                sit_until(straight, since=0, until=5, spec=spec, clock=clock.__getitem__)
                for step in range(5):
                    sit_until(
                        directory, since=step, until=step + 1, spec=spec, clock=clock.__getitem__
                    )
                check_same_tree(directory, straight)
                _check_same_bits(directory, scratch / "steady", spec)
                other = Trainer(directory, run="run2", spec={"restore": "latest"})
                assert other.start() == directory / f"ckpt-{spec.get('numbering', 5)}"
                assert other.step == 5


def _check_same_bits(directory: Path, steady: Path, spec: dict[str, Any]) -> None:
    """What a steady clock keeps is there; only what is kept by the hour may be more."""
    ours, theirs = (
        {name: content for name, content in tree(place).items() if ".data-" in name}
        for place in (directory, steady)
    )
    if "keep_every_n_hours" in spec:
        newest = "ckpt-5.data-00000-of-00001"
        ours, theirs = {newest: ours.get(newest)}, {newest: theirs[newest]}
    if ours != theirs:
        raise Different(f"keeps {sorted(ours)}, with a steady clock {sorted(theirs)}")


@pytest.mark.chaos
def test_a_run_whose_clock_jumps_ends_with_the_same_bits(
    scratch: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    times = itertools.accumulate(itertools.cycle(JUMPS), initial=1e9)
    for owner in (CheckpointStore, Rows):
        monkeypatch.setitem(owner.__init__.__kwdefaults__, "now", lambda: next(times))
    with tally.fault(CLOCKS) as cases, cases.case("a run"):
        for step in (3, 5):
            with pytest.raises(Stop):
                run(*TINY, f"run.dir={scratch}/run", observer=StopAt(step))
        if outcome(run(*TINY, f"run.dir={scratch}/run")) != uninterrupted:
            raise Different("it does not end as one with a steady clock")
