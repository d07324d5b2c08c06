"""The config without interpolations, as it stands on disk."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runner.config.compose import compose
from runner.config.hydra import id_of, job_part
from runner.config.resolved import FROM_ENVIRONMENT, resolved

SECRET = "s3cr3t"


def of(*overrides: str) -> dict[str, Any]:
    config = job_part(compose(overrides))
    return resolved(config, run=id_of(config))


def test_every_interpolation_is_resolved() -> None:
    config = compose(["model.hidden=[8,8]"])
    content = of("model.hidden=[8,8]")
    assert "${" not in yaml.safe_dump(content)
    assert content["model"]["hidden"] == [8, 8]
    place = f"outputs/digits_mlp/{id_of(config)}"
    assert content["checkpoint"]["directory"] == f"{place}/checkpoints"
    assert list(content) == list(job_part(config))


def test_no_value_of_the_environment_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", SECRET)
    monkeypatch.setenv("WIDTH", "17")
    overrides = [
        "name=${oc.env:THING}",
        "run.dir=there/${oc.env:THING}",
        "model.hidden=[8,'${oc.decode:${oc.env:WIDTH}}']",
        'phases.train.until.epochs="${oc.decode:${oc.env:UNSET,3}}"',
    ]
    config = compose(overrides)
    assert SECRET in config.run.dir
    content = of(*overrides)
    text = yaml.safe_dump(content)
    assert (SECRET in text, "17" in text) == (False, False)
    assert content["name"] == FROM_ENVIRONMENT
    assert content["run"]["dir"] == f"there/{FROM_ENVIRONMENT}"
    assert content["checkpoint"]["directory"] == f"there/{FROM_ENVIRONMENT}/checkpoints"
    assert content["model"]["hidden"] == [8, FROM_ENVIRONMENT]
    assert content["phases"]["train"]["until"]["epochs"] == FROM_ENVIRONMENT


def test_the_environment_is_there_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", SECRET)
    of("name=${oc.env:THING}")
    config = compose(["name=${oc.env:THING}"])
    assert (config.name, id_of(config)) == (SECRET, id_of(compose([f"name={SECRET}"])))
