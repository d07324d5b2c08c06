"""A Ray cluster, by way of hydra-ray-launcher. Where a worker died, Ray has another one go on."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, open_dict

from runner.config.hydra import keep_environment
from runner.errors import UserError
from runner.sweep.cluster import CANCELLED, Cluster, Handed, Over
from runner.sweep.driver import Sweep
from runner.sweep.trial import Task

if TYPE_CHECKING:
    import ray

_WAITS_S, _KNOCKS_S = 1.0, 10.0


class Ray(Cluster["ray.ObjectRef"]):
    """Each trial a task of Ray's, in a worker of its own.

    Args:
        ray: ``init`` has the arguments of ``ray.init``, ``remote`` those of ``ray.remote``.
    """

    NAME = "ray"
    NEEDS = "hydra-ray-launcher"
    EXTRA = "ray"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "ray": {
            # Without an address, that of RAY_ADDRESS, of the cluster on this machine, or a new one.
            # The launcher's own default for the object store is refused where there is a cluster.
            "init": {"address": None, "object_store_memory": None},
            # A worker that has had a trial has its threads and its dtype policy.
            "remote": {"num_cpus": 1, "max_calls": 1, "max_retries": 3},
        }
    }

    def __init__(self, ray: DictConfig) -> None:
        self._ray = ray

    def work_through(self, sweep: Sweep) -> None:
        """As the runner's launchers do.

        Raises:
            UserError: there is no such cluster.
        """
        from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

        setup_globals()
        address = self._ray.init.address or os.environ.get("RAY_ADDRESS", "")
        try:
            _knock(address)
            start_ray(self._ray.init)  # Before signals are looked at: it has a look of its own.
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            place = address or "RAY_ADDRESS, or on this machine"
            raise UserError(f"hydra/launcher=ray: no cluster at {place}: {reason}") from error
        super().work_through(sweep)

    def begin(self, tasks: Sequence[Task], job: Handed) -> Sequence[ray.ObjectRef]:
        """As for all clusters. What trials read of the environment, they read as it is here."""
        keep_environment()
        return [self._begin(task, job) for task in tasks]

    def wait(self, handles: Sequence[ray.ObjectRef]) -> Sequence[Over[ray.ObjectRef]]:
        """As for all clusters."""
        import ray

        done, _ = ray.wait(list(handles), timeout=_WAITS_S)
        return [_over(handle) for handle in done]

    def cancel(self, handles: Sequence[ray.ObjectRef]) -> None:
        """As for all clusters."""
        import ray

        for handle in handles:
            ray.cancel(handle)

    def _begin(self, task: Task, job: Handed) -> ray.ObjectRef:
        from hydra_plugins.hydra_ray_launcher._launcher_util import launch_job_on_ray

        config = self._context.config_loader.load_sweep_config(self._config, task.overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = task.number
            # Hydra makes it before it calls the job, in whatever directory the worker was started.
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
        return launch_job_on_ray(
            self._context, self._ray.remote, config, job, Singleton.get_state()
        )


def _knock(address: str) -> None:
    """Raises: OSError: nobody is there; Ray takes minutes to say so."""
    host, _, port = address.rpartition(":")
    if re.fullmatch(r"[\w.-]+", host) and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCKS_S).close()


def _over(handle: ray.ObjectRef) -> Over[ray.ObjectRef]:
    import ray

    try:
        return Over(handle=handle, failure=ray.get(handle).return_value)
    except ray.exceptions.TaskCancelledError:
        return Over(handle=handle, lost=CANCELLED)
    except ray.exceptions.RayError as error:
        lost = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return Over(handle=handle, lost=lost)
