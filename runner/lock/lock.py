"""A lock that a dead process does not leave behind."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from runner.errors import UserError
from runner.lock.owner import Host, Owner, this_host
from runner.lock.records import Record, Records

_BEAT_S = 2.0
_LOOK_S = 0.5
_GLANCE_S = 3.0
"""Longer than a beat, but short: whoever asks writes nothing."""
_DEAD_AFTER_S = 30.0
"""Longer than network file systems answer from a cache; sshfs does for 20 seconds."""
_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


class LockedError(UserError):
    """Another process is at work on the run, or has taken it over."""


class Lock:
    """Keeps other processes out, and is free again when its owner is dead, however it died.

    - ``.lock``: has the owner's flock; never read, written or removed
    - ``.lock.<n>``: names the owner, who touches it every two seconds and removes it on release. Of
      several the highest counts: a dead owner is succeeded by whoever creates the next number.

    A second process is kept out
    - at once on the same host, and on others where flock reaches them: NFS, CephFS, GPFS, Lustre
      with ``flock``;
    - when it has seen the owner's touch, where flock ends at the host (Lustre with ``localflock``,
      most of FUSE) or is missing;
    - not at all where two hosts can create one file, or see each other's changes only after half a
      minute: a bucket mounted as a directory.

    A dead owner on this host is succeeded at once, flock or not; one on another host, in another
    container or from before a reboot after 30 seconds without a touch. Clocks are never compared.
    An owner that lives, but was suspended or cut off for so long, loses the lock, and `check` keeps
    it from writing; unless it was suspended in the very instant between the two.

    Args:
        path: the file ``.lock`` in the run directory, which is there.
        host: where this process runs.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        host: Callable[[], Host] = this_host,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path.absolute()
        self._run = path.parent
        self._records = Records(self._path)
        self._host = host
        self._sleep = sleep
        self._file: FileIO | None = None
        self._own: tuple[int, Owner] | None = None

    @contextmanager
    def held(self, *, notify: Callable[[str], None] = lambda reason: None) -> Iterator[None]:
        """Has the lock for the length of a block.

        Args:
            notify: is told if it takes some time to see whether an earlier owner is dead.

        Raises:
            LockedError: another process is at work, or was faster.
            OSError: the files cannot be written.
        """
        with self._flock() as flocked:
            found, is_alive = self._find(_DEAD_AFTER_S, flocked=flocked, notify=notify)
            if is_alive:
                raise self._refusal(found)
            with self._owned(after=found), self._beating():
                yield

    def check(self) -> None:
        """Makes sure that this process still has the lock; to be asked before anything is written.

        Raises:
            LockedError: it has not, or that cannot be told.
        """
        try:
            if self._is_owned():
                return
            taker = self._records.highest()
        except OSError as error:
            raise LockedError(
                f"{self._run}: cannot tell whether another process has taken it over ({error}); "
                "nothing was written; run the same command again"
            ) from error
        raise self._loss(taker)

    def holder(self) -> str | None:
        """Who is at work, as in "process 123 on hostB"; None if nobody is. Changes nothing.

        An owner on another host is watched for up to three seconds.
        """
        try:
            found, is_alive = self._find(_GLANCE_S)
        except OSError:
            return None
        return str(found) if is_alive else None

    @contextmanager
    def _flock(self) -> Iterator[bool]:
        """Whether the file system grants one; False if it has none."""
        with self._path.open("ab", buffering=0) as file:
            granted = True
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise self._refusal(self._records.highest()) from None
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                granted = False
            self._file = file
            _HELD.add(self)
            yield granted

    def _find(
        self,
        watch_s: float,
        *,
        flocked: bool = False,
        notify: Callable[[str], None] = lambda reason: None,
    ) -> tuple[Record | None, bool]:
        """The record that counts, and whether its owner is alive; watched if nothing else tells."""
        found = self._records.highest()
        if found is None:
            return None, False
        if found.owner is not None and found.owner.is_on(self._host()):
            is_alive = found.owner.is_alive()
            # Alive but without its flock: a copy of its directory, or its .lock was removed.
            if not (is_alive and flocked):
                return found, is_alive
        notify(f"{self._run}: watching up to {watch_s:.0f} s whether {found} is at work on it")
        for _ in range(round(watch_s / _LOOK_S)):
            self._sleep(_LOOK_S)
            now = self._records.highest()
            if now != found:
                return now, now is not None
        return found, False

    @contextmanager
    def _owned(self, *, after: Record | None) -> Iterator[None]:
        """Makes this process the owner, if all is still as it was when ``after`` was found dead."""
        number, owner = after.number + 1 if after else 1, Owner.this_process(self._host())
        try:
            self._records.create(number, owner)
        except FileExistsError:
            raise self._refusal(self._records.highest()) from None
        self._own = number, owner
        try:
            others = self._records.highest(but=number)
            # A dead owner may have woken up, or this process have slept since it looked.
            if others not in (None, after):
                raise self._refusal(others)
            self._records.remove_below(number)
            yield
        finally:
            with suppress(OSError):
                if self._is_owned():
                    self._records.remove(number)
            self._own = None

    def _is_owned(self) -> bool:
        """Whether this process is named the owner where it wrote so."""
        return self._own is not None and self._records.names(*self._own)

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Touches the record from a thread of its own."""
        over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(over,), name="lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            if self._own is not None:  # A forked child has no such thread.
                over.set()
                thread.join()

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(_BEAT_S):
            # Whoever writes tells a disk in trouble, and `check` a lost lock.
            with suppress(OSError):
                if self._own is not None and self._is_owned():
                    self._records.touch(self._own[0])

    def _refusal(self, owner: Record | None) -> LockedError:
        return LockedError(
            f"{self._run} is being worked on by {owner or 'another process'}; "
            "wait for it, or stop it"
        )

    def _loss(self, taker: Record | None) -> LockedError:
        if self._own is None or taker is None:
            return LockedError(
                f"{self._run} is not locked by this process, or not any more; nothing was written; "
                "run the same command again"
            )
        return LockedError(
            f"{self._run} was taken over by {taker}, which took this process for dead: it had been "
            "suspended or cut off; nothing was written; wait for that one, or stop it"
        )

    def _let_go(self) -> None:
        """In a forked child: its parent has the lock, and the child must not keep the flock alive."""
        self._own = None
        if self._file is not None:
            self._file.close()


_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lock in _HELD:
        lock._let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
