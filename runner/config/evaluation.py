"""The config that evaluates a checkpoint of a saved run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from runner.checkpoint.manifest import Manifest, read_manifests
from runner.checkpoint.retention import best_of
from runner.checkpoint.spec import CheckpointSpec
from runner.config.compose import compose
from runner.config.hydra import experiment_of, id_of
from runner.errors import CheckpointError
from runner.phases import Evaluate

FOLDER = "evaluations"


def evaluation_of(
    directory: Path, overrides: Sequence[str], *, checkpoint: str | int | None
) -> DictConfig:
    """The saved config of the run in ``directory`` with only its evaluations as phases.

    Raises:
        ConfigError: the saved config and the overrides are not right together.
        CheckpointError: the run has no such checkpoint.
    """
    config = compose(overrides, directory=directory / ".hydra")
    with open_dict(config):
        config.run.dir, config.run.fresh = str(directory), False
        experiment = experiment_of(config)
        chosen = _choose(experiment.checkpoint, checkpoint)
        config.checkpoint.directory = experiment.checkpoint.directory
        config.checkpoint.restore = str(Path(experiment.checkpoint.directory) / chosen.name)
        config.phases = {
            name: _without_restore(config.phases[name])
            for name, phase in experiment.phases.items()
            if isinstance(phase, Evaluate)
        } or {"evaluate": {"_target_": "runner.phases.Evaluate"}}
        config.run.dir = str(directory / FOLDER / f"{chosen.name}-{id_of(config)}")
    return config


def _without_restore(phase: DictConfig) -> dict[Any, Any]:
    content = OmegaConf.to_container(phase)
    return {**content, "restore": None} if isinstance(content, dict) else {}


def _choose(spec: CheckpointSpec, which: str | int | None) -> Manifest:
    manifests = read_manifests(Path(spec.directory))
    best = best_of(manifests, spec.best) if spec.best else []
    if which == "best" or (which is None and best):
        candidates = best[:1]
    elif which in (None, "latest"):
        candidates = manifests[-1:]
    else:
        candidates = [manifest for manifest in manifests if str(manifest.number) == str(which)]
    if not candidates:
        there = ", ".join(str(manifest.number) for manifest in manifests) or "none"
        raise CheckpointError(
            f"--checkpoint {which or 'latest'}: no such checkpoint in {spec.directory}; "
            f"numbers there: {there}"
        )
    return candidates[0]
