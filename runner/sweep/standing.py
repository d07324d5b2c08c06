"""How the run of a trial stands, by what it left in its directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from runner.errors import UserError
from runner.record import RunRecord
from runner.rundir import RunDirectory


def own_record(directory: str, id: str | None) -> RunRecord | None:
    """What run.json says there; None if there is none, or it is of another run than overrides make alone.

    Args:
        id: of the run; None if that is not known.
    """
    with suppress(UserError):
        record = RunDirectory(Path(directory)).read()
        if record is not None and not record.departures and id in (None, record.id):
            return record
    return None


def failed_before(reason: str | None) -> str:
    """What to tell of a trial that an earlier launch saw fail."""
    told = "failed before; sweep.retry_failed=true tries it again"
    if reason is None or reason.startswith(told):
        return reason or told
    return f"{told}: {reason}"


def mark_failed(run: RunDirectory, how: str) -> None:
    """Lets the run tell itself that its process was lost."""
    with suppress(UserError, OSError), run.locked():
        record = run.read()
        is_open = record is not None and record.status in ("running", "stopped")
        if record is not None and record.sittings and is_open:
            record.status, record.sittings[-1].outcome = "failed", how
            run.write(record)
