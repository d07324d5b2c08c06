"""What is told about a sweep while it goes, to whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from runner.sweep.record import SweepRecord, Trial


class SweepObserver(Protocol):
    """Shows it to people, changes nothing."""

    def sweep_started(self, record: SweepRecord, directory: Path) -> None: ...

    def trial_started(self, trial: Trial) -> None: ...

    def trial_advanced(self, trial: Trial, row: Mapping[str, Any]) -> None: ...

    def trial_ended(self, trial: Trial) -> None: ...

    def stopping(self, reason: str) -> None: ...

    def sweep_ended(self, record: SweepRecord, directory: Path, *, changed: list[str]) -> None: ...

    def closed(self) -> None:
        """Nothing more is told, however the sweep ended."""
