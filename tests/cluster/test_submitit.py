"""What is asked of submitit and of Slurm's queue, without a cluster."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.errors import UserError
from runner.sweep.cluster import CANCELLED
from runner.sweep.on_local import Local
from runner.sweep.on_slurm import Slurm
from runner.sweep.on_submitit import Submitted

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def local(**settings: Any) -> Local:
    launcher = Local(**{**Local.DEFAULTS, "name": "test", **settings})
    launcher._jobs, launcher._slots = 2, {}
    return launcher


def ended(tmp_path: Path, **more: Any) -> Submitted:
    """A trial whose job is over, and left nothing."""
    import submitit

    job = submitit.local.local.LocalJob(tmp_path, "1")
    return Submitted(arguments=([], "", 7), job=job, **more)


def test_a_cancelled_job_without_a_result_is_not_waited_for(tmp_path: Path) -> None:
    begins = time.monotonic()
    (over,) = local().wait([ended(tmp_path, is_cancelled=True)])
    assert over.lost == CANCELLED
    assert time.monotonic() - begins < 1


def test_a_trial_that_is_not_taken_again_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, launcher = ended(tmp_path), local()
    trial.job._results_timeout_s = 0

    def refuse(arguments: Any) -> Any:
        raise UserError("sbatch: no")

    monkeypatch.setattr(launcher, "_submit", refuse)
    (over,) = launcher.wait([trial])
    assert str(over.lost).endswith("and not taken again: sbatch: no")


@pytest.mark.parametrize("setting", [{"setup": "module load"}, {"array_parallelism": "few"}])
def test_a_setting_that_submitit_does_not_take_is_told(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    given = {"name": "test", "submitit_folder": str(tmp_path / "%j"), **setting}
    launcher = Slurm(**{**Slurm.DEFAULTS, **given})
    with pytest.raises(UserError, match="submitit refuses a setting"):
        launcher._submit([([], "", 0), ([], "", 1)])


def test_what_this_machine_begins_has_its_cores_and_no_ctrl_c(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def submit(self: Any, arguments: Any) -> list[Any]:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        seen.append((os.sched_getaffinity(0), signal.SIGINT in blocked))
        return [SimpleNamespace()]

    monkeypatch.setattr(Local.__mro__[1], "_submit", submit)
    before = os.sched_getaffinity(0)
    launcher = local()
    launcher._submit([([], "", 0), ([], "", 1)])
    cores = sorted(before)
    first, second = set(cores[0::2]), set(cores[1::2] or cores[:1])
    assert seen == [(first, True), (second, True)]
    assert os.sched_getaffinity(0) == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def queue(*jobs: str) -> Any:
    from runner.sweep.slurm_queue import Queue

    watched = Queue(delay_s=10)
    for job in jobs:
        watched.register_job(job)
    return watched


def states(info: dict[str, dict[str, str]]) -> dict[str, str]:
    return {job: each["State"] for job, each in info.items()}


def test_a_job_that_is_missing_once_is_not_over() -> None:
    watched = queue("1_0", "1_1")
    assert states(watched.read_info(b"")) == {"1_0": "RUNNING", "1_1": "RUNNING"}
    assert states(watched.read_info("1_0|PENDING")) == {"1_0": "RUNNING", "1_1": "COMPLETED"}
    assert states(watched.read_info("")) == {"1_0": "RUNNING", "1_1": "COMPLETED"}
    assert states(watched.read_info("1_0|FAILED")) == {"1_0": "FAILED", "1_1": "COMPLETED"}


def test_a_line_without_a_state_is_passed_over() -> None:
    watched = queue("1_0", "1_1")
    told = "slurm_load_jobs: retrying\n1_0|CANCELLED\n1_1|RUNNING|more\n"
    assert states(watched.read_info(told)) == {"1_0": "CANCELLED", "1_1": "RUNNING"}
