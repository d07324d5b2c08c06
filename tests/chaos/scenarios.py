"""What things happen to: sittings of a store of one variable, and a run that takes half a second."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from runner.checkpoint.spec import Best
from runner.errors import CheckpointError
from tests.chaos.tally import Different
from tests.checkpoint.conftest import HOUR, Trainer

_WAITING = "{_target_: runner.callbacks.StopBelow, metric: train/loss, limit: -1}"
"""What could end the phase at every row, and never does: so every row ends a call."""
# Of all that is shipped what is built fastest; it saves at steps 2, 4 and 6, and keeps one.
TINY = (
    *("data=diabetes", "model=linear", "task=regression", "optimizer=sgd", "engine.compile=eager"),
    *("phases=train", "phases.train.evaluate=null", "checkpoint.best=null", "engine.limit_steps=6"),
    *("checkpoint.every.steps=2", "checkpoint.max_to_keep=1", "tracking.log_every.steps=1"),
    f"+callbacks.waiting={_WAITING}",
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A directory as it is found, a sitting in it, and one more that ends the run a step later."""

    saved: int = 0
    """The step at which the directory stands."""
    until: int
    """The step at which the sitting ends."""
    spec: dict[str, Any] = field(default_factory=dict)
    run: str = "run1"
    given: dict[str, Any] = field(default_factory=dict)
    """What the sitting's config has besides ``spec``."""
    scheduled: bool = True
    """False: the sitting is asked to stop, and saves out of turn."""
    beside: bool = False
    """The saves of the sitting are made while the next step is done."""
    damage: dict[str, bytes | None] = field(default_factory=dict)
    """Files whose content is another, or that are not there."""
    tells_run: bool = False
    """Whether the checkpoints name the run themselves, as with the key progress."""
    latest: tuple[int, ...] = ()
    """Besides the two steps above, where the latest checkpoint may stand on the way."""

    def is_as_found(self, directory: Path) -> bool:
        """Whether what leads to the latest checkpoint still is as it was damaged."""
        found = directory / "checkpoint"
        if "checkpoint" in self.damage:
            return found.read_bytes() == self.damage["checkpoint"]
        latest = tf.train.latest_checkpoint(str(directory))
        return latest is not None and any(
            name.startswith(f"{Path(latest).name}.") for name in self.damage
        )

    def prepare(self, directory: Path) -> None:
        """Makes the directory as the sitting finds it."""
        if self.saved:
            Trainer(directory, spec=self.spec, tells_run=self.tells_run).train(self.saved)
        for name, content in self.damage.items():
            path = directory / name
            path.unlink() if content is None else path.write_bytes(content)


SCENARIOS = {
    "the first save": Scenario(until=1),
    "a save": Scenario(saved=2, until=3),
    "a save that deletes": Scenario(saved=3, until=4, spec={"max_to_keep": 2}),
    "a save of the same number": Scenario(saved=2, until=3, spec={"numbering": 100}),
    "saves beside training": Scenario(
        saved=2, until=5, spec={"max_to_keep": 2}, beside=True, latest=(3, 4)
    ),
    "a save that holds for good": Scenario(
        saved=3, until=4, spec={"max_to_keep": 1, "keep_every_n_hours": 2}
    ),
    "a save beside the best": Scenario(
        saved=3,
        until=4,
        spec={"max_to_keep": 1, "best": Best(metric="validation/loss", mode="max")},
    ),
    "a save on request": Scenario(saved=2, until=3, scheduled=False),
    "a save on request of the same number": Scenario(
        saved=2, until=3, spec={"numbering": 100}, scheduled=False
    ),
    "setting one aside": Scenario(saved=4, until=4, damage={"ckpt-4.index": b""}, latest=(3,)),
    "setting several aside": Scenario(
        saved=4,
        until=3,
        damage={"ckpt-4.index": None, "ckpt-3.data-00000-of-00001": b"damaged", "checkpoint": b""},
        latest=(2,),
    ),
    "setting one without its manifest aside": Scenario(
        saved=4, until=4, damage={"ckpt-4.json": None}, tells_run=True, latest=(3,)
    ),
    "going back to an older one": Scenario(
        saved=4, until=3, run="run2", given={"restore": 2}, latest=(2,)
    ),
}


def launch(scenario: Scenario, directory: Path) -> None:
    """A sitting that gets no further than to where it starts."""
    _launched(scenario, directory)


def sit(scenario: Scenario, directory: Path) -> None:
    """The sitting that something happens to."""
    trainer = _launched(scenario, directory)
    trainer.train(scenario.until, beside=scenario.beside, scheduled=scenario.scheduled)


def go_on(scenario: Scenario, directory: Path) -> None:
    """A sitting to the end of the run, which nobody asks to stop."""
    trainer = _launched(scenario, directory)
    while not scenario.scheduled and trainer.step < scenario.until:
        trainer.value.assign_add([1, 10])
    trainer.train(scenario.until + 1)


def sit_through(scenario: Scenario, directory: Path, failed: Path) -> str:
    """A sitting that outlives an error: it launches again or, after a save, goes on to the next.

    Returns what it was told. As the directory was then, it is copied to ``failed``.
    """
    trainer = None
    try:
        trainer = _launched(scenario, directory)
        trainer.train(scenario.until, beside=scenario.beside, scheduled=scenario.scheduled)
    except CheckpointError as error:
        copy(directory, failed)
        trainer = trainer or _launched(scenario, directory)
        trainer.train(scenario.until + 1)
        return str(error)
    trainer.train(scenario.until + 1)
    return ""


def skip(scenario: Scenario, directory: Path) -> None:
    """A run that does all the steps of a sitting, but saves one later for the first time."""
    trainer = _launched(scenario, directory)
    while trainer.step < scenario.until:
        trainer.value.assign_add([1, 10])
    trainer.train(scenario.until + 1)


def go_on_in_each(scenario: Scenario, directories: Sequence[Path]) -> list[str]:
    """Goes on to the end in each of these; returns the tracebacks, empty where there is none."""
    errors = []
    for directory in directories:
        try:
            go_on(scenario, directory)
            errors.append("")
        except Exception:
            errors.append(traceback.format_exc())
    return errors


def sit_until(
    directory: Path,
    *,
    since: int,
    until: int,
    spec: dict[str, Any] | None = None,
    clock: Callable[[int], float] = lambda step: step * HOUR,
) -> None:
    """A sitting of no scenario, which by default keeps one.

    Raises:
        Different: it does not start at step ``since``, where the one before ended.
    """
    trainer = Trainer(directory, spec=spec or {"max_to_keep": 1}, clock=clock)
    path, value = trainer.start(), trainer.value.numpy().tolist()
    if (path is None) != (since == 0) or value != [since, 10 * since]:
        raise Different(f"starts from {path or 'scratch'} with {value}, not at step {since}")
    trainer.train(until)


def copy(source: Path, target: Path) -> Path:
    """The tree ``source`` as ``target``, if there is one."""
    return Path(shutil.copytree(source, target)) if source.exists() else target


def _launched(scenario: Scenario, directory: Path) -> Trainer:
    """What every sitting begins with: afterwards, the latest is the one it started from."""
    spec = {**scenario.spec, **scenario.given}
    trainer = Trainer(directory, scenario.run, spec, tells_run=scenario.tells_run)
    path = trainer.start()
    if path is not None and trainer.names:
        latest = tf.train.latest_checkpoint(str(directory))
        assert latest == str(path), f"starts from {path}, but the latest is {latest}"
    return trainer
