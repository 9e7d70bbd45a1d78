"""Whole files of NumPy's arrays: see the package's text."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from . import deserialize

TYPES = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
         "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8"}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}


def save(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    place = 0
    for name, x in arrays.items():
        header[name] = {"dtype": NAMES[x.dtype], "shape": list(x.shape),
                        "data_offsets": [place, place + x.nbytes]}
        place += x.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([struct.pack("<Q", len(head)), head, *(x.tobytes() for x in arrays.values())])


def save_file(arrays: Mapping[str, np.ndarray], path: str | PathLike[str],
              metadata: Mapping[str, str] | None = None) -> None:
    Path(path).write_bytes(save(arrays, metadata))


def load_file(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    return {name: np.frombuffer(entry["data"], TYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in deserialize(Path(path).read_bytes())}
