"""Where Hydra meets sweeps: its sweeper and its launcher by default; either works with others of Hydra's."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from runner.config.compose import plain_errors
from runner.config.hydra import check_place, experiment_of
from runner.errors import ConfigError, UserError
from runner.interrupt import Interrupted
from runner.sweep.driver import Sweep
from runner.sweep.launcher import RunnerLauncher
from runner.sweep.on_local import Local
from runner.sweep.on_ray import Ray
from runner.sweep.on_slurm import Slurm
from runner.sweep.open import opened, without_sweep
from runner.sweep.pool import Pool
from runner.sweep.search import SearchSweep, search_spec
from runner.sweep.space import check_space, check_values, read_space
from runner.sweep.study import check_available
from runner.sweep.trial import Task, work


class _Sweeper(Sweeper):
    """What the runner's sweepers have in common."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context, self._config = hydra_context, config
        self._job: Any = task_function
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)

    def _work_through(self, sweep: Sweep) -> None:
        self._job.exit_code = sweep.work_through(self._launch)

    def _launch(self, sweep: Sweep) -> None:
        if isinstance(self._launcher, RunnerLauncher):
            self._launcher.work_through(sweep)
        else:
            _hand_over(sweep, self._launcher, self._job)


class Grid(_Sweeper):
    """Every combination of the values that are given: the default sweeper.

    Args:
        params: values to sweep over from the config, by key, as on the command line.
    """

    def __init__(self, params: Mapping[str, str] | None = None) -> None:
        self._params = dict(params or {})

    def sweep(self, arguments: list[str]) -> Any:
        given = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        overrides = self._parser.parse_overrides(given)
        check_values(overrides)
        (trials,) = BasicSweeper.split_arguments(overrides, None)
        with opened(self._context, self._config, given=given, trials=trials) as sweep:
            self._work_through(sweep)


class Search(_Sweeper):
    """Trials that follow from how the earlier ones ended, as ``sweep=optuna`` describes it."""

    def sweep(self, arguments: list[str]) -> Any:
        with plain_errors(arguments):
            experiment = experiment_of(self._config)
            check_place(experiment, self._config.hydra)
            spec = search_spec(experiment)
            check_space(self._config.sweep)
        check_available()
        if spec.pruner != "none" and not isinstance(self._launcher, RunnerLauncher):
            reason = (
                "only hydra/launcher=isolated, ray and submitit_* tell how a trial goes; give none"
            )
            raise ConfigError(f"sweep.pruner={spec.pruner}: {reason}")
        space = read_space(spec.space, without_sweep(arguments), parser=self._parser)
        given = [*(f"{key}={value}" for key, value in spec.space.items()), *arguments]
        kind = partial(SearchSweep, space=space)
        with opened(self._context, self._config, given=given, kind=kind) as sweep:
            self._work_through(sweep)


class Isolated(RunnerLauncher):
    """Each trial in a process of its own, on this machine: the default launcher."""

    def work_through(self, sweep: Sweep) -> None:
        """As the runner's launchers do."""
        pool = Pool(work, jobs=sweep.num_jobs(), timeout_s=sweep.timeout_s())
        pool.run(sweep.tasks(), sweep)


def register() -> None:
    """Makes the plugins known to Hydra, which takes no others than those of its own namespace."""
    known = Plugins.instance().class_name_to_class
    for plugin in (Grid, Search, Isolated, Ray, Slurm, Local):
        known[f"hydra_plugins.runner.{plugin.__name__}"] = plugin
    # After those that are installed have told Hydra what they are by default.
    for launcher in (Ray, Slurm, Local):
        node = {"_target_": f"hydra_plugins.runner.{launcher.__name__}", **launcher.DEFAULTS}
        store = ConfigStore.instance()
        store.store(group="hydra/launcher", name=launcher.NAME, node=node, provider="runner")


def _hand_over(sweep: Sweep, launcher: Launcher, job: Any) -> None:
    """Has another launcher do what is left, in batches if there have to be."""
    tasks = sweep.tasks()
    while not sweep.is_stopping and (batch := list(islice(tasks, sweep.batch_size()))):
        _hand_over_batch(sweep, launcher, batch, job)


def _hand_over_batch(sweep: Sweep, launcher: Launcher, tasks: Sequence[Task], job: Any) -> None:
    """How it went is read in the run directories."""
    how = None
    for task in tasks:
        sweep.started(task)
    try:
        overrides = [sweep.record.trial(task.number).overrides for task in tasks]
        launcher.launch(overrides, initial_job_idx=tasks[0].number)
        if job.exit_code == Interrupted.exit_code:
            sweep.is_stopping = True  # The one that was at work in this process has told it.
    except KeyboardInterrupt:
        sweep.stopping("SIGINT")
    except UserError:
        raise
    except Exception as error:  # Of one trial or of the launcher: it does not say.
        how = f"{type(error).__name__}: {error}"
        print(f"{type(launcher).__name__}: {how}", file=sys.stderr)
    for task in tasks:
        sweep.ended(task, how)
