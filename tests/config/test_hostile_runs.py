"""Runs that somebody else made: what their files say leads nowhere outside of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.allowances import allowing
from runner.checkpoint.manifest import Manifest, read_manifest
from runner.checkpoint.staging import Staging
from runner.config.compose import compose
from runner.config.evaluation import evaluation_of
from runner.config.hydra import id_of, job_part
from runner.errors import CheckpointError, ConfigError
from runner.record import RunRecord, Sitting
from runner.results import last_values
from runner.resumption import resumption_of
from runner.rows import Rows
from runner.rundir import DamagedRecordError, RunDirectory, RunDirectoryError

Command = Callable[..., Any]

CHANGE = {"key": "seed", "old": 1, "new": 2, "class": "harmless"}


@pytest.fixture
def run(workdir: Path) -> Path:
    """A saved run, without its checkpoints, and what must not be touched beside it."""
    config = job_part(compose([]))
    (workdir / "victim").mkdir()
    (workdir / "victim/kept").write_text("kept")
    (workdir / "run/.hydra").mkdir(parents=True)
    OmegaConf.save(config, workdir / "run/.hydra/config.yaml")
    sitting = Sitting(started="?", host="?", pid=1, command=[], from_step=0, outcome="finished")
    record = RunRecord(id=id_of(config), name="digits_mlp", sittings=[sitting])
    (workdir / "run/run.json").write_text(json.dumps(asdict(record)))
    return workdir / "run"


def rewrite(run: Path, **changes: Any) -> None:
    content = json.loads((run / "run.json").read_text())
    sitting = {name: changes.pop(name) for name in ("overrides", "changes") if name in changes}
    content["sittings"][0].update(sitting)
    (run / "run.json").write_text(json.dumps({**content, **changes}))


RECORDS: list[dict[str, Any]] = [
    *(
        {"id": id}
        for id in ("../victim", "/etc/x", "x/../../victim", "..", "", 5, None, ["x"], "a\0b")
    ),
    *(
        {"checkpoint_directory": place}
        for place in ("../victim", "a/../../b", "${oc.env:HOME}", 3, None)
    ),
    *({"overrides": overrides} for overrides in ([5], [["seed=1"]], [{"seed": 1}], 7, [None])),
    *({"changes": changes} for changes in ([5], [{}], [{"key": "x"}], "x")),
    *({name: "x"} for name in ("versions", "machine", "git", "sources", "numerics", "sittings")),
    *({"result": result} for result in ({}, 5, "x", [1], {"metrics": 5, "step": 1})),
    {"result": {"metrics": {"a": {"b": "x"}}, "step": 1, "checkpoints": [], "best": None}},
    {"result": {"metrics": {}, "step": 1, "checkpoints": [5], "best": None}},
    {"result": {"metrics": {}, "step": 1, "checkpoints": [], "best": {}}},
    *({"other": 1}, {"sittings": [{"started": 1}]}, {"format": "x"}),
]


@pytest.mark.parametrize("changes", RECORDS, ids=str)
def test_a_record(changes: dict[str, Any], run: Path, cli: Command) -> None:
    rewrite(run, **changes)
    with pytest.raises(DamagedRecordError):
        RunDirectory(run).read()
    for command in (
        ["show", "run"],
        ["checkpoints", "run"],
        ["resume", "run"],
        ["evaluate", "run"],
    ):
        done = cli(*command)
        assert done.code in (1, 2)
        assert done.err.startswith("runner: ")
    assert "unreadable" in cli("ls", ".").out
    assert [path.name for path in Path("victim").iterdir()] == ["kept"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", "[" * 100_000, "\xff", '{"sittings": NaN}'], ids=range(8)
)
def test_a_record_that_is_none(text: str, run: Path, cli: Command) -> None:
    (run / "run.json").write_bytes(text.encode("latin-1"))
    assert cli("show", "run").code == 1
    assert cli("resume", "run").code in (1, 2)


@pytest.mark.parametrize(
    "override",
    [
        *("hydra.callbacks.x={_target_: os.system}", "+hydra.searchpath=[pkg://evil]"),
        *(
            "hydra/launcher=evil",
            "+model@hydra.callbacks.x=mlp",
            "~hydra.run",
            "hydra.run.dir=/etc",
        ),
        *("model._target_=os.system", "++model={_target_: os.system}", "model=../../victim/kept"),
        *(
            "model.activation=${oc.env:HOME}",
            "name=$\\{oc.env\\:HOME\\}",
            "+optimizer.name='${oc.env:HOME}'",
        ),
        *(f"{one}=${{oc.env:DATA}}" for one in ("model", "+model", "optimizer", "+phases")),
        *("+optimizer/learning_rate=${oc.env:DATA}", "model=$\\{oc.env:DATA\\}"),
        *("optimizer@model=${oc.env:DATA}", "'+model=${oc.env:DATA}'"),
        *(
            "name=../x",
            "seed=",
            "--config-dir=/etc",
            "seed=1,2",
            "callbacks={",
            "+optimizer.name={class_name: x}",
        ),
    ],
)
def test_overrides_that_a_run_says_it_was_resumed_with(
    override: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, str] = {}
    monkeypatch.setattr("runner.redaction._names", names)
    monkeypatch.setenv("DATA", "constant" if "rate" in override else "adam")
    rewrite(run, overrides=[override], changes=[CHANGE])
    record = RunDirectory(run).read()
    assert record is not None
    with pytest.raises(ConfigError):
        resumption_of(run, [])
    with pytest.raises(ConfigError):
        evaluation_of(run, [], checkpoint=None, amendments=record.amendments)
    assert names == {}


def test_a_folder_whose_name_leads_elsewhere(run: Path, cli: Command) -> None:
    odd = run.rename("${oc.env:DATA}")
    for command in ("resume", "evaluate"):
        done = cli(command, str(odd))
        assert (done.code, done.out) == (2, "")
        assert "reads as an interpolation; give the folder another name" in done.err


def test_overrides_may_take_what_is_allowed_from_the_environment(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.redaction._names", {})
    monkeypatch.setenv("DATA", "relu")
    rewrite(run, overrides=["model.activation=${oc.env:DATA}"], changes=[CHANGE])
    with pytest.raises(ConfigError, match=r"allow it with --allow oc\.env:DATA"):
        resumption_of(run, [])
    with allowing(["oc.env:DATA"]):
        config, _ = resumption_of(run, [])
        assert config.model.activation == "relu"
        for text in ("${oc.env:HOME}", "${oc.env:DATA,${oc.env:HOME}}", "${oc.env:${name}}"):
            rewrite(run, overrides=[f'model.activation="{text}"'], changes=[CHANGE])
            with pytest.raises(ConfigError, match="refers to its own keys only"):
                resumption_of(run, [])


@pytest.mark.parametrize(
    "override", ["run.dir=/etc", "run.fresh=true", "checkpoint.directory=/etc"]
)
def test_a_run_goes_on_where_it_stands_whatever_it_says(override: str, run: Path) -> None:
    rewrite(run, overrides=[override], changes=[CHANGE])
    config, _ = resumption_of(run, [])
    assert config.run == {"dir": str(run), "fresh": False, "max_time": None}
    assert config.checkpoint.directory == str(run / "checkpoints")


@pytest.mark.parametrize("place", ["/etc", "/tmp/elsewhere", "/victim"])
def test_a_record_that_leads_elsewhere_than_the_config(place: str, run: Path) -> None:
    rewrite(run, checkpoint_directory=place)
    with pytest.raises(ConfigError, match=r"by run\.json, checkpoints stand in"):
        resumption_of(run, [])


def manifest(run: Path) -> dict[str, Any]:
    made = Manifest(
        name="ckpt-5",
        run="run1",
        number=5,
        order=5,
        step=5,
        epoch=1.0,
        phase="train",
        keys={},
        optimizers={},
        variables={},
        record={},
        saved_at=1.0,
        begun_at=1.0,
        fingerprint="",
        files={"ckpt-5.index": {"bytes": 4, "sha256": hashlib.sha256(b"kept").hexdigest()}},
    )
    return json.loads(made.as_bytes())


FILE = {"bytes": 4, "sha256": hashlib.sha256(b"kept").hexdigest()}
MANIFESTS: list[dict[str, Any]] = [
    *({"name": name} for name in ("../victim/kept", "ckpt-6", "/etc/x", "", 5, None)),
    *({"run": run} for run in ("../victim", "/etc", "a/../../victim", "..", "", 5, None)),
    *(
        {"files": {file: FILE}}
        for file in ("../victim/kept", "/etc/passwd", "kept", "ckpt-5/../../victim/kept", ".index")
    ),
    *({"files": files} for files in ({}, [], 5, {"ckpt-5.index": 5}, {"ckpt-5.index": {}})),
    *({name: "x"} for name in ("number", "order", "step", "epoch", "saved_at", "begun_at")),
    *({name: 5} for name in ("keys", "layers", "numerics", "metrics", "record", "amendments")),
    *({"metrics": {"loss": value}} for value in ("x", [1], None, {})),
    *({"amendments": [{"pid": 1}]}, {"amendments": [5]}, {"other": 1}, {"format": "x"}),
]


@pytest.mark.parametrize("changes", MANIFESTS, ids=str)
def test_a_manifest(changes: dict[str, Any], run: Path) -> None:
    content = {**manifest(run), **changes}
    content.pop("digest")
    text = json.dumps(content, sort_keys=True).encode()
    path = run / "ckpt-5.json"
    path.write_text(json.dumps({**content, "digest": hashlib.sha256(text).hexdigest()}))
    assert isinstance(read_manifest(path), str)


@pytest.mark.parametrize(
    "move",
    [
        *(
            {"files": ["../victim/kept"], "folder": "corrupt"},
            {"files": ["a"], "folder": "../victim"},
        ),
        *({"files": ["kept"], "folder": "/etc"}, {"files": ["/etc/hostname"], "folder": "corrupt"}),
        *({"files": [".."], "folder": "x"}, {"files": ["a"], "folder": "corrupt/../../victim"}),
        *(
            {"files": 5, "folder": "x"},
            {"files": ["a"], "folder": 5},
            {"files": [{}], "folder": "x"},
        ),
        *({}, [], 5),
    ],
    ids=str,
)
def test_a_move_that_a_run_says_it_began(move: Any, run: Path) -> None:
    (run / ".saving-run1").mkdir()
    (run / ".saving-run1/moving").write_text(json.dumps(move))
    Staging(run, run="run1").finish_move()
    assert Path("victim/kept").read_text() == "kept"
    assert sorted(path.name for path in run.iterdir()) == [".hydra", ".saving-run1", "run.json"]
    assert list((run / ".saving-run1").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["- ${boom:}", "x: &x [*x]", "- " + "[" * 3000, "5", "", "\x00", "a: &a [1,1]\nb: *a"],
    ids=range(7),
)
def test_overrides_of_the_first_launch(text: str, run: Path, cli: Command) -> None:
    OmegaConf.register_new_resolver("boom", lambda: Path("executed").touch(), replace=True)
    (run / ".hydra/overrides.yaml").write_text(text)
    assert cli("show", "run").code == 0
    assert not Path("executed").exists()


def test_a_folder_to_move_to_that_is_a_link(run: Path) -> None:
    (run / "corrupt").symlink_to("../victim")
    (run / "file").touch()
    with pytest.raises(CheckpointError, match="leads out of"):
        Staging(run, run="run1").move([run / "file"], run / "corrupt")
    assert [path.name for path in Path("victim").iterdir()] == ["kept"]


def test_a_place_for_saves_that_is_a_link(run: Path) -> None:
    (run / ".saving-run1").symlink_to("../victim")
    staging = Staging(run, run="run1")
    assert not staging.exists()
    staging.sweep()
    assert not (run / ".saving-run1").is_symlink()
    assert Path("victim/kept").read_text() == "kept"


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "run.log", ".lock", "checkpoints", "tensorboard", ".run.json.tmp"]
)
def test_a_file_of_a_run_that_is_a_link(name: str, run: Path, cli: Command) -> None:
    shutil.rmtree(run / name, ignore_errors=True)
    target = "../victim" if name in ("checkpoints", "tensorboard") else "../victim/kept"
    (run / name).symlink_to(target)
    with pytest.raises(RunDirectoryError, match=r"is a link"), RunDirectory(run).locked():
        pass
    done = cli("resume", "run")
    assert done.code in (1, 2)
    assert "is a link" in done.err
    assert Path("victim/kept").read_text() == "kept"
    assert [path.name for path in Path("victim").iterdir()] == ["kept"]


ROWS: list[Any] = [
    *(
        {"phase": "train", "split": split}
        for split in ("../victim", "/etc", "..", "", "a/b", "a\0b")
    ),
    *({"phase": phase, "split": "x"} for phase in ("../victim", [], {}, ["train"])),
    *(
        {"phase": "train", "split": "train", "loss": value}
        for value in ([1], {"_target_": "os.system"})
    ),
    *([], 5, "x", None),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row(row: Any, tmp_path: Path) -> None:
    good = {"phase": "train", "split": "train", "loss": 1.0}
    lines = "".join(json.dumps(one) + "\n" for one in (good, {"step": 3}, row, good))
    (tmp_path / "rows").write_text(lines)
    rows = Rows(tmp_path / "rows", copy=tmp_path / "copy")
    assert [*rows.read()] == [good, {"step": 3}]
    assert last_values(rows.read()) == {"train": {"train/loss": 1.0}}
    assert rows.cut(4) == 2


def test_a_row_that_is_deeper_than_any(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("[" * 100_000 + "\n")
    assert [*Rows(tmp_path / "rows", copy=tmp_path / "copy").read()] == []
