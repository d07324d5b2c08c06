"""Real runs, killed at random instants, several times in a row, and wherever one stage meets the next:
each ends as if nothing had happened.

The instants are drawn over the length of a run that nothing happens to, start-up included, so that
they fall anywhere: below the table of the cases stands how many fell where. A failure tells the seed;
with it in the environment as CHAOS_SEED, the same instants are drawn again.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.oracle import check_same_result, latest_fault, result_of
from tests.chaos.processes import run_forked
from tests.chaos.runs import COMMAND, CONFIGS, START_UP, command, stage_of, stages_of
from tests.chaos.tally import Cases, Lost, Tally

KILL = "SIGKILL at a random instant of a run"
KILL_BETWEEN = "SIGKILL where one stage of a run meets the next"
KEYS = {
    "all of the state": (),
    "without the progress": (
        "checkpoint.keys={net: model, opt: optimizer}",
        "tracking.log_every.steps=1",
    ),
    "in a directory for several runs": ("checkpoint.directory=shared", "checkpoint.restore=none"),
}
"""Overrides, by what the checkpoints hold and where they stand."""
KILLS = 20
"""By config and part."""
MOST_IN_A_ROW = 5
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))


@dataclass(frozen=True)
class Killed:
    """A sitting that did not end by itself."""

    after_s: float
    stage: str
    fault: str | None
    """What was wrong at that instant."""


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_killed_at_random_instants(name: str, part: int, scratch: Path, tally: Tally) -> None:
    _kill_at_random(name, scratch, tally, seed=f"{SEED} {part}", kills=KILLS)


def test_a_run_killed_at_a_few_random_instants_ends_the_same(scratch: Path, tally: Tally) -> None:
    _kill_at_random("layers in a list and a dict", scratch, tally, seed=f"{SEED} few", kills=3)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("keys", KEYS)
def test_killed_wherever_one_stage_meets_the_next(keys: str, scratch: Path, tally: Tally) -> None:
    """Of a sitting that goes on from a checkpoint, so that it restores one."""
    overrides = (*COMMAND, *CONFIGS["dropout and batch normalization"], *KEYS[keys])
    straight, _ = _straight(scratch / "straight", overrides)
    template = _new(scratch / "template")
    assert run_forked(_command_until, 20, template, *overrides).code == -signal.SIGKILL
    log = shutil.copytree(template, scratch / "whole") / "run" / "run.log"
    before = log.stat().st_size
    assert run_forked(command, log.parents[1], *overrides).answer[0] == 0
    stages = [START_UP, *stages_of(log, since=before)]
    with tally.fault(KILL_BETWEEN) as cases:
        for at, (one, next_one) in enumerate(itertools.pairwise(stages)):
            if {one, next_one} <= {"train", "save"}:
                continue  # Thousands of kills fall inside of saves, and others between them.
            with cases.case(f"{at}: {one} -> {next_one}"):
                place = shutil.copytree(template, scratch / f"killed-{at}")
                assert run_forked(_command_until, at, place, *overrides).code == -signal.SIGKILL
                ended = run_forked(command, place, *overrides)
                if ended.answer is None or ended.answer[0] != 0:
                    raise Lost(f"{ended.answer} {ended.error}")
                check_same_result(result_of(place / "run"), straight)


def _command_until(kill_at: int, directory: Path, *overrides: str) -> None:
    command(directory, *overrides, kill_at=kill_at)


def _kill_at_random(name: str, scratch: Path, tally: Tally, *, seed: str, kills: int) -> None:
    print(f"CHAOS_SEED={SEED}")
    draw = random.Random(f"{seed} {name}")
    overrides = (*COMMAND, *CONFIGS[name])
    straight, length_s = _straight(scratch / "straight", overrides)
    done, places = 0, itertools.count()
    with tally.fault(KILL) as cases:
        while done < kills:
            place = _new(scratch / f"killed-{next(places)}")
            most = min(draw.randint(1, MOST_IN_A_ROW), kills - done)
            instants = (draw.uniform(0, length_s) for _ in range(most))
            killed = list(_kill_in_a_row(place, overrides, instants))
            done += len(killed)
            _check(cases, place, overrides, killed, straight, seed=seed)


def _straight(place: Path, overrides: tuple[str, ...]) -> tuple[dict[str, str], float]:
    """The result of the run that nothing happens to, and the seconds that it took."""
    run_forked(int)  # The server of the processes is not to be waited for.
    begun = time.monotonic()
    ended = run_forked(command, _new(place), *overrides)
    length_s = time.monotonic() - begun
    assert ended.answer is not None and ended.answer[0] == 0, ended
    return result_of(place / "run"), length_s


def _kill_in_a_row(
    place: Path, overrides: tuple[str, ...], instants: Iterator[float]
) -> Iterator[Killed]:
    """Launches and kills one run again and again, unless it is faster."""
    log = place / "run" / "run.log"
    for after_s in instants:
        since = log.stat().st_size if log.exists() else 0
        ended = run_forked(command, place, *overrides, kill_after_s=after_s)
        stage = stage_of(log, since=since)
        if ended.code == -signal.SIGKILL:
            yield Killed(round(after_s, 4), stage, latest_fault(place / "run" / "checkpoints"))
            continue
        if ended.answer is None or ended.answer[0] != 0:
            yield Killed(round(after_s, 4), stage, f"failed: {ended.answer} {ended.error}")
        return


def _check(
    cases: Cases,
    place: Path,
    overrides: tuple[str, ...],
    killed: list[Killed],
    straight: dict[str, str],
    *,
    seed: str,
) -> None:
    """The run comes to its end by being launched once more, and the same comes out."""
    if not killed:
        return
    for one in killed:
        cases.place(one.stage)
    with cases.case(f"CHAOS_SEED={seed}: {killed}", size=len(killed)):
        assert not any(one.fault for one in killed)
        ended = run_forked(command, place, *overrides)
        if ended.answer is None or ended.answer[0] != 0:
            raise Lost(f"{ended.answer} {ended.error}")
        check_same_result(result_of(place / "run"), straight)


def _new(place: Path) -> Path:
    place.mkdir()
    return place
