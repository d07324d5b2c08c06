"""Errors a user can cause, and how they read.

Every one of them is told in plain words and without a traceback: the key, the value, the reason and
the fix. Set ``RUNNER_TRACEBACK=1`` to see the traceback too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar

from runner.redaction import redacted

_MAX_SHOWN = 12
_MAX_UNCUT = 15


class UserError(Exception):
    """Something the user can put right; ``exit_code`` is what the command line returns."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class DataError(UserError):
    """The data cannot be had: a download failed, a file is not what it claims to be."""


class StepError(UserError):
    """TensorFlow refused what a step computes, such as a label that the model has no output for."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or does not fit the run."""

    exit_code = 3


class NameTakenError(CheckpointError):
    """A checkpoint would stand where somebody else's is; no later save can succeed either."""


class ConfigError(UserError):
    """The config or the command line is wrong. One error carries every problem that was found."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        told = [problems] if isinstance(problems, str) else problems
        self.problems = [redacted(problem) for problem in told]
        super().__init__("\n".join(self.problems))


class Invalid(ValueError):
    """A value that a dataclass refuses; the loader adds where in the config it stands.

    ``field`` is dotted and relative to the object that raises: ``Invalid("split.test", 2.0, "...")``.
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(f"{field}={shown(value)}: {reason}")
        self.field = field
        self.value = value
        self.reason = reason


def shown(value: object) -> str:
    """``value`` the way it is written in YAML and on the command line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(shown(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {shown(item)}' for key, item in value.items())}}}"
    return str(value)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, then those there are.

    Of many, the dozen that are nearest to ``name``.
    """
    names = list(dict.fromkeys(known))
    if not names:
        return "none is known"
    guess = nearest(name, names)
    mean = f"did you mean {guess}? " if guess else ""
    if len(names) > _MAX_UNCUT:
        names.sort(key=lambda other: _likeness(name, other), reverse=True)
    return f"{mean}known: {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """All of a few names; of many, the first dozen and how many more there are."""
    if len(names) <= _MAX_UNCUT:
        return ", ".join(names)
    return f"{', '.join(names[:_MAX_SHOWN])} and {len(names) - _MAX_SHOWN} more"


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name that ``name`` was probably meant to be, if any is like it."""
    best = max(known, key=lambda other: _likeness(name, other), default=None)
    return best if best is not None and _likeness(name, best) >= likeness else None


def _likeness(name: str, other: str) -> float:
    """From 0 to 1, and 1 for an abbreviation: acc for accuracy, lr for learning_rate."""
    initials = "".join(word[:1] for word in other.split("_"))
    if (len(name) > 2 and other.startswith(name)) or (len(name) > 1 and name == initials):
        return 1.0
    return difflib.SequenceMatcher(None, name.casefold(), other.casefold()).ratio()
