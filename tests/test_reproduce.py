"""Doing a saved run afresh: the same bits, wherever it stands and however it came about."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from runner import evaluate, reproduce, resume, run
from runner.checkpoint.manifest import read_manifest
from runner.config.compose import compose
from runner.config.hydra import id_of, job_part
from runner.errors import ConfigError, UserError
from runner.interrupt import Interrupted
from runner.report.console import Plain
from runner.reproduction.plan import parts_of
from runner.rundir import RunDirectory
from tests.observers import Ask, Stop, StopAt

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("single_steps")


SMALL = (
    "experiment=digits_mlp",
    "model.hidden=[8]",
    "data.limit=320",
    "phases.train.until.epochs=2",
    "checkpoint.every.steps=3",
    "checkpoint.max_to_keep=2",
    "tracking.log_every.steps=4",
)
"""320 examples in batches of 64: 5 steps an epoch, 10 in all."""
HERE = (*SMALL, "run.dir=here")
FOUR = "phases.train.until.epochs=4"
LINEAR = (
    "run.dir=here",
    "data.limit=64",
    "model=linear",
    "model._target_=own_model.make",
    "checkpoint.best=null",
    "phases=train",
    "phases.train.until.epochs=2",
)


def record(directory: str | Path = "here") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(directory) / "run.json").read_text())
    return content


def files(directory: str | Path) -> dict[str, bytes]:
    """Everything but what was said."""
    paths = [path for path in Path(directory).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if path.name not in ("run.log", ".lock")}


@pytest.fixture
def own_model(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's."""
    (workdir / "pyproject.toml").write_text('[tool.runner]\nallow = ["own_model.make"]\n')
    path = workdir / "own_model.py"
    path.write_text(
        "from models.linear import linear\n"
        "def make(shape, outputs):\n"
        "    return linear(shape=shape, outputs=outputs)\n"
    )
    monkeypatch.syspath_prepend(workdir)
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    yield path
    sys.modules.pop("own_model", None)


class Listen(Plain):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.matters: list[str] = []
        self.starts: list[int] = []

    def reproducing(self, run: Path, directory: Path, *, matters: list[str]) -> None:
        self.matters = matters

    def restored(self, checkpoint: Path | None, *, step: int) -> None:
        self.starts.append(step)


def again(directory: str | Path = "here") -> Path:
    """Where the run was done afresh, the only time."""
    (place,) = (Path(directory) / "reproductions").iterdir()
    return place


def rewrite(path: str | Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))


# --- equal and not ----------------------------------------------------------------------------------


def test_equal_bits_are_told_at_once_when_asked_again(
    workdir: Path, cli: Callable[..., Any]
) -> None:
    run(*HERE)
    before = files("here")
    first = cli("reproduce", "here")
    assert (first.code, first.err) == (0, "")
    lines = first.out.splitlines()
    assert lines[0] == f"reproduces here in {again()}"
    assert lines[1] == "nothing that could matter has changed"
    assert lines[-1] == "equal, bit for bit"
    assert {path: content for path, content in files("here").items() if path in before} == before
    assert record(again())["id"] == record()["id"]
    assert record(again())["sittings"][0]["to_step"] == 10
    known = files(again())
    second = cli("reproduce", "here")
    assert (second.code, second.out.splitlines()[-1]) == (0, "equal, bit for bit")
    assert "finished before" not in second.out
    assert files(again()) == known


