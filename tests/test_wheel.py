"""The wheel: what is in it, and that it runs where there is no clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# `python -m runner`, which then says where the modules and configs that it used lie.
RUN_AND_TELL = """
import atexit, json, runpy, sys

def tell():
    from runner.config.hydra import config_directory
    own = [m for name, m in sys.modules.items() if name.partition(".")[0] in ("runner", "models")]
    places = [config_directory(), *(m.__file__ for m in own if getattr(m, "__file__", None))]
    json.dump(places, open("places.json", "w"))

atexit.register(tell)
sys.argv = ["runner", *sys.argv[1:]]
runpy.run_module("runner", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command("-m", "build", "--wheel", "--no-isolation", "--outdir", place, REPOSITORY)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed into, without looking at any index."""
    place = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    command(*pip, "--no-deps", "--no-index", "--target", place, wheel)
    return place


def command(*arguments: str | Path, **environment: str) -> str:
    """What Python prints with these arguments."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path, pattern: str) -> set[Path]:
    return {path for path in folder.rglob(pattern) if "__pycache__" not in path.parts}


def test_the_wheel_holds_code_models_and_configs_and_nothing_else(wheel: Path) -> None:
    expected = {
        *(path.relative_to(REPOSITORY) for path in files(REPOSITORY / "runner", "*.py")),
        *(path.relative_to(REPOSITORY) for path in files(REPOSITORY / "models", "*.py")),
        *("runner" / path.relative_to(REPOSITORY) for path in files(REPOSITORY / "conf", "*.yaml")),
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
        about = {path for path in names if path.parts[0].endswith(".dist-info")}
        assert {str(path) for path in names - about} == {str(path) for path in expected}
        for path in files(REPOSITORY / "conf", "*.yaml"):
            name = f"runner/{path.relative_to(REPOSITORY)}"
            assert archive.read(name) == path.read_bytes()
    of_dist_info = {str(Path(*path.parts[1:])) for path in about}
    assert of_dist_info == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith("METADATA"))
        lines = archive.read(path).decode().splitlines()
    needed = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
    always = {name.partition("<")[0].partition(">")[0] for name in needed if ";" not in name}
    assert always == {
        *("hydra-core", "keras", "numpy", "omegaconf", "pyyaml", "rich"),
        *("scikit-learn", "tensorflow"),
    }
    assert "Description-Content-Type: text/markdown" in lines


def test_an_installed_wheel_runs_from_an_empty_directory(installed: Path, workdir: Path) -> None:
    out = command("-c", RUN_AND_TELL, "debug=smoke", PYTHONPATH=str(installed))
    assert "smoke: outputs/smoke/" in out
    places = json.loads(Path("places.json").read_text())
    assert str(installed / "runner/conf") == places[0]
    assert {"mlp.py", "worker.py"} <= {Path(place).name for place in places}
    assert [place for place in places if not Path(place).is_relative_to(installed)] == []
    assert {path.name for path in workdir.iterdir()} == {"outputs", "places.json"}
    record = json.loads(Path("outputs/latest/run.json").read_text())
    assert record["status"] == "finished"
    again = command("-m", "runner", "debug=smoke", PYTHONPATH=str(installed))
    assert again.startswith("finished before")


def test_an_installed_wheel_brings_the_command(installed: Path, workdir: Path) -> None:
    config = command(installed / "bin/runner", "--cfg", "job", PYTHONPATH=str(installed))
    assert "_target_: models.mlp.mlp" in config
