r"""Saved models: a safetensors file with a checksum; a crash loses nothing.

The format is Hugging Face's safetensors: names, types, shapes, then plain numbers.
Loading executes no code, and PyTorch reads the file as well. The header's metadata hold

    format = "tinynet model"   version = "1"   sha256 = digest of all that the file says

because the format alone would not notice a flipped bit: not even one in the word
"format", for two of the three tags suffice to know a file of ours. A file of another
program has no digest; it is loaded unchecked. A run's checkpoint (`resume.py`) is such
a file, too: the arrays of its model stand there under their own names,
all others under names that begin with "/".

Read next: `train/classifier.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..backend import HostArray, to_numpy
from ..data.transform import Normalize
from ..files import write_atomic
from ..nn.module import Module
from .facts import NET, checked_facts, describe

HostArrays = dict[str, HostArray]
Net = TypeVar("Net", bound=Module)
MODEL = "tinynet model"
CHECKPOINT = "tinynet checkpoint"
_VERSIONS = {MODEL: "1", CHECKPOINT: "2"}  # of the formats that are written
_READ = {MODEL: ("1",), CHECKPOINT: ("1", "2")}  # and of those that are read
_RESERVED = {"format", "version", "sha256", NET}
_HEADER = "__metadata__"
_TAGS = ("version", "sha256")  # a file that has both is ours, whatever its format says
_TYPES = {"BOOL": "?", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1",
          "U16": "<u2", "U32": "<u4", "U64": "<u8", "F16": "<f2", "F32": "<f4",
          "F64": "<f8", "BF16": "<u2"}  # bfloat16, half of a float32: see `_array`
_NAMES = {np.dtype(text): name for name, text in _TYPES.items() if name != "BF16"}


def save_model(model: Module, path: str | os.PathLike[str],
               metadata: Mapping[str, str] | None = None, *,
               classes: Sequence[str] | None = None, normalize: Normalize | None = None,
               shape: Sequence[int] | None = None) -> None:
    """Write all parameters and buffers of `model` to a safetensors file, atomically.

    `metadata` are short texts to keep with it, such as what it was trained on. For
    `load_classifier` give the names of the `classes`, the `normalize` that the
    validation pictures went through, and the `shape` (C, H, W) of a picture; how a net
    of `models` was made is written in any case. OSError
    if the file cannot be written; then an older file of that name is untouched.
    TypeError names an array that such a file cannot hold, such as one of complex
    numbers.
    """
    check_order("save_model(model, path)", model, path)
    arrays = model.state_dict()
    metadata = metadata or {}
    if not arrays:
        raise ValueError(f"{type(model).__name__} has no parameters or buffers to save")
    if reserved := sorted(metadata.keys() & _RESERVED):
        raise ValueError(
            f"metadata must not use the names {reserved}: they are tinynet's own")
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"metadata must be texts by name, got {name!r}: {text!r}; "
                            "write str(...) around it")
    facts = describe(model, checked_facts(classes, normalize, shape))
    write_file(path, MODEL, arrays, {**metadata, **facts})


def check_order(call: str, model: Any, path: Any) -> None:
    """TypeError unless `model` is a module and `path` a path: the two are often swapped."""
    if isinstance(model, Module) and isinstance(path, str | os.PathLike):
        return
    if isinstance(path, Module):
        raise TypeError(f"it is {call}, with the arguments in this order")
    if not isinstance(model, Module):
        name = getattr(model, "__name__", type(model).__name__)
        fix = ""
        if callable(model):
            fix = f": make the model first, {name}(...)"
        raise TypeError(f"{call}: model must be a Module, got {name}{fix}")
    raise TypeError(f"{call}: path must be a text or a Path, got {type(path).__name__}")


def load_model(path: str | os.PathLike[str], model: Net, strict: bool = True) -> Net:
    """Read weights from a safetensors file into `model`, and return it.

    FileNotFoundError if there is no such file; ValueError if it is truncated, damaged,
    of a newer tinynet, or its names and shapes are not those of `model` (`strict`
    False: names may differ). Then `model` is unchanged. Of a run's checkpoint it takes
    the weights of that step.
    """
    check_order("load_model(path, model)", model, path)
    if Path(path).suffix in (".pt", ".pth"):
        raise ValueError(f"{path} is a file of PyTorch: write "
                         "model.load_state_dict(torch.load(path))")
    arrays, _ = read_model(path)
    try:
        model.load_state_dict(arrays, strict=strict)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def read_model(path: str | os.PathLike[str]) -> tuple[HostArrays, dict[str, str]]:
    """Arrays by name and metadata of a file, checked; errors as in `load_model`."""
    arrays, metadata = read_file(path)
    if metadata.get("format") == CHECKPOINT:
        arrays = {name: x for name, x in arrays.items() if not name.startswith("/")}
        metadata.pop("state", None)
    return arrays, metadata


def write_file(path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Any],
               metadata: Mapping[str, str]) -> None:
    """Write arrays and texts, with format, version and digest, as a safetensors file."""
    if _HEADER in arrays:
        raise ValueError(
            f"an array must not be called {_HEADER!r}: the header's texts are")
    host = {name: _storable(name, x) for name, x in arrays.items()}
    texts = {**metadata, "format": kind, "version": _VERSIONS[kind]}
    write_atomic(path, _serialized(host, texts | {"sha256": _digest(host, texts)}))


def _serialized(arrays: HostArrays, texts: Mapping[str, str]) -> bytes:
    """The file's bytes: always the same ones for the same content.

    safetensors' own function writes the texts in an order that changes from run to run.
    The largest types stand first, so that every number lies at a multiple of its size.
    """
    header: dict[str, Any] = {_HEADER: dict(sorted(texts.items()))}
    place = 0
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in order:
        x = arrays[name]
        header[name] = {"dtype": _NAMES[x.dtype], "shape": list(x.shape),
                        "data_offsets": [place, place + x.nbytes]}
        place += x.nbytes
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([struct.pack("<Q", len(head)), head,
                     *(arrays[name].tobytes() for name in order)])


def read_file(path: str | os.PathLike[str]) -> tuple[HostArrays, dict[str, str]]:
    """What `write_file` wrote, or another program's file; errors as in `load_model`."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the .safetensors file in it")
    data = path.read_bytes()
    metadata = _metadata(path, data)
    known = _READ.get(metadata.get("format", ""))
    if known and metadata.get("version") not in known:
        raise ValueError(f"{path} has format version {metadata.get('version')!r}, and "
                         f"this tinynet reads version {' and '.join(known)}: update "
                         "tinynet")
    try:
        from safetensors import SafetensorError, deserialize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading {path} needs the package safetensors (saving does not): "
            "pip install safetensors", name="safetensors") from error

    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or incomplete ({error}): copy or save it again") from error
    arrays = {name: _array(path, name, entry) for name, entry in entries}
    ours = known is not None or all(tag in metadata for tag in _TAGS)
    if ours and metadata.pop("sha256", "") != _digest(arrays, metadata):
        raise ValueError(f"{path} is damaged: its numbers do not match the checksum "
                         "they were saved with. Use another copy")
    return arrays, metadata


