"""What can be found wrong with the world outside before TensorFlow takes its seconds to start."""

from __future__ import annotations

from pathlib import Path

from runner import events
from runner.checkpoint.spec import RESTORE_WORDS
from runner.config import Experiment
from runner.errors import ConfigError, Invalid, suggestion


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
    if experiment.tracking.tensorboard:
        events.check_available()


def _check_restore(experiment: Experiment) -> None:
    spec = experiment.checkpoint
    places: dict[str, object] = {"checkpoint.restore": spec.restore}
    for name, phase in experiment.phases.items():
        places[f"phases.{name}.restore"] = getattr(phase, "restore", None)
    for key, which in places.items():
        if isinstance(which, str) and which not in RESTORE_WORDS and not _has_index(Path(which)):
            reason = f"there is no file {which}.index; {suggestion(which, RESTORE_WORDS)}"
            raise ConfigError(f"{key}={which}: {reason}, a number, or a path without .index")
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


def _has_index(path: Path) -> bool:
    return path.with_name(f"{path.name}.index").is_file()
