r"""Group normalisation of images whose channels lie side by side, an image at a time.

    d = x - c,   z = s (d - r),   s = 1 / sqrt(v + eps),   y = z w + b
    db = sum of g,  dw = sum of g z                         (of each channel)
    dx = s (g w - mean(g w) - z mean(g w z))                (means over the group)

c is the group's mean in x's dtype, r what the rounding left of it; v is the variance.
Sums over the pixels of an image are products with ones, the few channels of a group are
added in float64. As in `channels.py` several pixels make a row, and values of channels
are repeated to its length. dx is g A + d P + Q with one A, P and Q for each channel.

Cost for n numbers: forward 7 n operations, backward 9 n; 2 n and 3 n numbers read or
written. Source: Wu and He 2018.

Read next: `kernels/softmax.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..backend import Array, xp
from .channels import per_channel, sum_rows
from .kernel import kernel
from .layer_norm import Moments
from .memory import as_nhwc, empty, scratch
from .precision import centred, variance
from .sums import sum_if
from .threads import BLOCK_BYTES, SHORT_ROW, pmap


class Images:
    """Images (N, C, ...) as matrices of long rows: some pixels, all channels each."""

    def __init__(self, x: Array, groups: int) -> None:
        self.n = len(x)
        self.channels = x.shape[1]
        self.groups = groups
        self.shape = x.shape
        self.dtype = x.dtype
        pixels = x.size // (self.n * self.channels)
        self.count = pixels * self.channels // groups  # numbers of a group
        # Pixels of a row: a power of two that divides them all.
        self.repeats = math.gcd(pixels, 1 << (SHORT_ROW // self.channels).bit_length())
        self.size = (pixels // self.repeats, self.repeats * self.channels)
        self.step = max(1, BLOCK_BYTES // (self.size[0] * self.size[1] * x.itemsize))

    def matrices(self, x: Array) -> Array:
        """(N, rows, width); a view if channels are last in memory."""
        return as_nhwc(x.reshape(*x.shape[:2], -1, 1)).reshape(self.n, *self.size)

    def shaped(self, y: Array) -> Array:
        n, c, *size = self.shape
        return np.moveaxis(y.reshape(n, *size, c), -1, 1)

    def work(self, name: str) -> Array:
        return scratch(f"group norm {name}", self.size, self.dtype)

    def tile(self, channel: Array) -> Array:
        """A value for each channel, repeated to the length of a row."""
        row = np.empty((self.repeats, self.channels), self.dtype)
        row[...] = channel
        return row.reshape(-1)

    def sums(self, x: Array) -> Array:
        """The sum of each channel of an image (rows, width), in float64."""
        row = np.empty(self.size[1], x.dtype)
        sum_rows(x, row)
        return row.reshape(self.repeats, self.channels).sum(axis=0, dtype=np.float64)

    def mean(self, sums: Array) -> Array:
        """The mean of each group from sums of channels, (groups, 1)."""
        return sums.reshape(self.groups, -1).sum(axis=1, keepdims=True) / self.count

    def spread(self, group: Array) -> Array:
        """A value for each group (groups, 1), for its channels."""
        return np.repeat(group[:, 0], self.channels // self.groups)


def _or(value: float, v: Array | None) -> Array | float:
    return value if v is None else v


def plain_group_norm(x: Array, groups: int, weight: Array | None, bias: Array | None,
                     eps: float) -> tuple[Array, Moments]:
    d, mean = centred(x.reshape(len(x), groups, -1), 2)
    centre = mean.astype(x.dtype)
    inverse = 1 / xp.sqrt(variance(d, 2) + eps)
    y = (d * inverse.astype(x.dtype)).reshape(x.shape)
    if weight is not None:
        y = y * per_channel(weight, x)
    if bias is not None:
        y = y + per_channel(bias, x)
    return y, Moments(centre, mean - centre, inverse)


@kernel(plain=plain_group_norm, wide=True)
def group_norm(x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float
               ) -> tuple[Array, Moments]:
    """y for x (N, C, ...), weight and bias (C,) or None; and the moments, (N, groups, 1) each."""
    r = Images(x, groups)
    images = r.matrices(x)
    y = empty(images.shape, x.dtype)
    of = Moments(*(np.empty((r.n, groups, 1)) for _ in Moments._fields))

    def block(i: int, j: int) -> None:
        for k in range(i, j):
            d = y[k]
            of.centre[k] = r.mean(r.sums(images[k])).astype(x.dtype)
            np.subtract(images[k], r.tile(r.spread(of.centre[k])), out=d)
            of.rest[k] = r.mean(r.sums(d))
            squares = r.mean(r.sums(np.multiply(d, d, out=r.work("squares"))))
            of.inverse[k] = 1 / np.sqrt(np.maximum(squares - of.rest[k] ** 2, 0) + eps)
            scale = r.spread(of.inverse[k]) * _or(1.0, weight)
            d *= r.tile(scale)
            d += r.tile(_or(0.0, bias) - r.spread(of.rest[k]) * scale)

    pmap(block, r.n, r.step)
    return r.shaped(y), of


def plain_group_norm_backward(g: Array, x: Array, groups: int, weight: Array | None,
                              of: Moments, wanted: Sequence[bool] = (True, True)
                              ) -> tuple[Array | None, Array | None, Array | None]:
    centre, rest, inverse = (v.astype(x.dtype) for v in of)
    z = (x.reshape(len(x), groups, -1) - centre - rest) * inverse
    dx = dw = db = None
    if wanted[0]:
        h = g if weight is None else g * per_channel(weight, x)
        h = h.reshape(z.shape)
        dx = h - h.mean(2, keepdims=True) - z * (h * z).mean(2, keepdims=True)
        dx = (dx * inverse).reshape(x.shape)
    if wanted[1]:
        axes = (0, *range(2, x.ndim))
        dw = (g * z.reshape(x.shape)).sum(axes, dtype=np.float64).astype(x.dtype)
        db = g.sum(axes, dtype=np.float64).astype(x.dtype)
    return dx, dw, db


@kernel(plain=plain_group_norm_backward, wide=True)
def group_norm_backward(g: Array, x: Array, groups: int, weight: Array | None, of: Moments,
                        wanted: Sequence[bool] = (True, True)
                        ) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias) from the gradient g of y: dx if wanted[0], the others if wanted[1]."""
    r = Images(x, groups)
    images = r.matrices(x)
    dy = r.matrices(g)
    dx = None
    if wanted[0]:
        dx = empty(images.shape, x.dtype)

    def block(i: int, j: int, sums: Array | None = None) -> None:
        if sums is not None:
            sums[...] = 0
        for k in range(i, j):
            rest, inverse = (r.spread(v[k]) for v in (of.rest, of.inverse))
            d = np.subtract(images[k], r.tile(r.spread(of.centre[k])), out=r.work("centred"))
            db = r.sums(dy[k])
            dw = inverse * (r.sums(np.multiply(dy[k], d, out=r.work("squares"))) - rest * db)
            if sums is not None:
                sums += (dw, db)
            if dx is not None:
                h = r.spread(r.mean(db * _or(1.0, weight)))
                hz = r.spread(r.mean(dw * _or(1.0, weight)))
                p = -inverse * inverse * hz
                out = np.multiply(dy[k], r.tile(inverse * _or(1.0, weight)), out=dx[k])
                d *= r.tile(p)
                d += r.tile(-inverse * h - p * rest)
                out += d

    found = sum_if(wanted[1], block, r.n, r.step, (2, r.channels), np.float64)
    shaped = None if dx is None else r.shaped(dx)
    if found is None:
        return shaped, None, None
    return shaped, found[0].astype(x.dtype), found[1].astype(x.dtype)
