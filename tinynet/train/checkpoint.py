r"""Saved models: a safetensors file with a checksum, written so that a crash loses nothing.

The format is Hugging Face's safetensors: names, types, shapes, then plain numbers. Loading
executes no code, and PyTorch reads the file as well. The header's metadata hold

    format = "tinynet model"   version = "1"   sha256 = digest of all that the file says

because the format alone would not notice a flipped bit. A file of another program has no digest;
it is loaded unchecked. A run's checkpoint (`resume.py`, read next) is such a file, too: the arrays
of its model stand there under their own names, all others under names that begin with "/".
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..backend import to_numpy
from ..files import write_atomic
from ..nn.module import Module

HostArrays = dict[str, np.ndarray[Any, Any]]
Net = TypeVar("Net", bound=Module)
MODEL, CHECKPOINT = "tinynet model", "tinynet checkpoint"
_VERSIONS = {MODEL: "1", CHECKPOINT: "1"}  # of the format: what this tinynet writes and reads
_RESERVED = {"format", "version", "sha256"}


def save_model(model: Module, path: str | os.PathLike[str],
               metadata: Mapping[str, str] | None = None) -> None:
    """Write all parameters and buffers of `model` to a safetensors file, atomically.

    `metadata` are short texts to keep with it, such as what it was trained on. OSError if the file
    cannot be written; then an older file of that name is untouched.
    """
    arrays = model.state_dict()
    if not arrays:
        raise ValueError(f"{type(model).__name__} has no parameters or buffers to save")
    if reserved := sorted((metadata or {}).keys() & _RESERVED):
        raise ValueError(f"metadata must not use the names {reserved}: they are tinynet's own")
    write_file(path, MODEL, arrays, metadata or {})


def load_model(path: str | os.PathLike[str], model: Net, strict: bool = True) -> Net:
    """Read weights from a safetensors file into `model`, and return it.

    FileNotFoundError if there is no such file; ValueError if it is truncated, damaged, of a newer
    tinynet, or its names and shapes are not those of `model` (`strict` False: names may differ).
    Then `model` is unchanged. Of a run's checkpoint it takes the weights of that step.
    """
    arrays, _ = read_model(path)
    try:
        model.load_state_dict(arrays, strict=strict)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def read_model(path: str | os.PathLike[str]) -> tuple[HostArrays, dict[str, str]]:
    """Arrays by name and metadata of a safetensors file, checked; errors as in `load_model`."""
    arrays, metadata = read_file(path)
    if metadata.get("format") == CHECKPOINT:
        arrays = {name: x for name, x in arrays.items() if not name.startswith("/")}
        metadata.pop("state", None)
    return arrays, metadata


def write_file(path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Any],
               metadata: Mapping[str, str]) -> None:
    """Write arrays and texts, with format, version and digest, as one safetensors file."""
    from safetensors.numpy import save

    # contiguous first: safetensors writes a transposed view's memory under the view's shape
    host = {name: np.asarray(to_numpy(x), order="C") for name, x in arrays.items()}
    texts = {**metadata, "format": kind, "version": _VERSIONS[kind]}
    write_atomic(path, save(host, metadata=texts | {"sha256": _digest(host, texts)}))


def read_file(path: str | os.PathLike[str]) -> tuple[HostArrays, dict[str, str]]:
    """What `write_file` wrote, or another program's file; errors as in `load_model`."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the .safetensors file in it")
    data = path.read_bytes()
    metadata = _metadata(path, data)
    known = _VERSIONS.get(metadata.get("format", ""))
    if known and metadata.get("version") != known:
        raise ValueError(f"{path} has format version {metadata.get('version')!r}, and this tinynet "
                         f"reads version {known}: update tinynet")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: HostArrays = load(data)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): copy or save it again"
                         ) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} holds numbers of a type that NumPy lacks ({error}): save it as "
                         "float32") from error
    if known and metadata.pop("sha256", "") != _digest(arrays, metadata):
        raise ValueError(f"{path} is damaged: its numbers do not match the checksum they were "
                         "saved with. Use another copy")
    return arrays, metadata


def _digest(arrays: HostArrays, metadata: Mapping[str, str]) -> str:
    """SHA-256 over metadata, names, types, shapes and numbers, in the order of the names."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        x = np.asarray(arrays[name], order="C")
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
        metadata = header.get("__metadata__", {})
        return {str(name): str(text) for name, text in metadata.items()}
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file, or only the beginning of one ({error})"
                         ) from error
