"""Fetch a file once: it can be cut off and resumed, and is checked before anybody sees it.

pooch looks after the known hash and the atomic rename; this module gives it a downloader that
keeps what has arrived in `<name>.part`, so that the next try goes on from there (HTTP Range), and
that tries to connect once, for five seconds, instead of hanging. `extract` takes only the
files it is told from an archive. Read next: `cifar10.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CONNECT_SECONDS = 5.0  # also the longest silence between two pieces
_PIECE = 1 << 16  # bytes; what is lost at most when a download breaks off


class DownloadError(OSError):
    """A download failed; the message says why and how to get the file by hand."""


def fetch(url: str, known_hash: str, folder: Path, by_hand: str) -> Path:
    """The file at `url` in `folder`, downloaded unless it is there with the known hash already.

    `known_hash` as in "md5:c32a1d..."; `by_hand` ends every error: how to do without a download.
    """
    import pooch
    import requests

    name = url.rsplit("/", 1)[-1]
    part = folder / f"{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(pooch.retrieve(url, known_hash, fname=name, path=folder,
                                   downloader=_Resuming(part)))
    except TimeoutError as error:
        raise DownloadError(f"no connection to {url}: {error}. {by_hand}") from None
    except requests.RequestException as error:
        kept = (f"{part.stat().st_size:,} bytes are kept in {part}: run again to go on from there. "
                if part.exists() else "")
        raise DownloadError(f"download of {url} failed ({_cause(error)}). {kept}{by_hand}"
                            ) from None
    except ValueError as error:  # pooch: the hash differs; it has removed the file
        raise DownloadError(f"{url} arrived damaged and was removed ({error}): run again. {by_hand}"
                            ) from None


def _cause(error: BaseException) -> str:
    """The innermost reason: requests wraps it three times."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}"


def _within(seconds: float, call: Callable[[], T]) -> T:
    """call(), or TimeoutError. On a thread: looking a name up knows no time limit of its own."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="tinynet-connect")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


class _Resuming:
    """A downloader for pooch: goes on where `part` ends, and moves it into place when complete."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        import requests
        from tqdm import tqdm

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        answer = _within(CONNECT_SECONDS, lambda: requests.get(
            url, headers=headers, stream=True, timeout=CONNECT_SECONDS))
        with answer:
            if answer.status_code == 416:  # nothing follows: the part was complete already
                os.replace(self.part, output_file)
                return
            answer.raise_for_status()
            resumed = answer.status_code == 206
            have = have if resumed else 0  # the server may send everything again
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with open(self.part, "ab" if resumed else "wb") as file, tqdm(
                    total=total, initial=have, unit="B", unit_scale=True, disable=None,
                    desc=url.rsplit("/", 1)[-1]) as bar:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    bar.update(len(piece))
        os.replace(self.part, output_file)


def extract(archive: Path, members: Mapping[str, int], folder: Path) -> None:
    """Copy regular files named in `members` (name in the archive: size in bytes) into `folder`.

    Nothing else in the archive is looked at, and names are compared whole, so no path in it can
    lead elsewhere. `folder` appears at once with all its files, or not at all; a SHA256SUMS
    beside them lets later damage be found.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
        made = Path(scratch) / "files"
        made.mkdir()
        missing, sums = dict(members), list[str]()
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name not in missing:
                    continue
                size = missing.pop(member.name)
                source = tar.extractfile(member) if member.isfile() else None
                if source is None or member.size != size:
                    raise ValueError(f"{archive}: {member.name} is not a file of {size:,} bytes: "
                                     "remove the archive and run again")
                name = member.name.rsplit("/", 1)[-1]
                with source, open(made / name, "w+b") as target:
                    shutil.copyfileobj(source, target, _PIECE)
                    target.seek(0)
                    sums.append(f"{hashlib.file_digest(target, 'sha256').hexdigest()}  {name}\n")
        if missing:
            raise ValueError(f"{archive} lacks {', '.join(missing)}: remove it and run again")
        (made / "SHA256SUMS").write_text("".join(sums))
        os.replace(made, folder)
