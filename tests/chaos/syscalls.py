"""Every system call of a process that can change files: recorded, and killed at or failed.

Linux can hand chosen system calls of a process to another one before they are executed, and wait for
its answer: seccomp's user notification, see seccomp_unotify(2). The process to be watched calls
``install`` in its only thread, before TensorFlow starts others, and passes the descriptor that it
gets to its supervisor. From then on every call in ``CALLS``, of native code too, stands still until
``supervise`` has seen it. A process that is killed while a call stands still never executes it.

It takes no compiler, no tracer and no rights. What changes files and is not seen here: writes through
a shared memory map, and io_uring; neither TensorFlow nor the runner uses them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PTRACER = 0x59616D61
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_RET_ALLOW, _RET_USER_NOTIF = 0x7FFF0000, 0x7FC00000

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction pointer, args.
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
# struct seccomp_notif_resp: id, val, error, flags.
_RESPONSE = struct.Struct("=QqiI")
_IOCTL_RECV = 0xC0502100  # _IOWR('!', 0, struct seccomp_notif)
_IOCTL_SEND = 0xC0182101  # _IOWR('!', 1, struct seccomp_notif_resp)
_FLAG_CONTINUE = 1

# struct sock_filter: code, jump if true, jump if false, value.
_INSTRUCTION = struct.Struct("=HBBI")
_EQUAL, _ANY_BIT = 0x15, 0x45

_AT_FDCWD = -100
_PAGE = 4096

MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
"""By machine: which of the numbers in ``CALLS``, the number of the architecture, that of seccomp."""


class Shape(NamedTuple):
    """A system call: its numbers on x86_64 and aarch64 (None: there is no such call), and its arguments."""

    x86_64: int | None
    aarch64: int | None
    paths: tuple[int, ...] = ()
    """Which arguments are paths, relative to the working directory."""
    places: tuple[int, ...] = ()
    """Which are descriptors of directories, each with a path relative to it next."""
    files: tuple[int, ...] = ()
    """Which are descriptors of files."""
    flags: int | None = None
    """Which holds the flags of an opening: one that only reads is let through."""


CALLS = {
    "open": Shape(2, None, paths=(0,), flags=1),
    "openat": Shape(257, 56, places=(0,), flags=2),
    "openat2": Shape(437, 437, places=(0,)),
    "creat": Shape(85, None, paths=(0,)),
    "write": Shape(1, 64, files=(0,)),
    "writev": Shape(20, 66, files=(0,)),
    "pwrite64": Shape(18, 68, files=(0,)),
    "pwritev": Shape(296, 70, files=(0,)),
    "pwritev2": Shape(328, 287, files=(0,)),
    "sendfile": Shape(40, 71, files=(0,)),
    "splice": Shape(275, 76, files=(2,)),
    "copy_file_range": Shape(326, 285, files=(2,)),
    "rename": Shape(82, None, paths=(0, 1)),
    "renameat": Shape(264, 38, places=(0, 2)),
    "renameat2": Shape(316, 276, places=(0, 2)),
    "link": Shape(86, None, paths=(0, 1)),
    "linkat": Shape(265, 37, places=(0, 2)),
    "symlink": Shape(88, None, paths=(1,)),
    "symlinkat": Shape(266, 36, places=(1,)),
    "unlink": Shape(87, None, paths=(0,)),
    "unlinkat": Shape(263, 35, places=(0,)),
    "mkdir": Shape(83, None, paths=(0,)),
    "mkdirat": Shape(258, 34, places=(0,)),
    "rmdir": Shape(84, None, paths=(0,)),
    "mknod": Shape(133, None, paths=(0,)),
    "mknodat": Shape(259, 33, places=(0,)),
    "truncate": Shape(76, 45, paths=(0,)),
    "ftruncate": Shape(77, 46, files=(0,)),
    "fallocate": Shape(285, 47, files=(0,)),
    "fsync": Shape(74, 82, files=(0,)),
    "fdatasync": Shape(75, 83, files=(0,)),
    "sync_file_range": Shape(277, 84, files=(0,)),
}


@dataclass(frozen=True)
class Call:
    """A system call that stands still."""

    name: str
    paths: tuple[str, ...]
    """Relative to the watched directory; an absolute one lies outside."""


def is_supported() -> bool:
    """Whether this system can do it."""
    return platform.system() == "Linux" and platform.machine() in MACHINES


def install() -> int:
    """Has the calls of this process and its children stand still; returns the listener's descriptor.

    Raises:
        OSError: the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # Its supervisor is its parent's parent, which some systems let read no memory without this.
    libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    code = b"".join(_filter())
    program = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, each of eight bytes, and where they stand.
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(program))
    number = MACHINES[platform.machine()][2]
    listener = libc.syscall(number, _SET_MODE_FILTER, _NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)")
    return int(listener)


