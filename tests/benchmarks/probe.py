"""A command of the runner in this process, with clocks at what cannot be seen from outside.

Its arguments are the runner's; the last line it prints is JSON:

- ``first_step_s``: from the end of building model, data and engine to the end of the first steps
- ``saves_s``: how long each save held the training loop, in order
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from runner.cli import run_command
from tests.benchmarks.peers.common import tell


def main() -> None:
    import runner.experiment
    from runner.engine.engine import Engine
    from runner.saving import Saving

    built_at, first_s, saves_s = [], [], []
    build, train, save = runner.experiment.build, Engine.train, Saving.save

    def timed_build(*args: Any, **kwargs: Any) -> Any:
        built = build(*args, **kwargs)
        built_at.append(time.perf_counter())
        return built

    def timed_train(*args: Any, **kwargs: Any) -> Any:
        values = train(*args, **kwargs)
        first_s.append(time.perf_counter() - built_at[0])
        Engine.train = train
        return values

    def timed_save(*args: Any, **kwargs: Any) -> None:
        begun = time.perf_counter()
        save(*args, **kwargs)
        saves_s.append(time.perf_counter() - begun)

    _replace(runner.experiment, "build", timed_build)
    _replace(Engine, "train", timed_train)
    _replace(Saving, "save", timed_save)
    code = run_command(sys.argv[1:])
    tell(first_step_s=first_s[0], saves_s=saves_s)
    sys.exit(code)


def _replace(place: Any, name: str, function: Callable[..., Any]) -> None:
    setattr(place, name, function)


if __name__ == "__main__":
    main()
