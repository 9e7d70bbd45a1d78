r"""A depthwise convolution, whose channels do not meet, tap by tap.

    y[p, q, c] = sum over i, j of w[c, i, j] x[p + i, q + j, c]          (stride 1)

Each place (i, j) of the kernel is one multiplication and one addition of whole images: a
row of pixels, all channels side by side, is one long run in memory, times the weights
repeated to its length. A matrix product for each channel would have a single column.

A stride larger than 1 takes its pixels out of the result of stride 1, and backward puts
zeros between them.

Cost for n outputs of stride 1: 2 kH kW n operations forward and 4 kH kW n backward; a
block of images stays in the cache for all taps. Source: Howard et al. 2017, "MobileNets".

Read next: `kernels/tiles.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..backend import Array
from ..checks import count, taps
from .channels import sum_rows
from .im2col import Shape
from .memory import as_nchw, as_nhwc, empty, scratch
from .sums import sum_if
from .threads import BLOCK_BYTES, pmap
from .windows import bordered, inside


class Taps:
    """The outputs of stride 1, and for each place of the kernel what meets them."""

    def __init__(self, s: Shape, w: Array) -> None:
        self.s = s
        self.out = count(s.size, s.kernel, (1, 1), s.padding, s.dilation)
        self.strided = s.stride != (1, 1)
        # Weights (C, 1, kH, kW) as (kH, kW, W', C): each repeated along a row of outputs.
        self.rows = np.empty((*s.kernel, self.out[1], s.c), w.dtype)
        self.rows[...] = w.transpose(2, 3, 1, 0)
        image = s.padded[0] * s.padded[1] * s.c * w.itemsize
        self.images = max(1, BLOCK_BYTES // (2 * image))  # of a block

    def each(self, border: Array) -> Iterator[tuple[int, int, Array]]:
        """The places (i, j), and their views (n, H', W', C) of images with a border."""
        for i, j, rows, columns in taps(self.s.kernel, (1, 1), self.out, self.s.dilation):
            yield i, j, border[:, rows, columns]

    def work(self, name: str, n: int) -> Array:
        return scratch(f"depthwise {name}", (n, *self.out, self.s.c), self.rows.dtype)

    def gradient(self, g: Array) -> Array:
        """g as it would be for stride 1."""
        if not self.strided:
            return g
        spread = self.work("gradient", len(g))
        spread[...] = 0
        spread[:, :: self.s.stride[0], :: self.s.stride[1]] = g
        return spread


def conv2d(x: Array, w: Array, s: Shape) -> Array:
    """x (N, C, H, W) with weights (C, 1, kH, kW), a group for each channel."""
    t = Taps(s, w)
    y = empty((s.n, *s.out, s.c), x.dtype)
    x = as_nchw(as_nhwc(x))

    def block(a: int, b: int) -> None:
        total = y[a:b]
        if t.strided:
            total = t.work("outputs", b - a)
        part = t.work("part", b - a)
        border = as_nhwc(bordered(x[a:b], s.padding))
        for i, j, tap in t.each(border):
            if i == j == 0:
                np.multiply(tap, t.rows[i, j], out=total)
            else:
                total += np.multiply(tap, t.rows[i, j], out=part)
        if t.strided:
            y[a:b] = total[:, :: s.stride[0], :: s.stride[1]]

    pmap(block, s.n, t.images)
    return as_nchw(y)


def conv2d_backward(g: Array, x: Array, w: Array, s: Shape,
                    wanted: Sequence[bool] = (True, True)) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dw) of `conv2d`; one that is not `wanted` is None."""
    t = Taps(s, w)
    g = as_nhwc(g)
    x = as_nchw(as_nhwc(x))
    dx = None
    if wanted[0]:
        dx = empty((s.n, *s.size, s.c), x.dtype)

    def block(a: int, b: int, dw: Array | None = None) -> None:
        dy = t.gradient(g[a:b])
        part = t.work("part", b - a)
        if dw is not None:
            border = as_nhwc(bordered(x[a:b], s.padding))
            sums = np.empty(t.out[1] * s.c, x.dtype)
            for i, j, tap in t.each(border):
                np.multiply(tap, dy, out=part)
                sum_rows(part.reshape(-1, len(sums)), sums)
                sums.reshape(t.out[1], s.c).sum(axis=0, out=dw[i, j])
        if dx is not None:
            border = scratch("border", (b - a, *s.padded, s.c), x.dtype)  # x's has been read
            border[...] = 0
            for i, j, tap in t.each(border):
                tap += np.multiply(dy, t.rows[i, j], out=part)
            as_nchw(dx[a:b])[...] = inside(as_nchw(border), s.padding)

    dw = sum_if(wanted[1], block, s.n, t.images, (*s.kernel, s.c), x.dtype)
    if dx is not None:
        dx = as_nchw(dx)
    if dw is not None:
        dw = dw.transpose(2, 0, 1)[:, None]
    return dx, dw
