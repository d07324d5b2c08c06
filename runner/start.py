"""Where a sitting starts: the state is given what a checkpoint holds, and its place in the run."""

from __future__ import annotations

import logging
from pathlib import Path

from runner.amend import LearningRate
from runner.checkpoint.manifest import Manifest
from runner.checkpoint.store import CheckpointStore
from runner.config import Experiment
from runner.errors import CheckpointError
from runner.experiment import Built
from runner.record import RunRecord
from runner.state import Record

log = logging.getLogger(__name__)


class Start:
    """Restores, and makes sure that no run begins anew in silence.

    Args:
        experiment: what to do.
        built: its live objects, with nothing restored yet.
        store: the run's checkpoints.
        record: the content of run.json; the last of its sittings is this one.
    """

    def __init__(
        self, experiment: Experiment, built: Built, *, store: CheckpointStore, record: RunRecord
    ) -> None:
        self._experiment = experiment
        self._built = built
        self._state = built.state
        self._store = store
        self._record = record
        self.rate = LearningRate(built.state)
        """As the config says."""

    def restore(self) -> Path | None:
        """Gives the state what the newest checkpoint, or the one that the config names, holds.

        Of a checkpoint that is not the run's own, the learning rate is not taken: the config says it.

        Returns:
            Its path, or None if the run starts from scratch.

        Raises:
            CheckpointError: there is none to start from, or it does not fit.
        """
        self._store.open()
        checkpoint = self._store.start(fresh=self._starts_over())
        if checkpoint is not None:
            manifest = self._store.restore(checkpoint)
            self._check_place(checkpoint, manifest)
            saved_by = manifest.run if manifest else self._state.progress.record.run
            self._place(manifest, is_own=saved_by == self._record.id)
            if saved_by == self._record.id:
                self._record.saved = True
            else:
                self._check_lost()
                self.rate.put_back()
        else:
            self._check_lost()
        self._state.progress.record.run = self._record.id
        self._check_not_empty(checkpoint)
        self._tell_what_is_left_out()
        return checkpoint

    def _check_not_empty(self, checkpoint: Path | None) -> None:
        """Whoever only measures needs something to measure."""
        if checkpoint is None and self._experiment.measures_what_it_starts_from:
            spec = self._experiment.checkpoint
            raise CheckpointError(
                f"checkpoint.restore={spec.restore}: {spec.directory} holds no checkpoint and no phase "
                "trains, so there is nothing to evaluate; give checkpoint.restore=PATH"
            )

    def _check_lost(self) -> None:
        """A run that has saved does not begin anew by itself, nor from somebody else's checkpoint."""
        if self._record.saved and not self._starts_over():
            raise CheckpointError(
                f"{self._store.directory} holds no checkpoint of this run, which has saved some; put them "
                "back, or run.fresh=true starts over"
            )

    def _check_place(self, checkpoint: Path, manifest: Manifest | None) -> None:
        """A run that has begun has to know where it stands, or its rows would be lost."""
        has_begun = any(one.from_step is not None for one in self._record.sittings[:-1])
        if (
            manifest is None
            and has_begun
            and "progress" not in self._experiment.checkpoint.parts.values()
        ):
            raise CheckpointError(
                f"{checkpoint} has lost its manifest, and without the key progress nothing else tells at "
                "which step the run stood; run.fresh=true with checkpoint.restore=PATH starts from it"
            )

    def _tell_what_is_left_out(self) -> None:
        """Keys may leave out part of the state; what that costs is said once."""
        spec = self._experiment.checkpoint
        lacking = {
            "model": "the weights",
            "optimizer": "the optimizer's slots",
            "progress": "the metrics in progress",
        }
        names = [part for part in lacking if part not in spec.parts.values()]
        if not names or not self._experiment.trains:
            return
        cost = (
            "its first training row averages fewer steps"
            if names == ["progress"]
            else "it ends with other bits than one that was not interrupted"
        )
        log.warning(
            "checkpoint.keys leaves out %s: a run that goes on from its checkpoints has not %s, and %s",
            ", ".join(names),
            " nor ".join(lacking[name] for name in names),
            cost,
        )

    def _starts_over(self) -> bool:
        """Whether checkpoints of the run in a directory of their own are to be passed over."""
        return self._experiment.run.fresh and len(self._record.sittings) == 1

    def _place(self, manifest: Manifest | None, *, is_own: bool) -> None:
        """Settles where in the run the restored state stands."""
        spec, progress = self._experiment.checkpoint, self._state.progress
        if spec.partial and not is_own:
            # A warm start: only values were taken over, and the run begins at its beginning.
            progress.step.assign(0)
            self._built.engine.read_training_metrics()
            return
        if manifest is not None and "progress" not in spec.parts.values():
            progress.step.assign(manifest.step)
            progress.record = Record(**manifest.record)
        if not is_own:
            progress.record = Record.continuing(progress.record)
