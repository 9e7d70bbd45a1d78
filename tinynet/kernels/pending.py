r"""Images that nobody stores: whoever reads them computes them, a block at a time.

What is cheap to compute costs more to write and to read again. So a kernel may return
a `Pending` in place of an array: it knows the shape, and how to `fill` memory with
images i to j. A convolution lets it fill its work memory, block by block; for everybody
else it becomes an array, once (`array`). Those that there are stand in `late_norm.py`.

The gradient of what is pending is made in blocks, too, and is best finished while a
block is in the cache: `collector` says by whom.

Read next: `kernels/im2col.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..backend import Array, DType
from ..locks import thread_lock
from .memory import as_nchw, empty, scratch
from .threads import BLOCK_BYTES, pmap

ROW = 8192  # numbers of a row at most, as in `channels.Rows`

_storing = thread_lock()


class Collector(Protocol):
    """Who finishes a gradient block by block."""

    def take(self, i: int, j: int, g: Array, y: Array) -> None:
        """Images i to j of the gradient, to be overwritten, and what `fill` wrote for them."""

    def found(self, g: Array) -> Pending:
        """What stands for the gradient, once all of it was taken."""


class Pending:
    """Images (N, C, H, W) to come: a subclass defines `fill`. (It is no `ABC`, for which
    `isinstance` takes ten times as long: every gradient is asked whether it is pending.)

    What `fill` writes is still to be multiplied by `scale` (C,), if that is not None: a
    convolution does it to its weights, which are fewer.
    """

    scale: Array | None = None
    __array_ufunc__ = None  # array + pending asks __radd__

    def __init__(self, shape: tuple[int, ...], dtype: DType) -> None:
        _, c, h, w = shape
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.stored: Array | None = None
        self.exact = False  # its gradient is asked for, not what a collector makes of it
        # Pixels of a row: as many as divide an image, for about ROW numbers.
        self.repeats = max(k for k in range(1, max(1, ROW // c) + 1) if h * w % k == 0)

    @abstractmethod
    def fill(self, i: int, j: int, out: Array) -> None:
        """Write images i to j into `out`, (j - i, H, W, C) without gaps, but for the scale."""

    def collector(self, step: int) -> Collector | None:
        """Who finishes its gradient in blocks of `step` images, if anybody may."""
        return None

    def rows(self, images: Array) -> Array:
        """Images (n, H, W, C) as (n, rows of an image, numbers of a row)."""
        return images.reshape(len(images), -1, self.repeats * self.shape[1])

    def tile(self, channel: Array) -> Array:
        """A value for each channel, repeated to the length of a row."""
        return np.tile(channel.astype(self.dtype), self.repeats)

    def images(self) -> int:
        """Of a block: half the usual bytes, since what they are made of lies beside them."""
        _, c, h, w = self.shape
        return max(1, BLOCK_BYTES // (2 * c * h * w * self.dtype.itemsize))

    def array(self) -> Array:
        """All of them, as an array (N, C, H, W)."""
        if self.stored is None:
            n, c, h, w = self.shape
            out = empty((n, h, w, c), self.dtype)
            scale = None if self.scale is None else self.tile(self.scale)

            def block(i: int, j: int) -> None:
                self.fill(i, j, out[i:j])
                if scale is not None:
                    rows = self.rows(out[i:j])
                    rows *= scale

            pmap(block, n, self.images())
            with _storing:
                if self.stored is None:  # else another thread was quicker, and may have written
                    self.stored = as_nchw(out)
        return self.stored

    def __array__(self, dtype: DType = None, copy: bool | None = None) -> Array:
        return np.array(self.array(), dtype=dtype, copy=copy)

    def __add__(self, other: Array | Pending) -> Array:
        return self.array() + array_of(other)

    __radd__ = __add__  # of two terms the order does not matter


def array_of(x: Any) -> Any:
    """An array of what is pending; anything else as it is."""
    return x.array() if isinstance(x, Pending) else x


def scale_of(x: Array | Pending) -> Array | None:
    """What is still to be multiplied by, for each channel; None for an array."""
    return x.scale if isinstance(x, Pending) else None


def reader(x: Array | Pending, name: str) -> Callable[[int, int], Array]:
    """A function that returns images i to j, (j - i, C, H, W): a view of an array, or scratch."""
    if not isinstance(x, Pending):
        return lambda i, j: x[i:j]
    _, c, h, w = x.shape

    def read(i: int, j: int) -> Array:
        out = scratch(name, (j - i, h, w, c), x.dtype)
        x.fill(i, j, out)
        return as_nchw(out)

    return read
