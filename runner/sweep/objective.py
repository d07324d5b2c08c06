"""What the trials of a sweep are compared by."""

from __future__ import annotations

from runner.checkpoint.manifest import Manifest, read_manifest
from runner.results import Result


def objective(result: Result, metric: str | None) -> float | None:
    """The value of a metric: at the best checkpoint if that is what it goes by, else the last one."""
    if metric is None:
        return None
    if result.best is not None:
        manifest = read_manifest(result.best.with_name(f"{result.best.name}.json"))
        if isinstance(manifest, Manifest) and metric in manifest.metrics:
            return manifest.metrics[metric]
    values = [one[metric] for one in result.metrics.values() if metric in one]
    return values[-1] if values else None
