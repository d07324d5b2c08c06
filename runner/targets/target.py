"""A `_target_` node of the config: a name and its arguments, not built yet."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from runner.errors import ConfigError, shown


@dataclass(frozen=True)
class Target:
    """What ``{_target_: name, **arguments}`` says; ``arguments`` may hold further targets."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    key: str = field(default="", compare=False)
    """Where in the config it stands, for messages."""

    def build(self, **more: Any) -> Any:
        """Imports the name and calls it, arguments first built themselves.

        Raises:
            ConfigError: the import or the call failed; the reason is quoted.
        """
        arguments = {name: build(value) for name, value in self.arguments.items()}
        try:
            return load(self.name)(**arguments, **more)
        except (ConfigError, KeyboardInterrupt):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            message = f"{self.key}={self.name}: {type(error).__name__}: {reason}"
            given = f"; it was given {shown(self.arguments)}" if self.arguments else ""
            raise ConfigError(message + given) from error


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
    """Imports what the dotted ``name`` stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
