r"""Pooling: the largest value or the mean of each window, and the way back.

A window's largest value is the largest of its rows' largest values, so both kinds are pooled along
one axis and then along the other: kH + kW operations for an output instead of kH kW. `_largest`
and `_sum` do one axis by its *taps*, tap j of kernel k being the pixels that weight j meets, a
strided view:  y = max(tap 0, tap 1, ...). What would lie outside the image is left out: it counts
as -infinity for the largest, as zero for the mean.

Backward the gradient goes to the first largest value in reading order: to the first row that holds
it, and there to the first column. Taps are visited in that order, and a window that has been served
takes no more. Nothing is kept for it: the winners are found again by comparing.

Cost for 2x2 windows and n inputs: largest n operations forward and 4 n backward; memory moves
1.25 n and 2.5 n numbers. Blocks of images stay in the cache for both axes. The plain twins compute
the same from the definition, all taps of the padded image; they also run on CuPy.
Read next: `loss.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..backend import Array, on_gpu, xp
from .blocks import BLOCK_BYTES, pmap
from .memory import as_nchw, as_nhwc, empty, scratch

Pair = tuple[int, int]


class Axis(NamedTuple):
    """Pooling along one axis: 1 are rows and 2 are columns of (N, H, W, C)."""

    number: int
    kernel: int
    stride: int
    padding: int
    size: int  # of the input

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def is_partition(self) -> bool:
        """Every input lies in exactly one window."""
        return (self.kernel == self.stride and self.padding == 0
                and self.out * self.kernel == self.size)

    def taps(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """For each tap: which outputs it serves, and which inputs those are."""
        before = (slice(None),) * self.number
        for j in range(self.kernel):
            lo = max(0, -((j - self.padding) // self.stride))
            hi = min(self.out, (self.size - 1 + self.padding - j) // self.stride + 1)
            first = self.stride * lo - self.padding + j
            if lo < hi:
                last = first + self.stride * (hi - lo - 1)
                yield (*before, slice(lo, hi)), (*before, slice(first, last + 1, self.stride))


def _axes(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair) -> tuple[Axis, Axis]:
    rows, columns = (Axis(i + 1, kernel[i], stride[i], padding[i], shape[2 + i]) for i in (0, 1))
    return rows, columns


def _largest(x: Array, axis: Axis, out: Array) -> None:
    out[...] = -np.inf
    for outputs, inputs in axis.taps():
        np.maximum(out[outputs], x[inputs], out=out[outputs])


def _largest_back(g: Array, x: Array, y: Array, axis: Axis, dx: Array) -> None:
    """To the first input of each window that is equal to y."""
    if not axis.is_partition:
        dx[...] = 0
    free = np.ones(y.shape, bool)  # windows that have not met their largest value yet
    for outputs, inputs in axis.taps():
        hit = x[inputs] == y[outputs]
        hit &= free[outputs]
        free[outputs] ^= hit
        if axis.is_partition:
            np.multiply(g[outputs], hit, out=dx[inputs])
        else:
            dx[inputs] += g[outputs] * hit


def _sum(x: Array, axis: Axis, out: Array) -> None:
    out[...] = 0
    for outputs, inputs in axis.taps():
        out[outputs] += x[inputs]


def _sum_back(g: Array, axis: Axis, dx: Array) -> None:
    dx[...] = 0
    for outputs, inputs in axis.taps():
        dx[inputs] += g[outputs]


def _step(shape: tuple[int, ...], itemsize: int) -> int:
    """Images of a block."""
    return max(1, BLOCK_BYTES // max(1, shape[1] * shape[2] * shape[3] * itemsize))


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """x (N, C, H, W) to (N, C, H', W'), H' = (H + 2 padding - kernel) // stride + 1."""
    if on_gpu:
        return plain_max_pool2d(x, kernel, stride, padding)
    rows, columns = _axes(x.shape, kernel, stride, padding)
    x = as_nhwc(x)
    n, _, w, c = x.shape
    y = empty((n, rows.out, columns.out, c), x.dtype)

    def block(i: int, j: int) -> None:
        m = scratch("pool", (j - i, rows.out, w, c), x.dtype)
        _largest(x[i:j], rows, m)
        _largest(m, columns, y[i:j])

    pmap(block, n, _step(x.shape, x.itemsize))
    return as_nchw(y)


