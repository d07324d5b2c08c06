"""Giving the state the values in a checkpoint: all of them, or none and a table of what differs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint import graph
from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.errors import CheckpointError

log = logging.getLogger(__name__)

_SHOWN = 12


def restore(path: Path, parts: dict[str, Any], *, partial: bool = False) -> Manifest | None:
    """Gives ``parts`` the values in the checkpoint at ``path``; returns its manifest if it has one.

    Raises:
        CheckpointError: it does not fit, and no variable was touched.
    """
    found = graph.compare(str(path), parts)
    manifest = read_manifest(path.with_name(f"{path.name}{SUFFIX}"))
    known = manifest if isinstance(manifest, Manifest) else None
    if partial:
        _assign(str(path), found.matched)
        log.warning("%s", _partial_report(path, found))
        return known
    found.other_classes = _other_classes(known, parts)
    if found.differs:
        raise CheckpointError(_refusal(path, found))
    # A file from Checkpoint.write() has no save counter, which restore() would ask for.
    status = tf.train.Checkpoint(**parts).read(str(path))
    status.assert_existing_objects_matched().expect_partial()
    return known


@contextmanager
def borrowed(path: Path, parts: dict[str, Any]) -> Iterator[Manifest | None]:
    """Restores for the length of a ``with`` block; then everything is as it was before."""
    values = [(variable, tf.identity(variable)) for _, variable in graph.variables(parts)]
    texts = [(part, part.serialize()) for part in graph.python_states(parts)]
    try:
        yield restore(path, parts)
    finally:
        for variable, value in values:
            variable.assign(value)
        for part, text in texts:
            part.deserialize(text)


def class_names(parts: dict[str, Any]) -> dict[str, str]:
    """The class of every part, recorded because Adam's file would fit AdamW without a word."""
    return {key: type(part).__name__ for key, part in parts.items()}


def _other_classes(manifest: Manifest | None, parts: dict[str, Any]) -> list[str]:
    saved = manifest.classes if manifest else {}
    present = class_names(parts)
    return [
        f"{key}: {saved[key]} in the checkpoint, {present[key]} in this run"
        for key in present
        if key in saved and saved[key] != present[key]
    ]


def _assign(path: str, matched: list[tuple[str, str, graph.Variable]]) -> None:
    reader = tf.train.load_checkpoint(path)
    values = [(variable, reader.get_tensor(key)) for _, key, variable in matched]
    for variable, value in values:
        variable.assign(value)


def _refusal(path: Path, found: graph.Comparison) -> str:
    lines = [f"{path} does not fit this run; nothing was restored."]
    if sorted(found.keys_saved) != sorted(found.keys_wanted):
        lines += [
            f"  keys in the checkpoint: {', '.join(found.keys_saved)}",
            f"  checkpoint.keys here:   {', '.join(found.keys_wanted)}",
        ]
    else:
        lines += _sections(found)
    return "\n".join([*lines, f"  {_way_out(found)}"])


def _way_out(found: graph.Comparison) -> str:
    if found.other_classes:
        return "To go on, use what it was saved with; checkpoint.partial=true takes what fits."
    if sorted(found.keys_saved) == sorted(found.keys_wanted):
        return "To take what fits and leave the rest as it is: checkpoint.partial=true"
    parts = {"net": "model", "opt": "optimizer"}
    keys = ", ".join(f"{key}: {parts.get(key, key)}" for key in found.keys_saved)
    return f"To read it, name the same keys: 'checkpoint.keys={{{keys}}}' (name in the file: part)"


def _sections(found: graph.Comparison) -> list[str]:
    sections = {
        "of another class": found.other_classes,
        "of another shape or dtype": found.unlike,
        "only in the checkpoint": found.only_in_checkpoint,
        "only in this run": found.only_in_state,
    }
    lines = []
    for title, names in sections.items():
        if names:
            lines += [f"  {title}:", *(f"    {name}" for name in names[:_SHOWN])]
        if len(names) > _SHOWN:
            lines.append(f"    ... and {len(names) - _SHOWN} more")
    return lines


def _partial_report(path: Path, found: graph.Comparison) -> str:
    rest = _sections(found) or ["  nothing was left over"]
    return "\n".join([f"restored {len(found.matched)} tensors of {path} in part", *rest])
