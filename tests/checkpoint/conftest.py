"""A store of one small variable, whose clock stands at the step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from runner.checkpoint.manifest import Manifest, file_entry
from runner.checkpoint.saver import Moment
from runner.checkpoint.spec import CheckpointSpec
from runner.checkpoint.store import CheckpointStore
from runner.state import Progress

HOUR = 3600.0


@dataclass
class Trainer:
    """A run whose state is one variable that equals the step, and whose steps take an hour."""

    directory: Path
    run: str = "run1"
    spec: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[int], float] = lambda step: step * HOUR
    """Seconds since 1970 at a step."""
    tells_run: bool = False
    """Whether its checkpoints name the run themselves, as with the key progress."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further ones of the store."""

    def __post_init__(self) -> None:
        self.value = tf.Variable([0, 0], dtype=tf.int64, name="value")
        self.store = self._store()

    def _store(self) -> CheckpointStore:
        spec = CheckpointSpec(
            directory=str(self.directory), **{"keys": {"value": "model"}, **self.spec}
        )
        parts: dict[str, Any] = {"value": self.value}
        if self.tells_run:
            parts["progress"] = progress = Progress()
            progress.record.run = self.run
        return CheckpointStore(
            spec,
            parts,
            directory=self.directory,
            run=self.run,
            now=lambda: self.clock(self.step),
            **self.options,
        )

    @property
    def step(self) -> int:
        return int(self.value[0])

    def start(self) -> Path | None:
        """What a launch does; returns what it started from."""
        self.store.open()
        path = self.store.start()
        if path is not None:
            self.store.restore(path)
        return path

    def save(self, **changes: Any) -> Manifest:
        self.begin(**changes)
        manifest = self.store.settle()
        assert manifest is not None
        return manifest

    def begin(self, **changes: Any) -> None:
        """A save beside what follows."""
        self.store.begin(replace(self.moment, **changes))

    @property
    def moment(self) -> Moment:
        return Moment(
            order=0,
            step=self.step,
            epoch=self.step / 2,
            phase="train",
            metrics={"validation/loss": 1 / (self.step + 1)},
            record={"rows": self.step},
        )

    def train(self, until: int, *, beside: bool = False, **changes: Any) -> Trainer:
        """Goes on to step ``until`` and saves after every step, or beside the steps."""
        while self.step < until:
            self.value.assign_add([1, 10])
            self.begin(**changes) if beside else self.save(**changes)
        self.store.settle()
        return self

    @property
    def names(self) -> list[str]:
        return [manifest.name for manifest in self.store.manifests]


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes runs in ``tmp_path / "checkpoints"``."""

    def make(
        directory: Path | None = None, *, run: str = "run1", tells_run: bool = False, **spec: Any
    ) -> Trainer:
        return Trainer(directory or tmp_path / "checkpoints", run, spec, tells_run=tells_run)

    return make


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory for thousands of small files: in memory, where there is such a place."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=place) as directory:
        yield Path(directory)


@pytest.fixture
def bare() -> Callable[[Path | str | None], list[int]]:
    """What plain TensorFlow reads from a checkpoint of a ``Trainer``."""

    def read(path: Path | str | None) -> list[int]:
        assert path is not None, "there is no checkpoint"
        value = tf.Variable([-1, -1], dtype=tf.int64)
        tf.train.Checkpoint(value=value).restore(str(path)).assert_consumed()
        numbers: list[int] = value.numpy().tolist()
        return numbers

    return read


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Manifest]:
    """Makes manifests of checkpoints whose two files stand in ``tmp_path``."""

    def make(number: int = 1, **changes: Any) -> Manifest:
        name = f"ckpt-{number}"
        files = [tmp_path / f"{name}.data-00000-of-00001", tmp_path / f"{name}.index"]
        for file in files:
            file.write_bytes(file.name.encode())
        made = Manifest(
            name=name,
            run="run1",
            number=number,
            order=number,
            step=number,
            epoch=number / 2,
            phase="train",
            keys={"value": "model"},
            optimizers={},
            variables={"value": "value"},
            record={},
            saved_at=number * HOUR,
            begun_at=HOUR,
            fingerprint="",
            files={file.name: file_entry(file) for file in files},
        )
        return replace(made, **changes)

    return make


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below ``directory``, byte for byte."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.fixture(name="tree")
def tree_fixture() -> Callable[[Path], dict[str, bytes]]:
    """Reads all files below a directory."""
    return tree
