"""Which process it is that owns something, said so that another one can tell whether it lives."""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

_DEAD = ("Z", "X")
"""The states of a process that is over, but that its parent has not asked about yet."""


@dataclass(frozen=True)
class Host:
    """Where a process number means one process: one boot of one machine, one container on it."""

    name: str
    identity: str
    """Tells apart hosts of one name, and a host before and after it was started again."""


def this_host() -> Host:
    """The host that this process runs on."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        identity = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # Not Linux.
        identity = f"{uuid.getnode():x}"
    return Host(socket.gethostname(), identity)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One process on one host."""

    host: str
    identity: str
    pid: int
    started: int | None
    """In clock ticks since the boot, so that a later process with the same number is another one;
    None where the system does not tell."""
    token: str
    """Different for every owner."""

    @classmethod
    def this_process(cls, host: Host) -> Owner:
        """This process, with a new token."""
        pid = os.getpid()
        return cls(
            host=host.name,
            identity=host.identity,
            pid=pid,
            started=_state_and_start(pid)[1],
            token=uuid.uuid4().hex,
        )

    @classmethod
    def read(cls, content: bytes) -> Owner | None:
        """The owner that ``content`` names, or None if it is damaged."""
        try:
            owner = cls(**json.loads(content))
        except (ValueError, TypeError, RecursionError):
            return None
        return owner if type(owner.pid) is int and owner.pid > 0 else None

    def as_bytes(self) -> bytes:
        """As `read` takes it."""
        return f"{json.dumps(asdict(self))}\n".encode()

    def is_on(self, host: Host) -> bool:
        """Whether it is a process of this host, so that this host can tell whether it lives."""
        return (self.host, self.identity) == (host.name, host.identity)

    def is_alive(self) -> bool:
        """Whether the process lives; to be asked on its own host only."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # It is there, and somebody else's.
        state, started = _state_and_start(self.pid)
        return state not in _DEAD and (None in (started, self.started) or started == self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _state_and_start(pid: int) -> tuple[str, int | None]:
    """Fields 3 and 22 of Linux's /proc/<pid>/stat; see proc(5)."""
    try:
        # The name of the program before them may hold anything, blanks and brackets too.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[19])
    except (OSError, IndexError):
        return "", None
