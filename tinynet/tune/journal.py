r"""A journal: what a long run has finished, one JSON line each, so that it can go on after a crash.

    {"format": "tinynet journal", "version": 1, "head": {...}}     what the run is
    {"key": "trial 0", "value": {...}}                             appended, fsynced, one by one

A line is written whole or not at all: a last line without its end (the process was killed while
writing) is cut off when the file is opened again. Reading executes no code. Read next: `search.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from ..files import append, explained

_FORMAT = {"format": "tinynet journal", "version": 1}


class Journal:
    """Values by key, kept in the file `path` (None: in memory only).

    `head` says what the run is: settings that must be the same when it goes on. ValueError names
    the file if it belongs to another run, or is no journal.

    >>> journal = Journal(None)
    >>> journal.add("trial 0", {"score": 0.5}); journal["trial 0"], "trial 1" in journal
    ({'score': 0.5}, False)
    """

    def __init__(self, path: str | os.PathLike[str] | None,
                 head: Mapping[str, Any] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._values: dict[str, Any] = {}
        if self.path is None:
            return
        first = _FORMAT | {"head": as_json(head or {})}
        if self.path.exists() and (lines := self._read()):
            self._check(lines[0], first)
            self._values = {line["key"]: line["value"] for line in lines[1:]}
        else:
            with explained(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(first)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: str, value: Any) -> None:
        """Add a value (whatever JSON can hold, NumPy's numbers too); it is on the disk after."""
        value = as_json(value)
        self._write({"key": key, "value": value})
        self._values[key] = value

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        text = json.dumps(line, allow_nan=False).encode() + b"\n"
        with explained(self.path), FileIO(self.path, "a") as file:
            append(file, text, sync=True)

    def _read(self) -> list[Any]:
        """The whole lines of the file; half a line at its end is cut off."""
        assert self.path is not None
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and not _is_begun(data):
            raise ValueError(f"{self.path} is no journal of tinynet: choose another file")
        lines = []
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                line = json.loads(text)
                if number > 1 and not (isinstance(line["key"], str) and "value" in line):
                    raise ValueError("no key and value")
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ValueError(f"{self.path}, line {number}, is no line of a journal ({error}): "
                                 "choose another file") from error
            lines.append(line)
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        return lines

    def _check(self, found: Any, wanted: dict[str, Any]) -> None:
        if not isinstance(found, dict) or found.get("format") != _FORMAT["format"] \
                or not isinstance(found.get("head"), dict):
            raise ValueError(f"{self.path} is no journal of tinynet: choose another file")
        if found.get("version") != _FORMAT["version"]:
            raise ValueError(f"{self.path} is a journal of version {found.get('version')}, this "
                             f"tinynet reads version {_FORMAT['version']}")
        head, mine = found["head"], wanted["head"]
        for name in sorted(head.keys() | mine.keys()):
            if head.get(name) != mine.get(name):
                raise ValueError(f"{self.path} belongs to another run: {name} is "
                                 f"{head.get(name)!r} there and {mine.get(name)!r} here. Use the "
                                 "same settings, another file, or delete it")


def as_json(value: Any) -> Any:
    """`value` as it will come back from the file; a number that is not finite raises ValueError."""
    return json.loads(json.dumps(value, allow_nan=False, default=lambda v: v.item()))


def _is_begun(data: bytes) -> bool:
    """Whether `data` is the beginning of a first line, or nothing."""
    start = json.dumps(_FORMAT).encode()[:-1]
    return data[: len(start)] == start[: len(data)]
