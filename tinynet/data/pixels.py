"""What transforms compute with: blocks of pictures, dtypes, fills, moments of colours.

Integers stay integers: they are computed with as floats, rounded once at the end, and
held to the range of their dtype.

Read next: `data/resample.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..backend import Array, DType, asarray, to_numpy, xp
from ..checks import check_images
from ..kernels import memory
from ..kernels.threads import BLOCK_BYTES, pmap

Numbers = float | Sequence[float]
_BLOCK = 32  # pictures summed at a time


def choose(second: Array, images: Array, others: Array) -> Array:
    """others[i] where second[i], else images[i]; in half the time of `where`."""
    def work(block: Array, i: int, j: int) -> None:
        both = xp.concatenate([images[i:j], others[i:j]])
        block[...] = both[xp.arange(j - i) + (j - i) * second[i:j]]

    return in_blocks(work, images)


def per_channel(what: str, values: Any, images: Array, dtype: DType) -> Array:
    """A number, or one for each channel, as a (C, 1, 1) array on the device."""
    numbers = np.ravel(values)
    if numbers.dtype.kind not in "uif" or len(numbers) not in (1, images.shape[1]):
        found = len(numbers) if numbers.dtype.kind in "uif" else repr(values)
        raise ValueError(f"{what} must be one number, or one for each of the "
                         f"{images.shape[1]} channels, got {found}")
    if np.dtype(dtype).kind != "f" and bool(np.isnan(numbers).any()):
        kind = np.dtype(dtype)
        raise ValueError(f"{what} must be numbers for pictures of {kind}, got {values}")
    return _upload(tuple(numbers.tolist()), np.dtype(dtype))


@lru_cache(64)
def _upload(values: tuple[float, ...], dtype: DType) -> Array:
    return asarray(_as_dtype(np, np.asarray(values, np.float64), dtype)[:, None, None])


def working_dtype(images: Array) -> DType:
    """What colours and positions are computed in: float32, or float64 where that is too short.

    Too short it is for pictures of float64, and of integers that it does not hold.
    """
    return np.result_type(images.dtype, np.float32)


def as_dtype(values: Array, dtype: DType) -> Array:
    """Computed pictures in the dtype of the originals, rounded and held to it."""
    return _as_dtype(xp, values, np.dtype(dtype))


def _as_dtype(lib: Any, values: Array, dtype: DType) -> Array:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    highest = float(limits.max)
    rounded = lib.clip(lib.rint(values), float(limits.min), highest)
    if int(highest) == limits.max:
        return rounded.astype(dtype)
    # 2^63 - 1 is no float64, and 2^63 is no int64: what was held there is set by hand
    below = np.nextafter(highest, 0.0)
    whole = lib.minimum(rounded, below).astype(dtype)
    return lib.where(rounded == highest, dtype.type(limits.max), whole)


def in_blocks(work: Callable[[Array, int, int], None], images: Array,
              shape: tuple[int, ...] | None = None, dtype: DType = None) -> Array:
    """New pictures, of the shape and dtype of `images` unless others are given.

    work(block, i, j) writes pictures i .. j - 1, as many as fit the cache, to `block`;
    it is called on worker threads.
    """
    out = memory.empty(shape or images.shape, dtype or images.dtype)
    if len(images):
        pmap(lambda i, j: work(out[i:j], i, j), len(images),
             max(1, BLOCK_BYTES // (4 * images[0].size)))
    return out


def channel_moments(images: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean (C,), covariance (C, C) of the channels over all pixels, on the host.

    Sums in float64: exact for uint8, so the numbers are the same on every machine.
    """
    check_images(images)
    if len(images) == 0:
        raise ValueError("images must hold at least one picture, got none")
    channels = images.shape[1]
    total = products = 0.0
    for i in range(0, len(images), _BLOCK):
        block = asarray(images[i : i + _BLOCK]).astype(xp.float64)
        rows = block.transpose(1, 0, 2, 3).reshape(channels, -1)
        total = total + rows.sum(axis=1)
        products = products + rows @ rows.T
    count = images.size // channels
    mean = to_numpy(total) / count
    return mean, to_numpy(products) / count - np.outer(mean, mean)


def channel_statistics(images: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel of images (N, C, H, W): what `Normalize` takes.

    >>> channel_statistics(xp.array([0, 100], xp.uint8).reshape(2, 1, 1, 1))
    ((50.0,), (50.0,))
    """
    mean, covariance = channel_moments(images)
    std = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return tuple(mean.tolist()), tuple(std.tolist())
