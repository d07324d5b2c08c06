"""TensorFlow's ``checkpoint`` file: by it, ``tf.train.latest_checkpoint`` finds the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format

from runner.checkpoint.manifest import Manifest

NAME = "checkpoint"


def pointer_to(manifests: Sequence[Manifest], *, latest: str | None = None) -> bytes:
    """The content that names ``manifests``, the newest last, relative to their directory.

    Args:
        latest: another place where the newest of them stands.
    """
    paths = [manifest.name for manifest in manifests]
    paths[-1] = latest or paths[-1]
    state = tf.compat.v1.train.generate_checkpoint_state_proto(
        save_dir=".",
        model_checkpoint_path=paths[-1],
        all_model_checkpoint_paths=paths,
        all_model_checkpoint_timestamps=[manifest.saved_at for manifest in manifests],
    )
    return bytes(text_format.MessageToString(state).encode())


def pointed_to(directory: Path) -> Path | None:
    """The checkpoint that the ``checkpoint`` file names, whoever wrote it, if its index is there."""
    path = next(iter(listed(directory)[-1:]), None)
    return path if path is not None and path.with_name(f"{path.name}.index").is_file() else None


def listed(directory: Path) -> list[Path]:
    """All that the ``checkpoint`` file lists, the latest last; none if it cannot be read."""
    try:
        state = tf.train.get_checkpoint_state(str(directory))
    except ValueError:
        # TensorFlow's answer to a file that is empty, or that is no text.
        return []
    if state is None:
        return []
    latest = state.model_checkpoint_path
    earlier = [path for path in state.all_model_checkpoint_paths if path != latest]
    return [Path(path) for path in [*earlier, latest]]
