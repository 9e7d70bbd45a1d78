"""Locks between processes: one run at a time in a folder, and none that outlives its process.
And locks between threads, which no fork leaves taken.

The lock between processes is the system's own (fcntl, or msvcrt on Windows): it ends
with the process, however that dies, and a forked child does not have it. Where neither
the system nor the disk knows locks, the number of the process decides, which stands in
the lock file.

Read next: `random.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .files import is_alive, machine

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what a system says of another's lock
_PAUSE = 0.01  # seconds between two tries of one who waits
_held: dict[tuple[int, Path], Lock] = {}  # by process, for a fork copies this, and lock file


@contextlib.contextmanager
def locked(file: Path, wait: bool = False) -> Iterator[None]:
    """One process (and one thread of it) at a time is inside, for each lock file.

    BlockingIOError if another is inside, unless you `wait` for it.
    """
    lock = Lock(file, file)
    while True:
        try:
            lock.acquire()
            break
        except BlockingIOError:
            if not wait:
                raise
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        lock.release()


class Lock:
    """Keeps `what` for the one who has acquired it, in this process or another one.

    `file` is there while the lock is held, and says who has it. What a killed process
    left of it is in nobody's way.
    """

    def __init__(self, file: Path, what: Path) -> None:
        self.file = file
        self.what = what
        self._owner = 0  # the process that has it
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock; BlockingIOError names who has it. Nothing happens if it is held."""
        if self._owner == os.getpid():
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.file.parent.resolve() / self.file.name  # by one name, for `_held`
        # The system's lock is one of processes: a second run of this one must be told
        # here.
        if _held.setdefault((os.getpid(), self.file), self) is not self:
            raise self._busy("another run of this process")
        try:
            self._descriptor = self._open()
        except BaseException:
            del _held[os.getpid(), self.file]
            raise
        self._owner = os.getpid()

    def release(self) -> None:
        """Let others in; nothing happens if it is not held, or by the process that forked."""
        if self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            self.file.unlink()  # before the lock ends: after, it might be the next one's
        os.close(self._descriptor)
        self._owner = 0
        del _held[os.getpid(), self.file]

    def _open(self) -> int:
        """The lock file, open and locked."""
        while True:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                owner = os.read(descriptor, 200).decode(errors="replace").strip()
                if _is_taken(descriptor, owner):
                    raise self._busy(owner or "another process")
                if _is_same(descriptor, self.file):
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, f"process {os.getpid()} on {machine()}\n".encode())
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its owner has removed it in between

    def _busy(self, owner: str) -> BlockingIOError:
        return BlockingIOError(f"{self.what} is in use by {owner}: wait until that has "
                               "ended, or choose another place for this one")


def _is_taken(descriptor: int, owner: str) -> bool:
    """Lock an open file for this process, and say whether another one was quicker."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # not a byte of the text: that is read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError) as error:
        if getattr(error, "errno", None) in _BUSY:
            return True
        found = re.fullmatch(r"process (\d+) on (.*)", owner)
        if found is None or int(found[1]) == os.getpid():
            return False
        return found[2] != machine() or is_alive(int(found[1]))
    return False


def _is_same(descriptor: int, file: Path) -> bool:
    """Whether the open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def thread_lock() -> threading.Lock:
    """A lock between threads, which a module makes once and nobody holds while taking another.

    A fork waits for it: else the child could find it taken by a thread that it has not.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release,
                            after_in_child=lock.release)
    return lock
