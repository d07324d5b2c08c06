"""Finds what a dotted name stands for by reading source files. Nothing is imported.

Importing ``keras`` takes seconds and importing anything runs code, so names and arguments in a
config are checked against the syntax tree of the file that defines them: ``keras.optimizers.AdamW``
is followed through ``from ... import ...`` to its class, and the class's ``__init__`` says which
arguments there are.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import suggestion

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NotFound(Exception):
    """No such module or attribute; the message says which part, and what there is instead."""


@dataclass(frozen=True)
class Located:
    """Where a name is defined. ``definition`` is None where the source does not tell."""

    file: Path | None
    module: str
    definition: Definition | None


@dataclass(frozen=True)
class Parameter:
    """One argument as it is written: its name, annotation and default."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None

    @property
    def required(self) -> bool:
        """Whether a call has to give it."""
        return self.default is None


@dataclass(frozen=True)
class Signature:
    """What can be given by name; ``open`` means that ``**kwargs`` takes anything else too."""

    parameters: dict[str, Parameter]
    open: bool


@functools.cache
def locate(name: str) -> Located:
    """Finds the definition of the dotted ``name``.

    Raises:
        NotFound: no module of that name, or nothing of that name in the module.
    """
    module, _, attribute = name.rpartition(".")
    if not module:
        raise NotFound("give a dotted name, such as package.module.Name")
    file = module_file(module)
    if file is None or file.suffix != ".py":
        return Located(file, module, None)
    return _find(attribute, module, file)


@functools.cache
def module_file(module: str) -> Path | None:
    """The file of ``module``, or None for a built-in or namespace package.

    Raises:
        NotFound: there is no such module.
    """
    spec = _find_spec(module)
    return Path(spec.origin) if spec.has_location and spec.origin else None


@functools.cache
def module_tree(file: Path) -> ast.Module:
    """The syntax tree of ``file``."""
    return ast.parse(file.read_bytes(), filename=str(file))


def imported_names(node: ast.ImportFrom, module: str) -> str:
    """The absolute name of the module that ``from ... import`` in ``module`` reads."""
    if not node.level:
        return node.module or ""
    file = module_file(module)
    is_package = file is not None and file.name == "__init__.py"
    parents = module.split(".")
    base = parents[: len(parents) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def signature(located: Located) -> Signature | None:
    """How a located class or function is called, or None where the source does not tell."""
    match located.definition:
        case None:
            return None
        case ast.ClassDef() as definition:
            return _class_signature(definition, located)
        case definition:
            return _from_arguments(definition.args, is_method=False)


def _find_spec(module: str) -> importlib.machinery.ModuleSpec:
    parent, _, name = module.rpartition(".")
    if not parent:
        # Only the search for a dotted name imports its parents; this one imports nothing.
        spec = importlib.util.find_spec(name) if name else None
        if spec is None:
            raise NotFound(f"there is no module {name!r} here; is it installed, or in this folder?")
        return spec
    locations = list(_find_spec(parent).submodule_search_locations or ())
    spec = importlib.machinery.PathFinder.find_spec(module, locations)
    if spec is None:
        known = sorted({path.stem for place in locations for path in _modules(place)})
        raise NotFound(f"{parent} has no module {name!r}; {suggestion(name, known)}")
    return spec


def _modules(folder: str) -> Iterator[Path]:
    entries = (path for path in Path(folder).iterdir() if not path.name.startswith("_"))
    return (path for path in entries if path.suffix == ".py" or path.is_dir())


def _find(attribute: str, module: str, file: Path) -> Located:
    bound: list[str] = []
    for statement in _top_level(module_tree(file).body):
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if statement.name == attribute:
                    return Located(file, module, statement)
                bound.append(statement.name)
            case ast.ImportFrom():
                for alias in statement.names:
                    if (alias.asname or alias.name) == attribute:
                        return locate(f"{imported_names(statement, module)}.{alias.name}")
                    bound.append(alias.asname or alias.name)
            case ast.Assign():
                bound += [name.id for name in statement.targets if isinstance(name, ast.Name)]
    if attribute in bound or "__getattr__" in bound or "*" in bound:
        return Located(file, module, None)
    known = [name for name in bound if not name.startswith("_")]
    raise NotFound(f"{module} has no {attribute!r}; {suggestion(attribute, known)}")


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            handlers = getattr(statement, "handlers", [])
            yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
            for handler in handlers:
                yield from _top_level(handler.body)


def _class_signature(definition: ast.ClassDef, located: Located) -> Signature | None:
    for statement in definition.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _from_arguments(statement.args, is_method=True)
    for base in definition.bases:
        inherited = _base_signature(base, located)
        if inherited is not None:
            return inherited
    return None


def _base_signature(base: ast.expr, located: Located) -> Signature | None:
    if not isinstance(base, ast.Name) or located.file is None:
        return None
    try:
        return signature(_find(base.id, located.module, located.file))
    except NotFound:  # a built-in such as Exception
        return None


def _from_arguments(arguments: ast.arguments, *, is_method: bool) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    padding = len(positional) - len(arguments.defaults)
    defaults = [*[None] * padding, *arguments.defaults, *arguments.kw_defaults]
    named = [*positional, *arguments.kwonlyargs]
    parameters = {
        argument.arg: Parameter(argument.arg, argument.annotation, default)
        for argument, default in zip(named, defaults, strict=True)
    }
    if is_method:
        del parameters[positional[0].arg]
    return Signature(parameters, open=arguments.kwarg is not None)
