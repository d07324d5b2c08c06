"""A `_target_` node of the config: a name and its arguments, not built yet."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from runner.errors import ConfigError, UserError, shown
from runner.targets.allowed import check_allowed

TARGET = "_target_"
"""The key under which a node of the config says what it stands for."""


@dataclass(frozen=True)
class Target:
    """What ``{_target_: name, **arguments}`` says; ``arguments`` may hold further targets."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    key: str = field(default="", compare=False)
    """Where in the config it stands, for messages."""

    def __str__(self) -> str:
        return shown({TARGET: self.name, **self.arguments})

    def build(self, **more: Any) -> Any:
        """Imports the name and calls it, arguments first built themselves.

        Raises:
            ConfigError: the import or the call failed; the reason is quoted.
        """
        arguments = {name: build(value) for name, value in self.arguments.items()}
        try:
            return load(self.name)(**arguments, **more)
        except UserError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.key}={self.name}: {self._failure(error)}") from error

    def _failure(self, error: Exception) -> str:
        given = f"; it was given {shown(self.arguments)}" if self.arguments else ""
        return " ".join(f"{type(error).__name__}: {error}{given}".split())


def build(value: Any) -> Any:
    """``value`` with every target in it built."""
    match value:
        case Target():
            return value.build()
        case list():
            return [build(item) for item in value]
        case dict():
            return {key: build(item) for key, item in value.items()}
    return value


def load(name: str) -> Any:
    """Imports what the dotted ``name`` stands for.

    Raises:
        NotAllowed: it is not to be imported; as for ``check_allowed``.
    """
    check_allowed(name)
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
