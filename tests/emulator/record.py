"""Each launch with its size: `with recording() as launches:`, and with `dry` nothing is computed.

A dry step of a real net at its real batch size takes no time, so tests see the launches that a GPU
would see. Values are then whatever lies in memory. Read next: `plugin.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

SIZES = {"float16": 2, "float": 4, "double": 8, "char": 1, "bool": 1, "short": 2, "int": 4,
         "long": 8, "complex<float>": 8, "complex<double>": 16}
_ARRAY = re.compile(r"CArray<\s*(?:const\s+)?([\w<> ]+?)\s*,|(?:const\s+)?([\w ]+?)\s*\*")


class Launch(NamedTuple):
    """A kernel, its blocks and their threads, and the bytes of all arrays that it is given."""

    kernel: str
    blocks: int
    threads: int
    bytes: int


launches: list[Launch] | None = None  # None: nobody asks
dry = False


@contextlib.contextmanager
def recording(without_computing: bool = False) -> Iterator[list[Launch]]:
    """The launches of the block, in order."""
    global launches, dry
    before = launches, dry
    found: list[Launch] = []
    launches = found
    dry = without_computing
    try:
        yield found
    finally:
        launches = before[0]
        dry = before[1]


def _arrays(name: str, source: str) -> list[int]:
    """The size of a number for each argument that is an array; 0 for the others."""
    types = {new: old for old, new in re.findall(r"typedef\s+(\S+)\s+(\w+);", source)}
    start = re.search(rf"__global__[^(]*\b{name}\s*\(", source).end()  # type: ignore[union-attr]
    depth = 0
    parts: list[str] = []
    part = ""
    for letter in source[start:]:
        depth += (letter in "(<") - (letter in ")>")
        if depth < 0:
            break
        if letter == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += letter
    sizes = []
    for argument in [*parts, part]:
        found = _ARRAY.search(argument)
        kind = ""
        if found:
            kind = (found[1] or found[2]).split()[-1]
        sizes.append(SIZES[types.get(kind, kind)] if found else 0)
    return sizes


_known: dict[str, list[int]] = {}  # by file


def launched(name: str, file: str, arguments: tuple[Any, ...]) -> None:
    """Note a launch: the file of its kernel, and arguments as in `device._launch`."""
    from .compiler import texts

    if launches is None:
        return
    if file not in _known:
        _known[file] = _arrays(name, texts[file])
    pointers = ctypes.cast(arguments[8], ctypes.POINTER(ctypes.c_void_p))
    touched = 0
    for k, size in enumerate(_known[file]):
        if size:  # an array begins with its address and the number of its elements
            touched += size * ctypes.cast(pointers[k], ctypes.POINTER(ctypes.c_ssize_t))[1]
    x, y, z, *block = arguments[:6]
    launches.append(Launch(name, x * y * z, block[0] * block[1] * block[2], touched))
