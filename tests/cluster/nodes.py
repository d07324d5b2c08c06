"""Nodes of clusters on this machine, each of which can be lost at once, and is lost at the end of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 120.0


@dataclass(frozen=True)
class Node:
    """A daemon in a session of its own, and all that it has started since.

    Args:
        mark: a variable of the environment that all of it has, as in ``NAME=value``.
    """

    daemon: subprocess.Popen[bytes]
    mark: str
    log: Path

    def processes(self) -> list[int]:
        """Those of its session, and those that have the mark although they left it."""
        found = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        return [pid for pid in found if self._has(pid)]

    def kill(self) -> None:
        """At once, as when its power fails."""
        while pids := self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.daemon.wait()

    def _has(self, pid: int) -> bool:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] == b"Z":
                return False
            is_marked = self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            return is_marked or int(fields[3]) == self.daemon.pid
        return False


@dataclass(frozen=True)
class Cluster:
    """Two nodes, one and two, and how to reach them.

    Args:
        launcher: of Hydra's, for trials to be run here.
        environment: for who launches.
    """

    launcher: str
    nodes: Mapping[str, Node]
    environment: Mapping[str, str]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start(
    command: Sequence[str | Path], *, mark: str, log: Path, environment: Mapping[str, str]
) -> Node:
    """A node whose daemon runs in the foreground of its own session."""
    name, _, value = mark.partition("=")
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**environment, name: value},
            start_new_session=True,
        )
    return Node(daemon, mark, log)


def wait_for(what: Callable[[], Any], *, while_lives: Node | subprocess.Popen[Any]) -> Any:
    """What ``what`` gives as soon as it gives something.

    Raises:
        AssertionError: the process that it depends on has ended, or it takes too long.
    """
    process = while_lives.daemon if isinstance(while_lives, Node) else while_lives
    ends = time.monotonic() + DEADLINE_S
    while not (found := what()):
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        assert time.monotonic() < ends, f"{what} took more than {DEADLINE_S} s"
        time.sleep(0.05)
    return found
