"""What a value from the environment leaves behind: its variable's name, and nothing of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import run
from runner.errors import ConfigError
from runner.redaction import redacted, remember
from runner.resumption import resumption_of

Write = Callable[[dict[str, str]], None]

SECRET = "correct-horse-battery"
MODEL = """
from dataclasses import dataclass
import keras
from runner.callbacks import Callback

def net(outputs: int, note: str = ""):
    assert note == "" or len(note) == 21
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(outputs)])

def failing(outputs: int, note):
    raise ValueError(f"{note} does not open the door")

@dataclass(frozen=True, kw_only=True)
class Telling(Callback):
    note: str

    def after_row(self, values, memory):
        raise RuntimeError(self.note)
"""
OWN = ("model=own", "+model.outputs=10", "debug=smoke", "run.dir=here")
NOTE = "+model.note=${oc.env:TOKEN}"


@pytest.fixture(autouse=True)
def token(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the environment, and models that are given it."""
    monkeypatch.setenv("TOKEN", SECRET)
    allow = '[tool.runner]\nallow = ["noted.net", "noted.failing", "noted.Telling"]\n'
    write({"noted.py": MODEL, "pyproject.toml": allow})


def written() -> str:
    files = [path for path in Path().rglob("*") if path.is_file() and path.suffix != ".py"]
    assert any(path.name == "overrides.yaml" for path in files)
    return "".join(path.read_bytes().decode(errors="replace") for path in files)


def test_a_run_keeps_the_name_of_the_variable(cli: Callable[..., Any]) -> None:
    done = cli(*OWN, "model._target_=noted.net", NOTE)
    assert done.code == 0, done.err
    assert SECRET not in written() + done.out + done.err
    assert "note: ${oc.env:TOKEN}" in Path("here/.hydra/config.yaml").read_text()
    shown = cli("show", "here")
    assert "${oc.env:TOKEN}" in shown.out
    assert SECRET not in shown.out
    # The command that has it goes on; its saved config, which anybody could have written, if that is allowed.
    assert cli(*OWN, "model._target_=noted.net", NOTE).code == 0
    refused = cli("resume", "here")
    assert refused.err.endswith(
        "/here/.hydra/config.yaml: model.note=${oc.env:TOKEN}: a saved config, or one from elsewhere, "
        "refers to its own keys only; allow it with --allow oc.env:TOKEN, or write the value there\n"
    )
    allowed = cli("resume", "here", "--allow", "oc.env:TOKEN")
    assert (allowed.code, allowed.err) == (0, "")
    assert SECRET not in written() + allowed.out


def test_a_sweep_keeps_the_name_of_the_variable(cli: Callable[..., Any]) -> None:
    done = cli("-m", *OWN[:-1], "model._target_=noted.net", NOTE, "seed=1,2", "name=swept")
    assert done.code == 0, done.err
    assert SECRET not in written() + done.out + done.err


def test_a_failure_tells_the_name_of_the_variable(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli(*OWN, "model._target_=noted.failing", NOTE)
    assert done.code == 2
    assert done.err == (
        "runner: model=noted.failing: ValueError: ${oc.env:TOKEN} does not open the door; it was given "
        "{outputs: 10, note: ${oc.env:TOKEN}}\n"
    )
    note = "{_target_: noted.Telling, note: '${oc.env:TOKEN}'}"
    with pytest.raises(RuntimeError):
        cli(*OWN, "model._target_=noted.net", f"+callbacks.tells={note}", "run.fresh=true")
    assert '"RuntimeError: ${oc.env:TOKEN}"' in Path("here/run.json").read_text()
    monkeypatch.setenv("RUNNER_TRACEBACK", "1")
    shown = cli(*OWN, "model._target_=noted.failing", NOTE, "run.fresh=true")
    assert "in failing\n" in shown.err
    assert SECRET not in written() + shown.err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=${oc.env:TOKEN}", "seed=${oc.env:TOKEN}: give a whole number"),
        (
            "model.hidden=[x${oc.env:TOKEN}]",
            "model.hidden[0]=x${oc.env:TOKEN}: give a whole number",
        ),
        (
            "checkpoint.numbering=${oc.env:TOKEN}",
            "checkpoint.numbering=${oc.env:TOKEN}: give step or",
        ),
    ],
)
def test_a_wrong_value_is_told_by_its_variable(
    override: str, message: str, cli: Callable[..., Any]
) -> None:
    done = cli(override)
    assert done.err.startswith(f"runner: {message}")
    assert SECRET not in done.err


def test_a_run_is_not_resumed_with_what_only_this_environment_has() -> None:
    run(*OWN, "model._target_=noted.net")
    before = written()
    with pytest.raises(
        ConfigError, match=r"model\.note=\$\{oc\.env:TOKEN\}: a saved config, or one"
    ):
        resumption_of(Path("here"), [NOTE])
    assert written() == before


def test_the_longest_value_is_taken_out_first() -> None:
    remember("pass", name="SHORT")
    remember("pass-and-more", name="LONG")
    remember("x", name="TOO_SHORT")
    assert redacted("pass-and-more, pass, x") == "${oc.env:LONG}, ${oc.env:SHORT}, x"
