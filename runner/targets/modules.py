"""Finds the files of modules by their dotted names. Nothing is imported."""

from __future__ import annotations

import functools
import importlib.util
import pkgutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from runner.errors import nearest, suggestion


class NotFound(Exception):
    """No such module or attribute; the message says which part, and what there is instead."""


@functools.cache
def module_file(module: str) -> Path | None:
    """The file of ``module``; None if it has none, or if only importing its package could tell.

    Raises:
        NotFound: there is no such module.
    """
    if module == "__main__":  # a script or a notebook; the import system does not know it
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    spec = _find_spec(module)
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def is_module(name: str) -> bool:
    """Whether there is a module of that dotted name."""
    try:
        return _find_spec(name) is not None
    except NotFound:
        return False


def _find_spec(module: str) -> ModuleSpec | None:
    """None if the parent package makes up its modules while it is imported."""
    parent, _, name = module.rpartition(".")
    if not parent:
        return _find_top(name)
    package = _find_spec(parent)
    folders = list(package.submodule_search_locations or ()) if package else []
    spec = _search(module, folders)
    if spec is None and not _is_dynamic(package):
        raise NotFound(f"{parent} has no module {name!r}; {suggestion(name, _modules(folders))}")
    return spec


def _find_top(name: str) -> ModuleSpec:
    try:
        # Only the search for a dotted name imports its parents; this one imports nothing.
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module that was made by hand
        return ModuleSpec(name, None)
    if spec is None:
        guess = nearest(name, _modules(None), likeness=0.75)
        mean = f"did you mean {guess}? " if guess else ""
        raise NotFound(f"there is no module {name!r}; {mean}is it installed, or in this folder?")
    return spec


def _search(module: str, folders: list[str]) -> ModuleSpec | None:
    """As the import system does it, except that it would ask a namespace package's imported parent."""
    portions: list[str] = []
    for finder in map(pkgutil.get_importer, folders):
        spec = finder.find_spec(module) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec and spec.submodule_search_locations) or ()
    if not portions:
        return None
    namespace = ModuleSpec(module, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _is_dynamic(package: ModuleSpec | None) -> bool:
    """Whether the package's code may make modules that no folder shows, as os and tensorflow do."""
    if package is None or package.origin is None:  # the latter has no code: a namespace package
        return package is None
    if not package.has_location or not package.origin.endswith(".py"):
        return True
    text = Path(package.origin).read_text(errors="replace")
    return "sys.modules" in text or "__path__" in text


def _modules(folders: list[str] | None) -> list[str]:
    names = {module.name for module in pkgutil.iter_modules(folders)}
    return sorted(name for name in names if not name.startswith("_"))
