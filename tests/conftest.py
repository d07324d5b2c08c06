"""What the tests share: a working directory of their own, and the runner in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True, scope="session")
def common_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the runner remembers what it chose for what tests share: not where the user's own does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache(
    common_cache: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test has one of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(
    workdir: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Done]]:
    """Runs a command in this process, which saves the seconds that importing TensorFlow takes."""
    from runner.cli import run_command

    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setitem(os.environ, "HYDRA_FULL_ERROR", "1")

    def command(*arguments: str) -> Done:
        GlobalHydra.instance().clear()
        capfd.readouterr()
        code = run_command(arguments)
        return Done(code, *capfd.readouterr())

    yield command
    GlobalHydra.instance().clear()


@pytest.fixture
def single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is a call of its own, so that a run can be stopped after any of them."""
    monkeypatch.setattr("runner.phases.train._CALL_S", 0.0)


@pytest.fixture
def process(workdir: Path) -> Callable[..., Done]:
    """Runs a command in a process of its own."""

    def command(*arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            capture_output=True,
            text=True,
            cwd=workdir,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return command
