"""What TensorFlow's native code writes goes into the run's log instead of the terminal."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from runner.files import writing
from runner.redaction import redacted

_ERROR = re.compile(rb"^(?:[EF]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [EF] )")


class NativeMessages:
    """Where native code writes while the terminal is spared.

    Everything goes into the log. Errors also go to the terminal in the end, but for those of the
    start-up, where TensorFlow calls it an error that there is no GPU.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._errors_from: int | None = None

    def startup_is_over(self) -> None:
        """From here on, what calls itself an error is one."""
        self._errors_from = self._log.stat().st_size

    def errors(self) -> list[str]:
        """The lines in the log, since the start-up, that are errors."""
        if self._errors_from is None:
            return []
        with self._log.open("rb") as file:
            file.seek(self._errors_from)
            return [line.decode(errors="replace") for line in file if _ERROR.match(line)]


@contextlib.contextmanager
def native_messages_to(log: Path) -> Iterator[NativeMessages]:
    """Sends what native code writes to standard error to ``log`` for the length of a block.

    Python's own ``sys.stderr`` still reaches the terminal, so that warnings and errors of the
    runner and of user code are seen at once.
    """
    sys.stderr.flush()
    terminal, python_stderr = os.dup(2), sys.stderr
    spared = _terminal() if _writes_to_terminal(python_stderr) else python_stderr
    messages = NativeMessages(log)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = spared
    try:
        yield messages
    finally:
        sys.stderr = python_stderr
        os.dup2(terminal, 2)
        os.close(terminal)
        with contextlib.suppress(OSError):
            sys.stderr.writelines(messages.errors())


@functools.cache
def _terminal() -> TextIO:
    """Standard error as it was at first. Never closed: a logging handler of user code may keep it."""
    return os.fdopen(os.dup(2), "w", buffering=1)


def _writes_to_terminal(stream: TextIO) -> bool:
    """Whether it is what native code writes to as well; a notebook's and a test's is not."""
    try:
        return stream.fileno() == 2
    except OSError:
        return False


class _ToFile(logging.FileHandler):
    """Loses what a full disk does not take: what matters is told elsewhere too."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):  # What is still in its buffer; it hides no other error.
            super().close()


class _ToTerminal(logging.Handler):
    """Prints to standard error as it is at that moment; a stream handler keeps the one it began with."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


class _Formatter(logging.Formatter):
    """Tells no value that came from the environment, not even in a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


@contextlib.contextmanager
def logging_to(log: Path) -> Iterator[None]:
    """Writes the records of the runner and TensorFlow to ``log``; the runner's warnings also show."""
    with writing(log):
        to_file = _ToFile(log)
    to_file.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_terminal = _ToTerminal()
    to_terminal.setLevel(logging.WARNING)
    to_terminal.setFormatter(_Formatter("%(message)s"))
    ours, theirs = logging.getLogger("runner"), logging.getLogger("tensorflow")
    ours.setLevel(logging.INFO)
    ours.propagate = theirs.propagate = False
    ours.handlers = [to_file, to_terminal]
    theirs.handlers = [to_file]
    try:
        yield
    finally:
        ours.handlers.clear()
        theirs.handlers.clear()
        to_file.close()
