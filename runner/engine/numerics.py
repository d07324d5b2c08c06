"""Process-wide settings that can change bits."""

from __future__ import annotations

import keras
import tensorflow as tf

from runner.engine.spec import EngineSpec, available_cores
from runner.errors import ConfigError


def apply(spec: EngineSpec, *, seed: int) -> None:
    """Sets determinism, dtype policy and every global seed, as in a fresh process."""
    keras.backend.clear_session()
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(spec.dtype_policy)
    keras.utils.set_random_seed(seed)


def running_threads() -> int | None:
    """The threads within an op that TensorFlow computes with; None before it has computed anything."""
    present = tf.config.threading.get_intra_op_parallelism_threads()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(present + 1)
    except RuntimeError:
        # 0 stands for one per core.
        return present or available_cores()
    tf.config.threading.set_intra_op_parallelism_threads(present)
    return None


def set_threads(threads: int) -> None:
    """Sets the threads within an op, once and for all in this process.

    Raises:
        ConfigError: TensorFlow already runs with another number of them.
    """
    running = running_threads()
    if running is None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    elif running != threads:
        raise ConfigError(
            f"engine.threads={threads}: TensorFlow already runs with {running} in this process; "
            "start this run in a process of its own"
        )


def devices() -> list[str]:
    """What computes: the name of every accelerator, or CPU if there is none."""
    found = tf.config.list_physical_devices()
    details = [tf.config.experimental.get_device_details(device) for device in found]
    names = [detail.get("device_name") for detail in details if detail]
    return [name for name in names if name] or ["CPU"]
