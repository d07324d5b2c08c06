"""Native messages go to the log; errors among them are told after all."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from runner import quiet

NOISE = b"I0000 00:00:1.2 3 cpu_feature_guard.cc:227] noise\n"
ERROR = b"E0000 00:00:1.2 3 somewhere.cc:1] real trouble\n"


def test_errors_are_told_but_not_those_of_the_start_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    with quiet.native_messages_to(log) as messages:
        os.write(2, NOISE + ERROR)
        messages.startup_is_over()
        os.write(2, NOISE)
        print("from Python", file=sys.stderr)
        assert capfd.readouterr().err == "from Python\n"
        os.write(2, ERROR)
    assert capfd.readouterr().err == ERROR.decode()
    assert log.read_bytes() == NOISE + ERROR + NOISE + ERROR


def test_a_start_up_that_fails_tells_no_noise(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), quiet.native_messages_to(tmp_path / "run.log"):
        os.write(2, ERROR)
        raise KeyError
    assert capfd.readouterr().err == ""


def test_standard_error_is_given_back_after_an_exception(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sys.stderr
    with pytest.raises(KeyError), quiet.native_messages_to(tmp_path / "run.log"):
        raise KeyError
    assert sys.stderr is before
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_warnings_of_the_runner_are_seen_while_native_messages_are_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "run.log"
    with quiet.logging_to(log), quiet.native_messages_to(log):
        logging.getLogger("runner.somewhere").warning("a checkpoint is damaged")
        logging.getLogger("runner.somewhere").info("a detail")
        logging.getLogger("tensorflow").warning("noise")
    assert capfd.readouterr().err == "a checkpoint is damaged\n"
    assert [line.split(": ", 1)[1] for line in log.read_text().splitlines()] == [
        "a checkpoint is damaged",
        "a detail",
        "noise",
    ]
