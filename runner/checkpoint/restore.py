"""Giving the state the values in a checkpoint: all of them, or none and a table of what differs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from runner.checkpoint.compare import Comparison, Match, compare
from runner.checkpoint.graph import PythonState, Variable, layer_kinds, leaves
from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.checkpoint.reading import SavedGraph, opened
from runner.errors import CheckpointError

log = logging.getLogger(__name__)

_SHOWN = 12


def restore(
    path: Path,
    parts: Mapping[str, Any],
    *,
    optional: str | None = None,
    partial: bool = False,
    own: bool = False,
) -> Manifest | None:
    """Gives ``parts`` the values in the checkpoint at ``path``; returns its manifest if it has one.

    Args:
        optional: a key that a checkpoint of a script may lack: its part then stays as it is.
        partial: takes the variables that match, and reports the rest.
        own: it is the run's own, which is never taken in part.

    Raises:
        CheckpointError: it does not fit or cannot be read, and nothing was touched.
    """
    manifest = manifest_of(path)
    with opened(path) as reader:
        saved = SavedGraph(reader)
        if optional in parts and optional not in saved.keys and manifest is None:
            log.warning("%s has no %s: the random state starts anew", path, optional)
            parts = {key: part for key, part in parts.items() if key != optional}
        found = compare(saved, parts, names=manifest.variables if manifest else None)
        if partial:
            found.matches = [one for one in found.matches if isinstance(one.part, Variable)]
        other_kinds = [] if partial else _other_kinds(manifest, parts)
        is_exact = found.is_exact and not found.keys_differ and not other_kinds
        if not found.matches or not (partial or is_exact):
            raise CheckpointError(_refusal(path, found, other_kinds, own=own))
        values = [(one.part, _values(reader, one)) for one in found.matches]
        # A part that reads its own text may find fault with it; a variable takes what was compared.
        for part, tensors in sorted(values, key=lambda item: isinstance(item[0], Variable)):
            _put(part, tensors)
    if partial:
        log.warning("%s", _partial_report(path, found))
    return manifest


@contextmanager
def borrowed(
    path: Path, parts: Mapping[str, Any], *, optional: str | None = None
) -> Iterator[Manifest | None]:
    """Restores for the length of a ``with`` block; then everything is as it was before.

    Raises:
        CheckpointError: as for ``restore``.
    """
    with unchanged(parts):
        yield restore(path, parts, optional=optional)


@contextmanager
def unchanged(parts: Mapping[str, Any]) -> Iterator[None]:
    """Whatever is done in a ``with`` block, ``parts`` are afterwards what they were."""
    values = [(part, taken(part)) for _, part in leaves(parts)]
    try:
        yield
    finally:
        for part, tensors in values:
            _put(part, tensors)


def manifest_of(path: Path) -> Manifest | None:
    """The manifest of the checkpoint at ``path``; None if it has none that can be used."""
    manifest = read_manifest(path.with_name(f"{path.name}{SUFFIX}"))
    return manifest if isinstance(manifest, Manifest) else None


def optimizer_classes(parts: Mapping[str, Any]) -> dict[str, str]:
    """The class of every optimizer by its key: ``Adam``, or ``LossScaleOptimizer(Adam)``."""
    optimizers = {key: part for key, part in parts.items() if isinstance(part, keras.Optimizer)}
    return {key: _class_name(optimizer) for key, optimizer in optimizers.items()}


def _class_name(optimizer: keras.Optimizer) -> str:
    inner = getattr(optimizer, "inner_optimizer", None)
    name = type(optimizer).__name__
    return f"{name}({_class_name(inner)})" if inner is not None else name


def taken(part: Any) -> dict[str, Any]:
    """The tensors of ``part`` by its own names, a variable's by "".

    They are taken by reference: the next assignment makes a buffer of its own.
    """
    if isinstance(part, Variable):
        variable = part.value if isinstance(part, keras.Variable) else part
        # A third of what variable.value() takes, and training waits for all of them.
        value = tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
        return {"": value}
    return dict(part._serialize_to_tensors())


def _values(reader: Any, match: Match) -> dict[str, Any]:
    return {name: reader.get_tensor(key) for name, key in match.tensors.items()}


def _put(part: Any, tensors: Mapping[str, Any]) -> None:
    if isinstance(part, Variable):
        (value,) = tensors.values()
        part.assign(tf.cast(value, part.dtype))
    elif isinstance(part, PythonState):
        (value,) = tensors.values()
        part.deserialize(value if isinstance(value, bytes) else value.numpy())
    else:
        part._restore_from_tensors({name: tf.constant(value) for name, value in tensors.items()})


def _other_kinds(manifest: Manifest | None, parts: Mapping[str, Any]) -> list[str]:
    """Optimizers and layers whose state would fit, but which do something else with it."""
    if manifest is None:
        return []
    saved = {**manifest.optimizers, **manifest.layers}
    present = {**optimizer_classes(parts), **layer_kinds(parts)}
    return [
        f"{name}: {saved[name]} in the checkpoint, {present[name]} in this run"
        for name in present
        if saved.get(name, present[name]) != present[name]
    ]


def _refusal(path: Path, found: Comparison, other_kinds: list[str], *, own: bool) -> str:
    lines = [f"{path} does not fit this run; nothing was restored."]
    if found.keys_differ:
        saved, wanted = ", ".join(found.keys_saved), ", ".join(found.keys_wanted)
        lines += [f"  keys in the checkpoint: {saved}", f"  checkpoint.keys here:   {wanted}"]
        keys = ", ".join(f"{key}: {part}" for key, part in found.keys_saved.items())
        way_out = (
            f"read it with the same keys, 'checkpoint.keys={{{keys}}}' (name in the file: part)"
        )
    elif other_kinds:
        lines += [*_section("of another kind", other_kinds), *_sections(found)]
        way_out = "use what it was saved with; checkpoint.partial=true takes what fits"
    else:
        lines += _sections(found)
        way_out = "checkpoint.partial=true takes what fits and leaves the rest as it is"
    if own:
        way_out = (
            "undo what changed in the config or the code, or start another run from it: "
            f"checkpoint.restore={path} checkpoint.partial=true"
        )
    return "\n".join([*lines, f"  To go on, {way_out}."])


def _sections(found: Comparison) -> list[str]:
    return [
        *_section("of another shape or dtype", found.unlike),
        *_section("only in the checkpoint", found.only_in_checkpoint),
        *_section("only in this run", found.only_in_state),
        *_section("in another place", found.moved),
        *_section("left to the config", found.passed_over),
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"  {title}:", *(f"    {line}" for line in [*lines[:_SHOWN], *more])]


def _partial_report(path: Path, found: Comparison) -> str:
    rest = _sections(found) or ["  nothing was left over"]
    return "\n".join([f"restored {len(found.matches)} tensors of {path} in part", *rest])
