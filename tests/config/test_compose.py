"""What ships composes, and a config is the same run however it is launched."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.config import compose as composing
from runner.config.compose import compose, plain_errors
from runner.config.foreign import FileConfigSource
from runner.config.hydra import config_directory, experiment_of, id_of, job_part
from runner.errors import CheckpointError, ConfigError
from runner.targets import Target

Write = Callable[[dict[str, str]], None]

WANTED = {
    "model=own": ["model._target_=keras.Sequential"],
    "data=arrays": ["data.x=x.npy", "data.y=y.npy", "data.shape=[3]", "data.outputs=2"],
    "data=diabetes": ["model=linear", "task=regression", "checkpoint.best.metric=validation/loss"],
    "task=regression": ["checkpoint.best.metric=validation/loss"],
}
"""What some choices need besides."""


def choices() -> list[str]:
    """Every choice of every group that ships."""
    root = Path(config_directory())
    paths = sorted(path.relative_to(root) for path in root.rglob("*.yaml"))
    return [f"{path.parent}={path.stem}" for path in paths if path.parent != Path()]


@pytest.mark.parametrize("choice", choices())
def test_every_choice_of_every_group_is_a_valid_config(choice: str) -> None:
    experiment = experiment_of(compose([choice, *WANTED.get(choice, [])]))
    assert isinstance(experiment.model, Target)
    assert Path(experiment.run.dir).parts[:2] == ("outputs", experiment.name)


def test_the_run_directory_of_a_single_run_and_of_a_trial_is_the_same() -> None:
    config = compose(["seed=3"])
    expected = f"outputs/digits_mlp/{id_of(config)}"
    assert experiment_of(config).run.dir == expected
    assert config.hydra.run.dir == expected
    assert f"{config.hydra.sweep.dir}/{config.hydra.sweep.subdir}" == expected


def test_a_saved_config_is_the_same_run(workdir: Path) -> None:
    config = compose(["seed=3", "optimizer/learning_rate=cosine", "~callbacks.stop_on_nan"])
    OmegaConf.save(job_part(config), workdir / "config.yaml")
    again = compose([], directory=workdir)
    assert id_of(again) == id_of(config)
    assert experiment_of(again) == experiment_of(config)
    assert experiment_of(compose(["seed=4"], directory=workdir)).seed == 4


def test_the_id_of_a_config_leaves_it_as_it_is() -> None:
    config = compose([])
    before = OmegaConf.to_yaml(config)
    OmegaConf.set_readonly(config, True)
    id_of(config)
    assert OmegaConf.to_yaml(config) == before


def test_configs_of_an_installed_package_lie_in_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.config import foreign

    package = workdir / "site-packages/runner"
    (package / "config").mkdir(parents=True)
    monkeypatch.setattr(foreign, "__file__", str(package / "config/foreign.py"))
    assert config_directory() == str(workdir / "site-packages/conf")
    shutil.copytree(Path(__file__).parents[2] / "conf", package / "conf")
    assert config_directory() == str(package / "conf")


def test_a_launcher_can_take_the_way_to_read_configs_to_another_process() -> None:
    source = FileConfigSource(provider="main", path=f"file://{config_directory()}")
    script = (
        "import pickle, sys; source = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "print(source.load_config('config').config.seed)"
    )
    command = [sys.executable, "-c", script, pickle.dumps(source).hex()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_source_files_are_looked_at_anew_for_every_launch(write: Write) -> None:
    own = ["model=own", "model._target_=own_model.net", "+model.width=3"]
    allow = '[tool.runner]\nallow = ["own_model.net"]\n'
    write({"own_model.py": "def net(width): ...\n", "pyproject.toml": allow})
    assert experiment_of(compose(own)).model.arguments == {"width": 3}
    Path("own_model.py").write_text("def net(depth): ...\n")
    with pytest.raises(ConfigError, match=r"^model\.width=3: own_model\.net has no such argument"):
        experiment_of(compose(own))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes do not match"),
        KeyError("x"),
        CheckpointError("damaged"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_errors_that_are_not_of_the_config_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, plain_errors([]):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        # Resolving the run directory checks the whole config.
        ("seed=x", "seed=x: give a whole number"),
        ("seed=${nope}", "seed=${nope}: Interpolation key 'nope' not found"),
        (
            "run.dir=${nope}",
            "checkpoint.directory=${run.dir}/checkpoints: Interpolation key 'nope' not found",
        ),
    ],
)
def test_what_stops_in_the_middle_of_an_interpolation(override: str, problem: str) -> None:
    config = compose([override])
    with pytest.raises(ConfigError) as caught:
        experiment_of(config)
    assert caught.value.problems == [problem]
    with pytest.raises(ConfigError) as caught, plain_errors([]):
        OmegaConf.to_container(config, resolve=True)
    assert caught.value.problems == [problem]


def test_a_message_of_hydras_that_is_not_known_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        from hydra.errors import ConfigCompositionException

        raise ConfigCompositionException("Something new\n\tis wrong  here\n")

    monkeypatch.setattr(composing, "hydra_compose", refuse)
    with pytest.raises(ConfigError, match=r"^Something new is wrong here$"):
        compose([])