def test_it_is_told_without_tensorflow(workdir: Path, process: Callable[..., Any]) -> None:
    run(*HERE)
    reproduce("here")
    # As one that is installed: the code behind the config stays what it is.
    (folder := workdir / "site-packages").mkdir()
    (folder / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    path = f"{folder}:{REPOSITORY}"
    assert process("reproduce", "here", PYTHONPATH=path).code == 0
    shutil.rmtree(again())
    assert process("reproduce", "here", PYTHONPATH=path).err == "tensorflow was imported\n"


def test_it_is_a_run_of_its_own_and_not_listed(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*SMALL)
    (directory,) = (path.parent for path in Path("outputs").glob("*/*/run.json"))
    latest = Path("outputs/latest").resolve()
    assert reproduce(directory).is_identical
    assert cli("ls").out.count("outputs/digits_mlp/") == 1
    assert Path("outputs/latest").resolve() == latest
    assert cli("show", str(again(directory))).code == 0
    assert cli("checkpoints", str(again(directory)), "--verify").code == 0
    assert cli("reproduce", directory.name[:6]).code == 0


def test_a_value_of_a_row_that_differs(workdir: Path, cli: Callable[..., Any]) -> None:
    run(*HERE)
    path = workdir / "here/metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[1])
    true = row["loss"]
    row["loss"] = true * (1 + 1e-9)
    path.write_text("".join([lines[0], f"{json.dumps(row)}\n", *lines[2:]]))
    done = cli("reproduce", "here")
    assert done.code == 1
    place = f"row 2 (train {row['split']}, step {row['step']}) loss"
    (told,) = (line for line in done.out.splitlines() if f"{place} " in line and "│" in line)
    assert [cell.strip() for cell in told.split("│")[1:]] == [
        str(row["loss"]),
        str(true),
        "differs",
    ]
    near = cli("reproduce", "here", "--tolerance", "1e-6")
    assert (near.code, near.out.splitlines()[-1]) == (0, "equal within 1e-06, not bit for bit")
    assert cli("reproduce", "here", "--tolerance", "1e-12").code == 1
    assert cli("reproduce", "here", "--tolerance", "-1").code == 2


def test_another_seed_gives_other_bits(workdir: Path, cli: Callable[..., Any]) -> None:
    """Or equal bits would prove nothing."""
    run(*HERE)
    config = workdir / "here/.hydra/config.yaml"
    config.write_text(config.read_text().replace("seed: 0\n", "seed: 1\n"))
    done = cli("reproduce", "here")
    assert done.code == 1
    assert "fingerprint of ckpt-10" in done.out.splitlines()[-1]


# --- what it takes ----------------------------------------------------------------------------------


def test_what_was_chosen_is_not_chosen_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*HERE)
    shutil.rmtree("outputs", ignore_errors=True)

    def choose(*_: Any, **__: Any) -> None:
        raise AssertionError("chosen again")

    monkeypatch.setattr("runner.autotune.choose", choose)
    rewrite("here/run.json", lambda content: content["numerics"].update(compile="xla"))
    found = reproduce("here")
    assert record(again())["numerics"]["compile"] == "xla"
    assert not found.is_identical


def test_it_goes_on_where_it_was_killed(workdir: Path) -> None:
    run(*HERE)
    for step in (4, 8):
        with pytest.raises(Stop):
            reproduce("here", observer=StopAt(step))
    with pytest.raises(Interrupted, match="the same command goes on"):
        reproduce("here", observer=Ask(7))
    listen = Listen()
    assert reproduce("here", observer=listen).is_identical
    assert listen.starts == [7]
    assert len(record(again())["sittings"]) == 4


@pytest.mark.parametrize("how", [StopAt, Ask])
def test_a_run_that_is_not_finished(
    workdir: Path, cli: Callable[..., Any], how: type[StopAt]
) -> None:
    with pytest.raises((Stop, Interrupted)):
        run(*HERE, observer=how(7))
    if how is StopAt:

        def as_killed(content: dict[str, Any]) -> None:
            content["status"] = "running"
            content["sittings"][0]["to_step"] = None

        rewrite("here/run.json", as_killed)
    done = cli("reproduce", "here")
    assert done.code == 2
    state = "interrupted at step 6" if how is StopAt else "stopped at step 7"
    assert done.err == (
        f"runner: RUN={workdir}/here: is not finished ({state}): run its command again first\n"
    )
    assert not (workdir / "here/reproductions").exists()
    run(*HERE)
    assert cli("reproduce", "here").code == 0


def test_there_is_no_such_run(workdir: Path, cli: Callable[..., Any]) -> None:
    done = cli("reproduce", "nowhere")
    assert (done.code, done.err[:20]) == (2, "runner: RUN=nowhere:")
    with pytest.raises(ConfigError, match=r"no such directory with a run\.json"):
        reproduce("nowhere")


# --- what could matter ------------------------------------------------------------------------------


