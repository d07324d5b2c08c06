"""Going on with a run from what it saved: its config, amended by what is asked for since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from runner.checkpoint.manifest import read_manifests
from runner.config.changes import Change, changes_between
from runner.config.foreign import check_content
from runner.config.hydra import experiment_of, id_of, job_part, plain
from runner.config.obstacles import Reached
from runner.config.resolved import resolved
from runner.config.saved import recompose, saved_config
from runner.errors import ConfigError
from runner.record import RunRecord
from runner.rundir import RunDirectory, RunDirectoryError

_REQUEST = "run.max_time"
"""What is asked of one sitting alone."""


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """What a sitting changes about the run that it goes on with."""

    run: str
    """The run's id: it stays, whatever changes."""
    overrides: list[str]
    """Hold from this sitting on."""
    changes: list[Change]
    """What becomes another value by them."""
    num_sittings: int
    """How many there were when ``changes`` were found."""
    edited: str | None = None
    """What to tell of a saved config that is not the one that the run was begun with."""

    @property
    def departs(self) -> bool:
        """Whether the run is from now on another one than before."""
        return any(change.kind == "trajectory" for change in self.changes)

    def enter(self, record: RunRecord) -> None:
        """Writes it into the record's last sitting, the one that begins.

        Raises:
            RunDirectoryError: the run went on since the changes were found.
        """
        sitting = record.sittings[-1]
        if len(record.sittings) != self.num_sittings + 1:
            raise RunDirectoryError(
                f"run {self.run} was worked on in the meantime; give the command again"
            )
        sitting.overrides = self.overrides if self.changes else []
        sitting.changes = [change.as_json() for change in self.changes]
        finished = [one for one in record.sittings if one.outcome == "finished"]
        if record.result is not None and finished:
            finished[-1].result, record.result = record.result, None


def resumption_of(directory: Path, overrides: Sequence[str]) -> tuple[DictConfig, Resumption]:
    """The config with which the run in ``directory`` goes on, and what that changes.

    The run directory stays where it stands now, wherever the saved config says that it is.

    Raises:
        ConfigError: there is no such run, or it cannot take the overrides; every reason is told.
    """
    directory = directory.resolve()
    record = RunDirectory(directory).read()
    if record is None:
        raise ConfigError(f"RUN={directory}: no such directory with a run.json")
    saved = saved_config(directory, amendments=record.amendments, settings=record.settings)
    edited = _edited(saved_config(directory) if record.amendments else saved, record)
    before = _in_place(saved, directory, record)
    requests = [one for one in overrides if _key(one) == _REQUEST]
    lasting = [one for one in overrides if one not in requests]
    # The command that was interrupted is given again; what it adds or drops is so already.
    lasting = [] if record.amendments[-1:] == [lasting] else lasting
    after = recompose(before, [*lasting, *requests])
    check_content(OmegaConf.to_container(job_part(after)), f"RUN={directory}")
    reached = _reached(record, RunDirectory(directory).checkpoints(record))
    told = [resolved(config, run=record.id) for config in (before, after)]
    changes = changes_between(plain(before), plain(after), reached=reached, told=told)
    problems = [change.problem for change in changes if change.kind == "impossible"]
    if problems:
        raise ConfigError(problems)
    return after, Resumption(
        run=record.id,
        overrides=lasting,
        changes=changes,
        num_sittings=len(record.sittings),
        edited=edited,
    )


def _edited(first: DictConfig, record: RunRecord) -> str | None:
    """What to tell if the config of the first launch is not what it was.

    Of one that takes values from the environment, settings tell; see `runner.config.environment`.
    """
    if any(sitting.settings for sitting in record.sittings):
        return None
    id = id_of(first)
    return None if id == record.id else f"its saved config was edited, and is that of run {id} now"


def _in_place(config: DictConfig, directory: Path, record: RunRecord) -> DictConfig:
    """The config for where the run stands now, whatever its paths were seen from or relative to."""
    recorded = Path(record.checkpoint_directory)
    given = Path(experiment_of(config).checkpoint.directory)
    if recorded.is_absolute() and recorded.parts[-len(given.parts) :] != given.parts:
        raise ConfigError(
            f"RUN={directory}: by run.json, checkpoints stand in {recorded}, which is not the {given} of "
            "its config"
        )
    with open_dict(config):
        OmegaConf.update(config, "run.dir", str(directory))
        OmegaConf.update(config, "run.fresh", False)
        checkpoints = RunDirectory(directory).checkpoints(record)
        OmegaConf.update(config, "checkpoint.directory", str(checkpoints))
    return config


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def _reached(record: RunRecord, checkpoints: Path) -> Reached:
    own = [one for one in read_manifests(checkpoints) if one.run == record.id]
    if not own:
        return Reached()
    newest = own[-1]
    told = ("done", "phase", "phase_start", "stopped")
    reached = Reached(
        step=newest.step,
        epoch=newest.epoch,
        **{name: newest.record[name] for name in told if name in newest.record},
    )
    # What the checkpoint tells of data or of a callback that it does not know yet holds no more.
    later = {change.key.partition(".")[0] for change in record.changes(since=newest.step)}
    reached = replace(reached, epoch=0.0) if "data" in later else reached
    return replace(reached, stopped=None) if "callbacks" in later else reached
