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
    written: set[str] = set()

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = workdir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.add(path.relative_to(workdir).parts[0].removesuffix(".py"))
        for name in [name for name in sys.modules if name.partition(".")[0] in written]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        forget()

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in written]:
        del sys.modules[name]
    forget()
