"""What a store saves, finds, sets aside and refuses. Bare TensorFlow looks on from the other side."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner.checkpoint.manifest import FORMAT, Manifest, read_manifest
from runner.errors import CheckpointError, NameTakenError
from runner.lock import LockedError

Make = Callable[..., Any]
Bare = Callable[[Path | str | None], list[int]]
Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def script(directory: Path, steps: int, *, prefix: str = "ckpt") -> list[str]:
    """What a bare script leaves behind that counts its saves."""
    value = tf.Variable([0, 0], dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(value=value)
    manager = tf.train.CheckpointManager(
        checkpoint, str(directory), max_to_keep=None, checkpoint_name=prefix
    )
    paths = []
    for _ in range(steps):
        value.assign_add([1, 10])
        paths.append(manager.save())
    return paths


# --- names and numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbering", "names"),
    [
        ("step", ["ckpt-2", "ckpt-4", "ckpt-6"]),
        ("epoch", ["ckpt-1", "ckpt-2", "ckpt-3"]),
        ("count", ["ckpt-1", "ckpt-2", "ckpt-3"]),
        (100, ["ckpt-100"]),
    ],
)
def test_numbers(trainer: Make, bare: Bare, numbering: Any, names: list[str]) -> None:
    run = trainer(numbering=numbering)
    run.start()
    for step in (2, 4, 6):
        run.value.assign([step, 10 * step])
        run.save()
    assert run.names == names
    assert bare(tf.train.latest_checkpoint(str(run.directory))) == [6, 60]


def test_a_directory_holds_what_tensorflow_writes_and_a_manifest(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    trainer(prefix="model.ckpt", numbering="count").train(2)
    names = [
        f"model.ckpt-{number}{ending}"
        for number in (1, 2)
        for ending in (".data-00000-of-00001", ".index", ".json")
    ]
    assert sorted(tree(directory)) == ["checkpoint", *names]


def test_a_manager_finds_all_of_them_in_their_order(trainer: Make, directory: Path) -> None:
    run = trainer(max_to_keep=3)
    for step in (100, 50, 10, 5):
        run.value.assign([step, 0])
        run.save()
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(value=tf.Variable([0, 0], dtype=tf.int64)), str(directory), 3
    )
    assert [Path(path).name for path in manager.checkpoints] == ["ckpt-50", "ckpt-10", "ckpt-5"]
    assert manager.latest_checkpoint == str(directory / "ckpt-5")


def test_a_manager_goes_on_counting(trainer: Make, directory: Path) -> None:
    """``save_counter`` is the number of saves, whatever the number in the name."""
    trainer().train(3)
    value = tf.Variable([0, 0], dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(value=value)
    manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=None)
    assert manager.restore_or_initialize() == str(directory / "ckpt-3")
    assert int(checkpoint.save_counter) == 3
    assert manager.save() == str(directory / "ckpt-4")


def test_the_newest_is_the_last_saved(trainer: Make, directory: Path) -> None:
    run = trainer()
    for step in (100, 7):
        run.value.assign([step, 0])
        run.save()
    assert trainer().start() == directory / "ckpt-7"


def test_numbers_that_cannot_be_compared_rate_nothing(trainer: Make) -> None:
    run = trainer(best=_best("validation/loss"))
    run.train(1, metrics={"validation/loss": math.nan, "validation/accuracy": 0.5})
    assert run.store.manifests[0].metrics == {"validation/accuracy": 0.5}
    assert run.store.best is None
    assert not run.store.would_be_best({"validation/loss": math.inf})
    assert run.store.would_be_best({"validation/loss": 0.1})


def test_the_best_survives_resumes(trainer: Make) -> None:
    spec = {"best": _best("validation/accuracy"), "max_to_keep": 1}
    values = [0.1, 0.9, 0.2, 0.3, 0.9]
    for step, value in enumerate(values, start=1):
        run = trainer(**spec)
        run.start()
        run.train(step, metrics={"validation/accuracy": value})
    assert run.names == ["ckpt-2", "ckpt-5"]
    assert run.store.best.name == "ckpt-2"
    assert run.store.find("best") == run.directory / "ckpt-2"


def test_an_unscheduled_save_leaves_no_trace(trainer: Make, tmp_path: Path, tree: Tree) -> None:
    """A run that was asked to stop, and one that was not, end with the same files."""
    for spec in ({"numbering": "count"}, {"numbering": 100}, {"numbering": "epoch"}, {}):
        name = str(spec.get("numbering"))
        given = {"max_to_keep": 2, "best": _best("validation/loss", mode="min"), **spec}
        straight = trainer(tmp_path / name / "straight", **given).train(5)
        stopped = trainer(tmp_path / name / "stopped", **given).train(3)
        stopped.value.assign([4, 40])
        stopped.save(metrics={}, scheduled=False)
        assert stopped.names[-1] == "ckpt-stopped-4"
        resumed = trainer(tmp_path / name / "stopped", **given)
        assert resumed.start() == resumed.directory / "ckpt-stopped-4"
        resumed.save()
        resumed.train(5)
        assert tree(resumed.directory) == tree(straight.directory)


# --- damage ---------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def exchange(path: Path) -> None:
    path.write_bytes(path.with_name(path.name.replace("-3.", "-2.")).read_bytes())


# Without a manifest it is no checkpoint of the runner's, so that one is not unlinked.
@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (ending, damage)
        for ending in (".index", ".data-00000-of-00001", ".json")
        for damage in (flip, cut, zero, lengthen, exchange, Path.unlink)
        if (ending, damage) != (".json", Path.unlink)
    ],
)
def test_a_damaged_newest_one_is_set_aside_and_the_one_before_used(
    trainer: Make,
    bare: Bare,
    directory: Path,
    tree: Tree,
    caplog: pytest.LogCaptureFixture,
    ending: str,
    damage: Callable[[Path], None],
) -> None:
    trainer().train(3)
    damage(directory / f"ckpt-3{ending}")
    moved = {name: content for name, content in tree(directory).items() if "ckpt-3" in name}
    run = trainer()
    assert run.start() == directory / "ckpt-2"
    assert run.value.numpy().tolist() == [2, 20]
    assert tree(directory / "corrupt") == moved
    assert "checkpoint ckpt-3 is damaged (ckpt-3" in caplog.text
    assert tf.train.latest_checkpoint(str(directory)) == str(directory / "ckpt-2")
    assert run.train(3).names == ["ckpt-1", "ckpt-2", "ckpt-3"]
    assert bare(tf.train.latest_checkpoint(str(directory))) == [3, 30]


def test_max_to_keep_counts_intact_ones(trainer: Make, directory: Path) -> None:
    trainer(max_to_keep=3).train(3)
    (directory / "ckpt-2.index").unlink()
    run = trainer(max_to_keep=3)
    run.start()
    assert run.names == ["ckpt-1", "ckpt-3"]
    assert run.train(5).names == ["ckpt-3", "ckpt-4", "ckpt-5"]


def test_several_damaged_ones_are_set_aside(trainer: Make, directory: Path) -> None:
    trainer().train(4)
    flip(directory / "ckpt-4.index")
    flip(directory / "ckpt-3.data-00000-of-00001")
    run = trainer()
    assert run.start() == directory / "ckpt-2"
    assert tf.train.latest_checkpoint(str(directory)) == str(directory / "ckpt-2")


def test_what_was_set_aside_is_never_overwritten(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    for number in range(3):
        run = trainer()
        run.start()
        run.train(2)
        (directory / "ckpt-2.index").write_bytes(f"damage {number}".encode())
    trainer().start()
    aside = tree(directory / "corrupt")
    places = ["ckpt-2.index", "2/ckpt-2.index", "3/ckpt-2.index"]
    assert [aside[place] for place in places] == [b"damage 0", b"damage 1", b"damage 2"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\0" * 40,
        b"\xff\xfe",
        b"model_checkpoint_path: ",
        b'model_checkpoint_path: "ckpt-1"\n',
        b'model_checkpoint_path: "gone-9"\n',
    ],
)
def test_the_checkpoint_file_is_not_needed_and_is_put_right(
    trainer: Make, directory: Path, content: bytes | None
) -> None:
    trainer().train(3)
    whole = (directory / "checkpoint").read_bytes()
    (directory / "checkpoint").unlink()
    if content is not None:
        (directory / "checkpoint").write_bytes(content)
    assert trainer().start() == directory / "ckpt-3"
    assert (directory / "checkpoint").read_bytes() == whole


@pytest.mark.parametrize("restore", ["auto", "none", "latest", 1])
def test_a_run_whose_checkpoints_are_all_damaged_never_starts_over_by_itself(
    trainer: Make, directory: Path, restore: Any
) -> None:
    trainer().train(2)
    for number in (1, 2):
        flip(directory / f"ckpt-{number}.index")
    for _ in range(3):
        with pytest.raises(CheckpointError, match=r"no checkpoint of this run .* is intact"):
            trainer(restore=restore).start()
    run = trainer(restore="none")
    run.store.open()
    assert run.store.start(fresh=True) is None
    assert run.train(1).names == ["ckpt-1"]


@pytest.mark.parametrize("manifest", [None, b"{}"])
def test_one_that_names_its_run_is_known_without_its_manifest(
    trainer: Make, directory: Path, tree: Tree, manifest: bytes | None
) -> None:
    trainer(tells_run=True).train(3)
    trainer(run="run2", tells_run=True, prefix="other").train(1)
    (directory / "ckpt-3.json").unlink()
    if manifest is not None:
        (directory / "ckpt-3.json").write_bytes(manifest + b'{"files"')
    others = {name: one for name, one in tree(directory).items() if name.startswith("other")}
    again = trainer(tells_run=True)
    assert again.start() == directory / "ckpt-2"
    assert "ckpt-3.index" in tree(directory / "corrupt")
    assert again.train(3).names == ["ckpt-1", "ckpt-2", "ckpt-3"]
    assert others.items() <= tree(directory).items()


@pytest.mark.parametrize("restore", ["auto", "none", 1])
def test_a_run_that_has_lost_all_its_manifests_goes_on_from_its_latest(
    trainer: Make, directory: Path, restore: Any
) -> None:
    trainer(tells_run=True).train(2)
    for number in (1, 2):
        (directory / f"ckpt-{number}.json").unlink()
    assert trainer(tells_run=True, restore=restore).start() == directory / "ckpt-2"
    fresh = trainer(tells_run=True, restore="none")
    fresh.store.open()
    assert fresh.store.start(fresh=True) is None
    assert fresh.train(1).names == ["ckpt-1"]


def test_what_another_run_has_lost_is_no_loss_of_this_one(trainer: Make, directory: Path) -> None:
    trainer(tells_run=True).train(1)
    (directory / "ckpt-1.json").write_bytes(b'{"files"')
    (directory / "corrupt").mkdir()
    for path in directory.glob("ckpt-1.*"):
        path.rename(directory / "corrupt" / path.name)
    (directory / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of this run"):
        trainer(tells_run=True, restore="none").start()
    assert trainer(run="run2", restore="none").start() is None


def test_starting_afresh_moves_the_runs_own_aside(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    trainer().train(2)
    saved = {name: content for name, content in tree(directory).items() if name != "checkpoint"}
    run = trainer()
    run.store.open()
    assert run.store.start(fresh=True) is None
    assert tree(directory / "abandoned") == saved
    assert tf.train.latest_checkpoint(str(directory)) is None
    assert trainer().start() is None
    assert run.train(1).names == ["ckpt-1"]


def test_a_manifest_of_a_newer_version_stops_the_run(trainer: Make, directory: Path) -> None:
    run = trainer().train(2)
    newer = replace(run.store.manifests[-1], format=FORMAT + 1)
    (directory / "ckpt-2.json").write_bytes(newer.as_bytes())
    with pytest.raises(CheckpointError, match="only a newer version"):
        trainer().start()


# --- never a silent restart -------------------------------------------------------------------------


def test_an_empty_directory_starts_from_scratch(trainer: Make, directory: Path) -> None:
    assert trainer().start() is None
    directory.mkdir()
    (directory / "README.md").touch()
    assert trainer().start() is None


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "ckpt-9.index",
        "ckpt-9.data-00000-of-00001",
        "ckpt-9.data-00000-of-00001.tempstate123",
        "corrupt/ckpt-9.index",
        ".saving-run2/temporary",
    ],
)
def test_a_sign_of_earlier_checkpoints_is_no_empty_directory(
    trainer: Make, directory: Path, name: str
) -> None:
    (directory / name).parent.mkdir(parents=True)
    (directory / name).touch()
    with pytest.raises(CheckpointError, match="but no intact checkpoint of this run; give"):
        trainer().start()
    with pytest.raises(CheckpointError, match="restore=latest: "):
        trainer(restore="latest").start()
    assert trainer(restore="none").start() is None


def test_a_manifest_that_cannot_be_read_is_named(trainer: Make, directory: Path) -> None:
    """Whose it is cannot be told, so it is left where it is."""
    trainer().train(1)
    cut(directory / "ckpt-1.json")
    with pytest.raises(CheckpointError, match=r"ckpt-1\.json is not readable as a manifest"):
        trainer().start()
    assert (directory / "ckpt-1.json").exists()


# --- other runs in the same directory ---------------------------------------------------------------


def test_two_runs_share_a_directory(trainer: Make, bare: Bare, directory: Path) -> None:
    first = trainer(prefix="a", max_to_keep=2).train(3)
    second = trainer(run="run2", prefix="b", max_to_keep=2, restore="none")
    second.start()
    second.train(5)
    first.train(4)
    assert trainer(prefix="a").start() == directory / "a-4"
    assert trainer(run="run2", prefix="b").start() == directory / "b-5"
    assert sorted(path.stem for path in directory.glob("*.json")) == ["a-3", "a-4", "b-4", "b-5"]
    assert bare(tf.train.latest_checkpoint(str(directory))) == [4, 40]


@pytest.mark.parametrize("numbering", ["step", "count", 100])
def test_a_run_never_saves_over_another(
    trainer: Make, directory: Path, tree: Tree, numbering: Any
) -> None:
    trainer(numbering=numbering).train(2)
    before = tree(directory)
    other = trainer(run="run2", restore="none", numbering=numbering)
    other.start()
    with pytest.raises(NameTakenError, match="is there already, saved by run run1"):
        other.train(1)
    assert tree(directory) == before


def test_a_run_never_saves_over_a_script(trainer: Make, directory: Path, tree: Tree) -> None:
    script(directory, 2)
    before = tree(directory)
    run = trainer(restore="none")
    run.start()
    with pytest.raises(CheckpointError, match="saved by somebody else"):
        run.train(1)
    assert tree(directory) == before


def test_a_damaged_checkpoint_of_another_run_is_left_alone(
    trainer: Make, directory: Path, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    trainer().train(2)
    flip(directory / "ckpt-2.index")
    cut(directory / "ckpt-1.json")
    before = tree(directory)
    other = trainer(run="run2", restore="latest")
    with pytest.raises(CheckpointError, match="restore=latest"):
        other.start()
    assert tree(directory) == before


def test_what_another_run_is_saving_is_left_alone(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    run = trainer().train(1)
    run.store._files.staging.begin()
    (directory / ".saving-run1" / "ckpt-2.index").write_bytes(b"half")
    before = tree(directory)
    reader = trainer(run="run2", restore=str(directory / "ckpt-1"))
    assert reader.start() == directory / "ckpt-1"
    assert tree(directory) == before


def test_a_reader_changes_nothing(trainer: Make, directory: Path, tree: Tree) -> None:
    """An evaluation of an older checkpoint leaves the later ones where they are."""
    trainer().train(3)
    (directory / "checkpoint").unlink()
    before = tree(directory)
    for restore in (1, "latest", str(directory / "ckpt-2")):
        reader = trainer(run="evaluation", restore=restore)
        reader.start()
        with reader.store.borrowed(reader.store.find("latest")):
            assert reader.step == 3
    assert tree(directory) == before


def test_the_json_of_a_script_is_left_alone(trainer: Make, directory: Path, tree: Tree) -> None:
    script(directory, 2)
    (directory / "ckpt-2.json").write_text('{"accuracy": 0.5}')
    run = trainer()
    assert run.start() == directory / "ckpt-2"
    run.train(3)
    assert (directory / "ckpt-2.json").read_text() == '{"accuracy": 0.5}'
    assert trainer().start() == directory / "ckpt-3"


# --- where a run starts ------------------------------------------------------------------------------


def test_goes_on_from_a_script_and_counts_on(trainer: Make, directory: Path) -> None:
    script(directory, 3, prefix="model.ckpt")
    run = trainer(prefix="model.ckpt", numbering="count")
    assert run.start() == directory / "model.ckpt-3"
    assert run.train(5).names == ["model.ckpt-4", "model.ckpt-5"]
    again = trainer(prefix="model.ckpt", numbering="count")
    again.start()
    assert again.train(6).names == ["model.ckpt-4", "model.ckpt-5", "model.ckpt-6"]


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_of_a_scripts_checkpoints_the_newest_intact_one_is_used(
    trainer: Make,
    directory: Path,
    tree: Tree,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    script(directory, 3)
    for number in (3, 2):
        damage(directory / f"ckpt-{number}.data-00000-of-00001")
    before = tree(directory)
    for restore in ("auto", "latest"):
        caplog.clear()
        assert trainer(restore=restore).start() == directory / "ckpt-1"
        assert ["ckpt-3 cannot be read" in one for one in caplog.messages] == [True, False]
    with pytest.raises(CheckpointError, match="ckpt-2 cannot be read"):
        trainer(restore=2).start()
    damage(directory / "ckpt-1.data-00000-of-00001")
    with pytest.raises(CheckpointError, match=r"ckpt-3 cannot be read.*, nor can any other"):
        trainer().start()
    assert {name: before[name] for name in before if "ckpt-1.data" not in name} == {
        name: content for name, content in tree(directory).items() if "ckpt-1.data" not in name
    }


def test_a_number_a_path_and_the_latest(trainer: Make, directory: Path, tmp_path: Path) -> None:
    trainer().train(3)
    for restore, number in ((1, 1), (str(directory / "ckpt-2"), 2), ("latest", 3), ("best", 3)):
        best = _best("validation/loss", mode="min")
        other = trainer(tmp_path / "other", run="run2", restore=restore, best=best)
        if restore != str(directory / "ckpt-2"):
            other = trainer(run="run2", restore=restore, best=best)
        assert other.start() == directory / f"ckpt-{number}"
        assert other.step == number


def test_the_runs_own_newest_comes_before_what_restore_says(
    trainer: Make, directory: Path, tmp_path: Path
) -> None:
    trainer(tmp_path / "elsewhere", run="run0").train(2)
    given = {"restore": str(tmp_path / "elsewhere" / "ckpt-1")}
    run = trainer(**given)
    assert run.start() == tmp_path / "elsewhere" / "ckpt-1"
    run.train(4)
    assert trainer(**given).start() == directory / "ckpt-4"


def test_latest_of_other_runs_is_the_last_saved(trainer: Make, directory: Path) -> None:
    for run, step in (("run1", 9), ("run2", 4), ("run3", 7)):
        one = trainer(run=run, prefix=run, restore="none")
        one.start()
        one.value.assign([step, 0])
        one.save()
    assert trainer(run="run4", restore="latest").start() == directory / "run1-9"


@pytest.mark.parametrize("pace", [-1, 0])
def test_a_clock_that_was_set_back_makes_no_older_one_the_latest(
    trainer: Make, directory: Path, pace: int
) -> None:
    run = trainer()
    run.clock = lambda step: 1e9 + pace * step
    run.train(4)
    assert trainer(run="run2", restore="latest").start() == directory / "ckpt-4"


@pytest.mark.parametrize(
    ("restore", "message"),
    [
        (7, "restore=7: {directory} holds ckpt-1, ckpt-2"),
        ("latst", "restore=latst: {directory} holds ckpt-1, ckpt-2"),
        ("best", "restore=best: no checkpoint in {directory} has a validation/f1"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    trainer: Make, directory: Path, restore: Any, message: str
) -> None:
    trainer().train(2)
    other = trainer(run="run2", restore=restore, best=_best("validation/f1"))
    with pytest.raises(CheckpointError) as told:
        other.start()
    assert str(told.value) == message.format(directory=directory)


def test_nothing_there_is_answered_with_what_to_give(trainer: Make, directory: Path) -> None:
    with pytest.raises(CheckpointError) as told:
        trainer(restore="latest").start()
    assert str(told.value) == (
        f"restore=latest: {directory} holds no checkpoint; give auto, none, latest, best, a number "
        "or a path"
    )


def test_a_named_one_that_is_damaged_is_refused_with_the_reason(
    trainer: Make, directory: Path
) -> None:
    trainer().train(2)
    cut(directory / "ckpt-1.index")
    with pytest.raises(CheckpointError, match=r"restore=1: ckpt-1\.index has \d+ bytes instead of"):
        trainer(run="run2", restore=1).start()
    cut(directory / "ckpt-2.json")
    with pytest.raises(CheckpointError, match=r"restore=2: ckpt-2\.json is not readable"):
        trainer(run="run2", restore=2).start()


def test_going_back_leaves_the_later_ones_until_something_is_saved(
    trainer: Make, bare: Bare, directory: Path, tree: Tree
) -> None:
    trainer().train(4)
    before = tree(directory)
    back = trainer(run="run2", restore=2)
    back.start()
    assert tree(directory) == before
    back.value.assign([3, 33])
    back.save()
    assert back.names == ["ckpt-3"]
    left = sorted(path.stem for path in directory.glob("*.json"))
    assert left == ["ckpt-1", "ckpt-2", "ckpt-3"]
    later = {name: before[name] for name in before if name.startswith(("ckpt-3", "ckpt-4"))}
    assert tree(directory / "abandoned") == later
    assert bare(tf.train.latest_checkpoint(str(directory))) == [3, 33]


def test_going_back_looks_again_at_what_there_is_and_keeps_the_other_run_out(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    first = trainer().train(2)
    told: list[str] = []
    back = replace(
        trainer(run="run2", restore=1),
        options={"keep_out": lambda run: nullcontext(told.append(run))},
    )
    back.start()
    first.train(3)
    back.train(2)
    assert told == ["run1"]
    later = ["ckpt-2", "ckpt-3"]
    assert sorted(path.stem for path in (directory / "abandoned").glob("*.json")) == later


def test_a_line_that_has_let_go_of_where_it_was_gone_back_to_is_left_alone(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    first = trainer(max_to_keep=2).train(2)
    back = trainer(run="run2", restore=str(directory / "ckpt-1"), prefix="back")
    back.start()
    first.train(4)
    before = {name: one for name, one in tree(directory).items() if name.startswith("ckpt")}
    assert back.train(2).names == ["back-2"]
    assert before.items() <= tree(directory).items()
    assert not (directory / "abandoned").exists()


def test_a_run_at_work_loses_nothing_to_one_that_went_back(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    trainer().train(3)

    @contextmanager
    def keep_out(run: str) -> Iterator[None]:
        raise LockedError(f"{run} is at work")
        yield

    back = replace(trainer(run="run2", restore=1), options={"keep_out": keep_out})
    back.start()
    before = tree(directory)
    with pytest.raises(LockedError, match="run1 is at work"):
        back.train(2)
    assert tree(directory) == before


def test_a_run_that_is_no_longer_this_process_moves_nothing(
    trainer: Make, directory: Path, tree: Tree
) -> None:
    trainer().train(2)
    flip(directory / "ckpt-2.index")
    before = tree(directory)

    def check() -> None:
        raise LockedError("taken over")

    late = replace(trainer(), options={"check": check})
    for action in (late.store.open, late.store.start, lambda: late.store.find("latest")):
        with pytest.raises(LockedError):
            action()
    assert tree(directory) == before


# --- names that TensorFlow takes for patterns -----------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["run=[abc]", "a*b", "a?b", 'it\'s "it"', "späß 子", "{x,y}", "back\\slash", "-rf"]
)
def test_any_directory_name_will_do(trainer: Make, tmp_path: Path, tree: Tree, name: str) -> None:
    siblings = [tmp_path / sibling for sibling in ("run=a", "run=b", "aXb", "x", "backslash")]
    for sibling in siblings:
        script(sibling, 2)
    before = [tree(sibling) for sibling in siblings]
    run = trainer(tmp_path / name, max_to_keep=2)
    run.start()
    run.train(4)
    again = trainer(tmp_path / name, max_to_keep=2)
    assert again.start() == tmp_path / name / "ckpt-4"
    assert again.value.numpy().tolist() == [4, 40]
    assert again.names == ["ckpt-3", "ckpt-4"]
    assert [tree(sibling) for sibling in siblings] == before


def test_a_relative_moved_or_linked_directory(
    trainer: Make, tmp_path: Path, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = trainer(Path("first/checkpoints"))
    run.start()
    run.train(2)
    shutil.move("first", "second")
    Path("third").symlink_to("second")
    for place in ("second", "third"):
        again = trainer(Path(place) / "checkpoints")
        assert again.start() == Path(place) / "checkpoints" / "ckpt-2"
        assert bare(tf.train.latest_checkpoint(f"{place}/checkpoints")) == [2, 20]


def test_a_script_in_a_relative_directory(
    trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script(Path("tf_ckpts"), 2)
    assert trainer(Path("tf_ckpts")).start() == Path("tf_ckpts/ckpt-2")


def test_a_directory_that_is_a_file_is_told(trainer: Make, directory: Path) -> None:
    directory.write_text("")
    run = trainer()
    assert run.start() is None
    with pytest.raises(CheckpointError, match=f"{directory}.* could not be saved: .*make room"):
        run.train(1)


def test_manifests_say_what_was_saved(trainer: Make, directory: Path) -> None:
    trainer(best=_best("validation/loss")).train(2)
    found = read_manifest(directory / "ckpt-2.json")
    assert isinstance(found, Manifest)
    assert (found.run, found.number, found.order, found.step, found.epoch) == ("run1", 2, 2, 2, 1.0)
    assert (found.saved_at, found.begun_at) == (7200.0, 3600.0)
    assert (found.keys, found.variables) == ({"value": "model"}, {"value": "value"})
    assert (found.metrics, found.record) == ({"validation/loss": 1 / 3}, {"rows": 2})


def _best(metric: str, mode: Any = "max") -> Any:
    from runner.checkpoint.spec import Best

    return Best(metric=metric, mode=mode)
