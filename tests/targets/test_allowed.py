"""What a config may name: exact names of trusted code, and what the user adds; found without an import."""

from __future__ import annotations

import ast
import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from runner.allowances import additions, allowing, allows_variable
from runner.config.hydra import config_directory
from runner.errors import ConfigError
from runner.targets import NotAllowed, NotFound, check_allowed, locate
from runner.targets.keras_names import KERAS

Write = Callable[[dict[str, str]], None]

BASES: dict[str, Any] = {
    "keras": keras.Model,
    "keras.constraints": keras.constraints.Constraint,
    "keras.initializers": keras.initializers.Initializer,
    "keras.layers": keras.layers.Layer,
    "keras.losses": keras.losses.Loss,
    "keras.metrics": keras.metrics.Metric,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.regularizers": keras.regularizers.Regularizer,
}
FUNCTIONS = {"keras.applications", "keras.layers.Input"}
LEFT_OUT = {
    *("Layer", "Wrapper", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("TextVectorization", "StringLookup", "IntegerLookup"),
}
"""Layers that run code, read files, or are nothing alone."""


def is_allowed(name: str) -> bool:
    try:
        check_allowed(name)
    except NotFound:
        return False
    return True


@pytest.mark.parametrize("name", KERAS)
def test_a_name_of_keras_is_what_its_namespace_says(name: str) -> None:
    namespace, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(namespace), attribute)
    if FUNCTIONS & {name, namespace}:
        assert callable(found)
        assert not isinstance(found, type)
    else:
        assert issubclass(found, BASES[namespace])
    locate(name)


def test_no_layer_is_forgotten() -> None:
    classes = {
        name: value
        for name, value in vars(keras.layers).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    allowed = {name.rpartition(".")[2] for name in KERAS if name.startswith("keras.layers.")}
    assert allowed.isdisjoint(LEFT_OUT)
    others = {id(classes[name]) for name in allowed & classes.keys()}
    assert {name for name, value in classes.items() if id(value) not in others} == LEFT_OUT


def test_all_that_the_runners_own_configs_name_is_allowed() -> None:
    texts = [path.read_text() for path in Path(config_directory()).rglob("*.yaml")]
    words = " ".join(texts).replace(",", " ").replace("}", " ").split()
    names = {after for word, after in itertools.pairwise(words) if word.endswith("_target_:")}
    assert len(names - {"???"}) > 20
    for name in names - {"???"}:
        check_allowed(name)


def test_models_are_those_beside_the_runner(write: Write) -> None:
    write({"models/__init__.py": "", "models/evil.py": "def net(): ...\n", "models/mlp.py": ""})
    assert is_allowed("models.mlp.mlp")
    assert not is_allowed("models.evil.net")


def test_every_model_is_allowed_and_nothing_that_one_imports() -> None:
    folder = Path(config_directory()).parent / "models"
    for file in folder.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    assert is_allowed(f"models.{file.stem}.{name}") is not name.startswith("_")
                case ast.Import(names=names) | ast.ImportFrom(names=names):
                    assert not any(is_allowed(f"models.{file.stem}.{one.name}") for one in names)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("keras.src.layers.Dense", "did you mean keras.layers.Dense? if not, "),
        (
            "keras.applications.resnet.ResNet50",
            "did you mean keras.applications.ResNet50? if not, ",
        ),
        ("os.system", ""),
        ("keras.layers.Lambda", ""),
    ],
)
def test_the_nearest_name_is_told(name: str, mean: str) -> None:
    with pytest.raises(NotAllowed) as told:
        check_allowed(name)
    how = f'allow it with --allow {name}, or in pyproject.toml: [tool.runner] allow = ["{name}"]'
    known = "it is run as code then, so only if you know it"
    assert str(told.value) == f"is not allowed; {mean}{how}; {known}"


