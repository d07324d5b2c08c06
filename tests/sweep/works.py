"""What the processes of the pool's tests do; imported there by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def work(task: Any, tell: Callable[[Any], None]) -> None:
    """Does what the first word of a task says."""
    match task[0]:
        case "tell":
            tell({"pid": os.getpid(), "cores": sorted(os.sched_getaffinity(0))})
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "wait":
            tell("waits")
            signal.pause()
        case "save":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            tell("waits")
            signal.sigwait([signal.SIGTERM])
            tell("saved")
        case "parent":
            if os.fork() == 0:  # It has the pipe too, and outlives its parent.
                signal.alarm(60)
                signal.pause()
            tell(os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            tell("waits")
            while True:
                signal.pause()
