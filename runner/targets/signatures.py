"""Which arguments a located class or function takes, by its source. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from runner.targets.modules import NotFound
from runner.targets.static import Located, locate, names_in

_TRANSPARENT = {"cache", "lru_cache", "keras_export", "register_keras_serializable", "function"}
"""Decorators that leave the arguments as they are written; ``function`` is TensorFlow's."""


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


def signature(located: Located) -> Signature | None:
    """How a located class or function is called, or None where the source does not tell."""
    match located.definition:
        case ast.ClassDef():
            return _class_signature(located)
        case ast.FunctionDef() | ast.AsyncFunctionDef() as function if _is_plain(function):
            return _from_arguments(function.args, is_method=False)
    return None


def _class_signature(located: Located) -> Signature | None:
    for arguments in _initializers(located, seen=()):
        # The first one is the one that Python calls.
        return _from_arguments(arguments, is_method=True) if arguments else None
    return Signature({}, open=False)


def _initializers(located: Located, seen: tuple[Located, ...]) -> Iterator[ast.arguments | None]:
    """The arguments of every ``__init__`` of a class and its bases in order; None for one unknown."""
    definition = located.definition
    if not isinstance(definition, ast.ClassDef) or located in seen:
        yield None
        return
    methods = {node.name: node for node in definition.body if isinstance(node, ast.FunctionDef)}
    if "__init__" in methods:
        yield methods["__init__"].args
    elif "__new__" in methods or not _is_plain(definition):
        yield None
    for base in definition.bases:
        if ast.unparse(base) != "object":
            yield from _initializers(_base(base, located), (*seen, located))


def _base(expression: ast.expr, located: Located) -> Located:
    """Where the base class that is written in a located class statement is defined."""
    unknown = Located(None, located.module, None)
    if located.file is None:
        return unknown
    generic = expression.value if isinstance(expression, ast.Subscript) else expression
    root, _, rest = ast.unparse(generic).partition(".")
    origins = names_in(located.module, located.file).get(root, [None])
    start = origins[-1] if isinstance(origins[-1], str) else f"{located.module}.{root}"
    try:
        return locate(f"{start}.{rest}" if rest else start)
    except NotFound:  # a built-in, or what only running the code would tell
        return unknown


def _is_plain(definition: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether no decorator may change the arguments, as ``dataclass`` does."""
    calls = [one.func if isinstance(one, ast.Call) else one for one in definition.decorator_list]
    return {ast.unparse(call).rpartition(".")[2] for call in calls} <= _TRANSPARENT


def _from_arguments(arguments: ast.arguments, *, is_method: bool) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    padding = [None] * (len(positional) - len(arguments.defaults))
    named = [*positional, *arguments.kwonlyargs]
    defaults = [*padding, *arguments.defaults, *arguments.kw_defaults]
    parameters = {
        argument.arg: Parameter(argument.arg, argument.annotation, default)
        for argument, default in zip(named, defaults, strict=True)
    }
    for argument in positional[:1] if is_method else ():
        del parameters[argument.arg]
    for argument in arguments.posonlyargs:
        parameters.pop(argument.arg, None)
    return Signature(parameters, open=arguments.kwarg is not None)
