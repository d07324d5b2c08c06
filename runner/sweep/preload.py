"""What the fork server imports once, so that no trial has to. Importing computes nothing."""

from __future__ import annotations

import gc
import os


def _quietly() -> None:
    """TensorFlow greets on standard error when it is imported."""
    standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import runner.autotune
        import runner.sweep.trial
        import runner.worker  # noqa: F401
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)


os.setsid()  # The terminal's signals are for who started it, who passes them on.
_quietly()
gc.freeze()  # What is never looked at for garbage stays shared between the processes.
