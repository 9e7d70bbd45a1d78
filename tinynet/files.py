"""Writing files so that a crash leaves the old file or the new one, never half of one.

The bytes go to a temporary file in the same folder, are forced to the disk (fsync), and only then
does the file take its name: a rename is one step for the file system. The folder is synchronised
as well, because the new name stands there. Read next: `train/checkpoint.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space on that disk"),
    errno.ENOTEMPTY: "remove the other files from that folder",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write to another disk",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder you may write to"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "part of that path is a file: choose a folder"),
}


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write `data` (text as UTF-8) to `path`, replacing what is there only when all is written.

    Missing folders are made. Raises OSError (disk full, no permission); then the old file, if
    there was one, is untouched and no temporary file is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data.encode("utf-8") if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)
    return path


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """An OSError inside says which file was not written, and what to do about it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {path} was not written, and what it held "
                                   f"before is untouched. To mend it, {remedy(error)}") from error


def remedy(error: OSError) -> str:
    """What to do about a file that could not be written."""
    return _REMEDIES.get(error.errno or 0, "choose another place")


def append(file: FileIO, data: bytes, sync: bool = False) -> None:
    """Add `data` to an unbuffered file, whole or not at all: after an OSError it is as before."""
    size = file.seek(0, os.SEEK_END)
    try:
        while data:
            data = data[file.write(data):]
        if sync:
            os.fsync(file.fileno())
    except BaseException:
        file.truncate(size)
        raise


def remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove the temporary files that a killed `write_atomic` of a file like `pattern` left."""
    for temporary in folder.glob(f".{pattern}.*.tmp"):
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[None]:
    """One process (and one thread of it) at a time is inside, for each lock file `path`.

    BlockingIOError if another is inside, unless you `wait` for it. The lock is the system's: it
    ends with the process, however that dies. Where the system or the disk has no such lock
    (Windows, some network file systems), all are let in.
    """
    descriptor = _lock(path, wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: who waits for it sees that, and opens the next
        os.close(descriptor)


def _lock(path: Path, wait: bool) -> int:
    """An open file at `path`, held by this one alone."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _hold(descriptor, wait)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # who held it has removed it from the folder


def _hold(descriptor: int, wait: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a disk that has no locks
        return


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that stands at `path` now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Force the folder's list of names to the disk, where the system has such a call."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
