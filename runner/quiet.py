"""TensorFlow's start-up noise goes into the run's log instead of the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def native_messages_to(log: Path) -> Iterator[None]:
    """Sends what native code writes to standard error to ``log`` for the length of a block.

    Python's own ``sys.stderr`` still reaches the terminal, so that warnings and errors of the
    runner and of user code are seen at once.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    python_stderr = sys.stderr
    try:
        with os.fdopen(os.dup(terminal), "w", buffering=1) as stream:
            sys.stderr = stream
            yield
    finally:
        sys.stderr = python_stderr
        os.dup2(terminal, 2)
        os.close(terminal)


@contextlib.contextmanager
def logging_to(log: Path) -> Iterator[None]:
    """Writes the log records of the runner and of TensorFlow to ``log``; warnings of the runner also show."""
    to_file = logging.FileHandler(log)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = logging.StreamHandler()
    to_terminal.setLevel(logging.WARNING)
    to_terminal.setFormatter(logging.Formatter("%(message)s"))
    ours, theirs = logging.getLogger("runner"), logging.getLogger("tensorflow")
    ours.setLevel(logging.INFO)
    ours.propagate = theirs.propagate = False
    theirs.handlers.clear()
    ours.handlers = [to_file, to_terminal]
    theirs.handlers = [to_file]
    try:
        yield
    finally:
        ours.handlers.clear()
        theirs.handlers.clear()
        to_file.close()
