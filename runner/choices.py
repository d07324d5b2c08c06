"""What was chosen where a config leaves it open, remembered for the user.

So a second run of one config on one machine, wherever it stands, does not differ from the first because
a measurement was noisy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.engine.spec import Compile


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a config leaves open."""

    threads: int
    compile: Compile


def choices_path() -> Path:
    """Where the user's choices stand: in the cache, by the XDG base directory specification.

    Without a home, they stand beside the runs.
    """
    home = os.environ.get("HOME")
    given = [os.environ.get("XDG_CACHE_HOME", ""), f"{home}/.cache" if home else ""]
    cache = next((one for one in given if Path(one).is_absolute()), "outputs")
    return Path(cache, "tf-runner", "choices.jsonl")


class Choices:
    """Remembers choices by config and machine, in a file of one line for each.

    Of several lines for one config and machine, as two runs write them that begin together, the first
    one holds.

    Args:
        path: the file.
        run: the id of the run.
        machine: what bits depend on besides the choice; see `runner.numerics`.
        threads: those within an op, where they are not to be chosen.
    """

    def __init__(
        self, path: Path, *, run: str, machine: Mapping[str, Any], threads: int | None = None
    ) -> None:
        text = json.dumps(machine, sort_keys=True)
        self._path = path
        self._threads = threads
        self._key = {"run": run, "machine": hashlib.sha256(text.encode()).hexdigest()[:16]}

    def recall(self) -> Choice | None:
        """What was chosen, if anything was."""
        with suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    content = json.loads(line)
                    choice = _read(content)
                    fits = self._threads in (None, choice.threads)
                    if fits and self._key.items() <= content.items():
                        return choice
        return None

    def threads(self, count: int, *, compile: Compile) -> int:
        """Those that an earlier run had, or so many, for one that is compiled as the config says."""
        choice = self.recall() or self.keep(Choice(threads=count, compile=compile))
        return choice.threads

    def keep(self, choice: Choice) -> Choice:
        """Remembers a choice; returns the one that holds."""
        with suppress(OSError):  # A run does not fail for what makes only the next one sure.
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                # The line before may be torn.
                file.write("\n" + json.dumps({**self._key, **asdict(choice)}) + "\n")
        return self.recall() or choice


def _read(content: Mapping[str, Any]) -> Choice:
    threads, compile = content["threads"], content["compile"]
    if compile not in ("graph", "xla", "eager") or type(threads) is not int or threads < 1:
        raise ValueError(content)
    return Choice(threads=threads, compile=compile)