def test_what_could_matter_is_told_before(
    workdir: Path, cli: Callable[..., Any], own_model: Path
) -> None:
    run(*LINEAR)

    def change(content: dict[str, Any]) -> None:
        content["git"] = {"revision": "0123456789abcdef", "dirty": ["a.py"], "diff": "code.diff"}
        content["versions"]["keras"] = "2.0"
        content["numerics"]["processor"] = "abacus"
        content["numerics"]["features"].append("avx9")
        content["sittings"][0]["not_identical"] = ["threads is 1, was 2"]
        content["sources"]["gone.py"] = "0"

    rewrite("here/run.json", change)
    with own_model.open("a") as file:
        file.write("# changed\n")
    lines = cli("reproduce", "here").out.splitlines()
    assert lines[1] == "what could matter:"
    told = lines[2 : lines.index("digits_mlp: " + str(again()))]
    processor = told.pop(5)
    assert processor.startswith("  processor is ")
    assert processor.endswith(", was abacus")
    import keras

    assert told == [
        "  revision is none, was 0123456789",
        "  code behind the config: gone.py is gone",
        "  code behind the config: own_model.py has changed",
        "  differed from the revision then: a.py (kept in code.diff)",
        f"  keras is {keras.__version__}, was 2.0",
        "  features lacks avx9",
        "  the run itself, from step 0: threads is 1, was 2",
    ]


def test_other_code_begins_another_one(own_model: Path) -> None:
    run(*LINEAR)
    assert reproduce("here").is_identical
    first = again()
    with own_model.open("a") as file:
        file.write("# changed\n")
    listen = Listen()
    second = reproduce("here", observer=listen)
    assert second.directory != first.resolve()
    assert listen.matters == ["code behind the config: own_model.py has changed"]
    assert second.is_identical


def test_other_data_begin_another_one(workdir: Path) -> None:
    np.save(workdir / "x.npy", np.arange(60, dtype=np.float32).reshape(20, 3))
    np.save(workdir / "y.npy", np.arange(20) % 2)
    arrays = ("data=arrays", "data.x=x.npy", "data.y=y.npy", "data.shape=[3]", "data.outputs=2")
    run(*arrays, *(one for one in LINEAR if "own" not in one and "limit" not in one))
    assert reproduce("here").is_identical
    np.save(workdir / "y.npy", np.arange(20) % 2 ^ 1)
    listen = Listen()
    assert not reproduce("here", observer=listen).is_identical
    assert [line.partition(" is ")[0] for line in listen.matters] == [
        "data.train",
        "data.validation",
        "data.test",
    ]
    (workdir / "y.npy").unlink()
    with pytest.raises(ConfigError, match=r"data\.y=y\.npy"):
        reproduce("here")


def test_data_that_a_run_went_on_with_count_too(workdir: Path) -> None:
    np.save(workdir / "x.npy", np.arange(60, dtype=np.float32).reshape(20, 3))
    for name in ("y", "z"):
        np.save(workdir / f"{name}.npy", np.arange(20) % 2)
    arrays = ("data=arrays", "data.x=x.npy", "data.y=y.npy", "data.shape=[3]", "data.outputs=2")
    given = (*arrays, *(one for one in LINEAR if "own" not in one and "limit" not in one))
    with pytest.raises(Stop):
        run(*given, "checkpoint.every.steps=1", observer=StopAt(1))
    resume("here", "data.y=z.npy")
    listen = Listen()
    assert reproduce("here", observer=listen).is_identical
    assert listen.matters == []
    np.save(workdir / "z.npy", np.arange(20) % 2 ^ 1)
    assert not reproduce("here", observer=listen).is_identical
    assert [line.partition(" is ")[0] for line in listen.matters] == [
        "data.train",
        "data.validation",
        "data.test",
    ]


def test_code_that_no_revision_held_then_nor_now(own_model: Path) -> None:
    for command in ("init -q", "add own_model.py", "-c user.name=x -c user.email=y commit -qm one"):
        subprocess.run(["git", *command.split()], check=True)
    notes = own_model.with_name("notes.txt")
    notes.write_text("one")
    subprocess.run(["git", "add", "notes.txt"], check=True)
    run(*LINEAR)
    listen = Listen()
    assert reproduce("here", observer=listen).is_identical
    assert listen.matters == []
    notes.write_text("two")
    reproduce("here", observer=listen)
    assert listen.matters == [
        "differed from the revision then: notes.txt (kept in code.diff)",
        "differs from the revision now: notes.txt",
    ]


