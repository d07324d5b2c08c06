"""Imports go one way, and only what starts a run imports TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

LAYERS = [
    {"forks", "redaction", "results"},
    {"errors"},
    {"allowances", "files"},
    {"quiet"},
    {"interrupt", "lock", "rows", "schedule", "targets"},
    {"callbacks", "checkpoint", "data", "tasks"},
    {"engine"},
    {"choices", "inventory", "state"},
    {"phases"},
    {"config"},
    {"events", "observer", "provenance", "record", "worktree"},
    {"numerics", "preflight", "rundir"},
    {"amend", "experiment", "recording", "resumption", "standing"},
    {"autotune", "reproduction", "saving", "start"},
    {"worker"},
    {"session"},
    {"report"},
    {"api"},
    {"__init__"},
    {"commands", "sweep"},
    {"cli"},
    {"__main__"},
]
"""The parts of runner/, each of which may import from itself and from those further up in this list."""
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts}


def modules(package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names."""
    paths = {path.relative_to(REPOSITORY): path for path in (REPOSITORY / package).rglob("*.py")}
    names = {".".join(relative.with_suffix("").parts): path for relative, path in paths.items()}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


RUNNER = modules("runner")


def imports(module: str, path: Path) -> Iterator[str]:
    """The names of the modules that a file imports, in functions and for type checking too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in RUNNER else str(node.module) for name in names)


def part(module: str) -> str:
    """The part of the runner that a module belongs to."""
    return f"{module}.__init__".split(".")[1]


@pytest.mark.parametrize("module", sorted(RUNNER))
def test_imports_go_one_way(module: str) -> None:
    own = part(module)
    for imported in imports(module, RUNNER[module]):
        if imported.split(".")[0] == "runner" and part(imported) != own:
            assert LAYER[part(imported)] < LAYER[own], f"{module} imports {imported}"


def test_every_part_has_its_layer() -> None:
    assert {part(module) for module in RUNNER} == set(LAYER)
    assert len(LAYER) == sum(len(parts) for parts in LAYERS)


def test_no_module_imports_itself_in_the_end() -> None:
    graph = {
        module: [name for name in imports(module, path) if name in RUNNER and name != "runner"]
        for module, path in RUNNER.items()
    }
    tuple(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", sorted(modules("models")))
def test_models_know_nothing_of_the_runner(module: str) -> None:
    imported = {name.split(".")[0] for name in imports(module, modules("models")[module])}
    assert imported <= {"__future__", "collections", "keras", "models", "tensorflow"}


@pytest.mark.parametrize("module", sorted(RUNNER))
def test_the_runner_reaches_models_only_through_the_config(module: str) -> None:
    assert "models" not in {name.split(".")[0] for name in imports(module, RUNNER[module])}


@pytest.mark.parametrize(
    "module",
    [
        "runner",
        "runner.checkpoint.manifest",
        "runner.cli",
        "runner.commands",
        "runner.config",
        "runner.config.compose",
        "runner.data",
        "runner.report",
        "runner.session",
        "runner.targets",
    ],
)
def test_importing_it_imports_no_tensorflow(module: str) -> None:
    heavy = ("tensorflow", "keras", "numpy", "sklearn", "scipy", "pandas")
    script = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_does_the_work_imports_tensorflow() -> None:
    """Or the test above would prove nothing."""
    script = "import sys, runner.experiment; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout == "True\n"
