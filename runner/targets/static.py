"""Finds where a dotted name is defined by reading source files. Nothing is imported.

Importing ``keras`` takes seconds and importing anything runs code, so names in a config are checked
against the syntax tree of the file that defines them: ``keras.optimizers.AdamW`` is followed through
``from ... import ...`` to its class. Where the source does not tell, nothing is claimed.
"""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from runner.errors import suggestion
from runner.targets.modules import NotFound, is_module, module_file

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Origin: TypeAlias = Definition | str | None
"""What a name stands for: a definition, the absolute name it is imported from, None for a value."""


@dataclass(frozen=True)
class Located:
    """Where a name is defined. ``definition`` is None where the source does not tell."""

    file: Path | None
    module: str
    definition: Definition | None


@functools.cache
def locate(name: str) -> Located:
    """Finds the definition of the dotted ``name``.

    Raises:
        NotFound: no module of that name, or nothing of that name in the module.
    """
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise NotFound("give a dotted name, such as package.module.Name")
    return _locate(name, trail=())


@functools.cache
def module_tree(file: Path) -> ast.Module:
    """The syntax tree of ``file``.

    Raises:
        NotFound: the file is not Python.
    """
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise NotFound(f"{file}, line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise NotFound(f"{file}: {error}") from error


def names_in(module: str, file: Path) -> dict[str, list[Origin]]:
    """What the top level of a module binds, by name; of several origins the likeliest comes last.

    Under "*" are the names ``<module>.*`` of the modules that are imported whole.
    """
    names: dict[str, list[Origin]] = defaultdict(list)
    for statement in _top_level(module_tree(file).body):
        for name, origin in _bound(statement, module):
            names[name].append(origin)
    return dict(names)


def imported_from(node: ast.ImportFrom, module: str) -> str:
    """The absolute name of the module that ``from ... import`` in ``module`` reads."""
    if not node.level:
        return node.module or ""
    file = module_file(module)
    is_package = file is not None and file.name == "__init__.py"
    parents = module.split(".")
    base = parents[: len(parents) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def forget() -> None:
    """Files are read again: they may change between two launches from one process."""
    for cached in (locate, module_tree, module_file):
        cached.cache_clear()


def _locate(name: str, *, trail: tuple[str, ...]) -> Located:
    """``trail`` are the names that were followed to get here."""
    module, _, attribute = name.rpartition(".")
    file = module_file(module) if module else None
    if module and (file is None or file.suffix != ".py"):
        return Located(file, module, None)
    names = names_in(module, file) if file else {}
    problems = []
    for origin in _origins(attribute, names, but=(name, *trail)):
        if not isinstance(origin, str):
            return Located(file, module, origin)
        try:
            return _locate(origin, trail=(*trail, name))
        except NotFound as error:
            problems.append(error)
    if attribute in names and problems:
        raise problems[0]
    raise _absent(name, names, file)


def _origins(
    attribute: str, names: dict[str, list[Origin]], *, but: tuple[str, ...]
) -> list[Origin]:
    """What the attribute of a module may stand for, the likeliest first."""
    whole = [star.removesuffix("*") for star in names.get("*", ()) if isinstance(star, str)]
    origins = [*reversed(names.get(attribute, ())), *(f"{star}{attribute}" for star in whole)]
    dynamic = [None] if "__getattr__" in names else []
    return [one for one in [*origins, *dynamic] if one not in but]


def _absent(name: str, names: dict[str, list[Origin]], file: Path | None) -> NotFound:
    module, _, attribute = name.rpartition(".")
    if is_module(name):
        return NotFound(f"{name} is a module; name a class or a function of it")
    # What a module imports is its own business, except that packages gather their parts so.
    gathers = file is not None and file.name == "__init__.py"
    public = [
        one
        for one, origins in names.items()
        if not one.startswith(("_", "*")) and (gathers or not isinstance(origins[-1], str))
    ]
    return NotFound(f"{module} has no {attribute!r}; {suggestion(attribute, public)}")


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements outside of definitions; of two branches, the likelier one comes last."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for handler in getattr(statement, "handlers", ()):
                yield from _top_level(handler.body)
            yield from _top_level(getattr(statement, "orelse", []))
            yield from _top_level(statement.body)
            yield from _top_level(getattr(statement, "finalbody", []))
        else:
            yield statement


def _bound(statement: ast.stmt, module: str) -> Iterator[tuple[str, Origin]]:
    match statement:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield statement.name, statement
        case ast.ImportFrom():
            base = imported_from(statement, module)
            for alias in statement.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"
        case ast.Import():
            for alias in statement.names:
                root = alias.name.partition(".")[0]
                yield alias.asname or root, alias.name if alias.asname else root
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id, None
