"""Runs the runner and its peers, each in a process of its own, and takes what they tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
STOPPED = 75
"""The runner's exit code when it was stopped after saving."""
_POLLS_S = 0.1
_TOLD = 2000
"""Characters of a failed command's errors that are shown."""

Row: TypeAlias = dict[str, Any]


class FailedError(Exception):
    """A command did not do what it was run for."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command came to."""

    out: str
    begun: float
    """In seconds since 1970, as the rows have it."""
    took_s: float
    peak_bytes: int

    @property
    def answer(self) -> dict[str, Any]:
        """The last line of its output, which is JSON."""
        answer: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return answer


def command(arguments: Sequence[str], *, cwd: Path, codes: Sequence[int] = (0,)) -> Done:
    """Runs Python with ``arguments``.

    Raises:
        FailedError: it ended with a code that is not one of ``codes``.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    with (cwd / "stdout").open("w+") as out, (cwd / "stderr").open("w+") as err:
        begun, clock = time.time(), time.perf_counter()
        process = _started(arguments, cwd=cwd, stdout=out, stderr=err)
        # Not Popen.wait, which does not tell what the process used.
        _, status, usage = os.wait4(process.pid, 0)
        took_s = time.perf_counter() - clock
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        _check(process, out.read() + err.read(), codes=codes)
        out.seek(0)
        # macOS counts in bytes, all others in KiB.
        unit = 1 if sys.platform == "darwin" else 1024
        return Done(out=out.read(), begun=begun, took_s=took_s, peak_bytes=usage.ru_maxrss * unit)


def peer(name: str, *arguments: str, cwd: Path) -> Done:
    """Runs one of the peers."""
    return command(["-m", f"tests.benchmarks.peers.{name}", *arguments], cwd=cwd)


def rows(run: Path) -> list[Row]:
    """The rows of a run so far, without one that is being written."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def train(overrides: Sequence[str], *, cwd: Path, until: Callable[[list[Row]], bool]) -> list[Row]:
    """Has the runner train in ``cwd/run`` until its rows are what is wanted, then stops it.

    Returns the rows.

    Raises:
        FailedError: it ended before.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    with (cwd / "stderr").open("w+") as err:
        arguments = ["-m", "runner", *overrides, "run.dir=run"]
        process = _started(arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=err)
        try:
            while process.poll() is None and not until(found := rows(cwd / "run")):
                time.sleep(_POLLS_S)
            process.send_signal(signal.SIGTERM)
            process.wait()
        finally:
            process.kill()
        err.seek(0)
        _check(process, err.read(), codes=[STOPPED])
    return found


def _started(arguments: Sequence[str], *, cwd: Path, stdout: Any, stderr: Any) -> subprocess.Popen:
    # What the runner chose in another round is not known in this one.
    environment = {**ENVIRONMENT, "XDG_CACHE_HOME": str(cwd / ".cache")}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=cwd, env=environment, stdout=stdout, stderr=stderr
    )


def _check(process: subprocess.Popen, told: str, *, codes: Sequence[int]) -> None:
    if process.returncode not in codes:
        shown = " ".join(process.args[1:])
        raise FailedError(f"{shown}: ended with {process.returncode}\n{told[-_TOLD:]}")
