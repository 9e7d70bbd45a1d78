r"""Pooling: the largest value or the mean of each window, and the way back.

Windows are handled by their *taps*: tap (i, j) is what place (i, j) of all windows meets, a strided
view of the image. Around the image lies -infinity for the largest, zero for the mean.

    max    y = max(tap 0, tap 1, ...)              mean    y = (tap 0 + tap 1 + ...) / (kH kW)

Backward the gradient goes to the first largest value of the window in reading order. Taps are
visited in that order, and each takes its share from what is left: who comes second finds nothing.
The winners are found by comparing; nothing but x and y is kept for it.

Cost for 2x2 windows and n inputs: largest 0.75 n operations forward and 3 n backward; memory moves
1.25 n and 2.5 n numbers, because a block of images stays in the cache for all taps. The plain twins
do the same to the whole batch at once; they also run on CuPy. Read next: `loss.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, DType, on_gpu, xp
from .blocks import BLOCK_BYTES, pmap
from .memory import as_nchw, as_nhwc, empty, scratch
from .windows import Pair, bordered, count, padded, taps, view


def _taps(x: Array, kernel: Pair, stride: Pair, out: Pair) -> list[Array]:
    """The taps of a block of images (n, H, W, C), each (n, H', W', C)."""
    return [x[:, rows, columns] for _, _, rows, columns in taps(kernel, stride, out)]


def _images(shape: tuple[int, ...], itemsize: int) -> int:
    """Images of a block."""
    return max(1, BLOCK_BYTES // max(1, shape[1] * shape[2] * shape[3] * itemsize))


def _forward(f: Any, outside: float, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """f(f(tap 0, tap 1), tap 2) ..."""
    out = count(x.shape[2:], kernel, stride, padding)
    x = as_nhwc(x)
    y = empty((len(x), *out, x.shape[3]), x.dtype)

    def block(i: int, j: int) -> None:
        so_far, *others = _taps(bordered(x[i:j], padding, outside), kernel, stride, out)
        if not others:
            y[i:j] = so_far
        for tap in others:
            so_far = f(so_far, tap, out=y[i:j])

    pmap(block, len(x), _images(x.shape, x.itemsize))
    return as_nchw(y)


def _backward(fill: Callable[[int, int, list[Array], bool], None], shape: tuple[int, ...],
              dtype: DType, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """dx of `shape`; fill(i, j, places, add) adds to the places of the taps, or overwrites them."""
    out = count(shape[2:], kernel, stride, padding)
    (n, c, h, w), (ph, pw) = shape, padding
    dx = empty((n, h, w, c), dtype)
    once = stride == kernel and padding == (0, 0)  # no pixel lies in two windows ...
    exact = once and (out[0] * kernel[0], out[1] * kernel[1]) == (h, w)  # ... nor in none

    def block(i: int, j: int) -> None:
        place = dx[i:j]
        if padding != (0, 0):
            place = scratch("pool border", (j - i, h + 2 * ph, w + 2 * pw, c), dtype)
        if not exact:
            place[...] = 0
        fill(i, j, _taps(place, kernel, stride, out), not once)
        if padding != (0, 0):
            dx[i:j] = place[:, ph : ph + h, pw : pw + w]

    pmap(block, n, _images(shape, dx.itemsize))
    return as_nchw(dx)


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The largest value of each window: x (N, C, H, W) to (N, C, H', W') as by `windows.count`."""
    if on_gpu:
        return plain_max_pool2d(x, kernel, stride, padding)
    return _forward(np.maximum, -np.inf, x, kernel, stride, padding)


def max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx from the gradient g of y = max_pool2d(x, ...)."""
    if on_gpu:
        return plain_max_pool2d_backward(g, x, y, kernel, stride, padding)
    shape, g, x, y = x.shape, as_nhwc(g), as_nhwc(x), as_nhwc(y)

    def fill(i: int, j: int, places: list[Array], add: bool) -> None:
        left = scratch("pool left", g[i:j].shape, g.dtype)
        left[...] = g[i:j]
        inputs = _taps(bordered(x[i:j], padding, -np.inf), kernel, stride, y.shape[1:3])
        for tap, place in zip(inputs, places, strict=True):
            share = np.multiply(left, tap == y[i:j], out=None if add else place)
            left -= share
            if add:
                place += share

    return _backward(fill, shape, x.dtype, kernel, stride, padding)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window; zeros around the image count as values."""
    if on_gpu:
        return plain_avg_pool2d(x, kernel, stride, padding)
    y = _forward(np.add, 0, x, kernel, stride, padding)
    y *= 1 / (kernel[0] * kernel[1])
    return y


def avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx, of shape (N, C, H, W), from the gradient g of y = avg_pool2d(x, ...)."""
    if on_gpu:
        return plain_avg_pool2d_backward(g, shape, kernel, stride, padding)
    g = as_nhwc(g)

    def fill(i: int, j: int, places: list[Array], add: bool) -> None:
        share = g[i:j] * (1 / (kernel[0] * kernel[1]))
        for place in places:
            if add:
                place += share
            else:
                place[...] = share

    return _backward(fill, shape, g.dtype, kernel, stride, padding)


def plain_max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    out = count(x.shape[2:], kernel, stride, padding)
    return view(padded(x, padding, -np.inf), kernel, stride, out).max(axis=(4, 5))


def plain_max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    (ph, pw), (h, w) = padding, x.shape[2:]
    x = padded(x, padding, -np.inf)
    dx, free = xp.zeros_like(x), xp.ones(y.shape, bool)
    for _, _, rows, columns in taps(kernel, stride, y.shape[2:]):
        hit = (x[:, :, rows, columns] == y) & free
        free ^= hit
        dx[:, :, rows, columns] += g * hit
    return dx[:, :, ph : ph + h, pw : pw + w]


def plain_avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    out = count(x.shape[2:], kernel, stride, padding)
    return view(padded(x, padding), kernel, stride, out).mean(axis=(4, 5))


def plain_avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    (ph, pw), (h, w) = padding, shape[2:]
    dx = padded(xp.zeros(shape, g.dtype), padding)
    for _, _, rows, columns in taps(kernel, stride, g.shape[2:]):
        dx[:, :, rows, columns] += g / (kernel[0] * kernel[1])
    return dx[:, :, ph : ph + h, pw : pw + w]
