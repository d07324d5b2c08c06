"""TensorFlow's ``checkpoint`` file: by it, ``tf.train.latest_checkpoint`` finds the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format

from runner.checkpoint.manifest import Manifest
from runner.files import write_atomically

NAME = "checkpoint"


def point(directory: Path, manifests: Sequence[Manifest], *, latest: str) -> None:
    """Names ``latest``, relative to ``directory``, and all of ``manifests``, oldest first."""
    state = tf.compat.v1.train.generate_checkpoint_state_proto(
        save_dir=".",
        model_checkpoint_path=latest,
        all_model_checkpoint_paths=[manifest.name for manifest in manifests],
        all_model_checkpoint_timestamps=[manifest.saved_at for manifest in manifests],
    )
    write_atomically(directory / NAME, text_format.MessageToString(state).encode())


def plain_latest(directory: Path) -> Path | None:
    """The checkpoint that the ``checkpoint`` file names, whoever wrote it, if its index is there."""
    state = tf.train.get_checkpoint_state(str(directory))
    if state is None or not state.model_checkpoint_path:
        return None
    path = directory / state.model_checkpoint_path
    return path if path.with_name(f"{path.name}.index").is_file() else None
