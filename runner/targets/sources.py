"""Which source files stand behind a set of targets, so that a run can tell when its code changed."""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.targets.static import NotFound, imported_names, locate, module_file, module_tree


def sources(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 by file, for the files that define ``names`` and everything of the user's they import.

    Installed packages are left out: their versions are recorded with the run.
    """
    seen: dict[str, Path] = {}
    waiting = [located.module for name in names if (located := locate(name)).file]
    while waiting:
        module = waiting.pop()
        file = _own_file(module)
        if module in seen or file is None:
            continue
        seen[module] = file
        waiting += _imports(module, file)
    return {
        _relative(module, file): hashlib.sha256(file.read_bytes()).hexdigest()
        for module, file in sorted(seen.items())
    }


def _own_file(module: str) -> Path | None:
    try:
        file = module_file(module)
    except NotFound:  # an import of something that is not a module, or is not installed
        return None
    if file is None or file.suffix != ".py" or not file.is_file():
        return None
    return None if any(file.is_relative_to(place) for place in _INSTALLED) else file


def _imports(module: str, file: Path) -> Iterator[str]:
    for node in ast.walk(module_tree(file)):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = imported_names(node, module)
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _relative(module: str, file: Path) -> str:
    depth = module.count(".") + (file.name == "__init__.py")
    return str(file.relative_to(file.parents[depth]))


_INSTALLED = [
    Path(path)
    for key, path in sysconfig.get_paths().items()
    if key in {"stdlib", "purelib", "platlib"}
]
