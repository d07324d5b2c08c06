"""One trial, in the process that is its own."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner import session
from runner.allowances import allowing
from runner.errors import UserError
from runner.interrupt import Interrupted
from runner.lock import LockedError
from runner.redaction import redacted, remember
from runner.report.console import Plain, plain_console
from runner.session import Launch
from runner.sweep.record import Status


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trial to be run."""

    number: int
    overrides: list[str]
    launch: Launch
    log: Path
    """Where what it prints goes."""
    allow: list[str]
    """What the user allows the config; see `runner.allowances`."""
    secrets: dict[str, str]
    """Variables of the environment by their values, which are told nobody."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a trial tells on its way: a row of its metrics.jsonl."""

    content: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a trial tells when it cannot come to its end. One that can has its result in run.json."""

    status: Status
    reason: str


def work(task: Task, tell: Callable[[Any], None]) -> None:
    """Runs, resumes or recalls the trial's run, and tells of it."""
    print_to(task.log)
    for value, name in task.secrets.items():
        remember(value, name=name)
    os.environ.update(_environment(task.launch))
    with allowing(task.allow), telling_failures(tell):
        session.run(task.launch, _Telling(tell))


@contextmanager
def telling_failures(tell: Callable[[Failure], None]) -> Iterator[None]:
    """Tells why a trial does not come to its end, rather than raise."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        tell(Failure(status="stopped", reason=str(error) or "interrupted"))
    except LockedError as error:
        tell(Failure(status="elsewhere", reason=str(error)))
    except UserError as error:
        print(error, flush=True)
        tell(Failure(status="failed", reason=str(error)))
    except BaseException as error:
        print(redacted(traceback.format_exc()), flush=True)
        tell(Failure(status="failed", reason=redacted(f"{type(error).__name__}: {error}")))


def print_to(log: Path) -> None:
    """Sends what this process prints, native code included, into a file."""
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


class _Telling(Plain):
    """Prints into the log and tells rows to who asked for the trial."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        super().__init__(plain_console())
        self._tell = tell

    def row_written(self, row: Mapping[str, Any]) -> None:
        super().row_written(row)
        self._tell(Row(content=row))


def _environment(launch: Launch) -> dict[str, str]:
    """What ``hydra.job.env_set`` asks for."""
    asked = OmegaConf.select(launch.hydra, "hydra.job.env_set") or {}
    return {str(name): str(value) for name, value in asked.items()}
