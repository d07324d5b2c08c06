"""The commands for saved runs. Only ``resume``, ``evaluate`` and ``reproduce`` import TensorFlow."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.checkpoint.manifest import Manifest, lone_checkpoints, read_manifests
from runner.config.changes import change_from_json
from runner.errors import ConfigError, UserError, listed, suggestion
from runner.record import RunRecord, Sitting
from runner.report.console import plain_console
from runner.report.tables import (
    change_lines,
    checkpoint_table,
    least_width,
    number,
    places,
    reproduction_table,
    result_table,
    run_table,
    shown_path,
    verdict,
)
from runner.rundir import RunDirectory, find_runs
from runner.standing import last_step, status

_OUTPUTS = Path("outputs")
_MAX_WATCHED = 32


def resume(arguments: Sequence[str]) -> int:
    """`runner resume RUN [overrides]`"""
    from runner.api import resume as resume_run

    parser = _parser("resume", "Go on from a run's saved config; the overrides hold from here on.")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value")
    given = parser.parse_intermixed_args(arguments)
    resume_run(find_run(given.run), *given.overrides)
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """`runner evaluate RUN [--checkpoint latest|best|N] [overrides]`"""
    from runner.api import evaluate as evaluate_run

    parser = _parser("evaluate", "Evaluate a checkpoint of a saved run.")
    parser.add_argument("--checkpoint", metavar="latest|best|N")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value")
    given = parser.parse_intermixed_args(arguments)
    evaluate_run(find_run(given.run), *given.overrides, checkpoint=given.checkpoint)
    return 0


def reproduce(arguments: Sequence[str]) -> int:
    """`runner reproduce RUN [--tolerance T]`"""
    from runner.api import reproduce as reproduce_run

    parser = _parser("reproduce", "Run a finished run afresh, and compare what comes out.")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="relative, such as 1e-6: numbers so near are taken for equal, although bits differ",
    )
    given = parser.parse_args(arguments)
    reproduction = reproduce_run(find_run(given.run), tolerance=given.tolerance)
    console = plain_console()
    console.print()
    console.print(reproduction_table(reproduction))
    console.print()
    console.print(verdict(reproduction))
    for reason in () if reproduction.is_identical else reproduction.numerics:
        console.print(f"  afresh, {reason}")
    return 0 if reproduction.is_reproduced else 1


def ls(arguments: Sequence[str]) -> int:
    """`runner ls [DIRECTORY]`"""
    parser = argparse.ArgumentParser("runner ls", description="List the runs below a directory.")
    parser.add_argument("directory", nargs="?", default=_OUTPUTS, type=Path)
    given = parser.parse_args(arguments)
    if given.directory != _OUTPUTS and not given.directory.is_dir():
        raise ConfigError(f"DIRECTORY={given.directory}: there is no such directory")
    runs = find_runs(given.directory)
    if not runs:
        raise UserError(f"there are no runs below {given.directory.absolute()}")
    # Side by side, as it can take seconds to see whether a run on another host is alive.
    with ThreadPoolExecutor(max_workers=min(len(runs), _MAX_WATCHED)) as pool:
        rows = list(pool.map(_run_row, runs))
    console, table = plain_console(), run_table(rows)
    # A narrow terminal breaks the lines: what is copied of it, or searched in it, is whole.
    console.width = max(console.width, least_width(table, console))
    console.print(table)
    return 0


def show(arguments: Sequence[str]) -> int:
    """`runner show RUN`"""
    given = _parser("show", "What ran, how far it got, what came out.").parse_args(arguments)
    directory = RunDirectory(find_run(given.run))
    record, console = _read(directory.path), plain_console()
    console.print(f"{record.name} {record.id}: {status(directory, record)}")
    if overrides := directory.overrides():
        console.print(f"  {' '.join(shlex.quote(override) for override in overrides)}")
    for sitting in record.sittings:
        steps = " to ".join(
            str(step) for step in (sitting.from_step, sitting.to_step) if step is not None
        )
        console.print(
            f"  {sitting.started}  step {steps or '?'}  {_first_line(sitting.outcome)}  {sitting.host}"
        )
        for line in _remarks(sitting):
            console.print(f"    {line}")
    versions = "  ".join(f"{name} {version}" for name, version in record.versions.items())
    console.print(f"  {versions}")
    result = directory.result(record)
    if result is not None:
        console.print()
        console.print(result_table(result))
        for line in ["", *places(result)]:
            console.print(line)
    return 0


def checkpoints(arguments: Sequence[str]) -> int:
    """`runner checkpoints RUN [--verify]`"""
    parser = _parser("checkpoints", "List a run's checkpoints.")
    parser.add_argument(
        "--verify", action="store_true", help="read every file and compare its SHA-256"
    )
    given = parser.parse_args(arguments)
    run = find_run(given.run)
    directory = RunDirectory(run).checkpoints(_read(run))
    manifests = read_manifests(directory)
    lone = lone_checkpoints(directory)
    if not (manifests or lone):
        raise UserError(f"there are no checkpoints in {directory}")
    faults = [manifest.fault(directory) if given.verify else None for manifest in manifests]
    rows = [_checkpoint_row(manifest) for manifest in manifests]
    for row, fault in zip(rows, faults, strict=True):
        row["intact"] = (fault or "yes") if given.verify else "not read"
    rows += [{"checkpoint": name, "intact": "no manifest"} for name in lone]
    plain_console().print(checkpoint_table(rows))
    # In a directory of others, these are somebody's; in the run's own they are a loss.
    is_own = directory.resolve().is_relative_to(run.resolve())
    return 3 if any(faults) or (given.verify and lone and is_own) else 0


def find_run(text: str) -> Path:
    """The run directory that a path or the start of an id means.

    Raises:
        ConfigError: there is none, or more than one.
    """
    path = Path(text)
    if (path / "run.json").is_file():
        return path
    runs = find_runs(_OUTPUTS)
    # A run that was moved aside, <id>.1, is meant only by its whole name.
    matching = [run for run in runs if run.name == text] or [
        run for run in runs if run.name.startswith(text) and "." not in run.name
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        begun = listed([shown_path(run) for run in matching])
        raise ConfigError(f"RUN={text}: more than one run begins so: {begun}")
    known = [run.name for run in reversed(runs)]
    raise ConfigError(
        f"RUN={text}: no such directory with a run.json, and no such id; {suggestion(text, known)}"
    )


def _run_row(path: Path) -> dict[str, object]:
    directory = RunDirectory(path)
    try:
        record = _read(path)
    except UserError:
        return {"run": shown_path(path), "status": "unreadable", "step": "", "result": ""}
    return {
        "run": shown_path(path),
        "status": status(directory, record),
        "step": last_step(directory, record),
        "result": _headline(directory, record),
    }


def _read(path: Path) -> RunRecord:
    record = RunDirectory(path).read()
    if record is None:
        raise UserError(f"{path} has no run.json")
    return record


def _remarks(sitting: Sitting) -> list[str]:
    """What a sitting changed, and what makes its bits others or its checkpoints fewer."""
    return [
        *change_lines([change_from_json(change) for change in sitting.changes]),
        *(f"not bit-identical because {reason}" for reason in sitting.not_identical),
        *(f"damaged, now {place}: {reason}" for place, reason in sitting.set_aside.items()),
    ]


def _first_line(outcome: str | None) -> str:
    return outcome.splitlines()[0] if outcome else "did not end"


def _headline(directory: RunDirectory, record: RunRecord) -> str:
    result = directory.result(record)
    if result is None or not result.metrics:
        return ""
    last = list(result.metrics.values())[-1]
    return "  ".join(f"{name} {number(value)}" for name, value in last.items())


def _checkpoint_row(manifest: Manifest) -> dict[str, object]:
    size = sum(entry["bytes"] for entry in manifest.files.values())
    metrics = "  ".join(f"{name} {number(value)}" for name, value in manifest.metrics.items())
    return {
        "checkpoint": manifest.name,
        "step": manifest.step,
        "epoch": f"{manifest.epoch:.2f}",
        "phase": manifest.phase,
        "metrics": metrics,
        "size": f"{size / 1e6:.2f} MB",
    }


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"runner {command}", description=description)
    parser.add_argument("run", metavar="RUN", help="a run directory, or the start of an id")
    return parser
