"""A journal: what a long run has finished, one JSON line each, so that it can go on.

    {"format": "tinynet journal", "version": 1, "head": {...}}     what the run is
    {"key": "trial 0", "value": {...}}                             added, one by one

The file is replaced by a longer one for each line (`write_atomic`): a crash leaves
whole lines. A last line without its end, as other programs may leave it, is not read.
Reading executes no code.

Read next: `tune/workbench.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import explained, write_atomic
from ..locks import Lock

_FORMAT = {"format": "tinynet journal", "version": 1}
_newest: weakref.WeakValueDictionary[Path, Journal] = weakref.WeakValueDictionary()


class Journal:
    """Values by key, kept in the file `path` (None: in memory only).

    `head` says what the run is: settings that must be the same when it goes on.
    ValueError names the file if it belongs to another run, or is no journal;
    BlockingIOError if another process has it open. It is closed by `close`, by a
    ``with`` block, when nobody needs it any more, or when this process opens the same
    file anew. A file that others remove or change while the run goes on is written
    anew, with a warning.

    >>> journal = Journal(None)
    >>> journal.add("trial 0", {"score": 0.5}); journal["trial 0"], "trial 1" in journal
    ({'score': 0.5}, False)
    """

    def __init__(self, path: str | os.PathLike[str] | None,
                 head: Mapping[str, Any] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._values: dict[str, Any] = {}
        self._text = ""  # all lines
        self._seen: tuple[int, ...] = ()  # which file it was, and when it was written
        self._is_open = True
        if self.path is None:
            return
        self._lock = Lock(self.path.with_name(f".{self.path.name}.lock"), self.path)
        where = self.path.resolve()
        if where in _newest:
            _newest[where].close()
        _newest[where] = self
        weakref.finalize(self, self._lock.release)
        with explained(self.path):
            self._lock.acquire()
        first = _FORMAT | {"head": as_json(head or {})}
        try:
            if lines := self._read(self.path):
                self._check(lines[0], first)
                self._values = {line["key"]: line["value"] for line in lines[1:]}
            else:
                self._write(first)
        except BaseException:
            self.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write the file; values can still be read."""
        self._is_open = False
        if self.path is not None:
            self._lock.release()

    def add(self, key: str, value: Any) -> None:
        """Add a value that JSON can hold (or NumPy's numbers): it is on the disk after."""
        value = as_json(value)
        found = _look(self.path)
        is_mine = found == self._seen
        self._write({"key": key, "value": value})
        self._values[key] = value
        if not is_mine:
            change = "changed" if found else "removed"
            warnings.warn(f"{self.path} was {change} while the run went on: it is written "
                          "anew", stacklevel=2)

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        if not self._is_open:
            raise ValueError(f"{self.path} is closed, or was opened anew: add to the "
                             "newest Journal of it")
        self._lock.acquire()  # it has it; not so in a forked process
        text = self._text + json.dumps(line, allow_nan=False) + "\n"
        write_atomic(self.path, text)
        self._text = text
        self._seen = _look(self.path)

    def _read(self, path: Path) -> list[Any]:
        """The whole lines of the file, if it is there; not half a line at its end."""
        self._seen = _look(path)
        data = path.read_bytes() if self._seen else b""
        whole = data[: data.rfind(b"\n") + 1]
        begun = json.dumps(_FORMAT).encode()[:-1]
        if not whole and not begun.startswith(data[: len(begun)]):
            raise ValueError(f"{self.path} is no journal of tinynet: choose another "
                             "file")
        lines = []
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                line = json.loads(text.decode())
                if number > 1 and not (isinstance(line["key"], str) and "value" in line):
                    raise ValueError("no key and value")
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ValueError(f"{self.path}, line {number}, is no line of a journal "
                                 f"({error}): choose another file") from error
            lines.append(line)
        self._text = whole.decode()
        return lines

    def _check(self, found: Any, wanted: dict[str, Any]) -> None:
        if not isinstance(found, dict) or found.get("format") != _FORMAT["format"] \
                or not isinstance(found.get("head"), dict):
            raise ValueError(f"{self.path} is no journal of tinynet: choose another "
                             "file")
        if found.get("version") != _FORMAT["version"]:
            raise ValueError(f"{self.path} is a journal of version "
                             f"{found.get('version')}, this tinynet reads version "
                             f"{_FORMAT['version']}")
        head = found["head"]
        mine = wanted["head"]
        for name in sorted(head.keys() | mine.keys()):
            if head.get(name) != mine.get(name):
                raise ValueError(f"{self.path} belongs to another run: {name} is "
                                 f"{head.get(name)!r} there and {mine.get(name)!r} "
                                 "here. Use the same settings, or another file")


@contextlib.contextmanager
def opened(journal: Journal | str | os.PathLike[str] | None,
           head: Mapping[str, Any]) -> Iterator[Journal]:
    """A journal that is open, as it is; else that of a file, closed in the end."""
    if isinstance(journal, Journal):
        yield journal
    else:
        with Journal(journal, head) as mine:
            yield mine


def as_json(value: Any) -> Any:
    """`value` as it will come back; ValueError if a number is not finite."""
    return json.loads(json.dumps(value, allow_nan=False, default=lambda v: v.item()))


def _look(path: Path | None) -> tuple[int, ...]:
    """Which file it is, and when it was written; nothing if it is not there."""
    with contextlib.suppress(OSError):
        if path is not None:
            found = path.stat()
            return found.st_ino, found.st_size, found.st_mtime_ns
    return ()
