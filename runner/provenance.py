"""What a result depends on besides its config: versions, machine, code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any

from runner.config import Experiment
from runner.targets import Target, sources

_PACKAGES = (
    "tf-runner",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "scikit-learn",
    "hydra-core",
    "omegaconf",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide about bits, found without importing them."""
    from importlib.metadata import PackageNotFoundError, version  # Slow, and few launches ask.

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The system, besides what `runner.numerics` tells of the processor."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": sys.executable,
    }


def git() -> dict[str, Any]:
    """The revision of the working directory's repository and the files that differ from it."""
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return {}
    dirty = _git("status", "--porcelain", "--untracked-files=no") or ""
    return {"revision": revision.strip(), "dirty": [line[3:] for line in dirty.splitlines()]}


def source_hashes(experiment: Experiment) -> dict[str, str]:
    """SHA-256 by file of the code behind every target of the experiment."""
    groups = [experiment.phases, experiment.callbacks, experiment.data, experiment.task]
    return sources(_names([experiment.model, experiment.optimizer, *groups]))


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The files whose content differs; those that only one of them has belong to another config."""
    return sorted(path for path in before.keys() & now.keys() if before[path] != now[path])


def _names(value: Any) -> set[str]:
    """The names of all targets and classes in a part of the config."""
    match value:
        case Target():
            return {value.name} | _names(value.arguments)
        case dict():
            return {name for item in value.values() for name in _names(item)}
        case list():
            return {name for item in value for name in _names(item)}
    if not is_dataclass(value):
        return set()
    kind = type(value)
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    return {f"{kind.__module__}.{kind.__qualname__}"} | _names(given)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
