"""Fetch a file once: cut off it is resumed, and it is checked before anybody sees it.

What has arrived stays in `<name>.part`, and the next try goes on from there (HTTP
Range). It is given up only for the whole file: an answer that does not go on from there
(a portal's page, another range, everything once more) is kept apart until its hash is
right. Connecting is tried once, for five seconds, instead of hanging. Processes that
want the same file wait for one another. `extract` takes only the files it is told from
an archive.

Read next: `train/__init__.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

from ..files import remedy
from ..locks import locked

T = TypeVar("T")

CONNECT_SECONDS = 5.0  # also the longest silence between two pieces
_PIECE = 1 << 16  # bytes; what is lost at most when a download breaks off
_PARTIAL = 206  # an answer to Range
_NOTHING_FOLLOWS = 416  # another


class DownloadError(OSError):
    """A download failed; the message says why and how to get the file by hand."""


def install(url: str, known_hash: str, members: Mapping[str, int], folder: Path, by_hand: str
            ) -> None:
    """Make `folder` of `members` (as in `extract`) of the archive at `url`, once.

    Raises DownloadError, also where `folder` cannot be written.
    """
    home = folder.parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / f".{folder.name}.lock"):
            if folder.is_dir() and all(_inside(folder, name).is_file() for name in members):
                return  # by another process, which this one has waited for
            archive = fetch(url, known_hash, home, by_hand)
            extract(archive, members, folder)
            archive.unlink()
    except DownloadError:
        raise
    except OSError as error:
        raise _unwritten(folder, error, by_hand) from None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time is inside; the others say that they wait."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock))
        except BlockingIOError:
            print(f"another process is downloading to {lock.parent}: waiting for it",
                  file=sys.stderr, flush=True)
            stack.enter_context(locked(lock, wait=True))
        yield


def _unwritten(path: Path, error: OSError, by_hand: str) -> DownloadError:
    return DownloadError(f"{path} cannot be written ({error}). To mend it, "
                         f"{remedy(error)}. {by_hand}")


def fetch(url: str, known_hash: str, folder: Path, by_hand: str) -> Path:
    """The file at `url` in `folder`, downloaded unless it is there and whole.

    `known_hash` as in "md5:c32a1d..."; `by_hand` ends every error: how to do without a
    download.
    """
    import requests

    path = folder / url.rsplit("/", 1)[-1]
    part = _part(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_whole(path, known_hash):
            _download(url, known_hash, path)
        return path
    except DownloadError as error:
        raise DownloadError(f"{error}: run again. {by_hand}") from None
    except TimeoutError as error:
        raise DownloadError(f"no connection to {url}: {error}. {by_hand}") from None
    except requests.RequestException as error:
        raise DownloadError(f"download of {url} failed ({_cause(error)}). "
                            f"{_kept(part)}{by_hand}") from None
    except OSError as error:
        raise _unwritten(part, error, _kept(part) + by_hand) from None


def _kept(part: Path) -> str:
    """What is said of the bytes that have arrived; nothing if there are none."""
    try:
        size = part.stat().st_size
    except OSError:
        return ""
    return f"{size:,} bytes are kept in {part}: run again to go on from there. "


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _is_whole(path: Path, known_hash: str) -> bool:
    """Whether the file is there and has the hash, as in "md5:c32a1d..."."""
    if not path.is_file():
        return False
    method, _, expected = known_hash.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(method, usedforsecurity=False))
    return found.hexdigest() == expected.lower()


def _download(url: str, known_hash: str, path: Path) -> None:
    """Fetch the rest of `path`, or all; it appears when its hash is right."""
    import requests

    part = _part(path)
    have = part.stat().st_size if part.exists() else 0
    if have and _is_whole(part, known_hash):  # cut off before it was moved
        os.replace(part, path)
        return
    with contextlib.ExitStack() as stack:
        answer = stack.enter_context(_ask(url, have))
        if have and answer.status_code == _NOTHING_FOLLOWS:  # yet the part is not the file
            answer = stack.enter_context(_ask(url, 0))
        answer.raise_for_status()
        continues = bool(have) and answer.status_code == _PARTIAL
        arrived = part
        if continues:
            _check_start(answer, have)
        elif have:
            arrived = path.with_name(f"{path.name}.whole")
            stack.callback(arrived.unlink, missing_ok=True)
        _store(answer, arrived, have * continues)
        if _is_whole(arrived, known_hash):
            os.replace(arrived, path)
            part.unlink(missing_ok=True)
        elif arrived == part:
            part.unlink()
            raise DownloadError(f"{url} arrived damaged and was removed")
        else:
            kind = answer.headers.get("Content-Type", "of no type")
            raise requests.RequestException(
                f"the answer is not that file: {kind:.40}, {arrived.stat().st_size:,} bytes")


def _ask(url: str, start: int) -> Any:
    """The server's answer to a request for the bytes from `start` on."""
    import requests

    headers = {"Accept-Encoding": "identity"}  # the bytes as they are, to be counted
    if start:
        headers["Range"] = f"bytes={start}-"
    return _within(CONNECT_SECONDS, lambda: requests.get(
        url, headers=headers, stream=True, timeout=CONNECT_SECONDS))


