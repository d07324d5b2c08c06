"""The config that evaluates a saved run: the saved one, with its evaluations as phases."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import DictConfig, OmegaConf

from runner.config import evaluation
from runner.config.compose import compose
from runner.config.evaluation import evaluation_of
from runner.config.hydra import experiment_of, id_of, job_part
from runner.errors import CheckpointError, ConfigError
from runner.phases import Evaluate

ACCURACY = {10: 0.5, 20: 0.9, 30: 0.7}


@pytest.fixture
def saved(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with a saved config, and three checkpoints as far as manifests tell."""
    manifests = [
        SimpleNamespace(
            name=f"ckpt-{n}",
            number=n,
            metrics={"validation/accuracy": value},
            run="run2" if n == 20 else "run1",
        )
        for n, value in ACCURACY.items()
    ]
    monkeypatch.setattr(evaluation, "read_manifests", lambda directory: manifests)
    return save(workdir / "outputs/digits_mlp/abc", "seed=5")


def save(directory: Path, *overrides: str) -> Path:
    (directory / ".hydra").mkdir(parents=True)
    OmegaConf.save(job_part(compose(overrides)), directory / ".hydra/config.yaml")
    return directory


def start(config: DictConfig) -> str:
    return Path(str(experiment_of(config).checkpoint.restore)).name


@pytest.mark.parametrize(
    ("which", "name"),
    [
        (None, "ckpt-20"),
        ("best", "ckpt-20"),
        ("latest", "ckpt-30"),
        ("10", "ckpt-10"),
        (10, "ckpt-10"),
    ],
)
def test_which_checkpoint(saved: Path, which: str | int | None, name: str) -> None:
    assert start(evaluation_of(saved, [], checkpoint=which)) == name


@pytest.mark.parametrize(("run", "name"), [("run1", "ckpt-30"), ("run2", "ckpt-20")])
def test_of_several_runs_in_one_place_only_this_one(saved: Path, run: str, name: str) -> None:
    assert start(evaluation_of(saved, [], checkpoint="latest", run=run)) == name
    assert start(evaluation_of(saved, [], checkpoint="best", run=run)) == name


def test_without_a_best_the_latest(saved: Path) -> None:
    none = ["checkpoint.best=null", "phases.evaluate.restore=null"]
    assert start(evaluation_of(saved, none, checkpoint=None)) == "ckpt-30"
    with pytest.raises(CheckpointError, match=r"^--checkpoint best: no such checkpoint in "):
        evaluation_of(saved, none, checkpoint="best")


@pytest.mark.parametrize("which", ["11", 0, "bset"])
def test_a_checkpoint_that_is_not_there(saved: Path, which: str | int) -> None:
    with pytest.raises(CheckpointError) as caught:
        evaluation_of(saved, [], checkpoint=which)
    assert str(caught.value) == (
        f"--checkpoint {which}: no such checkpoint in {saved}/checkpoints; give latest, best or a number; "
        "numbers there: 10, 20, 30"
    )


def test_only_evaluations_stay_and_they_measure_what_was_restored(saved: Path) -> None:
    config = evaluation_of(saved, [], checkpoint=None)
    experiment = experiment_of(config)
    assert experiment.phases == {"evaluate": Evaluate(data="test", restore=None)}
    assert (experiment.seed, experiment.trains) == (5, False)
    assert experiment.checkpoint.directory == f"{saved}/checkpoints"
    assert experiment.checkpoint.restore == f"{saved}/checkpoints/ckpt-20"
    assert experiment.run.dir == f"{saved}/evaluations/ckpt-20-{id_of(config)}"


def test_a_run_that_only_trained_is_evaluated_on_the_test_split(saved: Path, workdir: Path) -> None:
    trained = save(workdir / "outputs/digits_mlp/def", "phases=train")
    experiment = experiment_of(evaluation_of(trained, [], checkpoint=None))
    assert experiment.phases == {"evaluate": Evaluate(data="test")}


def test_overrides_change_the_saved_config(saved: Path) -> None:
    plain = evaluation_of(saved, [], checkpoint=None)
    changed = evaluation_of(saved, ["phases.evaluate.data=validation"], checkpoint=None)
    assert experiment_of(changed).phases == {"evaluate": Evaluate(data="validation")}
    assert experiment_of(changed).run.dir != experiment_of(plain).run.dir
    with pytest.raises(ConfigError, match=r"^sed=3: no such key; did you mean seed\?"):
        evaluation_of(saved, ["sed=3"], checkpoint=None)


def test_it_is_the_same_evaluation_wherever_it_is_asked_for(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_root = evaluation_of(saved.relative_to(Path.cwd()), [], checkpoint=None)
    monkeypatch.chdir(saved.parent)
    from_beside = evaluation_of(Path("abc"), [], checkpoint=None)
    assert experiment_of(from_root) == experiment_of(from_beside)


def test_a_directory_without_a_saved_config(workdir: Path) -> None:
    with pytest.raises(ConfigError, match=r"^Primary config directory not found|no such directory"):
        evaluation_of(workdir / "nothing", [], checkpoint=None)
