"""What the tests of targets share: source files of a user, in a folder that is searched first."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.targets import forget


@pytest.fixture
def write(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes source files into the working directory: ``write({"mine/net.py": "..."})``."""
    monkeypatch.syspath_prepend(workdir)
    before = set(sys.modules)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = workdir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        forget()

    yield write
    forget()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) is None:
            continue
        if Path(str(sys.modules[name].__file__)).is_relative_to(workdir):
            del sys.modules[name]
