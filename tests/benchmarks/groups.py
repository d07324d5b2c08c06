"""What is compared with what, and how much better the runner is to be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from runner.engine.spec import available_cores
from tests.benchmarks import measures
from tests.benchmarks.launch import command, peer

Measure: TypeAlias = Callable[[], float]
Unit: TypeAlias = Literal["steps/s", "s", "MB"]

_THREADS = [[], ["--threads", "1"]]
_TRIAL_S = 2.0
_CNN_STEPS = 6000
_CHOSEN = ("engine.compile=graph", "engine.threads=1")
"""What is chosen for the CNN by a run of some minutes; a shorter one does not try one thread."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What people would use instead."""

    name: str
    target: float
    """The runner's figure by the rival's: at least this for steps/s, otherwise at most."""
    measure: Measure


@dataclass(frozen=True, kw_only=True)
class Group:
    """One figure of the runner, and the same of its rivals."""

    name: str
    what: str
    unit: Unit
    runner: Measure
    rivals: Sequence[Rival]


def groups(scratch: Path, *, seconds: float) -> list[Group]:
    """All of them.

    Args:
        scratch: where they may write.
        seconds: how long steps per second are counted at least.
    """
    speed = functools.partial(_Speed, scratch=scratch, seconds=seconds)
    mlp = speed("mlp", "MLP 64-128-10 on digits, batch 64", ["model.hidden=[128]"])
    cnn = speed("cnn", "small CNN on digits", ["experiment=digits_cnn"])
    resnet = speed("resnet", "small ResNet on digits", ["model=resnet"])
    gpt = speed("gpt", "experiment=pydoc_gpt", ["experiment=pydoc_gpt"])
    return [
        mlp.group(
            Rival(name="Keras fit, defaults", target=10, measure=mlp.peer("keras_fit", ["mlp"])),
            mlp.best_fit(3, executions=(64, 256, 1024)),
            Rival(name="PyTorch Lightning", target=30, measure=mlp.best("lightning_fit", _THREADS)),
            Rival(name="PyTorch loop", target=8, measure=mlp.best("torch_loop", _THREADS)),
            Rival(name="JAX lax.scan", target=1.2, measure=mlp.peer("jax_scan")),
            Rival(name="Orbit", target=3, measure=mlp.peer("orbit_loop")),
        ),
        cnn.group(cnn.best_fit(1.05)),
        resnet.group(resnet.best_fit(1.05)),
        # Its steps are long: an epoch of many more would outlast what it is timed for.
        gpt.group(gpt.best_fit(1.3, executions=(4, 16))),
        _saves(scratch / "save"),
        *_overheads(scratch / "overhead"),
        _memory(scratch / "memory"),
        *_launches(scratch / "launch"),
        _resume(scratch / "resume"),
        _sweep(scratch / "sweep"),
    ]


class _Speed:
    """Steps per second of one model."""

    def __init__(
        self, work: str, what: str, overrides: Sequence[str], *, scratch: Path, seconds: float
    ) -> None:
        self._work = work
        self._what = what
        self._overrides = overrides
        self._scratch = scratch / work
        self._seconds = seconds

    def group(self, *rivals: Rival) -> Group:
        def runner() -> float:
            place = self._scratch / "runner"
            return measures.steps_per_s(*self._overrides, seconds=self._seconds, cwd=place)

        return Group(name=self._work, what=self._what, unit="steps/s", runner=runner, rivals=rivals)

    def peer(self, name: str, arguments: Sequence[str] = ()) -> Measure:
        return lambda: self._told(name, arguments, seconds=self._seconds)

    def best(self, name: str, settings: Sequence[Sequence[str]]) -> Measure:
        """A peer with whichever of the settings is fastest when it is first asked."""

        @functools.cache
        def fastest() -> Sequence[str]:
            tried = [(self._told(name, one, seconds=_TRIAL_S), one) for one in settings]
            speed, setting = max(tried)
            print(f"    {name}: {speed:,.0f} steps/s with {' '.join(setting) or 'its defaults'}")
            return setting

        return lambda: self._told(name, fastest(), seconds=self._seconds)

    def best_fit(self, target: float, *, executions: Sequence[int] = (16, 64, 256)) -> Rival:
        """Keras's fit with its defaults, or with so many steps in one call, as a graph or under XLA."""
        settings = [
            [self._work],
            *(
                [self._work, "--steps-per-execution", str(steps), *jit]
                for steps in executions
                for jit in ([], ["--jit"])
            ),
        ]
        return Rival(
            name="Keras fit, best setting",
            target=target,
            measure=self.best("keras_fit", settings),
        )

    def _told(self, name: str, arguments: Sequence[str], *, seconds: float) -> float:
        done = peer(name, *arguments, "--seconds", str(seconds), cwd=self._scratch / name)
        return float(done.answer["steps_per_s"])