def test_what_there_is_not_is_told_before_that_it_is_not_allowed() -> None:
    with pytest.raises(NotFound, match=r"models\.mlp has no 'mpl'; did you mean mlp"):
        check_allowed("models.mlp.mpl")
    # But a name that nobody would write is not looked for.
    with pytest.raises(NotAllowed):
        check_allowed("a." * 10_000 + "b")


def test_the_command_line_and_pyproject_add_names(write: Write) -> None:
    table = '[tool.other]\nallow = 1\n[tool.runner]\nallow = ["mine.Net"]\n'
    write({"mine.py": "class Net: ...\nclass Other: ...\n", "pyproject.toml": table})
    assert is_allowed("mine.Net")
    assert not is_allowed("mine.Other")
    with allowing(["mine.Other"]):
        assert is_allowed("mine.Other")
        assert additions() == ["mine.Net", "mine.Other"]
        with allowing(["yours.Net"]):
            assert additions() == ["mine.Net", "mine.Other", "yours.Net"]
    assert additions() == ["mine.Net"]
    (Path("pyproject.toml")).unlink()
    assert additions() == []


def test_a_variable_that_is_allowed_is_no_name_of_a_target(write: Write) -> None:
    table = '[tool.runner]\nallow = ["mine.Net", "oc.env:DATA"]\n'
    write({"mine.py": "class Net: ...\n", "oc.py": "raise SystemExit\n", "pyproject.toml": table})
    with allowing(["oc.env:HOME", "oc.env"]):
        assert additions() == ["mine.Net", "oc.env", "oc.env:DATA", "oc.env:HOME"]
        assert [allows_variable(name) for name in ("DATA", "HOME", "HOM", "")] == [
            True,
            True,
            False,
            False,
        ]
        assert is_allowed("mine.Net")
        assert not is_allowed("oc.env:DATA")
        assert not is_allowed("oc.env:HOME")
    assert not allows_variable("HOME")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tool.runner]\nallow = 'mine.Net'",
            " [tool.runner] allow=mine.Net: give a list, such as",
        ),
        ("[tool.runner]\nallow = [1]", " [tool.runner] allow=[1]: 1: give a dotted name"),
        ("[tool.runner]\nallow = ['Net']", " [tool.runner] allow=[Net]: Net: give a dotted name"),
        (
            "[tool.runner]\nallow = ['keras.*']",
            " [tool.runner] allow=[keras.*]: keras.*: give a dotted",
        ),
        (
            "[tool.runner]\nallow = ['oc.env:*']",
            " [tool.runner] allow=[oc.env:*]: oc.env:*: give a dotted name, such as my_package.MyModel, or "
            "a variable of the environment as oc.env:NAME",
        ),
        ("[tool.runner]\nalow = []", " [tool.runner] alow: no such key; did you mean allow?"),
        ("[tool]\nrunner = 5", " [tool.runner]: give a table"),
        ("[tool.runner", " Expected ']' at the end of a table"),
    ],
)
def test_a_wrong_pyproject_is_told(
    text: str, message: str, workdir: Path, cli: Callable[..., Any]
) -> None:
    (workdir / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError) as told:
        additions()
    assert str(told.value).startswith(f"pyproject.toml:{message}")
    assert cli("debug=smoke").code == 2


def test_another_process_is_handed_what_is_allowed(write: Write, workdir: Path) -> None:
    write({"mine.py": "class Net: ...\n"})
    script = (
        "import sys\n"
        "from runner.allowances import allowing\n"
        "from runner.targets import load\n"
        "with allowing(sys.argv[1:]):\n"
        "    print(load('mine.Net').__name__)\n"
    )
    with allowing(["mine.Net"]):
        names = additions()
    run = [sys.executable, "-c", script]
    told = subprocess.run([*run, *names], capture_output=True, text=True, cwd=workdir)
    assert told.stdout == "Net\n"
    untold = subprocess.run(run, capture_output=True, text=True, cwd=workdir)
    assert "NotAllowed: is not allowed" in untold.stderr
