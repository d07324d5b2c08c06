"""Small disks, which fill up or are mounted read-only, for real runs in processes of their own."""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.runs import command

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 16384, 1 << 18
DISK_BYTES = 16 << 20
_BALLAST = "ballast"


def mount(place: Path) -> None:
    """Puts a disk of ``DISK_BYTES`` at ``place``, for this process and its children only.

    As root, or else as root of a user namespace of its own.

    Raises:
        RuntimeError: neither is permitted here.
    """
    try:
        _enter_namespace()
        _mount("/", None, _MS_REC | _MS_PRIVATE)
        _mount(place, b"tmpfs", 0)
    except OSError as error:
        raise RuntimeError(
            "to mount a disk takes root, or the right to user namespaces (unshare -rm)"
        ) from error


def remount(place: Path, *, read_only: bool) -> None:
    """Takes away or gives back the right to write to the disk."""
    flags = _MS_REMOUNT | (_MS_RDONLY if read_only else 0)
    _mount(place, b"tmpfs", flags)


def fill(disk: Path, *, free_bytes: int) -> None:
    """Leaves so much room, in whole pages."""
    usage = os.statvfs(disk)
    taken = usage.f_bavail * usage.f_frsize - free_bytes
    (disk / _BALLAST).write_bytes(bytes(taken))


def make_room(disk: Path) -> None:
    """Undoes ``fill``."""
    (disk / _BALLAST).unlink()


def limit_files(num_bytes: int) -> None:
    """No file of this process gets longer, as with a quota."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def die() -> None:
    """Kills this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def command_with_event(
    directory: Path, event: Callable[[], None], after_saves: int, *overrides: str
) -> tuple[int, str]:
    """As ``command``; ``event`` happens right after so many saves, after none before the start."""
    from runner.checkpoint.saver import Saver

    finish, counter = Saver._finish, itertools.count(1)

    def finishing(*arguments: Any) -> Any:
        saved = finish(*arguments)
        if next(counter) == after_saves:
            event()
        return saved

    setattr(Saver, "_finish", finishing)  # noqa: B010
    if not after_saves:
        event()
    return command(directory, *overrides)


def in_fork(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns in a fork of this process, which has to be without threads.

    None if it did not return, and its traceback if it raised.
    """
    read, write = os.pipe()
    if not (child := os.fork()):
        with os.fdopen(write, "wb") as answer:
            try:
                pickle.dump(function(*arguments), answer)
            except BaseException:
                pickle.dump(traceback.format_exc(), answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        content = answer.read()
    os.waitpid(child, 0)
    return pickle.loads(content) if content else None


def _enter_namespace() -> None:
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0:
        return
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    maps = {"setgroups": "deny", "uid_map": f"0 {user} 1", "gid_map": f"0 {group} 1"}
    for name, content in maps.items():
        Path("/proc/self", name).write_text(content)


def _mount(place: Path | str, kind: bytes | None, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={DISK_BYTES}".encode() if kind else None
    if libc.mount(b"tmpfs", os.fsencode(place), kind, ctypes.c_ulong(flags), options):
        raise OSError(ctypes.get_errno(), f"mount {place}")