def _storable(name: str, array: Any) -> HostArray:
    """`array` as its bytes will stand in the file: C order, the lower byte first."""
    host = to_numpy(array)
    little = host.dtype.newbyteorder("<")
    if little not in _NAMES:
        raise TypeError(
            f"the array {name!r} is {host.dtype}, which a safetensors file of tinynet "
            "cannot hold: it holds bool, integers, and floats of 2, 4 or 8 bytes")
    # contiguous: safetensors writes a transposed view's memory under the view's shape
    return np.asarray(host, dtype=little, order="C")


def _array(path: Path, name: str, entry: Mapping[str, Any]) -> HostArray:
    """One entry of a file, in the machine's byte order; bfloat16 becomes float32."""
    kind = entry["dtype"]
    if kind not in _TYPES:
        raise ValueError(f"{path} holds {name!r} as {kind}, a type of numbers that "
                         "tinynet does not read: save it as float32")
    numbers = np.frombuffer(entry["data"], _TYPES[kind])
    if kind == "BF16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    native = numbers.dtype.newbyteorder("=")
    return numbers.astype(native, copy=False).reshape(entry["shape"])


def _digest(arrays: HostArrays, metadata: Mapping[str, str]) -> str:
    """SHA-256 over metadata, names, types, shapes and numbers, ordered by name."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        x = _storable(name, arrays[name])
        digest.update(f"{name}\n{x.dtype.str} {x.shape}\n".encode())
        digest.update(x.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _metadata(path: Path, data: bytes) -> dict[str, str]:
    """The header's texts: eight bytes of length, then JSON."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > len(data) - 8:
            raise ValueError("its header is cut off")
        header = json.loads(data[8 : 8 + length])
        metadata = header.get(_HEADER, {})
        return {str(name): str(text) for name, text in metadata.items()}
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file, or only the beginning of one "
                         f"({error})") from error
