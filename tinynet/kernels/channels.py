r"""Work with one value for each channel: x * scale + shift, sums over all pixels.

Channels are axis 1 of an array, but last in memory, so an array is a matrix with a row
for each pixel. C numbers make a short row, and for rows shorter than its buffer NumPy
copies the operands first, at half the speed. So several pixels make a row of 8,192
numbers here (`Rows`), and vectors of channels are repeated to that length.

Sums of a block are ``ones @ block``: a product by BLAS, three times faster than
`sum(axis=0)`. They are added in the order of the blocks, and the pixels of a row in
float64; without BLAS, whose own threads would wake up for it outside `pmap`, and then
spin for a while where workers want to run.

A mean that is large against the deviation costs digits in x * scale + shift, whose
terms then nearly cancel: there (`far_centre`) the mean is subtracted first.

Cost for n numbers: 2 n operations (3 n with a centre) and 2 n numbers read or written
for `scale_and_shift`, n and n for `channel_sum`.

Read next: `kernels/matmul.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..backend import Array, DType, on_gpu, wide, xp
from .kernel import kernel
from .memory import as_nhwc, empty, scratch
from .precision import NEAR
from .ranks import Ranks
from .threads import BLOCK_BYTES, pmap

_ROW = 8192  # NumPy's buffer, in numbers
LEAST = 64  # rows, if the pixels suffice


class Statistics(NamedTuple):
    """Of a batch, a value for each channel; the deviation is sqrt(var + eps).

    `ranks` are those that share the batch, if several do.
    """

    mean: Array
    var: Array
    deviation: Array
    ranks: Ranks | None = None


@dataclass
class Running:
    """Running statistics: they move once, when a batch's statistics are first known."""

    mean: Array | None
    var: Array | None
    share: float
    factor: float = 1.0  # makes the batch's variance unbiased
    ranks: Ranks | None = None  # that share the batch
    is_done: bool = False


class Rows:
    """An array with channels in axis 1 as a matrix of long rows: some pixels, all channels each."""

    def __init__(self, x: Array) -> None:
        self.channels = x.shape[1]
        self.dtype = x.dtype
        self.shape = x.shape
        pixels = x.size // self.channels
        # Pixels of a row: a power of two that divides them all, for about _ROW numbers; fewer
        # of a small array, whose few long rows would be less work than their vectors.
        most = min(_ROW // self.channels, pixels // LEAST)
        self.repeats = math.gcd(pixels, 1 << most.bit_length())
        self.rows = pixels // self.repeats
        self.width = self.repeats * self.channels
        self.step = max(1, BLOCK_BYTES // (self.width * x.itemsize))  # rows of a block

    def matrix(self, x: Array) -> Array:
        """x as (rows, width); a view if channels are last in memory."""
        return as_nhwc(x.reshape(*x.shape[:2], -1, 1)).reshape(self.rows, self.width)

    def shaped(self, matrix: Array) -> Array:
        """The matrix as an array of the shape of x."""
        n, c, *size = self.shape
        images = matrix.reshape(n, *size, c)
        return images.transpose(0, -1, *range(1, images.ndim - 1))

    def tile(self, channel: Array) -> Array:
        """A value for each channel, repeated to the length of a row."""
        row = np.empty((self.repeats, self.channels), self.dtype)
        row[...] = channel
        return row.reshape(-1)

    def work(self, n: int) -> Array:
        return scratch("norm", (n, self.width), self.dtype)

    def parts(self, sums: int) -> Array:
        return np.empty((sums, -(-self.rows // self.step), self.width), self.dtype)

    def total(self, parts: Array) -> Array:
        """Sums of rows, (.., blocks, width), added in order, the pixels of a row in float64."""
        rows = parts[..., 0, :] if parts.shape[-2] == 1 else parts.sum(axis=-2)
        pixels = rows.reshape(*rows.shape[:-1], self.repeats, self.channels)
        return pixels.sum(axis=-2, dtype=np.float64)


def sum_rows(x: Array, out: Array) -> None:
    np.matmul(np.ones(len(x), x.dtype), x, out=out)


def sum_products(x: Array, y: Array, out: Array) -> None:
    """The sums of x * y over all rows, in one pass."""
    np.einsum("ij,ij->j", x, y, out=out)


def per_channel(v: Array, x: Array) -> Array:
    """A value for each channel, shaped to meet axis 1 of x."""
    return v.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2))


def far_centre(mean: Array, deviation: Array, dtype: DType) -> Array | None:
    """`mean` in `dtype`, to be subtracted first; None if no channel lies far from zero.

    On a GPU always the mean: to look at it would mean to wait for it.
    """
    if on_gpu or bool((xp.abs(mean) > NEAR * deviation).any()):
        return mean.astype(dtype)
    return None


def plain_scale_and_shift(x: Array, scale: Array, shift: Array, relu: bool = False,
                          centre: Array | None = None) -> Array:
    """Each step in one line, float16 in float32."""
    dtype = x.dtype
    y = wide(x)
    if centre is not None:
        y = y - per_channel(centre, y)
    y = y * per_channel(scale, y) + per_channel(shift, y)
    if relu:
        y = xp.maximum(y, 0)
    return y.astype(dtype, copy=False)


@kernel(plain=plain_scale_and_shift, wide=True)
def scale_and_shift(x: Array, scale: Array, shift: Array, relu: bool = False,
                    centre: Array | None = None) -> Array:
    """(x - centre) * scale + shift for each channel (axis 1); max(., 0) of it if `relu`.

    `centre` is None for 0.
    """
    r = Rows(x)
    rows = r.matrix(x)
    y = empty((r.rows, r.width), r.dtype)
    a = r.tile(scale)
    b = r.tile(shift)
    c = None if centre is None else r.tile(centre)
    zeros = np.zeros(r.width, r.dtype)  # with the number 0 NumPy takes three times as long

    def block(i: int, j: int) -> None:
        out = y[i:j]
        if c is None:
            np.multiply(rows[i:j], a, out=out)
        else:
            np.subtract(rows[i:j], c, out=out)
            out *= a
        out += b
        if relu:
            np.maximum(out, zeros, out=out)

    pmap(block, r.rows, r.step)
    return r.shaped(y)


def plain_channel_sum(x: Array) -> Array:
    return x.sum((0, *range(2, x.ndim)), dtype=np.float64).astype(x.dtype)


@kernel(plain=plain_channel_sum, wide=True)
def channel_sum(x: Array) -> Array:
    """The sum of each channel (axis 1): the gradient of a bias."""
    r = Rows(x)
    rows = r.matrix(x)
    parts = r.parts(1)
    pmap(lambda i, j: sum_rows(rows[i:j], parts[0, i // r.step]), r.rows, r.step)
    return r.total(parts[0]).astype(x.dtype)
