"""Process-wide settings that can change bits."""

from __future__ import annotations

import keras
import tensorflow as tf

from runner.engine.spec import EngineSpec, available_cores
from runner.errors import ConfigError


def apply(spec: EngineSpec, *, threads: int, seed: int) -> None:
    """Sets threads, determinism, dtype policy and every global seed, as in a fresh process.

    Raises:
        ConfigError: TensorFlow already runs with another number of threads in this process.
    """
    _set_threads(threads)
    keras.backend.clear_session()
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(spec.dtype_policy)
    keras.utils.set_random_seed(seed)


def devices() -> list[str]:
    """What computes: the name of every accelerator, or CPU if there is none."""
    found = tf.config.list_physical_devices()
    details = [tf.config.experimental.get_device_details(device) for device in found]
    names = [detail.get("device_name") for detail in details if detail]
    return [name for name in names if name] or ["CPU"]


def _set_threads(threads: int) -> None:
    present = tf.config.threading.get_intra_op_parallelism_threads()
    if present == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        # 0 stands for one per core, which a notebook that used TensorFlow before has settled on.
        if (present or available_cores()) != threads:
            raise ConfigError(
                f"engine.threads={threads}: TensorFlow already runs with {present} in this process; "
                "start this run in a process of its own"
            ) from error
