"""The command line."""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from runner.allowances import additions, allowing
from runner.errors import ConfigError, UserError, suggestion
from runner.redaction import redacted

if TYPE_CHECKING:
    from runner.session import Launch

_INTERRUPTED = 130
_COLLECTED_EVERY = 100_000
"""New objects after which Python looks for garbage; importing TensorFlow makes many, and no garbage."""


def main() -> None:
    """The `runner` command: 0 done, 1 failed, 2 bad config or usage, 3 a checkpoint problem."""
    # A crash in native code is told on the terminal, whatever standard error is then sent to.
    faulthandler.enable(os.fdopen(os.dup(2), "w"))
    gc.set_threshold(_COLLECTED_EVERY)
    # What a config names may stand in the directory one works in.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    _leave(run_command(sys.argv[1:]))


def _leave(exit_code: int) -> NoReturn:
    """Ends the process without Python's own searches for garbage: 50 ms of a launch, 1 s after a run."""
    if "tensorflow" in sys.modules:
        gc.collect()  # What a model or a callback left open is closed.
    gc.freeze()
    sys.exit(exit_code)


def run_command(arguments: Sequence[str]) -> int:
    """Does what the arguments say and returns the exit code."""
    names, rest = _split_allow(arguments)
    try:
        with allowing(names):
            return _command(rest)(rest)
    except UserError as error:
        _tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("runner: interrupted; run the same command to go on", file=sys.stderr)
        return _INTERRUPTED


def _split_allow(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What ``--allow NAME`` and ``--allow=NAME`` give, and the other arguments."""
    names, others = [], []
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, name = argument.partition("=")
        if flag != "--allow":
            others.append(argument)
        else:
            names.append(name if equals else next(waiting, ""))
    return names, others


def _command(arguments: Sequence[str]) -> Callable[[Sequence[str]], int]:
    first = arguments[0] if arguments else ""
    if not first or first.startswith(("-", "~")) or "=" in first:
        return _launch
    from runner import commands

    known = {
        "resume": commands.resume,
        "evaluate": commands.evaluate,
        "reproduce": commands.reproduce,
        "ls": commands.ls,
        "show": commands.show,
        "checkpoints": commands.checkpoints,
    }
    if first not in known:
        raise ConfigError(f"{first}: no such command, and no key=value; {suggestion(first, known)}")
    return lambda rest: known[first](rest[1:])


def _launch(arguments: Sequence[str]) -> int:
    """Runs what the overrides describe."""
    if list(arguments) in (["--help"], ["-h"]):
        from runner.config.help import help_text

        print(help_text(), end="")
        return 0
    if "--version" in arguments:
        from runner.provenance import versions

        print(f"runner {versions().get('tf-runner', 'from a clone')}")
        return 0
    single = _single(arguments)
    if single is None:
        return _launch_by_hydra(arguments)
    from runner import session
    from runner.report import for_terminal

    session.run(single, for_terminal())
    return 0


def _single(arguments: Sequence[str]) -> Launch | None:
    """The one run that is asked for, or None where Hydra has more to do than that.

    It would compose twice before it calls the runner, which takes a quarter of a second.

    Raises:
        ConfigError: what is asked for is wrong.
    """
    from runner import api
    from runner.config.compose import compose
    from runner.config.hydra import has_more_to_do

    if any(argument.startswith("-") or "hydra" in argument for argument in arguments):
        return None
    try:
        config = compose(arguments)
        return None if has_more_to_do(config.hydra) else api.launch_of(config, arguments)
    except ConfigError:
        if any(mark in argument for argument in arguments for mark in ",("):
            return None  # Values to sweep over, if the config says that it is a sweep.
        raise


def _launch_by_hydra(arguments: Sequence[str]) -> int:
    """Hands the command line to Hydra, which composes and runs once, or once for every trial."""
    # Hydra would print its own errors and leave with 1; with this, they reach `plain_errors`.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra

    from runner.config.compose import plain_errors
    from runner.config.hydra import CONFIG_NAME, VERSION_BASE, config_directory, register
    from runner.sweep.plugins import register as register_plugins

    _check_options(arguments)
    register()
    register_plugins()
    job = Job(additions())
    sys.argv = ["runner", *_with_absolute_config_path(arguments)]
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    with plain_errors(overrides):
        main = hydra.main(
            config_path=config_directory(), config_name=CONFIG_NAME, version_base=VERSION_BASE
        )
        main(job)()
    return job.exit_code


def _check_options(arguments: Sequence[str]) -> None:
    """Raises: ConfigError: one of them is none."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    _, others = parser.parse_known_args(arguments)
    problems = [
        f"{one}: no such option; {suggestion(one.partition('=')[0], [*known, '--allow'])}"
        for one in others
        if one.startswith("-")
    ]
    if problems:
        raise ConfigError(problems)


class Job:
    """What Hydra calls with a composed config. A trial that fails does not end the sweep.

    Args:
        allow: what is allowed; a launcher may call this in another process.
    """

    def __init__(self, allow: list[str]) -> None:
        self.exit_code = 0
        self._allow = allow

    def __call__(self, config: object) -> float | tuple[float, ...] | None:
        """Returns the value of the objective, or of each, for Hydra's sweepers."""
        with allowing(self._allow):
            return self._run(config)

    def _run(self, config: object) -> float | tuple[float, ...] | None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import DictConfig

        from runner import api, session
        from runner.config.hydra import task_overrides
        from runner.interrupt import Interrupted
        from runner.report import for_terminal
        from runner.sweep.objective import objectives, returned

        if not isinstance(config, DictConfig):
            raise TypeError(f"Hydra passed a {type(config).__name__}")
        if self.exit_code == Interrupted.exit_code:
            return None  # The sweep was asked to stop, not only the trial that was at work.
        hydra: Any = HydraConfig.get()
        overrides = task_overrides(hydra)
        if hydra.mode is RunMode.MULTIRUN:
            print(f"\ntrial {hydra.job.num}: {' '.join(overrides)}")
        try:
            launch = api.launch(config, hydra, overrides)
            result = session.run(launch, for_terminal())
        except UserError as error:
            _tell(error)
            self.exit_code = max(self.exit_code, error.exit_code)
            return None
        return returned(objectives(result, launch.experiment))


def _with_absolute_config_path(arguments: Sequence[str]) -> list[str]:
    """Hydra takes a relative --config-path from the source file; people mean the working directory.

    Raises:
        ConfigError: there is none.
    """
    result = list(arguments)
    for index, argument in enumerate(result):
        flag, equals, value = argument.partition("=")
        if flag in ("--config-path", "-cp") and (equals or index + 1 < len(result)):
            place = Path(value if equals else result[index + 1])
            if not place.is_dir():
                raise ConfigError(f"{place}: there is no such directory of configs")
            target = str(place.absolute())
            result[index if equals else index + 1] = f"{flag}={target}" if equals else target
    return result


def _tell(error: UserError) -> None:
    if os.environ.get("RUNNER_TRACEBACK"):
        import traceback

        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
        return
    problems = error.problems if isinstance(error, ConfigError) else [str(error)]
    lines = (
        [f"runner: {problems[0]}"]
        if len(problems) == 1
        else [f"runner: {len(problems)} problems", *(f"  {problem}" for problem in problems)]
    )
    print("\n".join(lines), file=sys.stderr)
