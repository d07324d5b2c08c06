"""What bits depend on besides the config: recorded once, kept to, and told where it is otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from runner import numerics, resume, run
from runner.checkpoint.manifest import read_manifests
from runner.engine import EngineSpec
from runner.engine.spec import available_cores
from tests.observers import Stop, StopAt

TINY = ("engine.limit_steps=3", "run.dir=here")


def described(**changes: Any) -> dict[str, Any]:
    found = numerics.describe(EngineSpec(), compile="graph", threads=2, devices=["CPU"])
    return {**found, **changes}


def test_the_same_is_no_difference() -> None:
    assert numerics.differences(described(), json.loads(json.dumps(described()))) == []


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ({"threads": 2}, {"threads": 4}, "threads is 4, was 2"),
        ({"compile": "graph"}, {"compile": "xla"}, "compile is xla, was graph"),
        ({"versions": {"keras": "3"}}, {"versions": {"keras": "4"}}, "versions.keras is 4, was 3"),
        ({"versions": {}}, {"versions": {"keras": "4"}}, "versions.keras is 4, was null"),
        ({"features": ["avx", "fma"]}, {"features": ["fma"]}, "features lacks avx"),
        ({"features": ["avx"]}, {"features": ["sve"]}, "features lacks avx and now has sve"),
        ({"devices": ["CPU"]}, {"devices": ["A100"]}, "devices lacks CPU and now has A100"),
        ({"settings": {"XLA_FLAGS": "x"}}, {"settings": {}}, "settings.XLA_FLAGS is null, was x"),
    ],
)
def test_a_difference_is_told_by_name(
    before: dict[str, Any], now: dict[str, Any], reason: str
) -> None:
    assert numerics.differences(described(**before), described(**now)) == [reason]


def test_lists_are_compared_with_their_repetitions() -> None:
    one, two = {"devices": ["CPU", "GPU"]}, {"devices": ["CPU", "GPU", "GPU"]}
    assert numerics.differences(one, two) == ["devices now has GPU"]
    assert numerics.differences(two, one) == ["devices lacks GPU"]


def test_settings_of_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = described()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    reasons = numerics.differences(before, described())
    assert reasons == ["settings.TF_ENABLE_ONEDNN_OPTS is 0, was null"]


def test_linux_tells_what_the_processor_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "model name\t: Some CPU @ 2.0\nflags\t\t: fpu fma avx2 sse4_2\nmodel name\t: other\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(numerics, "_CPUINFO", tmp_path / "cpuinfo")
    assert numerics.processor() == "Some CPU @ 2.0"
    assert described()["features"] == ["avx2", "fma", "sse4_2"]


def test_they_stand_in_the_run_and_in_every_manifest(workdir: Path) -> None:
    run(*TINY)
    recorded = json.loads((workdir / "here/run.json").read_text())["numerics"]
    # 0 stands for one per core, where another test has used TensorFlow before.
    present = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
    assert recorded["threads"] == present
    assert (recorded["compile"], recorded["deterministic"]) == ("graph", True)
    assert [one.numerics for one in read_manifests(workdir / "here/checkpoints")] == [recorded]


def test_a_resume_keeps_to_the_first_choice_and_tells_the_rest(
    workdir: Path, capfd: pytest.CaptureFixture[str], interrupted: Callable[..., dict[str, Any]]
) -> None:
    content = interrupted(versions={"keras": "2.0"})
    run(*TINY)
    after = json.loads((workdir / "here/run.json").read_text())
    assert after["numerics"] == content["numerics"]
    reasons = after["sittings"][-1]["not_identical"]
    assert any(reason.endswith("was 2.0") for reason in reasons)
    told = capfd.readouterr().err
    assert all(f"not bit-identical to the run so far because {one}\n" in told for one in reasons)


def test_nothing_is_told_where_nothing_differs(
    workdir: Path, capfd: pytest.CaptureFixture[str], interrupted: Callable[..., dict[str, Any]]
) -> None:
    interrupted()
    run(*TINY)
    assert (
        json.loads((workdir / "here/run.json").read_text())["sittings"][-1]["not_identical"] == []
    )
    assert capfd.readouterr().err == ""


@pytest.fixture
def interrupted(workdir: Path) -> Callable[..., dict[str, Any]]:
    """A run that did not end, whose first sitting had other numerics."""

    def make(**changes: Any) -> dict[str, Any]:
        run(*TINY)
        path = workdir / "here/run.json"
        content: dict[str, Any] = json.loads(path.read_text())
        content["status"] = "running"
        content["numerics"].update(changes)
        path.write_text(json.dumps(content))
        return content

    return make


def test_data_that_changed_under_a_run_are_told(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, values in {"x": np.zeros([20, 3], np.float32), "y": np.arange(20) % 2}.items():
        np.save(workdir / f"{name}.npy", values)
    arrays = ("data=arrays", "data.x=x.npy", "data.y=y.npy", "data.shape=[3]", "data.outputs=2")
    command = (*TINY, *arrays, "tracking.log_every.steps=1")
    monkeypatch.setattr("runner.phases.train._CALL_S", 0.0)
    for ones in (0, 1, 1):
        np.save(workdir / "y.npy", np.arange(20) % 2 ^ ones)
        with pytest.raises(Stop):
            run(*command, observer=StopAt(1))
    sittings = json.loads((workdir / "here/run.json").read_text())["sittings"]
    told = [[line.partition(" ")[0] for line in one["not_identical"]] for one in sittings]
    assert told == [[], ["data.train", "data.validation", "data.test"], []]
    resume("here", "data.limit=4")
    sittings = json.loads((workdir / "here/run.json").read_text())["sittings"]
    assert sittings[-1]["not_identical"] == []
    assert sittings[-1]["data"] != sittings[-2]["data"]
    np.save(workdir / "y.npy", np.arange(20) % 2)
    resume("here", "data.batch_size=2", "engine.limit_steps=5")
    last = json.loads((workdir / "here/run.json").read_text())["sittings"][-1]
    assert [line.partition(" ")[0] for line in last["not_identical"]] == told[1]
