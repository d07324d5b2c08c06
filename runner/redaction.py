"""Values that came from the environment: messages, logs and run.json name the variable instead."""

from __future__ import annotations

import json

_SHORTEST = 4
"""Characters; what is shorter stands everywhere, and is no secret."""

_names: dict[str, str] = {}
"""The variables by their values."""


def remember(value: str, *, name: str) -> None:
    """Has ``redacted`` take out ``value``, which is that of the environment's variable ``name``.

    Also as Python and JSON write it, and with its white space made one.
    """
    for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1], " ".join(value.split())):
        if len(form) >= _SHORTEST:
            _names[form] = name


def remembered() -> dict[str, str]:
    """The variables by their values: another process has to ``remember`` them too."""
    return dict(_names)


def redacted(text: str) -> str:
    """``text`` with the interpolation in the place of every value that was remembered."""
    for value in sorted(_names, key=len, reverse=True):  # One may be part of another.
        text = text.replace(value, f"${{oc.env:{_names[value]}}}")
    return text
