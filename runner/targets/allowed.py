"""Which dotted names a config may give: those of trusted code, exactly as written, and no others.

A config is data that people pass around, and importing a module is running it. So a name is looked up
here before anything is imported: what `models/` and the runner's own groups export, a list of Keras's
modelling classes, and what the user adds, see `runner.allowances`. No config can add to that, and there
are no patterns: `keras.*` would allow Keras's loaders.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import UnionType

from runner.allowances import allows_target
from runner.errors import nearest
from runner.targets.keras_names import KERAS
from runner.targets.modules import NotFound
from runner.targets.static import locate, module_tree

_HOME = Path(__file__).resolve().parents[2]
"""Where `runner/` and `models/` stand: a clone, or the packages of an environment."""
_GROUPS = ("callbacks", "data", "phases", "tasks")
"""The modules of the runner whose classes a config names."""
_OTHERS = ("runner.config.sweep.SearchSpec",)
_MAX_LENGTH = 200
"""Characters; no longer name is looked for."""
_IS_RUN = "it is run as code then, so only if you know it"


class NotAllowed(NotFound):
    """Nobody has allowed the name; the message says how to."""


def check_allowed(name: str) -> None:
    """Returns if a config may give ``name``; nothing is imported to find out.

    Raises:
        NotFound: there is nothing of that name, which says more.
        NotAllowed: it is not allowed.
        ConfigError: pyproject.toml is wrong.
    """
    if _is_built_in(name) or allows_target(name):
        return
    if len(name) <= _MAX_LENGTH:
        locate(name)
    how = f'--allow {name}, or in pyproject.toml: [tool.runner] allow = ["{name}"]'
    raise NotAllowed(f"is not allowed; {_mean(name)}allow it with {how}; {_IS_RUN}")


def _is_built_in(name: str) -> bool:
    """Looks into the one file that would define it: there are many, and every launch asks."""
    match name.split("."):
        case ["models", module, last]:
            file = _HOME / "models" / f"{module}.py"
            return file.exists() and last in _definitions(file, ast.FunctionDef | ast.ClassDef)
        case ["runner", group, last] if group in _GROUPS:
            defining = _definers(group).get(last)
            return defining is not None and last in _definitions(defining, ast.ClassDef)
    return name in KERAS or name in _OTHERS


def _built_in() -> Iterator[str]:
    """All of them; `models/` is that beside the runner, and no other folder where one works."""
    for file in sorted((_HOME / "models").glob("*.py")):
        names = _definitions(file, ast.FunctionDef | ast.ClassDef)
        yield from (f"models.{file.stem}.{name}" for name in names)
    candidates = (f"runner.{group}.{name}" for group in _GROUPS for name in _definers(group))
    yield from filter(_is_built_in, candidates)
    yield from (*KERAS, *_OTHERS)


def _definers(group: str) -> dict[str, Path]:
    """The file that defines what the module of a group exports, by name: itself or, for a package,
    the module of its own that it imports the name from.
    """
    module = _HOME / "runner" / f"{group}.py"
    if module.exists():
        return dict.fromkeys(_definitions(module, ast.ClassDef), module)
    return {
        one.name: _HOME / f"{node.module.replace('.', '/')}.py"
        for node in module_tree(module.with_suffix("") / "__init__.py").body
        if isinstance(node, ast.ImportFrom) and node.module
        for one in node.names
    }


def _definitions(file: Path, kind: type | UnionType) -> list[str]:
    """The public names that the top level of a file defines."""
    body = module_tree(file).body
    return [
        node.name
        for node in body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and isinstance(node, kind)
        and not node.name.startswith("_")
    ]


def _mean(name: str) -> str:
    """The allowed name of the same thing, where it is exported from more than one place."""
    last = name.rpartition(".")[2]
    same = [known for known in sorted(_built_in()) if known.rpartition(".")[2] == last]
    guess = nearest(name, same, likeness=0.0)
    return f"did you mean {guess}? if not, " if guess else ""
