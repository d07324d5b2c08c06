"""What is measured of the runner, from outside and with everything on."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from runner.engine.spec import available_cores
from tests.benchmarks.launch import STOPPED, Row, command, rows, train
from tests.benchmarks.peers.large import BATCH, HIDDEN, middle

_WARM_UP_S = 1.0
_BETWEEN_CALLS_S = 0.01
"""Rows of one call are written together."""
_NEVER = 100_000_000

NUM_TRIALS = 20
TRAINS_ONLY = ("phases=train", "phases.train.evaluate=null", "checkpoint.best=null")
"""As the peers do, which neither evaluate nor save."""


def until(num_steps: int) -> str:
    """The override that ends training."""
    return f"phases.train.until={{steps: {num_steps}, epochs: null}}"


def steps_per_s(*overrides: str, seconds: float, cwd: Path) -> float:
    """Steps per second by the times of the rows, so that writing them counts too.

    It trains without an end in sight and is stopped, so that what the engine chooses pays off.
    """

    def is_enough(found: list[Row]) -> bool:
        counted = _warm(found)
        return len(counted) > 1 and counted[-1]["time"] - counted[0]["time"] >= seconds

    asked = [*TRAINS_ONLY, until(_NEVER), f"checkpoint.every.steps={_NEVER}", *overrides]
    return _rate(_warm(train(asked, cwd=_anew(cwd), until=is_enough)))


def _warm(found: Sequence[Row]) -> list[Row]:
    """The last row of every call, which is written when its steps are done."""
    last = [
        row for row, after in pairwise(found) if after["time"] - row["time"] >= _BETWEEN_CALLS_S
    ]
    return [row for row in last if row["time"] >= found[0]["time"] + _WARM_UP_S]


def _rate(found: Sequence[Row]) -> float:
    first, last = found[0], found[-1]
    return float((last["step"] - first["step"]) / (last["time"] - first["time"]))


def second_half_s(*overrides: str, num_steps: int, cwd: Path) -> float:
    """Wall time of the second half of a training, between two rows that are written in any case."""
    place = _anew(cwd)
    command(["-m", "runner", *TRAINS_ONLY, until(num_steps), *overrides, "run.dir=run"], cwd=place)
    at = {row["step"]: row["time"] for row in rows(place / "run")}
    return float(at[num_steps] - at[num_steps // 2])


def save_s(cwd: Path) -> float:
    """How long a save of 305 MB holds the loop: the median, without the first of a sitting."""
    every = 80
    arguments = [
        f"model.hidden={list(HIDDEN)}",
        f"data.batch_size={BATCH}",
        *TRAINS_ONLY,
        until(5 * every),
        f"checkpoint.every.steps={every}",
        "checkpoint.max_to_keep=2",
        "tracking.log_every.steps=10",
        "run.dir=run",
    ]
    place = _anew(cwd)
    done = command(["-m", "tests.benchmarks.probe", *arguments], cwd=place)
    shutil.rmtree(place / "run")
    return middle(done.answer["saves_s"])


def peak_mb(cwd: Path) -> float:
    """Peak memory of the default experiment."""
    return command(["-m", "runner", "run.dir=run"], cwd=_anew(cwd)).peak_bytes / 1e6


def relaunch_s(cwd: Path) -> float:
    """Wall time of launching a run that is finished; the first time, finishes it before."""
    again = ["-m", "runner", "debug=smoke", "run.dir=run"]
    if not (cwd / "run").exists():
        command(again, cwd=cwd)
    return command(again, cwd=cwd).took_s


def first_step_s(*overrides: str, cwd: Path) -> float:
    """Wall time from launch to the row of the first step."""
    place, begun = _anew(cwd), time.time()
    asked = [*TRAINS_ONLY, until(_NEVER), "tracking.log_every.steps=1", *overrides]
    return float(train(asked, cwd=place, until=bool)[0]["time"] - begun)


def sweep_s(*overrides: str, cwd: Path) -> float:
    """Wall time of a sweep over the seeds of the default experiment."""
    seeds = f"seed=range({NUM_TRIALS})"
    return command(["-m", "runner", "-m", seeds, *overrides], cwd=_anew(cwd)).took_s


def processes_s(cwd: Path) -> float:
    """Wall time of the same trials, each a command of its own, one a core at once."""
    place, begun = _anew(cwd), time.perf_counter()

    def run(seed: int) -> None:
        command(["-m", "runner", f"seed={seed}", f"run.dir=../{seed}"], cwd=place / f"at_{seed}")

    with ThreadPoolExecutor(max_workers=available_cores()) as pool:
        list(pool.map(run, range(NUM_TRIALS)))
    return time.perf_counter() - begun


class LargeSource:
    """A run on ten million examples, stopped at two places, to be gone on with again and again."""

    NUM_EXAMPLES = 10_000_000
    NUM_FEATURES = 8

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._overrides = [
            "model=linear",
            "data=arrays",
            f"data.x={cwd / 'x.npy'}",
            f"data.y={cwd / 'y.npy'}",
            f"data.shape=[{self.NUM_FEATURES}]",
            "data.outputs=2",
            "data.batch_size=8",
            "engine.compile=xla",
            *TRAINS_ONLY,
            until(_NEVER),
            f"checkpoint.every.steps={_NEVER}",
        ]

    def resume_s(self, step: int) -> float:
        """Seconds from the end of building to the end of the first steps from ``step``."""
        stopped = self._stopped(step)
        with tempfile.TemporaryDirectory(dir=self._cwd) as scratch:
            shutil.copytree(stopped / "run", Path(scratch) / "run")
            # It stops by the clock as soon as it can, which is after its first steps.
            asked = [*self._overrides, *_RARE, "run.dir=run", "run.max_time=1s"]
            arguments = ["-m", "tests.benchmarks.probe", *asked]
            done = command(arguments, cwd=Path(scratch), codes=[STOPPED])
        return float(done.answer["first_step_s"])

    def _stopped(self, step: int) -> Path:
        """A run that was stopped soon after ``step``."""
        place = self._cwd / str(step)
        if not place.exists():
            self._write_data()
            every = _RARE if step > _OFTEN else [f"tracking.log_every.steps={step}"]
            train(
                [*self._overrides, *every],
                cwd=place,
                until=lambda found: bool(found) and found[-1]["step"] >= step,
            )
        return place

    def _write_data(self) -> None:
        self._cwd.mkdir(parents=True, exist_ok=True)
        if not (self._cwd / "y.npy").exists():
            rng = np.random.default_rng(0)
            x = rng.random([self.NUM_EXAMPLES, self.NUM_FEATURES], np.float32)
            np.save(self._cwd / "x.npy", x)
            np.save(self._cwd / "y.npy", (x.sum(axis=1) > self.NUM_FEATURES / 2).astype(np.uint8))


_OFTEN = 10_000
_RARE = [f"tracking.log_every.steps={_OFTEN}"]


def _anew(cwd: Path) -> Path:
    """An empty directory, so that nothing is recalled, and nothing that was chosen before."""
    shutil.rmtree(cwd, ignore_errors=True)
    cwd.mkdir(parents=True)
    return cwd