def test_a_value_of_the_environment_is_not_had_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEED", "12345")
    run(*HERE, 'seed="${oc.decode:${oc.env:SEED}}"')
    for path in Path("here/.hydra").iterdir():
        assert "12345" not in path.read_text()
    with pytest.raises(ConfigError, match=r"oc\.env"):
        reproduce("here")


def test_rhythms_of_the_clock_are_told(workdir: Path) -> None:
    run(*HERE, "tracking.log_every={steps: null, seconds: 1000}")
    listen = Listen()
    reproduce("here", observer=listen)
    key = "tracking.log_every.seconds=1000.0"
    assert listen.matters == [f"{key}: the clock says when, and it says otherwise"]


# --- runs that did not go straight ------------------------------------------------------------------


def test_a_run_that_was_killed_and_went_on(workdir: Path) -> None:
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(5))
    with pytest.raises(Interrupted):
        run(*HERE, observer=Ask(8))
    run(*HERE)
    assert reproduce("here").is_identical
    assert len(record(again())["sittings"]) == 1


def test_harmless_changes_take_hold_where_they_did(workdir: Path) -> None:
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(5))
    resume("here", "tracking.log_every.steps=1", "checkpoint.every.steps=2")
    assert reproduce("here").is_identical


@pytest.mark.parametrize("kill", [None, 2, 12, 17])
def test_changes_of_the_trajectory_take_hold_where_they_did(
    workdir: Path, kill: int | None
) -> None:
    """At the end of the run; where it was stopped; and after a kill, further back than that."""
    run(*HERE)
    with pytest.raises(Interrupted):
        resume("here", FOUR, "optimizer.learning_rate=0.01", observer=Ask(13))
    with pytest.raises(Stop):
        resume("here", "+optimizer.clipnorm=1.0", "~callbacks.stop_on_nan", observer=StopAt(17))
    resume("here", "optimizer/learning_rate=cosine", "optimizer.learning_rate.decay_steps=30")
    done = RunDirectory(Path("here")).read()
    assert done is not None
    assert [part.until for part in parts_of(done)] == [10, 13, 15, None]
    if kill is not None:
        with pytest.raises(Stop):
            reproduce("here", observer=StopAt(kill))
    found = reproduce("here")
    assert found.is_identical, found.differing


def test_a_change_before_the_first_save(workdir: Path) -> None:
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(2))
    resume("here", "optimizer.learning_rate=0.01")
    done = RunDirectory(Path("here")).read()
    assert done is not None
    assert [part.until for part in parts_of(done)] == [0, None]
    assert reproduce("here").is_identical


def test_a_change_that_had_to_go_back_for_a_checkpoint_holds_from_there(workdir: Path) -> None:
    with pytest.raises(Stop):
        run(*HERE, observer=StopAt(8))
    with pytest.raises(Stop):
        resume("here", "optimizer.learning_rate=0.01", observer=StopAt(7))
    for path in Path("here/checkpoints").glob("ckpt-6.data*"):
        path.write_bytes(b"")
    resume("here")
    done = RunDirectory(Path("here")).read()
    assert done is not None
    assert [part.until for part in parts_of(done)] == [5, None]
    assert reproduce("here").is_identical


def test_a_part_that_ends_before_the_next_began(workdir: Path) -> None:
    """As happens where it is another run by now: then nothing is gone on with."""
    run(*HERE)
    resume("here", FOUR)

    def later(content: dict[str, Any]) -> None:
        content["sittings"][1]["from_step"] = 11

    rewrite("here/run.json", later)
    with pytest.raises(
        UserError, match=r"ended at step 10, where .*here was gone on with at step 11, w"
    ):
        reproduce("here")


# --- where it starts --------------------------------------------------------------------------------


def test_an_evaluation(workdir: Path) -> None:
    run(*HERE)
    measured = evaluate("here", "phases.evaluate.data=validation", checkpoint="latest")
    before = files("here/checkpoints")
    found = reproduce(measured.directory)
    assert found.is_identical
    assert [item.what for item in found.items][:2] == ["rows", "step"]
    Path("here").rename("there")
    evaluation = Path("there") / measured.directory.relative_to(workdir / "here")
    shutil.rmtree(evaluation / "reproductions")
    assert reproduce(evaluation).is_identical
    assert not Path("here").exists()
    assert [*files("there/checkpoints").values()] == [*before.values()]
    for path in Path("there/checkpoints").glob("ckpt-10.*"):
        path.unlink()
    shutil.rmtree(evaluation / "reproductions")
    with pytest.raises(ConfigError, match=r"ckpt-10: there is no file .*ckpt-10\.index"):
        reproduce(evaluation)


