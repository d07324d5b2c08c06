"""One process per run directory, on one host and across hosts that share a file system."""

from runner.lock.lock import Lock, LockedError

__all__ = ["Lock", "LockedError"]
