"""CIFAR-10: 60,000 colour photographs of 10 classes, 32x32 (Krizhevsky 2009).

Two official formats are read. A *binary* file is 10,000 records of 3,073 bytes: the
label, then 1,024 red, 1,024 green and 1,024 blue values, row by row. A *python* file is
a pickle of a dict with the same numbers; it is a program that is never run
(`pickles.py`): the array is built from notes of the few calls that official files make.
Every file is checked (size, labels, SHA256SUMS beside it) before it is used.

Read next: `data/pickles.py`.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import check_range
from . import pickles
from .dataset import Dataset
from .download import install

CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"
RECORDS = 10_000  # in each file
_PIXELS = 3 * 32 * 32
_BINARY = "cifar-10-batches-bin"
_PYTHON = "cifar-10-batches-py"
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_CALLS = frozenset({  # what official files, and those saved again by newer versions, ask for
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
    "numpy.ndarray", "numpy.dtype", "_codecs.encode",
})
_INSTRUCTIONS = 20  # of a pickle, for each picture; official files have 3, saved again 13
_RENEW = "The file is damaged or no CIFAR-10: restore it, or remove its folder and load again."

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def load_cifar10(root: str | Path | None = None, download: bool = True) -> tuple[Dataset, Dataset]:
    """(train, test): 50,000 and 10,000 pictures uint8 (N, 3, 32, 32), labels int64.

    The files are looked for in `root`; without it in the folder named by the
    environment variable TINYNET_DATA and in the cache folder (Linux: ~/.cache/tinynet);
    each time in the folder itself, and in `cifar-10-batches-bin` and
    `cifar-10-batches-py` within. If they are nowhere, 170 MB are downloaded once into
    `root` or the cache folder, unless `download` is False.

    Raises FileNotFoundError (not there, or incomplete), DownloadError (no network, or
    no place to write to), ValueError (a file is damaged, or no CIFAR-10); each names
    the file and says what to do.
    """
    folder = _find_or_download(_homes(root), download)
    paths = _batches(folder)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}: restore them, "
                                "or remove the folder and load again")
    sums = _read_sums(folder / "SHA256SUMS")
    images = np.empty((len(paths) * RECORDS, 3, 32, 32), np.uint8)
    labels = np.empty(len(paths) * RECORDS, np.int64)
    for i, path in enumerate(paths):
        rows = slice(i * RECORDS, (i + 1) * RECORDS)
        data = _checked_bytes(path, sums)
        read = _binary if path.suffix else _python
        pixels, labels[rows] = read(path, data)
        images[rows] = pixels.reshape(RECORDS, 3, 32, 32)
        check_range(f"labels in {path}", labels[rows], len(CLASSES), _RENEW)
    both = Dataset(images, labels, CLASSES, "cifar10")
    return both.take(slice(0, -RECORDS)), both.take(slice(-RECORDS, None))


def _homes(root: str | Path | None) -> list[Path]:
    """The folders to search; the last is where a download goes."""
    if root is not None:
        return [Path(root)]
    import pooch

    named = os.environ.get("TINYNET_DATA", "")
    if named and not Path(named).is_dir():
        raise FileNotFoundError(f"TINYNET_DATA={named} is no folder: set it to the "
                                f"folder that holds {_BINARY}, or unset it")
    return [Path(home) for home in (named, pooch.os_cache("tinynet")) if home]


def _batches(folder: Path) -> list[Path]:
    """Where the six files should be, in the format that is there; else nothing."""
    for suffix in (".bin", ""):
        paths = [folder / (batch + suffix) for batch in _BATCHES]
        if any(map(os.path.exists, paths)):  # False, too, where it may not be looked at
            return paths
    return []


def _find_or_download(homes: list[Path], download: bool) -> Path:
    for home in homes:
        for folder in (home, home / _BINARY, home / _PYTHON):
            if _batches(folder):
                return folder
    home = homes[-1]
    searched = " or ".join(map(str, homes))
    by_hand = (f"CIFAR-10 is not in {searched} yet. By hand: fetch {URL} on any "
               "machine, unpack it, and set TINYNET_DATA to the folder that holds "
               f"{_BINARY}.")
    if not download:
        raise FileNotFoundError(f"{by_hand} Or load with download=True.")
    size = RECORDS * (1 + _PIXELS)
    members = {f"{_BINARY}/{batch}.bin": size for batch in _BATCHES}
    install(URL, HASH, members, home / _BINARY, by_hand)
    return home / _BINARY


def _read_sums(path: Path) -> dict[str, str]:
    """File name: SHA-256, as `sha256sum` prints them; empty without such a file."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name.lstrip("*"): digest.lower() for digest, name in
            (line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)}


