"""A save beside training: what it holds, when it ends, and what becomes of its errors."""

from __future__ import annotations

import errno
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner.checkpoint import saver
from runner.checkpoint.snapshot import Snapshots
from runner.checkpoint.spec import Best
from runner.errors import CheckpointError
from runner.lock import LockedError

Make = Callable[..., Any]
Bare = Callable[[Path | str | None], list[int]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Before it is set, no thread writes what was taken; whoever waits for a save sets it."""
    opened = threading.Event()
    real_take, real_wait = Snapshots.take, saver.wait

    def take(snapshots: Snapshots, path: Path) -> Callable[[], None]:
        write = real_take(snapshots, path)

        def late() -> None:
            assert opened.wait(60)
            write()

        return late

    def wait(futures: Any) -> None:
        opened.set()
        real_wait(futures)

    monkeypatch.setattr(Snapshots, "take", take)
    monkeypatch.setattr(saver, "wait", wait)
    yield opened
    opened.set()


def test_a_save_holds_the_state_as_it_was_when_it_began(
    trainer: Make, directory: Path, bare: Bare, gate: threading.Event
) -> None:
    run = trainer().train(1)
    gate.clear()
    run.value.assign([2, 20])
    run.begin()
    assert run.store.is_saving
    run.value.assign([7, 70])
    assert bare(tf.train.latest_checkpoint(str(directory))) == [1, 10]
    assert run.store.settle().name == "ckpt-2"
    assert not run.store.is_saving
    assert bare(tf.train.latest_checkpoint(str(directory))) == [2, 20]
    assert run.store.settle() is None


def test_there_is_one_at_a_time(
    trainer: Make, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real = Snapshots.take

    def take(snapshots: Snapshots, path: Path) -> Callable[[], None]:
        events.append(f"take {path.name}")
        write = real(snapshots, path)

        def told() -> None:
            write()
            events.append(f"wrote {path.name}")

        return told

    monkeypatch.setattr(Snapshots, "take", take)
    run = trainer()
    run.start()
    for step in (1, 2, 3):
        gate.clear()
        run.value.assign([step, 0])
        run.begin()
    run.store.settle()
    assert events == [f"{one} ckpt-{step}" for step in (1, 2, 3) for one in ("take", "wrote")]
    assert run.names == ["ckpt-1", "ckpt-2", "ckpt-3"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: run.names == ["ckpt-1", "ckpt-2"],
        lambda run: run.store.find("latest").name == "ckpt-2",
        lambda run: run.store.damaged == {},
    ],
)
def test_whoever_asks_for_what_there_is_waits_for_it(
    trainer: Make, gate: threading.Event, ask: Callable[[Any], bool]
) -> None:
    run = trainer().train(1)
    gate.clear()
    run.value.assign([2, 20])
    run.begin()
    assert ask(run)
    assert gate.is_set()


def test_who_has_measured_nothing_does_not_wait(trainer: Make, gate: threading.Event) -> None:
    run = trainer().train(1)
    gate.clear()
    run.begin()
    assert not run.store.would_be_best({})
    assert not gate.is_set()


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("end", ["settle", "begin"])
def test_an_error_in_the_thread_is_told_once_and_never_passes_for_a_save(
    trainer: Make, directory: Path, bare: Bare, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    run = trainer().train(1)
    with monkeypatch.context() as while_full:
        while_full.setattr(Snapshots, "take", lambda *_: full)
        run.value.assign([2, 20])
        run.begin()
    with pytest.raises(CheckpointError, match=r"ckpt-2 could not be saved: .*No space left"):
        run.store.settle() if end == "settle" else run.begin()
    assert run.store.settle() is None
    assert run.names == ["ckpt-1"]
    assert not list(directory.glob(".saving-*"))
    assert bare(tf.train.latest_checkpoint(str(directory))) == [1, 10]
    run.save()
    assert bare(tf.train.latest_checkpoint(str(directory))) == [2, 20]


def test_what_a_checkpoint_counts_on_is_on_the_disk_before_it(
    trainer: Make, directory: Path
) -> None:
    seen: list[list[str]] = []

    def ready() -> None:
        seen.append(sorted(path.suffix for path in directory.rglob("ckpt-1.*")))

    run = replace(trainer(), options={"ready": ready})
    run.train(1)
    assert seen == [[".data-00000-of-00001", ".index"]]


def test_what_the_one_that_took_over_has_staged_is_not_swept(
    trainer: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_over = threading.Event()

    def check() -> None:
        if taken_over.is_set():
            raise LockedError("taken over")

    run = replace(trainer(), options={"check": check}).train(1)
    staged = directory / ".saving-run1" / "theirs"

    def interrupted() -> None:
        taken_over.set()
        staged.parent.mkdir(exist_ok=True)
        staged.touch()
        full()

    monkeypatch.setattr(Snapshots, "take", lambda *_: interrupted)
    run.begin()
    with pytest.raises(LockedError, match="taken over"):
        run.store.settle()
    assert staged.exists()


def test_an_evaluation_is_held_against_the_save_at_work_without_waiting_for_it(
    trainer: Make, gate: threading.Event
) -> None:
    run = trainer(best=Best(metric="validation/loss", mode="min")).train(1)
    gate.clear()
    run.value.assign([2, 20])
    run.begin(metrics={"validation/loss": 0.2})
    better = [run.store.would_be_best({"validation/loss": loss}) for loss in (0.3, 0.2, 0.1)]
    assert better == [False, False, True]
    assert not gate.is_set()
    run.store.settle()
    assert better == [run.store.would_be_best({"validation/loss": one}) for one in (0.3, 0.2, 0.1)]


def test_a_save_that_failed_holds_nothing_of_the_state(
    trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer().train(1)
    taken: list[weakref.ref[Any]] = []
    real = tf.raw_ops.SaveV2

    def fails(**arguments: Any) -> None:
        state = [tensor for tensor in arguments["tensors"] if tensor.dtype != tf.string]
        taken.extend(weakref.ref(tensor) for tensor in state)
        real(**{**arguments, "prefix": "/dev/null/no"})

    monkeypatch.setattr(tf.raw_ops, "SaveV2", fails)
    run.begin()
    with pytest.raises(CheckpointError) as error:
        run.store.settle()
    gc.collect()
    assert taken
    assert not any(one() is not None for one in taken), error


def test_a_save_that_could_not_begin_holds_nothing_of_the_state(
    trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer()
    run.start()
    taken: list[weakref.ref[Any]] = []

    def take(snapshots: Snapshots, path: Path) -> None:
        state = tf.constant(1)
        taken.append(weakref.ref(state))
        full()

    monkeypatch.setattr(Snapshots, "take", take)
    with pytest.raises(CheckpointError) as error:
        run.begin()
    gc.collect()
    assert [one() for one in taken] == [None], error


@pytest.mark.parametrize("which", ["ready", "check"])
def test_a_run_that_is_no_longer_this_process_saves_nothing(
    trainer: Make, directory: Path, which: str
) -> None:
    taken_over = threading.Event()

    def check() -> None:
        if taken_over.is_set():
            raise LockedError("taken over")

    run = replace(trainer(), options={which: check}).train(1)
    taken_over.set()
    run.value.assign([2, 20])
    run.begin()
    with pytest.raises(LockedError, match="taken over"):
        run.store.settle()
    assert sorted(path.name for path in directory.rglob("ckpt-*.json")) == ["ckpt-1.json"]
