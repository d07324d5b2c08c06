"""The config that evaluates a checkpoint of a saved run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from runner.checkpoint.manifest import Manifest, read_manifests
from runner.checkpoint.retention import best_of
from runner.checkpoint.spec import CheckpointSpec
from runner.config.hydra import experiment_of, id_of
from runner.config.saved import recompose, saved_config
from runner.config.schema import Experiment
from runner.errors import CheckpointError
from runner.phases import Evaluate

FOLDER = "evaluations"


def evaluation_of(
    directory: Path,
    overrides: Sequence[str],
    *,
    checkpoint: str | int | None,
    amendments: Sequence[Sequence[str]] = (),
    settings: str | None = None,
    run: str | None = None,
    checkpoints: Path | None = None,
) -> DictConfig:
    """The config of the run in ``directory`` with only its evaluations as phases.

    Args:
        amendments: what the run was resumed with since its config was saved.
        settings: as for ``saved_config``.
        run: its id; checkpoints of other runs in the same place do not count.
        checkpoints: where the run's stand now; by default where its config says.

    Raises:
        ConfigError: the saved config and the overrides are not right together.
        CheckpointError: the run has no such checkpoint.
    """
    # Absolute, so that the evaluation has the same id wherever it is asked for.
    directory = directory.resolve()
    saved = saved_config(directory, amendments=amendments, settings=settings)
    if checkpoints is not None:
        OmegaConf.update(saved, "checkpoint.directory", str(checkpoints.resolve()))
    config = recompose(saved, overrides)
    with open_dict(config):
        config.run.dir = str(directory)
        experiment = experiment_of(config)
        place = Path(experiment.checkpoint.directory)
        chosen = _choose(experiment.checkpoint, checkpoint, run=run)
        config.checkpoint.directory = str(place)
        config.checkpoint.restore = str(place / chosen.name)
        config.phases = _evaluations(config, experiment)
        config.run.dir = str(directory / FOLDER / f"{chosen.name}-{id_of(config)}")
    return config


def _evaluations(config: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """The nodes of the phases that evaluate, each measuring the state as it is restored."""
    nodes = {
        name: OmegaConf.merge(config.phases[name], {"restore": None})
        for name, phase in experiment.phases.items()
        if isinstance(phase, Evaluate)
    }
    return nodes or {"evaluate": {"_target_": "runner.phases.Evaluate"}}


def _choose(spec: CheckpointSpec, which: str | int | None, *, run: str | None) -> Manifest:
    found = read_manifests(Path(spec.directory))
    manifests = [manifest for manifest in found if run in (None, manifest.run)]
    best = best_of(manifests, spec.best)[:1] if spec.best else []
    named = {"best": best, "latest": manifests[-1:]}
    named |= {str(manifest.number): [manifest] for manifest in manifests}
    chosen = (best or manifests[-1:]) if which is None else named.get(str(which), [])
    if not chosen:
        wanted = "latest" if which is None else which
        there = ", ".join(str(manifest.number) for manifest in manifests) or "none"
        raise CheckpointError(
            f"--checkpoint {wanted}: no such checkpoint in {spec.directory}; give latest, best or a "
            f"number; numbers there: {there}"
        )
    return chosen[0]
