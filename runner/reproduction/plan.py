"""How a saved run is done afresh: where, from which config, and in which parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from runner.config.hydra import experiment_of, id_of
from runner.config.reproduction import first_launch
from runner.config.saved import saved_config
from runner.errors import ConfigError, UserError
from runner.record import RunRecord, Sitting
from runner.reproduction.matters import matters, surroundings
from runner.rundir import RunDirectory
from runner.standing import last_step, status

FOLDER = "reproductions"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a run did from one change of its config to the next."""

    overrides: list[str]
    """What had been changed when it began; nothing at first."""
    until: int | None
    """The step at which the next change took hold; None for the end of the run."""
    data: dict[str, str]
    """Hashes of what it was done with, if they are known."""
    settings: str | None
    """What the environment had a part in, if it is known; see `runner.config.environment`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that is to be done afresh."""

    run: Path
    record: RunRecord
    directory: Path
    """Where it is done afresh."""
    parts: list[Part]
    matters: list[str]
    """What could matter and is not as it was."""

    @property
    def done(self) -> RunRecord | None:
        """The run.json of what was done afresh so far."""
        return RunDirectory(self.directory).read()

    @property
    def is_finished(self) -> bool:
        """Whether it has been done, to the end of the last part."""
        done = self.done
        return done is not None and done.status == "finished" and self.begun == len(self.parts) - 1

    @property
    def begun(self) -> int:
        """The part at which it stands, counted from 0."""
        done = self.done
        return len(done.amendments) if done else 0

    def config(self) -> DictConfig:
        """What the run was first launched with, in its new place.

        Raises:
            ConfigError: it is not right any more, or what the run started from is gone.
        """
        return first_launch(
            self.run,
            directory=self.directory,
            run_id=self.record.id,
            restored=next((one.restored for one in self.record.sittings if _has_begun(one)), None),
        )

    def check_reached(self, part: Part) -> None:
        """Makes sure that a part came as far as the original.

        Raises:
            UserError: it ended earlier, so that there is nothing like what the original went on from.
        """
        done = self.done
        reached = done.sittings[-1].to_step if done and done.sittings else None
        if reached != part.until:
            raise UserError(
                f"{self.directory}: ended at step {reached}, where {self.run} was gone on with at step "
                f"{part.until}, with {' '.join(self.parts[self.begun + 1].overrides)}; it is another run"
            )


def plan_of(run: Path) -> Plan:
    """What it takes to do the run in the directory ``run`` afresh. Nothing is written.

    Raises:
        ConfigError: there is no such run, it is not finished, or its config is not right any more.
        DataError: its data are gone.
        RunDirectoryError: its run.json cannot be read.
    """
    run = run.resolve()
    record = RunDirectory(run).read()
    if record is None:
        raise ConfigError(f"RUN={run}: no such directory with a run.json")
    _check_finished(run, record)
    parts, amendments = parts_of(record), record.amendments
    configs = [saved_config(run, amendments=amendments[:count]) for count in range(len(parts))]
    id, experiments = id_of(configs[0]), [experiment_of(one) for one in configs]
    now = surroundings(experiments[-1], record, data=[one.data for one in experiments])
    return Plan(
        run=run,
        record=record,
        directory=run / FOLDER / now.key([*map(id_of, configs), *map(vars, parts)]),
        parts=parts,
        matters=matters(
            experiments[-1],
            record,
            now,
            id=id,
            settings=[(config, part.settings) for config, part in zip(configs, parts, strict=True)],
            code=RunDirectory(run).code(),
            data=[part.data for part in parts],
        ),
    )


def parts_of(record: RunRecord) -> list[Part]:
    """A run that went on with changes is repeated up to where they took hold, and from there with them.

    That is where its sitting began, or any later one that had to go back further for a checkpoint.
    """
    begun = [sitting for sitting in record.sittings if _has_begun(sitting)]
    steps = [
        min(later.from_step or 0 for later in begun[number:])
        for number, sitting in enumerate(begun)
        if sitting.overrides
    ]
    changed = [sitting for sitting in begun if sitting.overrides]
    first = begun[0] if begun and not begun[0].overrides else None
    return [
        Part(
            overrides=one.overrides if one else [],
            until=until,
            data=one.data if one else {},
            settings=one.settings if one else None,
        )
        for one, until in zip([first, *changed], [*steps, None], strict=True)
    ]


def _has_begun(sitting: Sitting) -> bool:
    return sitting.from_step is not None


def _check_finished(run: Path, record: RunRecord) -> None:
    directory = RunDirectory(run)
    if directory.result(record) is not None:
        return
    how, step = status(directory, record), last_step(directory, record)
    what = "at work" if how == "running" else f"{how} at step {step:,}"
    then = "wait for its end" if how == "running" else "run its command again first"
    raise ConfigError(f"RUN={run}: is not finished ({what}): {then}")
