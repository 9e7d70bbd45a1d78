"""In place of the package of this name where it has no wheel: what tinynet and its tests call.

    8 bytes      n, the length of the header
    n bytes      JSON: {name: {"dtype": ..., "shape": ..., "data_offsets": [begin, end]}, ...}
    the rest     the numbers, one array behind the other

`tests/free_threaded.py` lets Python find it; elsewhere the package itself is installed.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2,
         "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
         "C64": 8}


class SafetensorError(Exception):
    """No such file, or a part of one."""


def deserialize(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Name, shape, dtype and bytes of each array, in the order of the bytes, which they fill."""
    try:
        return _entries(data)
    except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise SafetensorError(f"{type(error).__name__}: {error}") from error


def _entries(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    numbers = data[8 + length :]
    found = []
    place = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        size = math.prod(shape) * BYTES[entry["dtype"]]
        if begin != place or end - begin != size or min(shape, default=0) < 0:
            raise ValueError(f"{name} of {size} bytes lies from {begin} to {end}, not at {place}")
        own = bytearray(numbers[begin:end])  # which the reader may write to
        found.append((name, {"shape": shape, "dtype": entry["dtype"], "data": own}))
        place = end
    if place != len(numbers):
        raise ValueError(f"the arrays end at {place}, the file at {len(numbers)}")
    return found
