"""The runner from Python. What most launches do without is imported when it is called for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.compose import compose, plain_errors
from runner.config.hydra import check_place, experiment_of, id_of, job_part
from runner.interrupt import StepReached
from runner.observer import SessionObserver
from runner.preflight import with_real_paths
from runner.results import Result
from runner.rundir import RunDirectory
from runner.session import Launch
from runner.session import recall as recall_session
from runner.session import run as run_session
from runner.targets import allowing

if TYPE_CHECKING:
    from runner.reproduction import Plan, Reproduction


def run(
    *overrides: str, allow: Iterable[str] = (), observer: SessionObserver | None = None
) -> Result:
    """Runs, resumes or recalls the experiment that the overrides describe.

    ``run("experiment=digits_mlp", "seed=3")`` does what ``runner experiment=digits_mlp seed=3``
    does, in this process, and returns what came out.

    Args:
        overrides: as on the command line.
        allow: names that the config may give besides the built-in ones and those of pyproject.toml.
        observer: is told how it goes; by default it is shown as on the command line.

    Raises:
        UserError: see `runner.errors`.
    """
    with allowing(allow):
        return run_session(_described(compose(overrides), overrides), _shown(observer))


def recall(*overrides: str, observer: SessionObserver | None = None) -> Result | None:
    """The result of the experiment that the overrides describe if it is finished, else None.

    None too where the config declares a sweep, which is more than one experiment.

    Raises:
        UserError: see `runner.errors`.
    """
    config = compose(overrides)
    if config.hydra.mode is RunMode.MULTIRUN:
        return None
    return recall_session(_described(config, overrides), _shown(observer))


def evaluate(
    directory: str | Path,
    *overrides: str,
    checkpoint: str | int | None = None,
    allow: Iterable[str] = (),
    observer: SessionObserver | None = None,
) -> Result:
    """Evaluates a checkpoint of a saved run; all else comes from the config that the run has now.

    The evaluation is a run of its own below ``<directory>/evaluations``; the saved run stays as it
    is, and evaluating the same again recalls the result.

    Args:
        directory: the run directory.
        overrides: changes to the config.
        checkpoint: latest, best, or a number; by default the best one, or else the latest.
        allow: as for ``run``; what the saved run was allowed does not count.
        observer: as for ``run``.

    Raises:
        UserError: see `runner.errors`.
    """
    from runner.config.evaluation import evaluation_of

    place = RunDirectory(Path(directory))
    record = place.read()
    with allowing(allow):
        config = evaluation_of(
            Path(directory),
            overrides,
            checkpoint=checkpoint,
            amendments=record.amendments if record else [],
            run=record.id if record else None,
            checkpoints=place.checkpoints(record) if record else None,
        )
        numerics = record.numerics if record else {}
        described = replace(_described(config, overrides), numerics=numerics)
        return run_session(described, _shown(observer))


def resume(
    directory: str | Path,
    *overrides: str,
    allow: Iterable[str] = (),
    observer: SessionObserver | None = None,
) -> Result:
    """Goes on with a saved run from its own config, or recalls it, wherever it stands now.

    What the overrides change holds from here on and is kept in run.json: the same again, with or
    without them, goes on with it. The run's first command refuses to go on with what was changed,
    unless no change can make a difference to the result.

    Args:
        directory: the run directory.
        overrides: changes to the config.
        allow: as for ``evaluate``.
        observer: as for ``run``.

    Raises:
        ConfigError: the run as it stands cannot take a change; nothing was written.
        UserError: see `runner.errors`.
    """
    from runner.resumption import resumption_of

    with allowing(allow):
        config, resumption = resumption_of(Path(directory), overrides)
        described = _described(config, overrides)
        return run_session(
            replace(described, id=resumption.run, resumption=resumption), _shown(observer)
        )


def reproduce(
    directory: str | Path,
    *,
    tolerance: float | None = None,
    allow: Iterable[str] = (),
    observer: SessionObserver | None = None,
) -> Reproduction:
    """Does a finished run afresh from its saved config, and compares what comes out.

    It is a run of its own below ``<directory>/reproductions``, named after the code and the machine:
    the same again there goes on with it or, once it is finished, compares at once. The saved run
    stays as it is. What was changed by ``resume`` on the way is changed again, at the same steps.

    Args:
        directory: the run directory.
        tolerance: relative; numbers that differ by no more are taken for equal.
        allow: as for ``evaluate``.
        observer: as for ``run``.

    Raises:
        ConfigError: there is no such run, it is not finished, or what it started from is gone.
        UserError: see `runner.errors`.
    """
    from runner.reproduction import check_tolerance, compare, plan_of

    check_tolerance(tolerance)
    with allowing(allow):
        plan = plan_of(Path(directory))
        shown = _shown(observer)
        shown.reproducing(plan.run, plan.directory, matters=plan.matters)
        if not plan.is_finished:
            for number in range(plan.begun, len(plan.parts)):
                _do_part(plan, number, shown)
    found = compare(plan.run, plan.directory, tolerance=tolerance)
    return replace(found, matters=plan.matters)


def _do_part(plan: Plan, number: int, observer: SessionObserver) -> None:
    """Goes from where the run afresh stands to the end of a part."""
    from runner.resumption import resumption_of

    part = plan.parts[number]
    if number == 0:
        overrides = RunDirectory(plan.run).overrides()
        described = _described(plan.config(), overrides)
    else:
        overrides = part.overrides
        config, resumption = resumption_of(plan.directory, overrides)
        described = replace(_described(config, overrides), resumption=resumption)
    numerics = plan.record.numerics
    described = replace(described, id=plan.record.id, numerics=numerics, until=part.until)
    try:
        run_session(described, observer)
    except StepReached:
        plan.check_reached(part)


def launch(config: DictConfig, hydra: DictConfig, overrides: list[str]) -> Launch:
    """A composed config, ready to run.

    Raises:
        ConfigError: with every problem that was found.
    """
    with plain_errors(overrides):
        experiment = experiment_of(config)
        check_place(experiment.run, hydra)
        return Launch(
            experiment=with_real_paths(experiment),
            id=id_of(config),
            config=config,
            overrides=overrides,
            hydra=OmegaConf.create({"hydra": hydra}),
        )


def _described(config: DictConfig, overrides: Sequence[str]) -> Launch:
    """What a config with Hydra's own node describes."""
    return launch(job_part(config), config.hydra, list(overrides))


def _shown(observer: SessionObserver | None) -> SessionObserver:
    from runner.report import for_terminal

    return observer or for_terminal()
