"""Which source files stand behind a set of targets, so that a run can tell when its code changed."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.files import sha256
from runner.targets.modules import NotFound, is_module, module_file
from runner.targets.static import imported_from, locate, module_tree


def sources(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 by file, for the files that define ``names`` and everything of the user's they import.

    Files are given relative to the folder that they are imported from. Installed packages are left
    out: their versions are recorded with the run.
    """
    found: dict[str, Path] = {}
    waiting = [_defining_module(name) for name in names]
    while waiting:
        module = waiting.pop()
        file = None if module in found else _own_file(module)
        if file is not None:
            found[module] = file
            waiting += _imports(module, file)
    hashes = {_relative(module, file): sha256(file) for module, file in found.items()}
    return dict(sorted(hashes.items()))


def hashes(files: Iterable[str]) -> dict[str, str]:
    """SHA-256 of ``files``, which ``sources`` named before, as they are now; without those that are gone."""
    found = {name: _own_file(module_of(name)) for name in files}
    return {name: sha256(file) for name, file in found.items() if file is not None}


def module_of(file: str) -> str:
    """The dotted name of a module by its file, as ``sources`` gives it."""
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")


def _defining_module(name: str) -> str:
    try:
        return locate(name).module
    except NotFound:  # a class that is no attribute of its module, such as one made by a function
        while name and not is_module(name):
            name = name.rpartition(".")[0]
        return name


def _own_file(module: str) -> Path | None:
    """The source file of a module that is not installed."""
    try:
        file = module_file(module)
    except NotFound:  # what is imported is no module, or is not there
        return None
    if file is None or file.suffix != ".py" or not file.is_file():
        return None
    installed = any(file.is_relative_to(place) for place in _INSTALLED)
    return None if installed or {"site-packages", "dist-packages"} & {*file.parts} else file


def _imports(module: str, file: Path) -> Iterator[str]:
    """The names of the modules that a file imports, in functions too, and some that are none."""
    try:
        nodes = list(ast.walk(module_tree(file)))
    except NotFound:  # not Python: whoever imports it is told so then
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name for alias in node.names for name in _with_packages(alias.name))
        if isinstance(node, ast.ImportFrom):
            base = imported_from(node, module)
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _with_packages(module: str) -> Iterator[str]:
    """``a.b.c`` and the packages ``a`` and ``a.b``, which the same statement gives access to."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def _relative(module: str, file: Path) -> str:
    depth = module.count(".") + (file.name == "__init__.py")
    return str(file.relative_to(file.parents[depth]))


_INSTALLED = [Path(path) for key, path in sysconfig.get_paths().items() if key.endswith("lib")]
