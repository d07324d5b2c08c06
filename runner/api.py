"""The runner from Python. What most launches do without is imported when it is called for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf, read_write

from runner.allowances import allowing
from runner.config.compose import compose, plain_errors
from runner.config.environment import settings_id
from runner.config.hydra import check_place, experiment_of, id_of, job_part
from runner.interrupt import StepReached
from runner.observer import SessionObserver
from runner.preflight import with_real_paths
from runner.results import Result
from runner.rundir import RunDirectory
from runner.session import Launch
from runner.session import run as run_session

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
        allow: names that the config may give besides the built-in ones and those of pyproject.toml, and
            variables, as ``oc.env:NAME``, that a config from elsewhere may read.
        observer: is told how it goes; by default it is shown as on the command line.

    Raises:
        UserError: see `runner.errors`.
    """
    with allowing(allow):
        return run_session(launch_of(compose(overrides), overrides), _shown(observer))


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
            settings=record.settings if record else None,
            run=record.id if record else None,
            checkpoints=place.checkpoints(record) if record else None,
        )
        numerics = record.numerics if record else {}
        described = replace(launch_of(config, overrides), numerics=numerics)
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
        described = launch_of(config, overrides)
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
        described = launch_of(plan.config(), overrides)
    else:
        overrides = part.overrides
        config, resumption = resumption_of(plan.directory, overrides)
        described = replace(launch_of(config, overrides), resumption=resumption)
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
        check_place(experiment, hydra)
        node = OmegaConf.create({"hydra": hydra})
        with read_write(node.hydra):  # As Hydra does when it starts a job.
            node.hydra.runtime.output_dir = str(Path(experiment.run.dir).absolute())
        return Launch(
            experiment=with_real_paths(experiment),
            id=id_of(config),
            settings=settings_id(config),
            config=config,
            overrides=overrides,
            hydra=node,
        )


def launch_of(config: DictConfig, overrides: Sequence[str]) -> Launch:
    """What a config with Hydra's own node describes, ready to run.

    Raises:
        ConfigError: with every problem that was found.
    """
    return launch(job_part(config), config.hydra, list(overrides))


def _shown(observer: SessionObserver | None) -> SessionObserver:
    from runner.report import for_terminal

    return observer or for_terminal()
