"""Opening a sweep: what it is made of, where it stands, and what an earlier launch of it left."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from runner import api
from runner.config import Experiment
from runner.config.compose import plain_errors
from runner.config.hydra import experiment_of, job_part, task_overrides
from runner.config.problems import key_of
from runner.files import make_directory, writing
from runner.lock import Lock
from runner.provenance import source_hashes, versions
from runner.session import Launch
from runner.sweep.driver import Sweep
from runner.sweep.record import RECORD, DamagedSweepError, SweepRecord, Trial, read
from runner.sweep.show import for_terminal

log = logging.getLogger(__name__)

SWEEPS = Path("outputs/sweeps")
_REQUESTS = ("jobs", "retry_failed", "trial_timeout", "n_trials")
"""Keys of ``sweep`` that say nothing of what the trials are."""


@contextmanager
def opened(
    context: HydraContext,
    config: DictConfig,
    *,
    given: Sequence[str],
    trials: Sequence[Sequence[str]] = (),
    kind: Callable[..., Sweep] = Sweep,
) -> Iterator[Sweep]:
    """The sweep, which no other process can open for the length of a block.

    Args:
        given: the overrides with the values to sweep over.
        trials: the overrides of each trial, as far as they are known.
        kind: makes a sweep of what is passed to ``Sweep``.

    Raises:
        ConfigError: what the trials have in common is wrong.
        LockedError: another process has it open.
    """
    with plain_errors(given):
        experiment = experiment_of(config)
    directory = SWEEPS / sweep_id(given)
    record = SweepRecord(
        overrides=list(given),
        configs=_hash_of_configs(
            context, job_part(config), experiment=experiment, given=without_sweep(given)
        ),
        objectives=experiment.objectives,
        num_trials=len(trials),
        trials=[
            Trial(number=number, overrides=without_sweep(one)) for number, one in enumerate(trials)
        ],
    )
    with writing(directory):
        make_directory(directory)
    with Lock(directory / ".lock").held():
        sweep = kind(
            record=record,
            directory=directory,
            experiment=experiment,
            compose=composer(context, config),
            observer=for_terminal(),
            earlier=_earlier(directory),
        )
        try:
            yield sweep
        finally:
            sweep.close()


def sweep_id(overrides: Sequence[str]) -> str:
    """Ten hexadecimal digits, the same for the same trials, however they are worked through."""
    requests = [f"sweep.{name}" for name in _REQUESTS]
    lasting = sorted(one for one in overrides if key_of(one) not in requests)
    return hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:10]


def composer(context: HydraContext, config: DictConfig) -> Callable[[Sequence[str]], Launch]:
    """Makes the overrides of a trial of the sweep a launch.

    Args:
        config: of the sweep, with Hydra's own node.
    """

    def compose(overrides: Sequence[str]) -> Launch:
        with plain_errors(overrides):
            composed = context.config_loader.load_sweep_config(config, list(overrides))
        HydraConfig.instance().set_config(composed)
        return api.launch(job_part(composed), composed.hydra, task_overrides(composed.hydra))

    return compose


def without_sweep(overrides: Sequence[str]) -> list[str]:
    """Without those about the sweep itself, which is no part of a trial."""
    return [one for one in overrides if key_of(one).partition(".")[0] != "sweep"]


def _earlier(directory: Path) -> SweepRecord | None:
    try:
        return read(directory / RECORD)
    except DamagedSweepError as error:  # The runs tell the same, only slower.
        log.warning("%s; it is begun anew", error)
        return None


def _hash_of_configs(
    context: HydraContext, config: DictConfig, *, experiment: Experiment, given: Sequence[str]
) -> str:
    """Of all that a trial is composed from besides its overrides: while it stays, so do the runs.

    Args:
        config: without Hydra's own node.
        experiment: what it describes.
        given: as for ``opened``.
    """
    of_trials = OmegaConf.masked_copy(config, [str(key) for key in config if key != "sweep"])
    parts = [OmegaConf.to_yaml(of_trials), *given]
    parts += [json.dumps(one) for one in (versions(), source_hashes(experiment))]
    for element in context.config_loader.get_search_path().get_path():
        if urlparse(element.path).scheme in ("", "file"):
            parts += _files(Path(urlparse(element.path).path))
    if any("${oc." in part for part in parts):  # By which the environment may have a say.
        return uuid4().hex
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _files(folder: Path) -> Iterator[str]:
    """The names and contents of the configs below a folder, but for those that runs keep."""
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder)
        if not any(part.startswith(".") for part in name.parts):
            yield str(name)
            yield path.read_text(errors="replace")
