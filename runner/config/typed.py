"""Mappings to dataclasses, strictly: types are checked, not coerced, and every problem is collected.

``convert`` knows the types that a config is made of: scalars, ``None``, ``Literal``, unions, lists,
mappings, dataclasses, and ``Target`` for a ``_target_`` node that stays unbuilt.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

from runner.errors import Invalid, shown, suggestion
from runner.targets import Parameter, Target, locate, signature
from runner.targets.static import NotFound
from runner.targets.target import load

TARGET = "_target_"


class Mismatch(Exception):
    """Carries the problems of one value, as lines that name key, value, reason and fix."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def convert(kind: Any, value: object, key: str) -> Any:
    """``value`` as an instance of ``kind``.

    Raises:
        Mismatch: with every problem below ``key``.
    """
    origin = typing.get_origin(kind)
    if kind is Any or kind is object:
        return value
    if kind is Target:
        return _target(value, key)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, key)
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(kind), value, key)
    if origin is Literal:
        return _literal(typing.get_args(kind), value, key)
    if origin is list:
        return _list(typing.get_args(kind)[0], value, key)
    if origin is dict:
        return _dict(typing.get_args(kind)[1], value, key)
    return _scalar(kind, value, key)


def _scalar(kind: Any, value: object, key: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind and not (kind is type(None) and value is None):
        raise Mismatch(f"{key}={shown(value)}: give {_NAMES.get(kind, kind.__name__)}")
    return value


def _literal(choices: tuple[Any, ...], value: object, key: str) -> Any:
    if value not in choices or isinstance(value, bool):
        raise Mismatch(f"{key}={shown(value)}: {suggestion(str(value), map(shown, choices))}")
    return value


def _union(kinds: tuple[Any, ...], value: object, key: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    # A mapping is meant for the alternative that is made from one, and its problems are the ones
    # to tell.
    fitting = [kind for kind in kinds if _takes_mapping(kind) == isinstance(value, Mapping)]
    if len(fitting) == 1:
        return convert(fitting[0], value, key)
    for kind in fitting:
        try:
            return convert(kind, value, key)
        except Mismatch:
            continue
    wanted = " or ".join(_described(kind) for kind in kinds)
    raise Mismatch(f"{key}={shown(value)}: give {wanted}")


def _list(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, list):
        raise Mismatch(f"{key}={shown(value)}: give a list, such as [1, 2]")
    return _collect(
        [(index, kind, item, f"{key}[{index}]") for index, item in enumerate(value)], list
    )


def _dict(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise Mismatch(f"{key}={shown(value)}: give a mapping of names")
    # null takes an entry out, so that an overlay can drop what a group brought in.
    items = [
        (name, kind, item, _join(key, name)) for name, item in value.items() if item is not None
    ]
    return _collect(items, dict)


def _dataclass(kind: type, value: object, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise Mismatch(f"{key}={shown(value)}: give a mapping of {_described(kind)}")
    given = dict(value)
    kind = _named_class(kind, given.pop(TARGET, None), key)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    problems = [
        f"{_join(key, name)}={shown(item)}: no such key; {suggestion(name, fields)}"
        for name, item in given.items()
        if name not in fields
    ]
    problems += [
        f"{_join(key, name)}: is missing; add {_join(key, name)}=..."
        for name, field in fields.items()
        if name not in given and _has_no_default(field)
    ]
    known = [
        (name, hints[name], item, _join(key, name))
        for name, item in given.items()
        if name in fields
    ]
    arguments = _collect(known, dict, problems)
    try:
        return kind(**arguments)
    except Invalid as error:
        place = _join(key, error.field)
        raise Mismatch(f"{place}={shown(error.value)}: {error.reason}") from error


def _named_class(kind: type, name: object, key: str) -> Any:
    """The class that ``_target_`` names, which is ``kind`` or one derived from it."""
    if name is None:
        if _is_open(kind):
            fix = f"name a {kind.__name__}, or drop this entry with {key}=null"
            raise Mismatch(f"{_join(key, TARGET)}: is missing; {fix}")
        return kind
    place = f"{_join(key, TARGET)}={shown(name)}"
    _located(name, place)
    try:
        found = load(str(name))
    except Exception as error:
        raise Mismatch(f"{place}: cannot be imported: {type(error).__name__}: {error}") from error
    if not (
        isinstance(found, type) and issubclass(found, kind) and dataclasses.is_dataclass(found)
    ):
        raise Mismatch(
            f"{place}: is no {kind.__module__}.{kind.__name__}; name a class made from it"
        )
    return found


def _target(value: object, key: str) -> Target:
    if not isinstance(value, Mapping) or TARGET not in value:
        raise Mismatch(f"{key}={shown(value)}: give a mapping with {TARGET}, the name to build")
    place = f"{_join(key, TARGET)}={shown(value[TARGET])}"
    located = _located(value[TARGET], place)
    name = str(value[TARGET])
    given = {argument: item for argument, item in value.items() if argument != TARGET}
    called = signature(located)
    problems: list[str] = []
    kinds: dict[str, Any] = {}
    if called is not None:
        parameters = called.parameters
        kinds = {argument: _annotated(one.annotation) for argument, one in parameters.items()}
        problems += [
            f"{_join(key, argument)}={shown(item)}: give {wanted}"
            for argument, item in given.items()
            if argument in parameters and (wanted := _unlike_default(parameters[argument], item))
        ]
        problems += [
            f"{_join(key, argument)}={shown(item)}: {name} has no such argument; "
            f"{suggestion(argument, parameters)}"
            for argument, item in given.items()
            if argument not in parameters and not (called.open and _is_new(argument, parameters))
        ]
        problems += [
            f"{_join(key, argument)}: is missing; {name} needs it"
            for argument, parameter in parameters.items()
            if parameter.required and argument not in given
        ]
    arguments = [
        (argument, kinds.get(argument, Any), item, _join(key, argument))
        for argument, item in given.items()
    ]
    return Target(name, _collect(arguments, dict, problems, nested=True), key)


def _is_new(argument: str, parameters: Iterable[str]) -> bool:
    """Whether this is nobody's misspelling, and so may be meant for ``**kwargs``."""
    return not difflib.get_close_matches(argument, parameters, n=1, cutoff=0.75)


def _located(name: object, place: str) -> Any:
    try:
        return locate(str(name))
    except NotFound as error:
        raise Mismatch(f"{place}: {error}") from error


def _argument(kind: Any, value: object, key: str) -> Any:
    """An argument of a target: a target itself, or plain data of the annotated type."""
    match value:
        case {"_target_": _}:
            return _target(value, key)
        case dict() if kind is Any:
            items = [(name, Any, item, _join(key, str(name))) for name, item in value.items()]
            return _collect(items, dict, nested=True)
        case list() if kind is Any:
            entries = [(index, Any, item, f"{key}[{index}]") for index, item in enumerate(value)]
            return _collect(entries, list, nested=True)
    return convert(kind, value, key)


def _unlike_default(parameter: Parameter, value: object) -> str | None:
    """What to give instead of text where an argument without annotation has a number as default.

    Nothing more can be told: Keras takes a schedule for a number, and a list for many an int.
    """
    if parameter.annotation is None and isinstance(value, str):
        match parameter.default:
            case ast.Constant(value=bool()):
                return _NAMES[bool]
            case ast.Constant(value=int() | float()):
                return _NAMES[float]
    return None


def _annotated(annotation: ast.expr | None) -> Any:
    """The type that an annotation stands for; Any where it says more than a config can hold."""
    match annotation:
        case ast.Name(id=name):
            return {"int": int, "float": float, "bool": bool, "str": str}.get(name, Any)
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = _annotated(left), _annotated(right)
            return Any if Any in sides else Union[sides]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="list" | "Sequence"), slice=item):
            return list[_annotated(item)]  # type: ignore[misc]
    return Any


def _collect(
    items: list[tuple[Any, Any, object, str]],
    into: type[Any],
    problems: list[str] | None = None,
    *,
    nested: bool = False,
) -> Any:
    """Converts every item and gathers the problems of all before raising."""
    problems = [] if problems is None else problems
    converted = {}
    for name, kind, value, key in items:
        try:
            converted[name] = (_argument if nested else convert)(kind, value, key)
        except Mismatch as mismatch:
            problems += mismatch.problems
    if problems:
        raise Mismatch(*problems)
    return converted if into is dict else list(converted.values())


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _is_open(kind: type) -> bool:
    """Whether ``kind`` is a base that only its subclasses make concrete."""
    return bool(getattr(kind, "__abstractmethods__", None))


def _takes_mapping(kind: Any) -> bool:
    return kind is Target or dataclasses.is_dataclass(kind) or typing.get_origin(kind) is dict


def _described(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        return f"{{{', '.join(field.name for field in dataclasses.fields(kind))}}}"
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(shown, typing.get_args(kind)))
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text (quote it if it looks like a number: \"'7'\")",
    types.NoneType: "null",
    Target: f"a mapping with {TARGET}",
}