def test_a_run_that_started_from_what_a_word_meant_then(workdir: Path) -> None:
    run(*SMALL, "run.dir=first", "checkpoint.directory=shared")
    run(*SMALL, FOUR, "run.dir=here", "checkpoint.directory=shared", "checkpoint.restore=latest")
    assert record()["sittings"][0]["from_step"] == 10
    found = reproduce("here")
    assert found.is_identical, found.differing
    assert record(again())["checkpoint_directory"] == "checkpoints"
    shutil.rmtree("here/reproductions")
    for path in Path("shared").glob("ckpt-10.*"):
        path.unlink()
    with pytest.raises(
        ConfigError, match=r"restore=latest meant was .*ckpt-10, which is not there"
    ):
        reproduce("here")


def test_checkpoints_elsewhere_are_left_alone(workdir: Path) -> None:
    run(*HERE, "checkpoint.directory=tf_ckpts", "checkpoint.numbering=count")
    before = files("tf_ckpts")
    assert reproduce("here").is_identical
    assert files("tf_ckpts") == before


# --- moved and copied -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "checkpoints", ["here/checkpoints", "here/ckpts", "${run.dir}/below/ckpts"]
)
@pytest.mark.parametrize("is_copy", [False, True])
def test_a_run_elsewhere_is_evaluated_resumed_and_reproduced(
    workdir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    checkpoints: str,
    is_copy: bool,
) -> None:
    result = run(*HERE, f"checkpoint.directory={checkpoints}")
    before = files("here")
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "below").mkdir()
    if is_copy:
        shutil.copytree("here", place / "there")
    else:
        shutil.move("here", place / "there")
    monkeypatch.chdir(place / "below")
    found = reproduce("../there")
    assert found.is_identical, found.differing
    assert found.directory.is_relative_to(place / "there/reproductions")
    assert evaluate("../there").metrics["evaluate"] == result.metrics["evaluate"]
    assert resume("../there", FOUR).step == 20
    later = reproduce("../there")
    assert later.is_identical, later.differing
    assert later.directory != found.directory
    assert [path.name for path in place.iterdir()] in (["below", "there"], ["there", "below"])
    assert {path.name for path in (place / "below").iterdir()} <= {"outputs"}
    monkeypatch.chdir(workdir)
    assert (files("here") == before) if is_copy else not Path("here").exists()


def test_a_reproduction_that_was_moved_goes_on(workdir: Path) -> None:
    run(*HERE)
    with pytest.raises(Stop):
        reproduce("here", observer=StopAt(5))
    Path("here").rename("there")
    listen = Listen()
    assert reproduce("there", observer=listen).is_identical
    assert listen.starts == [3]


# --- a saved config -----------------------------------------------------------------------------------


def test_a_saved_config_is_the_same_run_and_is_looked_at_as_closely(
    cli: Callable[..., Any], workdir: Path
) -> None:
    assert cli(*SMALL, "seed=5").code == 0
    (directory,) = (path.parent for path in Path("outputs").glob("*/*/run.json"))
    assert id_of(compose([], directory=directory / ".hydra")) == directory.name
    saved = ("--config-path", f"{directory}/.hydra", "--config-name", "config")
    assert "finished before" in cli(*saved).out
    wrong = cli(*saved, "+sed=3", "model.hiden=[3]", "optimizer.learning_rat=1")
    assert wrong.code == 2
    config = directory / ".hydra/config.yaml"
    config.write_text(config.read_text() + "sed: 3\n")
    told = cli(*saved)
    assert (told.code, told.err) == (2, told.err)
    assert told.err.startswith("runner: sed=3: no such key; did you mean seed?")
    assert cli("reproduce", str(directory)).err == told.err
    assert job_part(compose([])).seed == 0
    assert read_manifest(directory / "checkpoints/ckpt-10.json") is not None