def _checked_bytes(path: Path, sums: dict[str, str]) -> bytes:
    """The content of a file, after its size and its hash have been found right."""
    size = path.stat().st_size
    least = RECORDS * (1 + _PIXELS)
    if path.suffix and size != least:
        raise ValueError(f"{path} has {size:,} bytes instead of {least:,}. {_RENEW}")
    if size > 2 * least:  # names of pictures take about 1 % of an official python file
        raise ValueError(f"{path} has {size:,} bytes, about {least:,} were expected. "
                         f"{_RENEW}")
    data = path.read_bytes()
    expected = sums.get(path.name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise ValueError(f"{path} differs from its entry in "
                         f"{path.parent / 'SHA256SUMS'}. {_RENEW} If you changed it on "
                         "purpose, remove that entry.")
    return data


def _binary(path: Path, data: bytes) -> tuple[Bytes, Bytes]:
    """(pixels, labels) of an official binary file."""
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, 1 + _PIXELS)
    return records[:, 1:], records[:, 0]


def _python(path: Path, data: bytes) -> tuple[Bytes, Any]:
    """(pixels, labels) of an official python file."""
    try:
        content = pickles.read(data, _CALLS, _INSTRUCTIONS * RECORDS + 1000)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__} instead of a dict")
        fields = {_text(name): value for name, value in content.items()}
        return _array(fields["data"]), _labels(fields["labels"])
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        text = f"{path} is refused: {error!r:.300}. {_RENEW}"
    raise ValueError(text)  # outside of the handler: the cause's own text may be long


def _text(value: Any) -> str:
    """Text that may have been saved as bytes, or as a call, encode(text, ...)."""
    if isinstance(value, pickles.Note) and value.name == "_codecs.encode" and value.args:
        value = value.args[0]
    if isinstance(value, bytes):
        value = value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"it holds a {type(value).__name__} where text should be")
    return value


def _labels(values: Any) -> Any:
    numbers = isinstance(values, list) and all(
        type(label) is int and label.bit_length() < 64 for label in values)
    if not numbers or len(values) != RECORDS:
        raise ValueError(f"labels should be a list of {RECORDS:,} integers")
    return np.array(values, np.int64)


def _array(note: Any) -> Bytes:
    """The (RECORDS, 3072) uint8 array that a note of numpy describes."""
    if note.state is None:  # protocol 5: _frombuffer(content, dtype, shape, order)
        content, dtype, shape, order = note.args
        by_columns = order == "F"
    else:  # _reconstruct(...), then its state
        _, shape, dtype, by_columns, content = note.state
    kind = _text(dtype.args[0])
    if kind != "u1" or shape != (RECORDS, _PIXELS):
        raise ValueError(f"data should be uint8 {(RECORDS, _PIXELS)}, it is "
                         f"{kind!r:.20} {reprlib.repr(shape):.80}")
    if not isinstance(content, bytes | bytearray):
        content = _text(content).encode("latin1")
    values: Bytes = np.frombuffer(content, np.uint8)
    if by_columns:
        return values.reshape(_PIXELS, RECORDS).T
    return values.reshape(RECORDS, _PIXELS)