def supervise(
    listener: int, child: BaseProcess, directory: Path, answer: Callable[[int, Call], int | None]
) -> list[Call]:
    """Lets a process that called ``install`` go on until it ends; returns its calls in ``directory``.

    Args:
        answer: is given the index of every call in ``directory``, from 0, and the call: 0 lets it
            be executed, an errno makes it fail, and None kills the process in its place.
    """
    calls: list[Call] = []
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.register(child.sentinel, select.POLLIN)
    while (ready := dict(poller.poll())) and child.sentinel not in ready:
        if not ready[listener] & select.POLLIN:
            poller.unregister(listener)  # All its threads have ended; the process is about to.
            continue
        received = _received(listener)
        if received is None:
            continue
        identity, thread, number, arguments = received
        call = _call(thread, number, arguments, directory=directory)
        error: int | None = 0
        if call is not None:
            error = answer(len(calls), call)
            calls.append(call)
        if error is None:
            child.kill()
            child.join()
        else:
            _respond(listener, identity, error)
    child.join()
    return calls


def _filter() -> list[bytes]:
    """The program that the kernel runs for every system call, in classic BPF."""
    column, architecture, _ = MACHINES[platform.machine()]
    code = [_load(4), _skip(_EQUAL, architecture, 1, 0), _return(_RET_ALLOW), _load(0)]
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for shape in CALLS.values():
        number = shape[column]
        if number is None:
            continue
        if shape.flags is None:
            code += [_skip(_EQUAL, number, 0, 1), _return(_RET_USER_NOTIF)]
        else:
            code += [_skip(_EQUAL, number, 0, 4), _load(16 + 8 * shape.flags)]
            code += [_skip(_ANY_BIT, writing, 0, 1), _return(_RET_USER_NOTIF), _return(_RET_ALLOW)]
    return [*code, _return(_RET_ALLOW)]


def _load(offset: int) -> bytes:
    """Loads the 32 bits at ``offset`` of struct seccomp_data."""
    return _INSTRUCTION.pack(0x20, 0, 0, offset)


def _skip(condition: int, value: int, if_true: int, if_false: int) -> bytes:
    """Leaves out so many of the next instructions, as what was loaded compares with ``value``."""
    return _INSTRUCTION.pack(condition, if_true, if_false, value)


def _return(action: int) -> bytes:
    return _INSTRUCTION.pack(0x06, 0, 0, action)


def _received(listener: int) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Identity, thread, number and arguments of the next call; None if its thread has gone."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _IOCTL_RECV, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    return identity, thread, number, tuple(arguments)


def _respond(listener: int, identity: int, error: int) -> None:
    flags = 0 if error else _FLAG_CONTINUE
    with suppress(FileNotFoundError):  # The thread may have gone.
        fcntl.ioctl(listener, _IOCTL_SEND, _RESPONSE.pack(identity, 0, -error, flags))


def _call(thread: int, number: int, arguments: tuple[int, ...], *, directory: Path) -> Call | None:
    """The call, if it is one in ``directory``."""
    column = MACHINES[platform.machine()][0]
    name, shape = next((name, one) for name, one in CALLS.items() if one[column] == number)
    try:
        found = [_path(thread, _AT_FDCWD, arguments[index]) for index in shape.paths]
        found += [_path(thread, arguments[i], arguments[i + 1]) for i in shape.places]
        found += [_link(thread, f"fd/{arguments[index]}") for index in shape.files]
    except OSError:
        return None  # No such descriptor or address: the call is going to fail by itself.
    inside = [os.path.relpath(one, directory) for one in found if _is_below(one, directory)]
    if not inside:
        return None
    paths = (os.path.relpath(p, directory) if _is_below(p, directory) else p for p in found)
    return Call(name, tuple(paths))


def _is_below(path: str, directory: Path) -> bool:
    return path == str(directory) or path.startswith(f"{directory}{os.sep}")


def _path(thread: int, descriptor: int, address: int) -> str:
    """The absolute path of an argument; ``descriptor`` is that of the directory it is relative to."""
    number = ctypes.c_int(descriptor).value
    base = _link(thread, "cwd" if number == _AT_FDCWD else f"fd/{number}")
    path = Path(os.path.normpath(Path(base, _string(thread, address))))
    return str(path.parent.resolve() / path.name)


def _link(thread: int, name: str) -> str:
    return str(Path(f"/proc/{thread}/{name}").readlink()).removesuffix(" (deleted)")


def _string(thread: int, address: int) -> str:
    """The text at ``address`` in the memory of a process, up to its NUL; never past a page not needed."""
    text = b""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        while b"\0" not in text:
            at = address + len(text)
            text += os.pread(memory.fileno(), _PAGE - at % _PAGE, at)
    return os.fsdecode(text.partition(b"\0")[0])
