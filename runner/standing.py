"""How far a run got."""

from __future__ import annotations

from runner.checkpoint.manifest import read_manifests
from runner.record import RunRecord
from runner.rundir import RunDirectory


def status(directory: RunDirectory, record: RunRecord) -> str:
    """As recorded, but a run that no process holds is not running."""
    if record.status != "running":
        return record.status
    return "running" if directory.is_locked() else "interrupted"


def last_step(directory: RunDirectory, record: RunRecord) -> int:
    """Where the run stands: where its last sitting ended or, if it was killed, its last checkpoint."""
    step = record.sittings[-1].to_step if record.sittings else None
    if step is not None:
        return step
    manifests = read_manifests(directory.checkpoints(record))
    return manifests[-1].step if manifests else 0
