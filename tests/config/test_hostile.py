"""Configs that somebody else made: whatever they hold, nothing is imported, written or run.

Each is loaded by what the commands use, in this process, under an audit hook that sees every import,
every file that is opened for writing or changed, and every process that is started.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from runner import api
from runner.allowances import allowing
from runner.config.compose import compose
from runner.config.hydra import id_of, job_part
from runner.config.saved import saved_config
from runner.errors import ConfigError
from tests.config import hostile

Write = Callable[[dict[str, str]], None]

CHANGES = dict(hostile.changes())
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DOING = ("os.", "subprocess.", "shutil.", "socket.", "ctypes.", "pty.", "webbrowser.", "tempfile.")
_LOOKING = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")
_seen: list[str] | None = None
"""What happened, while somebody watches."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event == "import" or (event.startswith(_DOING) and event not in _LOOKING):
        _seen.append(f"{event} {arguments[:1]}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        _seen.append(f"{event} {arguments}")


sys.addaudithook(_hear)


@contextmanager
def nothing_happens() -> Iterator[None]:
    """Fails if anything is imported, started, or changed on the disk."""
    global _seen
    _seen = []
    try:
        yield
        assert _seen == []
    finally:
        _seen = None


EVIL = (
    "from pathlib import Path\nPath('executed').touch()\ndef payload(**more): ...\nnet = payload\n"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run saves, and everything imported that loading it takes."""
    place = tmp_path_factory.mktemp("base")
    content: Any = OmegaConf.to_container(job_part(compose([])))
    save(place, yaml.safe_dump(content))
    load(place)
    return dict(content)


@pytest.fixture
def evil(write: Write) -> None:
    """Modules in the working directory that leave a file when they are imported."""
    write({"evil.py": EVIL})
    OmegaConf.register_new_resolver("boom", lambda *_: Path("executed").touch(), replace=True)


def save(place: Path, text: str) -> None:
    (place / ".hydra").mkdir(parents=True, exist_ok=True)
    (place / ".hydra/config.yaml").write_text(text)


def load(place: Path) -> None:
    """As `runner resume` and `runner evaluate` do, but for what they do with the run itself."""
    id_of(saved_config(place))


def launch(folder: Path) -> None:
    """As `runner --config-path FOLDER` does."""
    config = compose([], directory=folder)
    api.launch(job_part(config), config.hydra, [])


def changed(base: dict[str, Any], changes: dict[str, Any]) -> str:
    content = copy.deepcopy(base)
    for key, value in changes.items():
        *above, name = key.split(".")
        node = content
        for part in above:
            node = node.setdefault(part, {})
        node[name] = value
    return yaml.safe_dump(content, sort_keys=False)


def refused(load: Callable[[Path], None], place: Path) -> str:
    with nothing_happens(), pytest.raises(ConfigError) as told:
        load(place)
    assert not Path("executed").exists()
    return str(told.value)


def test_what_is_changed_can_be_loaded(base: dict[str, Any], evil: None, workdir: Path) -> None:
    """Or all below would be refused for another reason."""
    save(workdir, changed(base, {"run.dir": "here"}))
    load(workdir)
    launch(workdir / ".hydra")


def test_there_are_enough() -> None:
    assert len(CHANGES) + len(hostile.TEXTS) + len(hostile.FILES) > 200
    assert len(hostile.names()) > 250


@pytest.mark.parametrize("place", ["task.metrics", "callbacks", "optimizer.name"])
def test_every_name_at(place: str, base: dict[str, Any], evil: None, workdir: Path) -> None:
    """Of targets that are built later, of classes that are loaded with the config, and in a list."""
    nodes = {f"x{number}": {"_target_": name} for number, name in enumerate(hostile.names())}
    is_list = place == "optimizer.name"
    save(workdir, changed(base, {place: [*nodes.values()] if is_list else nodes}))
    with nothing_happens(), pytest.raises(ConfigError) as told:
        load(workdir)
    assert not Path("executed").exists()
    keys = [f"{place}[{n}]" if is_list else f"{place}.{key}" for n, key in enumerate(nodes)]
    found = {problem.partition("._target_=")[0]: problem for problem in told.value.problems}
    assert found.keys() >= set(keys)
    let_through = len(hostile.BLOCKLIST_LETS_THROUGH.split())
    refused = [
        found[key] for key in keys[:let_through] if "there is no module 'tf'" not in found[key]
    ]
    assert len(refused) == let_through - 2
    assert all("is not allowed; allow it with --allow " in problem for problem in refused)


@pytest.mark.parametrize("name", CHANGES)
def test_a_saved_config(name: str, base: dict[str, Any], evil: None, workdir: Path) -> None:
    run = workdir / "run"
    save(run, changed(base, CHANGES[name]))
    refused(load, run)
    if not name.startswith(
        "model="
    ):  # Of the names of models, a few are enough to see that it is the same.
        refused(launch, run / ".hydra")


@pytest.mark.parametrize("key", ["model.activation", "name"])
@pytest.mark.parametrize("text", hostile.ENVIRONMENT)
def test_a_variable_beside_one_that_is_allowed(
    text: str,
    key: str,
    base: dict[str, Any],
    evil: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.redaction._names", {})
    monkeypatch.setenv("DATA", "relu")
    run = workdir / "run"
    save(run, changed(base, {key: text}))
    with allowing(["oc.env:DATA"]):
        refused(load, run)
        refused(launch, run / ".hydra")


@pytest.mark.parametrize(
    ("text", "activation"),
    [
        ("${oc.env:DATA}", "relu"),
        ("re${oc.env:END}", "relu"),
        ("${oc.env:UNSET,relu}", "relu"),
        ("${oc.env:UNSET,oc.env:HOME/x y}", "oc.env:HOME/x y"),
        ("${oc.decode:${oc.env:DATA}}", "relu"),
        ("${oc.decode:${oc.env:UNSET,boom:}}", "boom:"),
    ],
)
def test_a_variable_that_is_allowed(
    text: str,
    activation: str,
    base: dict[str, Any],
    evil: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or those beside it would be refused for another reason."""
    monkeypatch.setattr("runner.redaction._names", {})
    monkeypatch.setenv("DATA", "relu")
    monkeypatch.setenv("END", "lu")
    save(workdir, changed(base, {"model.activation": text, "run.dir": "here"}))
    assert "allow it with --allow oc.env:" in refused(load, workdir)
    assert "allow it with --allow oc.env:" in refused(launch, workdir / ".hydra")
    with nothing_happens(), allowing(["oc.env:DATA", "oc.env:END", "oc.env:UNSET"]):
        config = saved_config(workdir)
        assert config.model.activation == activation
        launch(workdir / ".hydra")


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "[1,${oc.env:HOME}]", "${boom:}", "$", "os.system"]
)
@pytest.mark.parametrize("way", ["${oc.env:DATA}", "${oc.decode:${oc.env:DATA}}"])
def test_what_a_variable_that_is_allowed_gives_is_data(
    value: str,
    way: str,
    base: dict[str, Any],
    evil: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: dict[str, str] = {}
    monkeypatch.setattr("runner.redaction._names", names)
    monkeypatch.setenv("DATA", value)
    key = "model._target_" if value == "os.system" else "model.activation"
    text = f"{way}{{boom:}}" if value == "$" else way
    save(workdir, changed(base, {key: text}))
    with allowing(["oc.env:DATA"]):
        refused(load, workdir)
        refused(launch, workdir / ".hydra")
    assert set(names.values()) <= {"DATA"}


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_a_file_that_is_no_config(
    name: str, base: dict[str, Any], evil: None, workdir: Path
) -> None:
    save(workdir / "run", hostile.TEXTS[name])
    refused(load, workdir / "run")
    refused(launch, workdir / "run/.hydra")


@pytest.mark.parametrize("run", hostile.RUNS, ids=str)
def test_a_place_to_write(run: Any, base: dict[str, Any], evil: None, workdir: Path) -> None:
    content = {"dir": "here", "fresh": False, "max_time": None}
    save(workdir, changed(base, {"run": {**content, **run} if isinstance(run, dict) else run}))
    refused(launch, workdir / ".hydra")


@pytest.mark.parametrize("name", hostile.FILES)
def test_a_folder_of_configs(
    name: str, cli: Callable[..., Any], base: dict[str, Any], evil: None, workdir: Path
) -> None:
    mine = {"model/mine.yaml": "_target_: models.mlp.mlp\nshape: ${data.shape}\noutputs: 10\n"}
    reason, files = hostile.FILES[name]
    for file, text in (mine | files).items():
        path = workdir / "conf" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = sorted(workdir.rglob("*"))
    choice = "experiment=mine" if "experiment/mine.yaml" in files else "model=mine"
    done = cli("--config-dir", "conf", choice, "debug=smoke")
    assert (done.code, done.out) == (2, ""), done.err
    assert reason in done.err
    assert sorted(workdir.rglob("*")) == before
    swept = cli("-m", "--config-dir", "conf", choice, "debug=smoke", "seed=1,2")
    assert swept.code != 0
    assert not Path("executed").exists()
    assert not list(workdir.rglob("run.json"))
    assert not (workdir.parent / "made").exists()


@pytest.mark.parametrize(
    "sweep",
    [
        'space: {run.dir: "choice(../made,../more)"}',
        'space: {run.dir: ../made, seed: "1,2"}',
        'space: {run: "choice({dir: ../made},{dir: ../more})"}',
        'space: {seed: "1,2", ++run.dir: ../made}',
        'space: {seed: "1,2"}\n  storage: sqlite:///../made',
        'space: {seed: "1,2"}\n  storage: mysql://localhost:1/made',
        "space: {model.activation: 'choice(${oc.env:DATA},relu)'}",
        r"space: {model.activation: 'choice($\{oc.env:HOME\},relu)'}",
        r"space: {model.activation: '\$\{boom:\}', seed: '1,2'}",
        "space: {'model.${oc.env:DATA}': 'choice(selu,relu)'}",
    ],
)
def test_a_search_that_leads_elsewhere(
    sweep: str,
    cli: Callable[..., Any],
    evil: None,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.redaction._names", {})
    monkeypatch.setenv("DATA", "activation")
    folder = workdir / "conf/experiment"
    folder.mkdir(parents=True)
    text = f"# @package _global_\ndefaults: [override /sweep: optuna]\nsweep:\n  n_trials: 2\n  {sweep}\n"
    (folder / "mine.yaml").write_text(text)
    asked = ("-m", "--config-dir", "conf", "experiment=mine", "debug=smoke", "run={max_time: 1h}")
    asked = ("--allow", "oc.env:DATA", *asked)
    done = cli(*asked)
    assert done.code == 2, done.out
    assert "on the command line" in done.err
    assert not list(workdir.parent.glob("mad*")) and not list(workdir.rglob("run.json"))


def test_a_sweep_by_a_name_that_leads_elsewhere(
    cli: Callable[..., Any], evil: None, workdir: Path
) -> None:
    """Hydra makes the folder of a sweep before it looks at a trial."""
    (workdir / "conf").mkdir()
    (workdir / "conf/mine.yaml").write_text("defaults: [config, _self_]\nname: ../../made\n")
    done = cli("-m", "--config-dir", "conf", "--config-name", "mine", "seed=1,2")
    assert (done.code, done.err) == (
        2,
        "runner: name=../../made: give a plain folder name, such as digits_mlp\n",
    )
    assert not (workdir.parent / "made").exists()
    assert [path.name for path in workdir.iterdir() if path.suffix != ".py"] == ["conf"]
