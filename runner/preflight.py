"""What can be found wrong with the world outside before TensorFlow takes its seconds to start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import events
from runner.checkpoint.spec import RESTORE_WORDS
from runner.config import Experiment
from runner.errors import ConfigError, Invalid, suggestion
from runner.phases import Evaluate, Train


def with_real_paths(experiment: Experiment) -> Experiment:
    """With links followed in the paths of checkpoints: ``outputs/latest`` soon is another run."""
    phases = {
        name: replace(phase, restore=_real(phase.restore)) if isinstance(phase, Evaluate) else phase
        for name, phase in experiment.phases.items()
    }
    spec = experiment.checkpoint
    return replace(experiment, checkpoint=replace(spec, restore=_real(spec.restore)), phases=phases)


def _real(which: Any) -> Any:
    is_path = isinstance(which, str) and which not in RESTORE_WORDS and _has_index(Path(which))
    return str(Path(which).parent.resolve() / Path(which).name) if is_path else which


def check_outside_world(experiment: Experiment) -> None:
    """Looks at the files that the config names.

    Raises:
        ConfigError: one is missing or is not what it has to be.
    """
    try:
        experiment.data.check()
    except Invalid as error:
        raise ConfigError(f"data.{error}") from error
    _check_restore(experiment)
    _check_measured(experiment)
    if experiment.tracking.tensorboard:
        events.check_available()


def _check_restore(experiment: Experiment) -> None:
    spec = experiment.checkpoint
    places: dict[str, object] = {"checkpoint.restore": spec.restore}
    for name, phase in experiment.phases.items():
        places[f"phases.{name}.restore"] = getattr(phase, "restore", None)
    for key, which in places.items():
        if isinstance(which, str) and which not in RESTORE_WORDS and not _has_index(Path(which)):
            raise ConfigError(f"{key}={which}: {_what_is_meant(which)}")
    own = Path(experiment.run.dir) in Path(spec.directory).parents
    if (
        experiment.measures_what_it_starts_from
        and own
        and spec.restore in ("auto", "none", "latest", "best")
    ):
        raise ConfigError(
            f"checkpoint.restore={spec.restore}: no phase trains, and a new run has no checkpoint to "
            "evaluate; give checkpoint.restore=PATH, or use runner evaluate RUN"
        )


def _check_measured(experiment: Experiment) -> None:
    """A phase that measures a checkpoint needs one: of a phase before it, or one that is there."""
    place = experiment.checkpoint.directory
    idle: list[str] = []
    for name, phase in experiment.phases.items():
        which = getattr(phase, "restore", None)
        is_of_place = isinstance(which, int) or which in RESTORE_WORDS
        if is_of_place and not any(Path(place).glob("*.index")):
            given = f" ({', '.join(idle)})" if idle else ""
            raise ConfigError(
                f"phases.{name}.restore={which}: no phase before it takes a step{given}, and {place} "
                "holds no checkpoint; give null to measure the state as it is"
            )
        limit = phase.until.zero if isinstance(phase, Train) else None
        if phase.trains and limit is None:
            return
        idle += [f"phases.{name}.until.{limit}=0"] if limit else []


def _what_is_meant(which: str) -> str:
    path = Path(which)
    places = [path, path / "checkpoints", path.parent]
    found = [one for place in places for one in sorted(place.glob("*-*.index"), key=_age)]
    if found and (path.is_dir() or path.name.startswith(found[-1].stem)):
        return f"give the path of one checkpoint, without an ending, such as {found[-1].with_suffix('')}"
    words = suggestion(which, RESTORE_WORDS)
    return f"there is no file {which}.index; {words}, a number, or a path without .index"


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _has_index(path: Path) -> bool:
    return path.with_name(f"{path.name}.index").is_file()
