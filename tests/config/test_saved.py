"""A saved config composed again: values, groups and additions, one resume after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from runner.config.compose import compose
from runner.config.hydra import experiment_of, id_of, job_part
from runner.config.saved import recompose, saved_config
from runner.errors import ConfigError

COSINE = "keras.optimizers.schedules.CosineDecay"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with the config of a first launch in it."""
    (tmp_path / ".hydra").mkdir()
    config = job_part(compose(["seed=5", "optimizer.learning_rate=0.5", "~callbacks.stop_on_nan"]))
    OmegaConf.save(config, tmp_path / ".hydra/config.yaml")
    return tmp_path


def rate(config: DictConfig) -> Any:
    return experiment_of(config).optimizer.arguments["learning_rate"]


def test_without_overrides_it_is_the_same_run(saved: Path) -> None:
    first = compose(["seed=5", "optimizer.learning_rate=0.5", "~callbacks.stop_on_nan"])
    assert id_of(saved_config(saved)) == id_of(first)
    assert saved_config(saved).hydra.run.dir == first.hydra.run.dir


def test_a_group_takes_the_place_of_what_was_chosen_or_set(saved: Path) -> None:
    config = recompose(saved_config(saved), ["optimizer=sgd", "optimizer.momentum=0.8"])
    optimizer = experiment_of(config).optimizer
    assert (optimizer.name, optimizer.arguments) == (
        "keras.optimizers.SGD",
        {"learning_rate": 0.01, "momentum": 0.8, "nesterov": False},
    )
    cosine = recompose(config, ["optimizer/learning_rate=cosine"])
    assert rate(cosine).name == COSINE
    assert experiment_of(cosine).optimizer.arguments["momentum"] == 0.8
    assert rate(recompose(cosine, ["optimizer.learning_rate=0.2"])) == 0.2
    assert experiment_of(recompose(config, ["callbacks=none"])).callbacks == {}


def test_a_group_inside_a_group_that_is_chosen_too(saved: Path) -> None:
    config = recompose(saved_config(saved), ["optimizer/learning_rate=cosine", "optimizer=adam"])
    assert rate(config).name == COSINE


def test_a_later_amendment_chooses_a_group_over_an_earlier_value(saved: Path) -> None:
    amendments = [["optimizer.learning_rate=0.1"], ["optimizer/learning_rate=cosine"]]
    assert rate(saved_config(saved, amendments=amendments)).name == COSINE
    assert rate(saved_config(saved, amendments=amendments[::-1])) == 0.1


def test_what_an_amendment_added_or_dropped_stays_so(saved: Path) -> None:
    amendments = [["+optimizer.clipnorm=1.0", "~phases.evaluate"], ["optimizer.clipnorm=2.0"]]
    experiment = experiment_of(saved_config(saved, amendments=amendments))
    assert experiment.optimizer.arguments["clipnorm"] == 2.0
    assert list(experiment.phases) == ["train"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sed=3"], "sed=3: no such key; did you mean seed?"),
        (["model.hiden=3"], "model.hiden=3: models.mlp.mlp has no such argument; did you mean hid"),
        (["tracking=tensorbord"], "tracking=tensorbord: there is no tracking/tensorbord.yaml; did"),
        (["experiment=digits_cnn"], "experiment=digits_cnn: a saved config has no experiment to r"),
        (["+seed=3"], "+seed=3: the config has this key already; give seed=3"),
        (["seed=1,2"], "seed=1,2: several values; try them all with runner -m"),
        (["model={"], "model={: Hydra cannot read this"),
    ],
)
def test_wrong_overrides_are_told_as_at_a_first_launch(
    saved: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment_of(recompose(saved_config(saved), overrides))
    assert str(caught.value).startswith(message)


def test_a_directory_without_a_saved_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^RUN=.*: no such directory with a saved config \("):
        saved_config(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra/config.yaml").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="holds no config"):
        saved_config(tmp_path)
    (tmp_path / ".hydra/config.yaml").write_text("seed: 1\n: [")
    with pytest.raises(ConfigError, match=r"config\.yaml, line 2"):
        saved_config(tmp_path)