def _check_start(answer: Any, have: int) -> None:
    """Refuse a part of the file that begins elsewhere."""
    import requests

    given = answer.headers.get("Content-Range", "")
    if given and not given.startswith(f"bytes {have}-"):
        raise requests.RequestException("the server was asked for the bytes from "
                                        f"{have} on and sent {given:.60}")


def _store(answer: Any, path: Path, have: int) -> None:
    """Write what the answer brings to `path`, after the `have` bytes that are there."""
    import requests
    from tqdm import tqdm

    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    quiet = True if sys.stderr is None else None  # None: unless stderr is no terminal
    with open(path, "ab" if have else "wb") as file, tqdm(
            total=total, initial=have, unit="B", unit_scale=True, disable=quiet,
            desc=path.stem) as bar:
        for piece in answer.iter_content(_PIECE):
            file.write(piece)
            bar.update(len(piece))
        arrived = file.tell()
    if total is not None and arrived < total:
        raise requests.ConnectionError(f"cut off after {arrived:,} of {total:,} bytes")


def _cause(error: BaseException) -> str:
    """The innermost reason: requests wraps it three times."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _within(seconds: float, call: Callable[[], T]) -> T:
    """call(), or TimeoutError. On a thread: looking a name up knows no time limit."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # handed to the caller below
            result.set_exception(error)

    try:
        threading.Thread(target=run, daemon=True, name="tinynet-connect").start()
    except RuntimeError:  # no thread can be started: then without a limit
        return call()
    done, _ = wait([result], seconds)
    if not done:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return result.result()


def extract(archive: Path, members: Mapping[str, int], folder: Path) -> None:
    """Copy the files of `members` (name in the archive: size in bytes) to `folder`.

    Nothing else in the archive is looked at, and names are compared whole, so no path
    in it can lead elsewhere. `folder` appears at once with all its files, or not at
    all; a SHA256SUMS beside them lets later damage be found.
    """
    made = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed
    made.mkdir(parents=True)
    try:
        sums = _copy(archive, members, made)
        (made / "SHA256SUMS").write_text("".join(sums))
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy(archive: Path, members: Mapping[str, int], made: Path) -> list[str]:
    """Copy the members to the folder `made`; their lines of SHA256SUMS."""
    missing = dict(members)
    sums: list[str] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name not in missing:
                continue
            size = missing.pop(member.name)
            source = tar.extractfile(member) if member.isfile() else None
            if source is None or member.size != size:
                raise ValueError(f"{archive}: {member.name} is not a file of {size:,} "
                                 "bytes: remove the archive and run again")
            path = _inside(made, member.name)
            with source, open(path, "w+b") as target:
                shutil.copyfileobj(source, target, _PIECE)
                target.seek(0)
                digest = hashlib.file_digest(target, "sha256").hexdigest()
            sums.append(f"{digest}  {path.name}\n")
    if missing:
        names = ", ".join(missing)
        raise ValueError(f"{archive} lacks {names}: remove it and run again")
    return sums


def _inside(folder: Path, member: str) -> Path:
    """Where a member of the archive stands: its own folders are left out."""
    return folder / member.rsplit("/", 1)[-1]
