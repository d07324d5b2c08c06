"""Killed before every operation on files, or failing at it: no instant loses a checkpoint.

What a save does to the file system is counted once, and then done again for every operation, with a
kill or an error in its place. The oracle is plain TensorFlow, a store in a new process's place, and a
run that nothing happened to.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner.checkpoint.staging import Staging
from runner.errors import CheckpointError

OPERATIONS = ("replace", "link", "unlink", "mkdir", "rmdir")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)

Bare = Callable[[Path | str | None], list[int]]
Tree = Callable[[Path], dict[str, bytes]]


class Killed(BaseException):
    """Stands for SIGKILL: nothing between the operation and the test may catch it and tidy up."""


class Instants:
    """Counts the operations that change files, and raises in place of one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        self._error: BaseException = Killed()
        self.count = 0
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))
        # A test outlives no power cut: when to sync counts here, and the seconds it takes do not.
        monkeypatch.setattr(os, "fsync", self._watched(lambda descriptor: None))
        monkeypatch.setattr(io, "open", self._watched_open(io.open))
        monkeypatch.setattr(tf.train.Checkpoint, "write", self._watched_write())

    @contextmanager
    def armed(self, at: int | None, error: BaseException) -> Iterator[None]:
        """Raises ``error`` in place of operation ``at`` inside the block; None only counts."""
        self._left, self._error, self.count = at, error, 0
        try:
            yield
        finally:
            self._left = None

    def pass_one(self) -> None:
        self.count += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise self._error

    def _watched(self, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.pass_one()
            return real(*arguments, **options)

        return call

    def _watched_open(self, real: Any) -> Any:
        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if "w" in mode:
                self.pass_one()
            return real(file, mode, *arguments, **options)

        return call

    def _watched_write(self) -> Any:
        """TensorFlow's own writing, which dies with nothing, with half the data, and before the index."""
        real = tf.train.Checkpoint.write

        def write(checkpoint: Any, path: str) -> str:
            self.pass_one()
            real(checkpoint, path)
            index, data = Path(f"{path}.index"), Path(f"{path}.data-00000-of-00001")
            whole = {file: file.read_bytes() for file in (data, index)}
            index.unlink()
            data.write_bytes(whole[data][: len(whole[data]) // 2])
            self.pass_one()
            data.write_bytes(whole[data])
            self.pass_one()
            index.write_bytes(whole[index])
            return path

        return write


@pytest.fixture
def instants(monkeypatch: pytest.MonkeyPatch) -> Instants:
    return Instants(monkeypatch)


SCENARIOS: dict[str, dict[str, Any]] = {
    "first": {"saved": 0, "spec": {}},
    "normal": {"saved": 2, "spec": {}},
    "deleting": {"saved": 3, "spec": {"max_to_keep": 2}},
    "same number": {"saved": 2, "spec": {"numbering": 100}},
    "holding": {"saved": 3, "spec": {"max_to_keep": 1, "keep_every_n_hours": 2}},
    "counting": {"saved": 3, "spec": {"max_to_keep": 1, "numbering": "count"}},
    "no links": {"saved": 2, "spec": {"numbering": 100}, "links": False},
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_killed_before_any_operation(
    trainer: Callable[..., Any],
    bare: Bare,
    tree: Tree,
    scratch: Path,
    instants: Instants,
    monkeypatch: pytest.MonkeyPatch,
    scenario: dict[str, Any],
) -> None:
    if not scenario.get("links", True):
        monkeypatch.setattr(os, "link", _no_links)
    saved, spec = scenario["saved"], scenario["spec"]
    template, straight = scratch / "template", trainer(scratch / "straight", **spec)
    straight.start()
    straight.train(saved)
    _copy(straight.directory, template)
    names = {saved: straight.names}
    with instants.armed(None, Killed()):
        straight.train(saved + 1)
    names[saved + 1] = straight.names
    operations = instants.count
    assert operations > 12
    straight.train(saved + 2)
    for at in range(operations):
        directory = _copy(template, scratch / f"killed-{at}")
        killed = trainer(directory, **spec)
        killed.start()
        with pytest.raises(Killed), instants.armed(at, Killed()):
            killed.train(saved + 1)
        latest = tf.train.latest_checkpoint(str(directory))
        assert latest is not None or saved == 0, at
        if latest is not None:
            assert bare(latest) in ([saved, 10 * saved], [saved + 1, 10 * (saved + 1)]), at
        resumed = trainer(directory, **spec)
        started = resumed.start()
        assert resumed.step in (saved, saved + 1), at
        assert resumed.value.numpy().tolist() == [resumed.step, 10 * resumed.step], at
        if started is not None:
            assert tf.train.latest_checkpoint(str(directory)) == str(started), at
            assert bare(started) == [resumed.step, 10 * resumed.step], at
        assert all(one.fault(directory) is None for one in resumed.store.manifests), at
        assert resumed.names == names[resumed.step], at
        resumed.train(saved + 2)
        assert tree(directory) == tree(scratch / "straight"), at


@pytest.mark.parametrize("scenario", ["first", "deleting", "same number"])
def test_failing_at_any_operation(
    trainer: Callable[..., Any],
    bare: Bare,
    scratch: Path,
    instants: Instants,
    scenario: str,
) -> None:
    """The error is told, the earlier checkpoints are listed and whole, and the process can go on."""
    saved, spec = SCENARIOS[scenario]["saved"], SCENARIOS[scenario]["spec"]
    errors = [OSError(number, os.strerror(number)) for number in ERRORS]
    template, counted = scratch / "template", trainer(scratch / "counted", **spec)
    counted.start()
    counted.train(saved)
    _copy(counted.directory, template)
    with instants.armed(None, errors[0]):
        counted.train(saved + 1)
    for at in range(instants.count):
        directory = _copy(template, scratch / f"failed-{at}")
        failing = trainer(directory, **spec)
        failing.start()
        error = errors[at % len(errors)]
        with instants.armed(at, error):
            try:
                failing.train(saved + 1)
            except CheckpointError as told:
                assert str(error.strerror) in str(told)
                staging = Staging(directory, run=failing.run)
                # What cannot be completed takes no room; what is published may still be swept.
                published = (
                    failing.store.manifests[-1:] and failing.store.manifests[-1].step > saved
                )
                assert published or not staging.exists() or staging.completed(), at
        if saved:
            assert bare(tf.train.latest_checkpoint(str(directory)))[0] in (saved, saved + 1), at
            assert bare(failing.store.find("latest"))[0] in (saved, saved + 1), at
        assert all(one.fault(directory) is None for one in failing.store.manifests), at
        failing.train(saved + 2)
        assert bare(tf.train.latest_checkpoint(str(directory)))[0] == saved + 2, at
        assert all(one.fault(directory) is None for one in failing.store.manifests), at
        assert not any(path.name.startswith(".") for path in directory.iterdir()), at


@pytest.mark.parametrize("found", ["corrupt", "gone back"])
def test_killed_while_moving_aside(
    trainer: Callable[..., Any],
    bare: Bare,
    scratch: Path,
    instants: Instants,
    found: str,
) -> None:
    """Setting aside a damaged one, and leaving the line that was gone back from."""

    template = scratch / "template"
    trainer(template).train(4)
    if found == "corrupt":
        (template / "ckpt-4.index").write_bytes(b"damaged")
    given: dict[str, Any] = {} if found == "corrupt" else {"run": "run2", "restore": 2}
    until = 5 if found == "corrupt" else 3

    def act(directory: Path) -> int:
        run = trainer(directory, **given)
        run.start()
        return int(run.train(until).step)

    counted = _copy(template, scratch / "counted")
    with instants.armed(None, Killed()):
        act(counted)
    left = sorted(path.name for path in counted.rglob("*"))
    for at in range(instants.count):
        directory = _copy(template, scratch / f"killed-{at}")
        with pytest.raises(Killed), instants.armed(at, Killed()):
            act(directory)
        latest = tf.train.latest_checkpoint(str(directory))
        assert latest is not None, at
        if found != "corrupt" or not latest.endswith("ckpt-4"):
            assert bare(latest)[0] in (2, 3, 4, 5), at
        step = act(directory)
        assert sorted(path.name for path in directory.rglob("*")) == left, at
        assert bare(tf.train.latest_checkpoint(str(directory)))[0] == step, at


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target)) if source.exists() else target


def _no_links(*_: object, **__: object) -> None:
    raise PermissionError
