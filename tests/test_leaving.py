"""How a process ends: at once, and without loss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import REPOSITORY, Done

NOTES = """
from dataclasses import dataclass
from runner.callbacks import Callback


@dataclass(frozen=True)
class Notes(Callback):
    def __post_init__(self):
        # Only a search for garbage finds what holds itself.
        vars(self).update(itself=self, file=open("notes.txt", "w"))

    def after_row(self, values, memory):
        self.file.write("a row\\n")
"""


def test_what_a_callback_left_open_is_written(process: Callable[..., Done], workdir: Path) -> None:
    (workdir / "own.py").write_text(NOTES)
    done = process(
        *(
            "--allow",
            "own.Notes",
            "experiment=diabetes_linear",
            "+callbacks.notes._target_=own.Notes",
        ),
        *("phases.train.until={steps: 2, epochs: null}", "tracking.log_every={steps: 1}"),
    )
    assert done.code == 0, done.err
    assert (workdir / "notes.txt").read_text().startswith("a row\na row\n")


def test_a_launch_leaves_without_a_search_for_garbage(workdir: Path) -> None:
    watched = (
        "import atexit, gc, runner.cli\n"
        "atexit.register(lambda: print(len(gc.get_objects())))\n"
        "runner.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, "--help"],
        capture_output=True,
        text=True,
        cwd=workdir,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    objects = int(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert objects < 1_000  # Of some 100,000.
