"""Runs that take values from the environment: gone on with where that is allowed, and by the same values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import yaml

from runner import evaluate, reproduce, resume, run
from runner.allowances import allowing
from runner.checkpoint.manifest import read_manifests
from runner.config.compose import compose
from runner.config.environment import settings_id
from runner.config.foreign import FileConfigSource
from runner.config.hydra import job_part
from runner.errors import ConfigError
from tests.observers import Stop, StopAt

pytestmark = pytest.mark.usefixtures("data")

OWN = (
    "data=arrays",
    "data.x=${oc.env:DATA}/x.npy",
    "data.y=${oc.env:DATA}/y.npy",
    "data.shape=[4]",
    "data.outputs=3",
    "data.batch_size=10",
    "model.hidden=[8]",
    "phases.train.until.epochs=2",
    "checkpoint.every.steps=4",
    "engine.compile=graph",
    "engine.threads=2",
)
"""70 examples in batches of 10: 14 steps."""
HERE = (*OWN, "run.dir=here")
RATE = 'optimizer.learning_rate="${oc.decode:${oc.env:RATE,0.1}}"'
ALLOW = ("--allow", "oc.env:DATA")
BOTH = ["oc.env:DATA", "oc.env:RATE"]


@pytest.fixture
def data(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where arrays stand, as the environment has it, and nothing else that is known of it."""
    place = workdir / "datasets-of-mine"
    place.mkdir()
    draw = np.random.Generator(np.random.PCG64(0))
    np.save(place / "x.npy", draw.random((100, 4), np.float32))
    np.save(place / "y.npy", draw.integers(0, 3, 100))
    monkeypatch.setenv("DATA", str(place))
    monkeypatch.setattr("runner.redaction._names", {})
    return place


