"""The config that does a saved run afresh, in a directory of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from runner.checkpoint.manifest import SUFFIX, Manifest, read_manifest
from runner.checkpoint.spec import RESTORE_WORDS
from runner.config.evaluation import FOLDER as EVALUATIONS
from runner.config.hydra import experiment_of
from runner.config.saved import saved_config
from runner.config.schema import Experiment
from runner.errors import ConfigError


def first_launch(
    run: Path, *, directory: Path, run_id: str, restored: str | None = None
) -> DictConfig:
    """The config of the first launch of the run in ``run``, with its checkpoints in ``directory``.

    Args:
        run: a run directory, absolute.
        directory: where the run is to be done afresh.
        run_id: the id that the run has.
        restored: the checkpoint that its first sitting started from.

    Raises:
        ConfigError: the saved config is not right any more, or what the run started from is gone.
    """
    config = saved_config(run)
    before = experiment_of(config)
    with open_dict(config):
        config.checkpoint.restore = _start(run, before, run_id=run_id, restored=restored)
        config.run.dir = str(directory)
        place = Path(experiment_of(config).checkpoint.directory)
        if not before.trains:
            config.checkpoint.directory = str(_moved(place, run, before))
        elif not place.is_relative_to(directory):
            config.checkpoint.directory = str(directory / "checkpoints")
    return config


def _start(run: Path, before: Experiment, *, run_id: str, restored: str | None) -> str | int:
    """What it starts from: a word or a number may mean another checkpoint by now."""
    spec = before.checkpoint
    if isinstance(spec.restore, str) and spec.restore not in RESTORE_WORDS:
        return str(_moved(Path(spec.restore), run, before))
    is_own = Path(spec.directory).is_relative_to(before.run.dir)
    if spec.restore == "none" or (spec.restore == "auto" and is_own):
        return spec.restore
    if restored is None:
        return "none"
    path = Path(restored).absolute()
    manifest: Any = read_manifest(path.with_name(f"{path.name}{SUFFIX}"))
    is_later = isinstance(manifest, Manifest) and manifest.run == run_id
    if is_later or not path.with_name(f"{path.name}.index").is_file():
        known = (
            "cannot be told any more" if is_later else f"was {path}, which is not there any more"
        )
        raise ConfigError(
            f"RUN={run}: what its checkpoint.restore={spec.restore} meant {known}; without that it "
            "cannot be reproduced"
        )
    return str(path)


def _moved(path: Path, run: Path, before: Experiment) -> Path:
    """A path inside the run, or the run that an evaluation is part of, where that stands now."""
    old, new = Path(before.run.dir), run
    if run.parent.name == EVALUATIONS and len(old.parents) > 1:
        old, new = old.parents[1], run.parents[1]
    return new / path.relative_to(old) if path.is_relative_to(old) else path
