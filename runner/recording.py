"""Keeping run.json true to a sitting: who works on the run, on what, and how it ends."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner import numerics, provenance, worktree
from runner.config import Experiment
from runner.errors import UserError
from runner.interrupt import Interrupted
from runner.record import RunRecord, Sitting
from runner.redaction import redacted
from runner.rundir import RunDirectory

log = logging.getLogger(__name__)

_DIFF = "diff"


def enter_sitting(record: RunRecord, experiment: Experiment) -> list[str]:
    """Enters this sitting and what it runs on; returns the files that changed since the last one."""
    sources = provenance.source_hashes(experiment)
    changed = provenance.changed(record.sources, sources)
    sitting = Sitting(
        started=_timestamp(),
        host=socket.gethostname(),
        pid=os.getpid(),
        command=sys.argv,
        changed_sources=changed,
    )
    record.sittings.append(sitting)
    record.sources = sources
    record.versions = provenance.versions()
    record.machine = provenance.machine()
    kept = {name: record.git[name] for name in (_DIFF,) if name in record.git}
    record.git = {**provenance.git(), **kept}
    record.checkpoint_directory = checkpoint_place(experiment)
    return changed


def keep_code(record: RunRecord, directory: RunDirectory) -> None:
    """Keeps, when a run begins, what no revision holds of its code, and says in the record where.

    Raises:
        UnwritableError: it cannot be written.
    """
    # One whose record was lost began long ago, with the code that is kept already.
    if len(record.sittings) > 1 or record.saved:
        return
    content = None
    try:
        content = worktree.difference(record.sources, here=Path.cwd())
        if content is not None:
            record.git[_DIFF] = "code.diff"
    except worktree.TooLarge:
        record.git[_DIFF] = f"more than {worktree.MOST_BYTES / 1e6:.0f} MB, so it was not kept"
        log.warning("what no revision holds of the code is %s", record.git[_DIFF])
    directory.keep_code(content)


def checkpoint_place(experiment: Experiment) -> str:
    """Where the checkpoints stand: relative to the run directory if they lie in it, or absolute."""
    place = os.path.relpath(experiment.checkpoint.directory, experiment.run.dir)
    is_outside = place.startswith("..")
    return str(Path(experiment.checkpoint.directory).absolute()) if is_outside else place


def compare(
    record: RunRecord, present: dict[str, Any], *, data: dict[str, str], edited: str | None = None
) -> None:
    """Keeps to what the first sitting chose, and tells of what cannot be kept to, and of other data.

    Args:
        edited: what to tell of its config, if that was.
        present: the numerics of this process; see `runner.numerics`.
        data: a hash of each part; see `runner.data.digests`.
    """
    record.numerics = record.numerics or present
    reasons = [edited] if edited else []
    reasons += numerics.differences(record.numerics, present)
    sitting = record.sittings[-1]
    before = next((one.data for one in reversed(record.sittings[:-1]) if one.data), data)
    changed = {change["key"] for change in sitting.changes} - {"data.batch_size"}
    if not any(key.partition(".")[0] == "data" for key in changed):
        reasons += numerics.differences({"data": before}, {"data": data})
    sitting.data, sitting.not_identical = data, reasons
    for reason in reasons:
        log.warning("not bit-identical to the run so far because %s", reason)


class Recording:
    """Keeps run.json true to a sitting, however it ends.

    One that changes the run is entered by the worker, once the state has taken the changes: a run
    that cannot take them stays as it was.
    """

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self._directory = directory
        self._record = record

    def __enter__(self) -> None:
        self._record.status = "running"
        if not self._record.sittings[-1].changes:
            self._directory.write(self._record)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        record, sitting = self._record, self._record.sittings[-1]
        if sitting.changes and sitting.from_step is None:
            log.info("the run could not be changed", exc_info=error)
            return
        sitting.ended = _timestamp()
        if error is None:
            record.status, sitting.outcome = "finished", "finished"
        elif isinstance(error, Interrupted | KeyboardInterrupt):
            record.status, sitting.outcome = "stopped", str(error) or "interrupted"
        else:
            record.status, sitting.outcome = "failed", redacted(f"{type(error).__name__}: {error}")
            log.info("the sitting failed", exc_info=error)
        # What went wrong before counts for more than that it cannot be written down.
        with suppress(UserError) if error is not None else nullcontext():
            self._directory.write(record)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