def _saves(scratch: Path) -> Group:
    def told(name: str) -> Measure:
        return lambda: float(peer(name, cwd=scratch / name).answer["seconds"])

    return Group(
        name="save",
        what="loop held by a save of 305 MB",
        unit="s",
        runner=lambda: measures.save_s(scratch / "runner"),
        rivals=[
            Rival(name="CheckpointManager.save", target=1 / 20, measure=told("save_manager")),
            Rival(name="Orbax, asynchronous", target=1 / 2, measure=told("save_orbax")),
            Rival(name="Keras ModelCheckpoint", target=1 / 50, measure=told("save_keras")),
        ],
    )


def _overheads(scratch: Path) -> list[Group]:
    """What saving and logging often cost a training that is not short of either."""
    half = functools.partial(
        measures.second_half_s,
        "experiment=digits_cnn",
        *_CHOSEN,
        num_steps=_CNN_STEPS,
        cwd=scratch,
    )
    rare = f"every.steps={_CNN_STEPS // 2}"
    cases = [
        ("saves", "a save every 50 steps", 1.05, "tracking.log_", "checkpoint."),
        ("rows", "a row every 10 steps", 1.03, "checkpoint.", "tracking.log_"),
    ]
    found = []
    for name, what, target, other, own in cases:
        often = what.split()[-2]
        runner = functools.partial(half, f"{other}{rare}", f"{own}every.steps={often}")
        without = functools.partial(half, f"{other}{rare}", f"{own}{rare}")
        rival = Rival(name=f"the same without {name}", target=target, measure=without)
        what = f"training the small CNN with one thread, {what}"
        found.append(Group(name=name, what=what, unit="s", runner=runner, rivals=[rival]))
    return found


def _memory(scratch: Path) -> Group:
    def script() -> float:
        return peer("keras_script", cwd=scratch / "script").peak_bytes / 1e6

    return Group(
        name="memory",
        what="peak memory of the default experiment",
        unit="MB",
        runner=lambda: measures.peak_mb(scratch / "runner"),
        rivals=[Rival(name="Keras script", target=1.15, measure=script)],
    )


def _launches(scratch: Path) -> list[Group]:
    def hydra() -> float:
        return command(["-c", "import hydra"], cwd=scratch).took_s

    def script() -> float:
        done = peer("keras_script", "--first-step", cwd=scratch)
        return float(done.answer["time"] - done.begun)

    first_step = functools.partial(measures.first_step_s, cwd=scratch / "first")
    return [
        Group(
            name="relaunch",
            what="launch of a finished run",
            unit="s",
            runner=lambda: measures.relaunch_s(scratch / "relaunch"),
            rivals=[Rival(name="import hydra", target=3, measure=hydra)],
        ),
        Group(
            name="start",
            what="launch to first step of 15,000, choosing graph or XLA",
            unit="s",
            runner=functools.partial(first_step, measures.until(15_000)),
            rivals=[Rival(name="Keras script", target=1.25, measure=script)],
        ),
        Group(
            name="start_measured",
            what="launch to first step of millions, choosing threads as well",
            unit="s",
            runner=first_step,
            rivals=[Rival(name="Keras script", target=1.25, measure=script)],
        ),
    ]


def _resume(scratch: Path) -> Group:
    source = measures.LargeSource(scratch)
    return Group(
        name="resume",
        what="resume at step 1,000,000, ten million examples",
        unit="s",
        runner=lambda: source.resume_s(1_000_000),
        rivals=[Rival(name="resume at step 100", target=1.1, measure=lambda: source.resume_s(100))],
    )


def _sweep(scratch: Path) -> Group:
    joblib = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={available_cores()}")
    return Group(
        name="sweep",
        what=f"a sweep of {measures.NUM_TRIALS} trials of the default experiment",
        unit="s",
        runner=lambda: measures.sweep_s(cwd=scratch / "own"),
        rivals=[
            Rival(
                name="Hydra's joblib launcher",
                target=1,
                measure=lambda: measures.sweep_s(*joblib, cwd=scratch / "joblib"),
            ),
            Rival(
                name="a process per trial",
                target=1,
                measure=lambda: measures.processes_s(scratch / "processes"),
            ),
        ],
    )