@pytest.fixture
def move(workdir: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What copying a run and its data to another machine amounts to."""

    def move() -> None:
        there = workdir / "datasets-over-there"
        data.rename(there)
        monkeypatch.setenv("DATA", str(there))
        Path("here").rename("moved")

    return move


def record(directory: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(directory, "run.json").read_text())
    return content


def fingerprints(directory: str) -> list[str | None]:
    return [one.fingerprint for one in read_manifests(Path(directory) / "checkpoints")]


def interrupt(*overrides: str) -> None:
    with pytest.raises(Stop):
        run(*overrides, observer=StopAt(5))


def written() -> str:
    files = [path for path in Path().rglob("*") if path.is_file() and path.suffix != ".npy"]
    assert len(files) > 10
    return "".join(path.read_bytes().decode(errors="replace") for path in files)


# --- allowed or not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["resume", "here"],
        ["evaluate", "here"],
        ["reproduce", "here"],
        ["--config-path", "here/.hydra", "--config-name", "config"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_what_is_allowed(
    command: list[str], cli: Callable[..., Any], data: Path
) -> None:
    first = run(*HERE)
    refused = cli(*command)
    assert refused.code == 2
    assert refused.err.endswith(
        "data.y=${oc.env:DATA}/y.npy: a saved config, or one from elsewhere, refers to its own keys only; "
        "allow it with --allow oc.env:DATA, or write the value there\n"
    )
    before = record("here")
    done = cli(*command, *ALLOW)
    assert (done.code, done.err) == (0, "")
    if command[0] in ("resume", "--config-path"):
        assert "finished before; this is its result" in done.out
        assert f"digits_mlp {first.id}\n" in done.out
    if command[0] == "reproduce":
        assert "nothing that could matter has changed" in done.out
        assert "equal, bit for bit" in done.out
    assert record("here") == before
    assert str(data) not in written() + refused.err + done.out


def test_a_run_that_was_stopped_goes_on_with_the_same_bits(data: Path) -> None:
    run(*OWN, "run.dir=straight")
    interrupt(*HERE)
    resume("here", allow=["oc.env:DATA"])
    assert fingerprints("here") == fingerprints("straight")
    assert str(data) not in written()


def test_pyproject_allows_variables_and_targets_alike(workdir: Path) -> None:
    run(*HERE)
    allow = '[tool.runner]\nallow = ["my_package.MyModel", "oc.env:DATA"]\n'
    (workdir / "pyproject.toml").write_text(allow)
    assert resume("here").id == record("here")["id"]


def test_a_variable_that_is_not_set_is_told(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*HERE)
    monkeypatch.delenv("DATA")
    done = cli("resume", "here", *ALLOW)
    assert done.code == 2
    assert done.err == (
        'runner: data.x=${oc.env:DATA}/x.npy: KeyError raised while resolving interpolation: "Environment '
        "variable 'DATA' not found\"\n"
    )
    given = [f"data.{name}={Path('datasets-of-mine', name).absolute()}.npy" for name in ("x", "y")]
    assert cli("evaluate", "here", *ALLOW, *given).code == 0


def test_a_sweep_over_a_saved_config_takes_what_is_allowed(
    cli: Callable[..., Any], data: Path
) -> None:
    run(*HERE)
    swept = ("-m", "--config-path", "here/.hydra", "--config-name", "config", "seed=1,2")
    done = cli(*swept, "run.dir=trials/${seed}", *ALLOW)
    assert done.code == 0, done.err
    assert len({record(f"trials/{seed}")["id"] for seed in (1, 2)}) == 2
    # Where nothing refers to the variable, to allow it changes nothing.
    assert cli("-m", *OWN, "seed=1,2", "run.dir=trials/${seed}", *ALLOW).code == 0
    assert str(data) not in written()


def test_a_launcher_takes_what_is_allowed_to_its_processes(data: Path) -> None:
    run(*HERE)
    with allowing(["oc.env:DATA"]):
        source = FileConfigSource("main", f"file://{Path('here/.hydra').absolute()}")
    there = cloudpickle.loads(cloudpickle.dumps(source))
    assert there.load_config("config").config.data.x == f"{data}/x.npy"
    source = FileConfigSource("main", source.path)
    with pytest.raises(ConfigError, match=r"allow it with --allow oc\.env:DATA"):
        source.load_config("config")


# --- moved ------------------------------------------------------------------------------------------


def test_a_run_that_was_moved_goes_on_with_data_that_were_moved(move: Callable[[], None]) -> None:
    run(*OWN, "run.dir=straight")
    interrupt(*HERE)
    move()
    resume("moved", allow=["oc.env:DATA"])
    assert fingerprints("moved") == fingerprints("straight")
    assert record("moved")["sittings"][-1]["not_identical"] == []


def test_other_data_under_a_run_that_was_moved_are_told(move: Callable[[], None]) -> None:
    interrupt(*HERE)
    move()
    np.save("datasets-over-there/x.npy", np.zeros((100, 4), np.float32))
    resume("moved", allow=["oc.env:DATA"])
    (reason, *_) = record("moved")["sittings"][-1]["not_identical"]
    assert reason.startswith("data.")


def test_a_run_that_was_moved_is_recalled_evaluated_and_reproduced(
    move: Callable[[], None],
) -> None:
    first = run(*HERE)
    move()
    assert resume("moved", allow=["oc.env:DATA"]).metrics == first.metrics
    assert evaluate("moved", allow=["oc.env:DATA"]).metrics["evaluate"] == first.metrics["evaluate"]
    found = reproduce("moved", allow=["oc.env:DATA"])
    assert (found.is_identical, found.matters) == (True, [])


def test_the_first_command_of_a_run_that_was_moved_tells_how_to_go_on(
    move: Callable[[], None], cli: Callable[..., Any]
) -> None:
    first = run(*HERE)
    move()
    commands = [OWN, ("--config-path", "moved/.hydra", "--config-name", "config", *ALLOW)]
    for command in commands:
        assert cli(*command, "run.dir=moved").err == (
            f"runner: run.dir=moved: holds run {first.id}, which this is but for where data or checkpoints "
            "stand; runner resume moved --allow oc.env:DATA goes on with it\n"
        )
    assert "of another config" in cli(*OWN, "run.dir=moved", "seed=5").err


# --- with other values ------------------------------------------------------------------------------


def test_another_value_is_refused(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(*HERE, RATE)
    monkeypatch.setenv("RATE", "0.25")
    before = record("here")
    allow = (*ALLOW, "--allow", "oc.env:RATE")
    for command in ("resume", "evaluate"):
        done = cli(command, "here", *allow)
        assert done.code == 2
        assert done.err == (
            f"runner: RUN={Path('here').absolute()}: the environment no longer gives what it did for RATE, "
            "or the config was edited; set it as it was, and give what is to change as key=value\n"
        )
    assert record("here") == before
    monkeypatch.setenv("RATE", "0.1")
    resume("here", allow=BOTH)


def test_another_value_is_told_where_the_run_is_reproduced(monkeypatch: pytest.MonkeyPatch) -> None:
    run(*HERE, RATE)
    monkeypatch.setenv("RATE", "0.25")
    found = reproduce("here", allow=BOTH)
    assert found.matters == [
        "the environment no longer gives what it did for RATE, or the config was edited"
    ]
    assert not found.is_identical


def test_what_a_resume_took_is_compared_with_what_it_takes_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupt(*HERE)
    monkeypatch.setenv("RATE", "0.1")
    resume("here", RATE, allow=BOTH)
    monkeypatch.setenv("RATE", "0.25")
    assert not reproduce("here", allow=BOTH).is_identical
    monkeypatch.setenv("RATE", "0.1")
    found = reproduce("here", allow=BOTH)
    assert (found.is_identical, found.matters) == (True, [])


def test_a_group_is_not_chosen_by_a_variable(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND", "sgd")
    interrupt(*HERE)
    done = cli("resume", "here", "optimizer=${oc.env:KIND}", *ALLOW, "--allow", "oc.env:KIND")
    assert done.code == 2
    assert done.err == (
        "runner: optimizer=${oc.env:KIND}: give optimizer by the name of its member\n"
    )


def test_what_a_resume_changes_is_kept_by_its_variable(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE", "0.28125")
    run(*HERE)
    allow = (*ALLOW, "--allow", "oc.env:RATE")
    longer = "phases.train.until.epochs=3"
    done = cli("resume", "here", RATE, longer, "seed=2", *allow[:2])
    assert done.err.endswith("allow it with --allow oc.env:RATE, or write the value there\n")
    done = cli("resume", "here", RATE, longer, *allow)
    assert done.code == 0, done.err
    assert "  optimizer.learning_rate: 0.001 -> <from the environment>\n" in done.out
    change = {
        "key": "optimizer.learning_rate",
        "old": 0.001,
        "new": "<from the environment>",
        "class": "trajectory",
    }
    assert change in record("here")["sittings"][-1]["changes"]
    assert "0.28125" not in written() + done.out
    # From now on, the variable has to give that.
    assert cli("resume", "here", *allow).code == 0
    assert reproduce("here", allow=BOTH).is_identical
    monkeypatch.setenv("RATE", "0.5")
    refused = cli("resume", "here", *allow)
    assert "no longer gives what it did for RATE, or" in refused.err
    (told,) = reproduce("here", allow=BOTH).matters
    assert told.startswith("the environment no longer gives what it did for RATE")


def test_a_run_that_is_reproduced_may_have_started_from_another(cli: Callable[..., Any]) -> None:
    first = run(*OWN, "run.dir=first")
    start = ("checkpoint.restore=latest", "checkpoint.directory=first/checkpoints")
    run(*HERE, *start, "checkpoint.prefix=later")
    assert first.step == 14
    resume("here", "phases.train.until.epochs=3", allow=["oc.env:DATA"])
    found = reproduce("here", allow=["oc.env:DATA"])
    assert (found.is_identical, found.matters) == (True, [])


@pytest.mark.parametrize("change", [{"run": 5}, {"data": None}, {"checkpoint": "x"}, {"seed": 2}])
def test_a_config_that_was_edited_is_refused(
    change: dict[str, Any], cli: Callable[..., Any]
) -> None:
    run(*HERE)
    path = Path("here/.hydra/config.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    for command in ("resume", "evaluate", "reproduce"):
        done = cli(command, "here", *ALLOW)
        assert done.code == 2 or (command == "reproduce" and "or the config was edited" in done.out)


def test_settings_are_those_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(*overrides: str, **environment: str) -> str | None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return settings_id(job_part(compose([*HERE, *overrides])))

    plain = settings()
    assert settings(DATA="elsewhere") == plain == settings("run.dir=there")
    assert settings("checkpoint.directory=${oc.env:DATA}/x") == plain
    assert settings("seed=2") != plain
    kept = "model.activation=${run.dir}"
    assert settings(kept) == settings(kept, "run.dir=there") != plain
    assert settings("data.limit=20") != plain
    size = 'data.batch_size="${oc.decode:${oc.env:SIZE}}"'
    assert settings(size, SIZE="5") != settings(size, SIZE="6")
    assert settings("data.x=x.npy", "data.y=y.npy") is None
    place = "model.activation=${checkpoint.directory}"
    assert settings(place) == settings(place, "checkpoint.directory=there")
    leads = "model.activation=${data.x}"
    assert settings(leads, DATA="one") != settings(leads, DATA="two")


def test_a_run_that_does_not_tell_its_settings_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(*HERE, RATE)
    content = record("here")
    del content["sittings"][0]["settings"]
    Path("here/run.json").write_text(json.dumps(content))
    monkeypatch.setenv("RATE", "0.25")
    resume("here", allow=BOTH)