def max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx from the gradient g of y = max_pool2d(x, ...)."""
    if on_gpu:
        return plain_max_pool2d_backward(g, x, y, kernel, stride, padding)
    rows, columns = _axes(x.shape, kernel, stride, padding)
    g, x, y = as_nhwc(g), as_nhwc(x), as_nhwc(y)
    n, h, _, c = x.shape
    dx = empty(x.shape, x.dtype)

    def block(i: int, j: int) -> None:
        m = scratch("pool", (j - i, h, columns.out, c), x.dtype)
        dm = scratch("pool gradient", m.shape, x.dtype)
        _largest(x[i:j], columns, m)
        _largest_back(g[i:j], m, y[i:j], rows, dm)
        _largest_back(dm, x[i:j], m, columns, dx[i:j])

    pmap(block, n, _step(x.shape, x.itemsize))
    return as_nchw(dx)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window; zeros around the image count as values."""
    if on_gpu:
        return plain_avg_pool2d(x, kernel, stride, padding)
    rows, columns = _axes(x.shape, kernel, stride, padding)
    x = as_nhwc(x)
    n, _, w, c = x.shape
    y = empty((n, rows.out, columns.out, c), x.dtype)

    def block(i: int, j: int) -> None:
        m = scratch("pool", (j - i, rows.out, w, c), x.dtype)
        _sum(x[i:j], rows, m)
        _sum(m, columns, y[i:j])
        y[i:j] *= 1 / (kernel[0] * kernel[1])

    pmap(block, n, _step(x.shape, x.itemsize))
    return as_nchw(y)


def avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx, of shape (N, C, H, W), from the gradient g of y = avg_pool2d(x, ...)."""
    if on_gpu:
        return plain_avg_pool2d_backward(g, shape, kernel, stride, padding)
    rows, columns = _axes(shape, kernel, stride, padding)
    g = as_nhwc(g)
    n, c, h, w = shape
    dx = empty((n, h, w, c), g.dtype)

    def block(i: int, j: int) -> None:
        dm = scratch("pool gradient", (j - i, h, columns.out, c), g.dtype)
        _sum_back(g[i:j], rows, dm)
        dm *= 1 / (kernel[0] * kernel[1])
        _sum_back(dm, columns, dx[i:j])

    pmap(block, n, _step(shape, g.itemsize))
    return as_nchw(dx)


# The plain twins


def _taps(kernel: Pair, stride: Pair, out: Pair) -> Iterator[tuple[slice, slice]]:
    """For each place in the window, in reading order: the rows and columns it meets."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield (slice(i, i + stride[0] * (out[0] - 1) + 1, stride[0]),
                   slice(j, j + stride[1] * (out[1] - 1) + 1, stride[1]))


def _padded(x: Array, padding: Pair, value: float) -> Array:
    (ph, pw), (n, c, h, w) = padding, x.shape
    y = xp.full((n, c, h + 2 * ph, w + 2 * pw), value, x.dtype)
    y[:, :, ph : ph + h, pw : pw + w] = x
    return y


def _out(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    rows, columns = _axes(shape, kernel, stride, padding)
    return rows.out, columns.out


def plain_max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    taps = _taps(kernel, stride, _out(x.shape, kernel, stride, padding))
    x = _padded(x, padding, -np.inf)
    return functools.reduce(xp.maximum, [x[:, :, rows, columns] for rows, columns in taps])


def plain_max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    (ph, pw), (h, w) = padding, x.shape[2:]
    x = _padded(x, padding, -np.inf)
    dx = xp.zeros_like(x)
    free = xp.ones(y.shape, bool)
    for rows, columns in _taps(kernel, stride, y.shape[2:]):
        hit = (x[:, :, rows, columns] == y) & free
        free ^= hit
        dx[:, :, rows, columns] += g * hit
    return dx[:, :, ph : ph + h, pw : pw + w]


def plain_avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    taps = _taps(kernel, stride, _out(x.shape, kernel, stride, padding))
    x = _padded(x, padding, 0)
    return sum(x[:, :, rows, columns] for rows, columns in taps) / (kernel[0] * kernel[1])


def plain_avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    (ph, pw), (n, c, h, w) = padding, shape
    dx = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), g.dtype)
    for rows, columns in _taps(kernel, stride, g.shape[2:]):
        dx[:, :, rows, columns] += g / (kernel[0] * kernel[1])
    return dx[:, :, ph : ph + h, pw : pw + w]
