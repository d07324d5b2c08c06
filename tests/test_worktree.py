"""Code that no revision holds: kept so that it can be had again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import worktree
from runner.targets import forget

MODEL = "def model():\n    return {}\n"
TINY = ("engine.limit_steps=2", "run.dir=here")


def git(*arguments: str, where: Path | None = None) -> None:
    names = {
        f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    subprocess.run(["git", *arguments], check=True, cwd=where, env={**os.environ, **names})


@pytest.fixture
def repository(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in the working directory with one file that it holds, as committed."""
    (workdir / "held_here.py").write_text(MODEL.format(1))
    (workdir / "notes.txt").write_text("one\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    monkeypatch.syspath_prepend(workdir)
    forget()
    return workdir


def test_nothing_is_kept_of_what_a_revision_holds(repository: Path) -> None:
    assert worktree.difference(["held_here.py"], here=repository) is None


def test_what_is_kept_gives_the_code_back(repository: Path, tmp_path_factory: Any) -> None:
    (repository / "held_here.py").write_text(MODEL.format(2))
    (repository / "notes.txt").write_text("two")
    (repository / "new_here.py").write_text(MODEL.format(3).rstrip("\n"))
    (repository / "other.py").write_text("behind no target")
    forget()
    kept = worktree.difference(["held_here.py", "new_here.py"], here=repository)
    assert kept is not None
    clone = tmp_path_factory.mktemp("clone")
    git("clone", "-q", str(repository), str(clone))
    subprocess.run(["git", "apply"], input=kept, check=True, cwd=clone)
    for name in ("held_here.py", "notes.txt", "new_here.py"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()
    assert not (clone / "other.py").exists()


def test_code_in_no_repository_is_kept_whole(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "nowhere_held.py").write_text(MODEL.format(4))
    monkeypatch.syspath_prepend(workdir)
    forget()
    kept = worktree.difference(["nowhere_held.py", "gone.py"], here=workdir)
    assert kept is not None
    assert kept.decode().splitlines()[-2:] == ["+def model():", "+    return 4"]


def test_of_another_repository_only_what_stands_behind_targets(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "held_here.py").write_text(MODEL.format(5))
    (repository / "notes.txt").write_text("two\n")
    (elsewhere := tmp_path.parent / f"{tmp_path.name}_elsewhere").mkdir()
    kept = worktree.difference(["held_here.py"], here=elsewhere)
    assert kept is not None
    assert b"+    return 5" in kept
    assert b"two" not in kept


def test_more_than_is_kept_is_told(
    repository: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "notes.txt").write_text("two\n" * 100)
    with monkeypatch.context() as patch:
        patch.setattr(worktree, "MOST_BYTES", 100)
        assert cli(*TINY).code == 0
    assert not (repository / "here/code.diff").exists()
    record = json.loads((repository / "here/run.json").read_text())
    assert record["git"]["diff"] == "more than 0 MB, so it was not kept"


def test_a_run_keeps_the_code_that_it_began_with(repository: Path, cli: Callable[..., Any]) -> None:
    (repository / "notes.txt").write_text("at the first sitting\n")
    assert cli(*TINY).code == 0
    kept = (repository / "here/code.diff").read_bytes()
    assert b"+at the first sitting" in kept
    (repository / "notes.txt").write_text("at the second sitting\n")
    assert cli("resume", "here", "engine.limit_steps=4").code == 0
    assert (repository / "here/code.diff").read_bytes() == kept
    record = json.loads((repository / "here/run.json").read_text())
    assert record["git"]["diff"] == "code.diff"
    assert record["git"]["dirty"] == ["notes.txt"]
    assert (repository / "here/.hydra/resolved.yaml").is_file()
