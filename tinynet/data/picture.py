"""One picture of any kind, file, Pillow image or array, as a net is to see it.

A file is read as `from_folder` reads it. An array holds bytes, 16-bit numbers (their
upper byte counts) or floats from 0 (black) to 1 (white); its channels stand first or
last, or it is grey. The whole picture is squeezed to the size that is wanted.

Read next: `data/cifar10.py`.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import HostArray, asarray, to_numpy
from ..checks import check_not_masked
from .folder import pixels, read_file, upright
from .resample import resize

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow's mode L
_CHANNELS = (1, 3, 4)


def read_picture(source: Any, shape: tuple[int, int, int]) -> HostArray:
    """`source` as an array of `shape` (C, H, W), uint8, or floats in 0..255.

    C is 1 (grey) or 3. `source` is a file's name, a Pillow image or an array: (H, W),
    (H, W, C) or (C, H, W). Transparency is dropped, camera rotation undone. FileNotFoundError, or
    ValueError that says what is wrong with it.

    >>> white = np.ones((5, 7, 3), np.float32)
    >>> read_picture(white, (1, 2, 2)).round().ravel().tolist()
    [255.0, 255.0, 255.0, 255.0]
    """
    size = shape[1:]
    if isinstance(source, str | os.PathLike):
        found = _of_file(Path(source), size)
    elif hasattr(source, "getbands") and hasattr(source, "convert"):  # Pillow's
        found = _of_pillow(source, size)
    else:
        found = _of_array(source, shape)
    return _with_channels(found, shape[0])


def _of_file(path: Path, size: tuple[int, int]) -> HostArray:
    from PIL import Image as pillow

    if not path.exists():
        raise FileNotFoundError(f"there is no picture {path}")
    with warnings.catch_warnings():
        # who names one large picture wants it; beyond twice the limit it is an error
        warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
        return read_file(path, size).transpose(2, 0, 1)


def _of_pillow(image: Any, size: tuple[int, int]) -> HostArray:
    if not min(image.size):
        raise ValueError(f"a picture needs pixels, got {image.size[0]}x{image.size[1]}")
    try:
        return pixels(upright(image), size).transpose(2, 0, 1)
    except Exception as error:  # it is decoded only now, and may be cut off
        raise ValueError(f"the picture cannot be read ({error!s:.300})") from error


def _of_array(array: Any, shape: tuple[int, int, int]) -> HostArray:
    found = _channels_first(_numbers(array), shape[0])
    bytes_ = _bytes(found)
    if bytes_.dtype == np.uint8:
        from PIL import Image as pillow

        planes = [pixels(pillow.fromarray(np.ascontiguousarray(plane)), shape[1:])
                  for plane in bytes_]
        return np.stack(planes)
    resized: HostArray = to_numpy(resize(asarray(bytes_[None]), shape[1:]))[0]
    return resized


def _numbers(array: Any) -> HostArray:
    """An array on the host, of numbers."""
    check_not_masked(array)
    plain = array.numpy() if hasattr(array, "requires_grad") else to_numpy(array)
    found = np.asarray(plain)
    if found.dtype.kind not in "buif":
        raise TypeError("a picture is a file's name, a Pillow image or an array of "
                        f"numbers, got {type(array).__name__}")
    if found.ndim not in (2, 3) or not found.size:
        raise ValueError("a picture must be (H, W), (H, W, C) or (C, H, W), got shape "
                         f"{found.shape}: give several as a list, or as (N, C, H, W)")
    return found


def _channels_first(found: HostArray, wanted: int) -> HostArray:
    """(C, H, W); ValueError where the shape does not tell the channels' axis."""
    if found.ndim == 2:
        return found[None]
    first = found.shape[0] in _CHANNELS
    last = found.shape[2] in _CHANNELS
    if first and last:  # both might be: what the net takes decides
        first = found.shape[0] == wanted
        last = found.shape[2] == wanted
    if first == last:
        why = "both the first and the last axis might be its channels"
        if not first:
            why = "no axis at an end holds 1, 3 or 4 channels"
        raise ValueError(f"a picture of shape {found.shape} can be read in no one way: "
                         f"{why}. Give (1, C, H, W), or a Pillow image")
    if last:
        return found.transpose(2, 0, 1)
    return found


def _bytes(found: HostArray) -> HostArray:
    """The numbers as uint8; floats, which must lie in 0..1, as floats in 0..255."""
    if found.dtype == bool:
        return found.astype(np.uint8) * np.uint8(255)
    if found.dtype == np.uint16:  # the upper byte, as of a file
        return (found >> 8).astype(np.uint8)
    low = found.min()
    high = found.max()
    if found.dtype.kind == "f":
        if not (low >= 0.0 and high <= 1.0):  # nan is refused as well
            raise ValueError(
                f"a picture of floats must lie in 0..1, got {low:.4g} to {high:.4g}: "
                "bytes "
                "need .astype('uint8'), and it must not be normalised: the "
                "classifier does that")
        return found.astype(np.float32) * np.float32(255.0)
    if low < 0 or high > 255:
        raise ValueError(f"a picture of {found.dtype} must lie in 0..255, got {low} "
                         f"to {high}")
    return found.astype(np.uint8)


def _with_channels(found: HostArray, channels: int) -> HostArray:
    """Grey is repeated, or colours become grey; a fourth channel is dropped."""
    colours = found[:3] if len(found) > 1 else np.repeat(found, 3, axis=0)
    if channels == 3:
        return np.ascontiguousarray(colours)
    if len(found) == 1:
        return found
    grey = np.tensordot(_GREY, colours, 1)[None]
    if found.dtype == np.uint8:
        grey = grey.round().astype(np.uint8)
    return grey
