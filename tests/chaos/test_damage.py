"""Files that are not what was written: bit by bit, byte by byte, exchanged, emptied, gone.

Whatever is wrong with the newest checkpoint, it is told and set aside, the one before is used, and
the run ends with the same files, byte for byte, as one that nothing happened to. Nothing is ever
restored wrongly, and nothing begins anew by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from runner import run
from runner.checkpoint.manifest import read_manifests
from runner.errors import CheckpointError
from tests.chaos.oracle import check_same_result, check_same_tree, result_of
from tests.chaos.tally import Different, Lost, Tally
from tests.checkpoint.conftest import Trainer
from tests.test_resume import Stop, StopAt

FLIPPED = "one bit flipped in a file of a checkpoint, or in TensorFlow's `checkpoint`"
CUT = "a file of a checkpoint cut at any length"
REPLACED = "zeros, trailing bytes, exchanged and missing files of a checkpoint"
POINTER = "TensorFlow's `checkpoint` gone, empty, zeros, stale, wrong"
ROWS = "metrics.jsonl cut at any byte"
RECORD = "run.json cut at any byte"

PARTS = ("ckpt-3.index", "ckpt-3.data-00000-of-00001", "ckpt-3.json")
END = 4
SPARSE = 61
"""Of so many cases one is tried every day, and of so many goes on to the end of the run."""

Damage = Callable[[Path], None]


@pytest.fixture
def found(scratch: Path) -> Path:
    """The directory of a run after its third save; beside it, as ``straight``, that of one at its end."""
    trainer = Trainer(scratch / "straight", spec={"max_to_keep": 3}).train(3)
    shutil.copytree(trainer.directory, scratch / "found")
    trainer.train(END)
    return scratch / "found"


@pytest.mark.parametrize("every", [SPARSE, pytest.param(1, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("name", [*PARTS, "checkpoint"])
def test_one_bit_is_flipped(found: Path, tally: Tally, name: str, every: int) -> None:
    size = (found / name).stat().st_size
    cases = {f"bit {bit}": _flip(name, bit) for bit in range(0, 8 * size, every)}
    _try(cases, found, tally, FLIPPED, step=3 if name == "checkpoint" else 2)


@pytest.mark.parametrize("every", [SPARSE, pytest.param(1, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("name", PARTS)
def test_a_file_is_cut(found: Path, tally: Tally, name: str, every: int) -> None:
    sizes = range(0, (found / name).stat().st_size, every)
    _try({f"{size} bytes": _cut(name, size) for size in sizes}, found, tally, CUT, step=2)


@pytest.mark.parametrize("name", PARTS)
def test_a_file_is_replaced(found: Path, tally: Tally, name: str) -> None:
    content, other = (found / name).read_bytes(), (found / name.replace("-3", "-2")).read_bytes()
    cases = {
        "zeros": _replace(name, bytes(len(content))),
        "zeros at its end": _replace(name, content[: len(content) // 2] + bytes(len(content) // 2)),
        "a byte more": _replace(name, content + b"\0"),
        "twice": _replace(name, content * 2),
        "another one's": _replace(name, other),
        "a directory": _make_directory(name),
    }
    if not name.endswith(".json"):  # By what it holds, this one does not tell whose it is.
        cases["gone"] = _replace(name, None)
    _try(cases, found, tally, REPLACED, step=2)


def test_two_checkpoints_have_exchanged_their_files(found: Path, tally: Tally) -> None:
    """Neither is what its manifest says: the one before both is used."""
    cases = {name: _exchange(name, name.replace("-3", "-2")) for name in PARTS}
    _try(cases, found, tally, REPLACED, step=1)


def test_tensorflows_own_file_is_damaged(found: Path, tally: Tally) -> None:
    name = "checkpoint"
    content = (found / name).read_bytes()
    stale, absent = (content.replace(b"ckpt-3", other) for other in (b"ckpt-1", b"ckpt-9"))
    cases = {f"{size} bytes": _cut(name, size) for size in range(len(content))}
    cases |= {"gone": _replace(name, None), "zeros": _replace(name, bytes(len(content)))}
    cases |= {"stale": _replace(name, stale), "absent": _replace(name, absent)}
    cases |= {"no text": _replace(name, bytes(range(256)))}
    _try(cases, found, tally, POINTER, step=3)


def test_nothing_is_left(found: Path, tally: Tally) -> None:
    """One error, and never a run that begins anew by itself."""
    with tally.fault(REPLACED) as cases:
        for name in PARTS:
            with cases.case(f"{name} of all"):
                directory = _copy(found)
                for number in (1, 2, 3):
                    _cut(name.replace("-3", f"-{number}"), 10)(directory)
                for _ in range(2):
                    with pytest.raises(
                        CheckpointError, match=r"no (intact )?checkpoint of this run"
                    ):
                        Trainer(directory, spec={"max_to_keep": 3}).start()


COMMAND = ("engine.limit_steps=6", "checkpoint.every.steps=2", "tracking.log_every.steps=1")


@pytest.fixture
def stopped(workdir: Path) -> Path:
    """A run killed before its end; beside it, as ``straight``, one that was not."""
    run(*COMMAND, "run.dir=straight")
    with pytest.raises(Stop):
        run(*COMMAND, "run.dir=stopped", observer=StopAt(5))
    return workdir / "stopped"


@pytest.mark.parametrize("count", [1, pytest.param(40, marks=pytest.mark.chaos)])
@pytest.mark.parametrize(
    ("name", "fault"), [("metrics.jsonl", ROWS), ("run.json", RECORD)], ids=["rows", "record"]
)
def test_a_file_of_a_run_is_cut(
    stopped: Path, tally: Tally, name: str, fault: str, count: int
) -> None:
    size = (stopped / name).stat().st_size
    sizes = sorted({size * part // count for part in range(count)} | {size - 1})
    _resume({f"{at} of {size} bytes": _cut(name, at) for at in sizes}, stopped, tally, fault)


def test_the_newest_manifest_of_a_run_is_gone(stopped: Path, tally: Tally) -> None:
    """The checkpoint still tells whose it is: it is set aside, and the one before is used."""
    _resume({"gone": _replace("checkpoints/ckpt-4.json", None)}, stopped, tally, REPLACED)


@pytest.mark.parametrize("numbers", [(2,), (2, 4)])
def test_manifests_of_a_run_are_gone(stopped: Path, numbers: tuple[int, ...]) -> None:
    """What has none is no longer kept; the rest of the run is what it would have been."""
    for number in numbers:
        (stopped / f"checkpoints/ckpt-{number}.json").unlink()
    run(*COMMAND, "run.dir=stopped")
    straight = stopped.with_name("straight")
    assert result_of(stopped)["rows"] == result_of(straight)["rows"]
    kept, wanted = (
        {one.name: (one.fingerprint, one.order) for one in read_manifests(place / "checkpoints")}
        for place in (stopped, straight)
    )
    assert kept == {name: wanted[name] for name in wanted if int(name[5:]) not in numbers}


def _resume(damages: dict[str, Damage], stopped: Path, tally: Tally, fault: str) -> None:
    """Each damage by itself; the same command brings the run to the same end."""
    straight = result_of(stopped.with_name("straight"))
    with tally.fault(fault) as cases:
        for number, (label, damage) in enumerate(damages.items()):
            with cases.case(label):
                directory = Path(shutil.copytree(stopped, stopped.with_name(f"damaged-{number}")))
                damage(directory)
                run(*COMMAND, f"run.dir={directory}")
                shutil.rmtree(directory / "checkpoints/corrupt", ignore_errors=True)
                check_same_result(result_of(directory), straight)


def _try(damages: dict[str, Damage], found: Path, tally: Tally, fault: str, *, step: int) -> None:
    """Each damage by itself; then the run goes on from ``step``, some of them up to the end."""
    with tally.fault(fault) as cases:
        for number, (label, damage) in enumerate(damages.items()):
            with cases.case(label):
                directory = _copy(found)
                damage(directory)
                trainer = Trainer(directory, spec={"max_to_keep": 3})
                _check_start(trainer, step=step)
                if number % SPARSE == 0:
                    trainer.train(END)
                    shutil.rmtree(directory / "corrupt", ignore_errors=True)
                    check_same_tree(directory, found.with_name("straight"))


def _check_start(trainer: Trainer, *, step: int) -> None:
    try:
        path = trainer.start()
    except CheckpointError as error:
        raise Lost(str(error)) from error
    if trainer.value.numpy().tolist() != [step, 10 * step]:
        raise Different(f"{trainer.value.numpy().tolist()} was restored from {path}")
    assert tf.train.latest_checkpoint(str(trainer.directory)) == str(path)
    set_aside = {Path(place).name for place in trainer.store.damaged}
    assert set_aside == {f"ckpt-{number}" for number in range(step + 1, 4)}


def _copy(found: Path) -> Path:
    directory = found.with_name("damaged")
    shutil.rmtree(directory, ignore_errors=True)
    return Path(shutil.copytree(found, directory))


def _flip(name: str, bit: int) -> Damage:
    def damage(directory: Path) -> None:
        content = bytearray((directory / name).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (directory / name).write_bytes(content)

    return damage


def _cut(name: str, size: int) -> Damage:
    return lambda directory: (
        (directory / name).write_bytes((directory / name).read_bytes()[:size]) and None
    )


def _replace(name: str, content: bytes | None) -> Damage:
    def damage(directory: Path) -> None:
        (directory / name).unlink() if content is None else (directory / name).write_bytes(content)

    return damage


def _make_directory(name: str) -> Damage:
    def damage(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return damage


def _exchange(one: str, other: str) -> Damage:
    def damage(directory: Path) -> None:
        (directory / one).rename(directory / "aside")
        (directory / other).rename(directory / one)
        (directory / "aside").rename(directory / other)

    return damage
