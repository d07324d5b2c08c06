"""Every damage to a checkpoint's files that can be listed: single bits, lengths, zeros, exchanges, losses.

What is intact is told here without the runner's help: a checkpoint whose files are what was written.
The newest of those is used, whatever is wrong with the rest, and training ends with the same files,
byte for byte; where none is left, the launch is refused, however often, and nothing is thrown away.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from runner.errors import CheckpointError
from tests.chaos.damages import (
    DATA,
    ENDINGS,
    INDEX,
    MANIFEST,
    Damage,
    Files,
    bits,
    exchanges,
    flipped,
    lengths,
    losses,
    tails,
    zeros,
)
from tests.chaos.oracle import check_same_tree
from tests.chaos.scenarios import copy
from tests.chaos.tally import Bounded, Different, Lost, Tally
from tests.checkpoint.conftest import Trainer, tree

SPEC = {"max_to_keep": 3}
SAVED = 4
END = 7
"""By then those that were there, whole or not, have given way to others."""

BIT = "one bit flipped in a checkpoint's files"
CUT = "a checkpoint's file cut at any length"
OTHER = "zeros, trailing bytes, exchanged or missing files"
POINTER = "TensorFlow's checkpoint file gone, empty, zeros, stale"


@pytest.mark.parametrize("saved", [SAVED, 1], ids=["others are left", "it was the only one"])
@pytest.mark.parametrize(
    ("fault", "damages", "num_bounded"),
    [
        (BIT, bits, 40),
        (CUT, lengths, 20),
        (OTHER, zeros, 20),
        (OTHER, tails, 9),
        (OTHER, exchanges, 20),
        (OTHER, losses, 8),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_damage_is_noticed_and_the_newest_intact_one_used(
    scratch: Path,
    tally: Tally,
    bounded: Bounded,
    saved: int,
    fault: str,
    damages: Callable[[Files, str], Iterator[Damage]],
    num_bounded: int,
) -> None:
    template, straight = _prepared(scratch, saved)
    all_damages = list(damages(tree(template), f"ckpt-{saved}"))
    with tally.fault(fault) as cases:
        for damage in bounded(all_damages, num_bounded):
            with cases.case(_label(tree(template), damage)):
                _check(damage, template, straight)


def test_tensorflows_checkpoint_file_is_not_needed(
    scratch: Path, tally: Tally, bounded: Bounded
) -> None:
    """With every checkpoint there, and with the newest one damaged besides."""
    template, straight = _prepared(scratch, SAVED)
    whole = tree(template)["checkpoint"]
    contents = [None, b"", *(bytes(size) for size in (1, 40, len(whole), 4096))]
    contents += [whole.replace(b"ckpt-4", name) for name in (b"ckpt-2", b"ckpt-3", b"gone-9")]
    contents += [whole.replace(b"ckpt-4", name) for name in (b"/gone/ckpt-4", b"..", b"", b"\\xff")]
    cut = [whole[:size] for size in range(len(whole))]
    damages = [*contents, *bounded(cut, 6), *bounded(list(flipped(whole)), 16)]
    others: list[Damage] = [{}, {"ckpt-4.index": None}]
    with tally.fault(POINTER) as cases:
        for content, other in itertools.product(damages, others):
            with cases.case(f"{content!r} {list(other)}"):
                _check({"checkpoint": content, **other}, template, straight)


@pytest.mark.parametrize("left", [[DATA, INDEX], [DATA], [INDEX]], ids=str)
def test_what_has_no_manifest_is_nobodys_and_is_not_saved_over(
    scratch: Path, left: list[str]
) -> None:
    """A script's checkpoint has none either. So the run says what is in its way, and stops.

    It takes a hand to go on, so it is not counted with the cases that a launch alone mends.
    """
    directory, straight = _prepared(scratch, SAVED)
    for ending in {*ENDINGS} - {*left}:
        (directory / f"ckpt-4{ending}").unlink()
    before = tree(directory)
    trainer = Trainer(directory, spec=SPEC)
    assert trainer.start() == directory / "ckpt-3"
    with pytest.raises(CheckpointError, match=r"ckpt-4 is there already, .* move its files"):
        trainer.train(END)
    assert before.items() - tree(directory).items() <= {("checkpoint", before["checkpoint"])}
    for path in list(directory.glob("ckpt-4.*")):
        path.unlink()
    _go_on(directory, intact=3)
    check_same_tree(directory, straight)


# --- what has to follow -------------------------------------------------------------------------------


def _prepared(scratch: Path, saved: int) -> tuple[Path, Path]:
    """A directory of so many saves, and how it is at the end of a run that nothing happens to."""
    template = scratch / "template"
    Trainer(template, spec=SPEC).train(saved)
    straight = copy(template, scratch / "straight")
    _go_on(straight, intact=saved)
    return template, straight


def _check(damage: Damage, template: Path, straight: Path) -> None:
    directory = copy(template, template.with_name("damaged"))
    try:
        for name, content in damage.items():
            path = directory / name
            path.unlink() if content is None else path.write_bytes(content)
        found = tree(directory)
        intact = _intact(found, tree(template))
        if not intact:
            _check_refused(directory, found)
            return
        _go_on(directory, intact=max(intact))
        _check_set_aside(directory / "corrupt", found, intact)
        check_same_tree(directory, straight)
    finally:
        shutil.rmtree(directory)


def _intact(found: Files, whole: Files) -> list[int]:
    """The numbers of the checkpoints all of whose files are there as they were written."""
    numbers = [int(name[5:-5]) for name in whole if name.endswith(MANIFEST)]
    return [
        number
        for number in numbers
        if all(
            _read(found, f"ckpt-{number}{ending}") == _read(whole, f"ckpt-{number}{ending}")
            for ending in ENDINGS
        )
    ]


def _read(files: Files, name: str) -> bytes | None:
    """JSON may end with any number of newlines."""
    content = files.get(name)
    return content.rstrip(b"\n") if content and name.endswith(MANIFEST) else content


def _go_on(directory: Path, *, intact: int) -> None:
    """A launch that has to start from that one, and goes to the end."""
    trainer = Trainer(directory, spec=SPEC)
    try:
        path = trainer.start()
    except CheckpointError as error:
        raise Lost(f"refused, though ckpt-{intact} is intact: {error}") from error
    value = trainer.value.numpy().tolist()
    if path != directory / f"ckpt-{intact}" or value != [intact, 10 * intact]:
        raise Different(f"starts from {path or 'scratch'} with {value}")
    assert tf.train.latest_checkpoint(str(directory)) == str(path)
    try:
        trainer.train(END)
    except CheckpointError as error:
        raise Lost(f"does not get to the end: {error}") from error


def _check_refused(directory: Path, found: Files) -> None:
    """Again and again, with an error that speaks of checkpoints; every file is still somewhere."""
    for _ in range(2):
        trainer = Trainer(directory, spec=SPEC)
        try:
            path = trainer.start()
        except CheckpointError:
            assert trainer.step == 0, "refused after the state was touched"
        else:
            raise Different(f"starts from {path or 'scratch'}, though nothing is intact")
    assert {*found.values()} <= {*tree(directory).values()}, "something was thrown away"


def _check_set_aside(corrupt: Path, found: Files, intact: list[int]) -> None:
    """What is damaged, and nothing else, was moved there as it was; then it is cleared away."""
    whole = tuple(f"ckpt-{number}." for number in intact)
    damaged = {name for name in found if "." in name and not name.startswith(whole)}
    assert tree(corrupt) == {name: found[name] for name in damaged}
    if corrupt.exists():
        shutil.rmtree(corrupt)


def _label(whole: Files, damage: Damage) -> str:
    """What was done, in few words."""
    words = []
    for name, content in damage.items():
        if content is None:
            words.append(f"{name} is missing")
            continue
        pairs = enumerate(zip(content, whole[name], strict=False))
        first = next((at for at, (one, other) in pairs if one != other), "the end")
        words.append(f"{name} has {len(content)} of {len(whole[name])} bytes, from {first} others")
    return ", ".join(words)
