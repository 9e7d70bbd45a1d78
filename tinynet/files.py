"""Writing files so that a crash leaves the old file or the new one, never half of one.

The bytes go to a temporary file in the same folder, are forced to the disk (fsync), and
only then does the file take its name: a rename is one step for the file system. The
folder is synchronised as well, because the new name stands there. What a killed process
left is removed by the next write into its folder.

Read next: `locks.py`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import FileIO
from pathlib import Path

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space on that disk"),
    errno.ENOTEMPTY: "remove the other files from that folder",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write to another disk",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a folder you may write to"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "part of that path is a file: choose a folder"),
}
_numbers = itertools.count()
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)(?P<ours>-\d+@(?P<machine>[\w-]*))?\.tmp")
_HOUR = 3600.0  # no file takes so long to be written


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write `data` (text as UTF-8) to `path`, replacing what is there only when all is written.

    Missing folders are made. Raises OSError (disk full, no permission); then the old
    file, if there was one, is untouched and no temporary file is left.
    """
    path = Path(path)
    unique = f"{os.getpid()}-{next(_numbers)}@{machine()}"
    temporary = path.with_name(f".{path.name[:40]}.{unique}.tmp")
    remove_leftovers(path.parent, path.name)
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
    except BlockingIOError:  # it says whose it is, and what to do
        raise
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {path} was not written, and "
                                   "what it held before is untouched. To mend it, "
                                   f"{remedy(error)}") from error


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


def remove_leftovers(folder: Path, *patterns: str) -> None:
    """Remove the temporary files that killed calls of `write_atomic` left; never a live one's.

    Older versions of tinynet did not sign them with an @: those only of files like
    `patterns`.
    """
    with contextlib.suppress(OSError):  # no such folder; or it may be read only
        for name in os.listdir(folder):
            match = _TEMPORARY.fullmatch(name)
            if match is None:
                continue
            ours = match["ours"] or any(fnmatchcase(match["name"], p) for p in patterns)
            if ours and _is_left(folder / name, match):
                (folder / name).unlink(missing_ok=True)


def _is_left(temporary: Path, name: re.Match[str]) -> bool:
    process = int(name["process"])
    if name["machine"] in (None, machine()) and process != os.getpid():
        return not is_alive(process)
    # Of another machine; or of a process before this one that had its number, as in a
    # container.
    return time.time() - temporary.stat().st_mtime > _HOUR


def machine() -> str:
    return re.sub(r"[^\w-]", "-", platform.node())[:40]


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs; on Windows no: an open file cannot be removed there.
    """
    if sys.platform == "win32":
        return False
    try:
        os.kill(process, 0)  # signal 0 only asks
    except PermissionError:  # it is another user's
        return True
    except (OSError, OverflowError):
        return False
    return True


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
