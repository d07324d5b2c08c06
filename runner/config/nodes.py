"""`_target_` nodes: the class that one names, or the target that it stays until the run is built.

Names and arguments are checked by reading source files, and names against what is allowed. Of that,
only classes of the config itself are imported here: datasets, tasks, phases and callbacks, whose fields
are typed.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias, Union

from runner.config.problems import gather, join
from runner.errors import ConfigError, shown, suggestion
from runner.targets import (
    TARGET,
    NotFound,
    Parameter,
    Signature,
    Target,
    check_allowed,
    load,
    locate,
    signature,
)

Convert: TypeAlias = Callable[[Any, object, str], Any]

_SPECIAL = ("_args_", "_convert_", "_partial_", "_recursive_")
_PLAIN_TYPES = {"bool": bool, "float": float, "int": int, "str": str}


def class_named(name: object, base: type, key: str) -> type:
    """The dataclass that ``_target_`` names at ``key``: ``base`` or one made from it.

    Raises:
        ConfigError: there is none of that name, or it is something else.
    """
    place = f"{join(key, TARGET)}={shown(name)}"
    try:
        locate(str(name))
        found = load(str(name))
    except ConfigError:
        raise
    except NotFound as error:
        raise ConfigError(f"{place}: {error}") from error
    except Exception as error:
        reason = f"cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(f"{place}: {reason}") from error
    if isinstance(found, type) and issubclass(found, base) and dataclasses.is_dataclass(found):
        return found
    wanted = f"{base.__module__}.{base.__qualname__}"
    raise ConfigError(f"{place}: is no {wanted}; name a dataclass made from it")


def target_at(key: str, node: object, *, convert: Convert) -> Target:
    """The target that ``node`` describes, its arguments checked and converted.

    Args:
        key: where it stands.
        node: what stands there.
        convert: turns an argument into its annotated type, or what holds further targets into them.

    Raises:
        ConfigError: with every problem that was found.
    """
    if not isinstance(node, Mapping) or TARGET not in node:
        fix = f"give a mapping with {TARGET}, the name of what to build"
        raise ConfigError(f"{key}={shown(node)}: {fix}")
    name = str(node[TARGET])
    try:
        check_allowed(name)
        called = signature(locate(name)) or Signature({}, open=True)
    except NotFound as error:
        raise ConfigError(f"{join(key, TARGET)}={name}: {error}") from error
    given = {str(argument): value for argument, value in node.items() if argument != TARGET}
    given = {
        argument: _as_fraction(value, called.parameters.get(argument))
        for argument, value in given.items()
    }
    kinds = {parameter.name: _kind(parameter) for parameter in called.parameters.values()}
    arguments = {
        argument: partial(_argument, kinds.get(argument, Any), value, join(key, argument), convert)
        for argument, value in given.items()
    }
    problems = _misgiven(name, given, called, key=key)
    return Target(name, gather(arguments, problems=problems), key)


def _as_fraction(value: Any, parameter: Parameter | None) -> Any:
    """1 as 1.0 where the default is a fraction: Keras refuses an integer as learning rate."""
    if type(value) is not int or parameter is None or parameter.annotation is not None:
        return value
    match parameter.default:
        case ast.Constant(value=float()):
            return float(value)
    return value


def _argument(kind: Any, value: object, key: str, convert: Convert) -> Any:
    is_target = isinstance(value, Mapping) and TARGET in value
    return convert(Target if is_target else kind, value, key)


def _misgiven(
    name: str, given: Mapping[str, object], called: Signature, *, key: str
) -> Iterator[str]:
    """What is wrong with the arguments ``given`` to ``name``, besides their annotated types."""
    for argument, value in given.items():
        place = f"{join(key, argument)}={shown(value)}"
        parameter = called.parameters.get(argument)
        if argument in _SPECIAL:
            yield f"{place}: belongs to Hydra's instantiate; give {TARGET} and arguments by name"
        elif parameter is None and not _may_be_extra(argument, called):
            known = suggestion(argument, called.parameters)
            yield f"{place}: {name} has no such argument; {known}"
        elif parameter is not None and (wanted := _unlike_default(parameter, value)):
            yield f"{place}: give {wanted}"
    for parameter in called.parameters.values():
        if parameter.required and parameter.name not in given:
            yield f"{join(key, parameter.name)}: is missing; {name} needs it"


def _may_be_extra(argument: str, called: Signature) -> bool:
    """Whether ``**kwargs`` may be meant to take this, since it is nobody's misspelling."""
    alike = difflib.get_close_matches(argument, called.parameters, n=1, cutoff=0.75)
    return called.open and not alike


def _unlike_default(parameter: Parameter, value: object) -> str | None:
    """What to give where an argument without annotation has a default of another kind.

    Text is no number, and true is no fraction. Nothing more can be told: Keras takes a schedule for
    a number, and a list for many an int.
    """
    if parameter.annotation is not None:
        return None
    match parameter.default, value:
        case ast.Constant(value=bool()), str():
            return "true or false"
        case (ast.Constant(value=int() | float()), str()) | (ast.Constant(value=float()), bool()):
            return "a number"
    return None


def _kind(parameter: Parameter) -> Any:
    """The type of what can be given for a parameter; a default of None can be given as well."""
    kind = _annotated(parameter.annotation)
    match parameter.default:
        case ast.Constant(value=None) if kind is not Any:
            return Union[kind, None]  # noqa: UP007
    return kind


def _annotated(annotation: ast.expr | None) -> Any:
    """The type that an annotation stands for; Any where it says more than a config can hold."""
    match annotation:
        case ast.Name(id=name):
            return _PLAIN_TYPES.get(name, Any)
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = _annotated(left), _annotated(right)
            return Any if Any in sides else Union[sides]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="list" | "Sequence"), slice=item):
            return list[_annotated(item)]  # type: ignore[misc]
    return Any
