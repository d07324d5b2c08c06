"""Mappings to dataclasses, strictly: types are checked, not coerced, and every problem is told.

``convert`` knows the types that a config is made of: scalars, ``None``, ``Literal``, unions, lists,
mappings, dataclasses, and ``Target`` for a ``_target_`` node that stays unbuilt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union

from runner.config.nodes import class_named, target_at
from runner.config.problems import gather, join
from runner.errors import ConfigError, Invalid, nearest, shown, suggestion
from runner.interrupt import DURATION, Duration
from runner.targets import TARGET, Target

_KERAS_MARK = "class_name"
"""By this, Keras takes a mapping for an object to deserialize, wherever a layer may be given one."""
_NAMES: dict[Any, str] = {
    bool: "true or false",
    dict: "a mapping of names",
    float: "a number",
    int: "a whole number",
    list: "a list, such as [1, 2]",
    str: "text",
    types.NoneType: "null",
    Duration: DURATION,
    Target: f"a mapping with {TARGET}",
}


def convert(kind: Any, value: object, key: str) -> Any:
    """``value`` as an instance of the type ``kind``.

    Args:
        kind: a type, as an annotation has it.
        value: scalars, lists and mappings, as a config file has them.
        key: where in the config it stands; "" for the whole of it.

    Raises:
        ConfigError: with every problem at and below ``key``.
    """
    if kind is Any or kind is object:
        return _anything(value, key)
    if kind is Target:
        return target_at(key, value, convert=convert)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, key)
    return _BY_ORIGIN.get(typing.get_origin(kind), _scalar)(kind, value, key)


def _anything(value: object, key: str) -> Any:
    """Plain data as they are, but with targets for what names one."""
    match value:
        case Mapping() if TARGET in value:
            return target_at(key, value, convert=convert)
        case Mapping() if _KERAS_MARK in value:
            reason = "is how Keras writes objects down, which would import what it names"
            raise ConfigError(f"{key}={shown(value)}: {reason}; give a {TARGET} instead")
        case Mapping():
            return gather({n: partial(_anything, v, join(key, n)) for n, v in value.items()})
        case list():
            return _items(Any, value, key)
    return value


def _scalar(kind: Any, value: object, key: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is getattr(kind, "__supertype__", kind):
        return value
    if kind not in _NAMES:
        raise ConfigError(f"{key}={shown(value)}: no config can give this, a {_described(kind)}")
    is_plain = isinstance(value, bool | int | float)
    quoted = f", in quotes: '{key}=\"{shown(value)}\"'" if kind is str and is_plain else ""
    raise ConfigError(f"{key}={shown(value)}: give {_described(kind)}{quoted}")


def _literal(kind: Any, value: object, key: str) -> Any:
    choices = typing.get_args(kind)
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    raise ConfigError(f"{key}={shown(value)}: {suggestion(str(value), map(shown, choices))}")


def _union(kind: Any, value: object, key: str) -> Any:
    kinds = [one for one in typing.get_args(kind) if one is not types.NoneType]
    if value is None and _takes_none(kind):
        return None
    # A mapping is meant for the alternative that is made from one, and its problems are the ones
    # to tell.
    fitting = [one for one in kinds if _takes_mapping(one) == isinstance(value, Mapping)]
    if len(fitting) == 1:
        return convert(fitting[0], value, key)
    for one in fitting:
        with contextlib.suppress(ConfigError):
            return convert(one, value, key)
    literals = [one for one in kinds if typing.get_origin(one) is Literal]
    guess = nearest(str(value), [str(word) for one in literals for word in typing.get_args(one)])
    mean = f"did you mean {guess}? " if guess else ""
    raise ConfigError(f"{key}={shown(value)}: {mean}give {' or '.join(map(_described, kinds))}")


def _list(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={shown(value)}: give {_NAMES[list]}")
    return _items(typing.get_args(kind)[0], value, key)


def _items(kind: Any, values: Sequence[object], key: str) -> list[Any]:
    parts = {n: partial(convert, kind, value, f"{key}[{n}]") for n, value in enumerate(values)}
    return list(gather(parts).values())


def _dict(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={shown(value)}: give {_NAMES[dict]}")
    of_names, of_entries = typing.get_args(kind)
    # null takes an entry out, so that an overlay can drop what a group brought in.
    parts = {
        name: partial(_entry, of_entries, entry, join(key, name))
        for name, entry in value.items()
        if entry is not None or _takes_none(of_entries)
    }
    unfit = [name for name in parts if of_names is str and not isinstance(name, str)]
    return gather(parts, problems=[f"{join(key, name)}: put the name in quotes" for name in unfit])


def _entry(kind: Any, value: object, key: str) -> Any:
    """One value of a mapping, which unlike a field of a class may be left out."""
    if inspect.isabstract(kind) and isinstance(value, Mapping) and TARGET not in value:
        fix = f"name a {kind.__name__}, or drop the entry with {key}=null"
        raise ConfigError(f"{key}={shown(value)}: has no {TARGET}; {fix}")
    return convert(kind, value, key)


def _dataclass(kind: type, value: object, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={shown(value)}: give {_described(kind)}")
    given = {str(name): item for name, item in value.items() if name != TARGET}
    if TARGET in value:
        kind = class_named(value[TARGET], kind, key)
    elif inspect.isabstract(kind):
        raise ConfigError(f"{join(key, TARGET)}: is missing; name a {kind.__name__}")
    hints = _hints(kind, key)
    fields = {field.name: field for field in _fields(kind)}
    parts = {
        name: partial(convert, hints[name], item, join(key, name))
        for name, item in given.items()
        if name in fields
    }
    arguments = gather(parts, problems=_misfits(given, fields, key))
    try:
        return kind(**arguments)
    except Invalid as error:
        written = shown(given.get(error.field, error.value))
        raise ConfigError(f"{join(key, error.field)}={written}: {error.reason}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key or kind.__name__}: {kind.__qualname__}: {error}") from error


def _misfits(
    given: Mapping[str, object], fields: Mapping[str, dataclasses.Field[Any]], key: str
) -> Iterator[str]:
    """The names that are no fields, and the fields that are missing."""
    for name, item in given.items():
        if name not in fields:
            place = f"{join(key, name)}={shown(item)}"
            yield f"{place}: no such key; {suggestion(name, fields)}"
    for name, field in fields.items():
        if name not in given and _is_required(field):
            yield f"{join(key, name)}: is missing; add {join(key, name)}=..."


def _hints(kind: type, key: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except NameError as error:
        place = f"{key}: the types of {kind.__module__}.{kind.__qualname__} cannot be read"
        fix = "import them where the class stands, not only for type checking"
        raise ConfigError(f"{place}: {error}; {fix}") from error


def _fields(kind: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(kind) if field.init]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _takes_none(kind: Any) -> bool:
    return kind is Any or types.NoneType in typing.get_args(kind)


def _takes_mapping(kind: Any) -> bool:
    return kind is Target or dataclasses.is_dataclass(kind) or typing.get_origin(kind) is dict


def _described(kind: Any) -> str:
    """What to give for ``kind``, in words."""
    if dataclasses.is_dataclass(kind) and kind is not Target:
        return f"a mapping of {{{', '.join(field.name for field in _fields(kind))}}}"
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(shown, typing.get_args(kind)))
    name = getattr(kind, "__name__", str(kind))
    return _NAMES.get(kind) or _NAMES.get(typing.get_origin(kind), name)


_BY_ORIGIN: dict[Any, Callable[[Any, object, str], Any]] = {
    Literal: _literal,
    Union: _union,
    dict: _dict,
    list: _list,
    types.UnionType: _union,
}
