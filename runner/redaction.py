"""Values that came from the environment: messages, logs and run.json name the variable instead."""

from __future__ import annotations

_SHORTEST = 4
"""Characters; what is shorter stands everywhere, and is no secret."""

_names: dict[str, str] = {}
"""The variables by their values."""


def remember(value: str, *, name: str) -> None:
    """Has ``redacted`` take out ``value``, which is that of the environment's variable ``name``."""
    if len(value) >= _SHORTEST:
        _names[value] = name


def redacted(text: str) -> str:
    """``text`` with the interpolation in the place of every value that was remembered."""
    for value in sorted(_names, key=len, reverse=True):  # One may be part of another.
        text = text.replace(value, f"${{oc.env:{_names[value]}}}")
    return text
