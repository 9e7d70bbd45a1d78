r"""Pooling: the largest value or the mean of each window, and the way back.

Windows are handled by their *taps*: tap (i, j) is what place (i, j) of all windows
meets, a strided view of the image. Around the image lies -infinity for the largest,
zero for the mean.

    max    y = max(tap 0, tap 1, ...)              mean    y = (tap 0 + tap 1 + ...) / (kH kW)

Backward the gradient goes to the first largest value of the window in reading order
(the first nan if there is one, never the border). Taps are visited in that order, and
whoever equals the largest value of a window that is still free takes it. Nothing but x
and y is kept for it. Gradients are picked by masks, not multiplied by them: one that is
infinite stays in its window.

Cost for 2x2 windows and n inputs: the largest takes 0.75 n operations forward and n
backward; memory moves 1.25 n and 2.5 n numbers, because a block of images stays in the
cache for all taps. (The mean: 1 n and 0.25 n operations, 1.75 n numbers each way.) The
plain twins do the same to the whole batch at once; on CuPy each is one launch of
`gpu_windows.py`. Source: LeCun et al. 1998,
"Gradient-based learning applied to document recognition", section II (subsampling, the
mean).

Read next: `kernels/norm.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Array, DType, accumulator, xp
from ..checks import Pair, count, taps
from . import gpu_windows
from .elementwise import keep
from .kernel import kernel
from .memory import as_nchw, as_nhwc, empty_nhwc, scratch
from .pending import Pending
from .threads import BLOCK_BYTES, pmap
from .windows import bordered, inside, view


def _taps(x: Array, kernel: Pair, stride: Pair, out: Pair) -> list[Array]:
    """The taps of images with their border (n, C, H, W), each (n, C, H', W')."""
    return [x[:, :, rows, columns] for _, _, rows, columns in taps(kernel, stride, out)]


def _images(shape: tuple[int, ...], itemsize: int) -> int:
    """Images of a block: twice the usual bytes, since a tap is only a part of them."""
    return max(1, 2 * BLOCK_BYTES // max(1, shape[1] * shape[2] * shape[3] * itemsize))


def _forward(f: Any, outside: float, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """f(f(tap 0, tap 1), tap 2) ..."""
    x = as_nchw(as_nhwc(x))
    n, c = x.shape[:2]
    out = count(x.shape[2:], kernel, stride, padding)
    y = empty_nhwc(n, c, *out, x.dtype)

    def block(i: int, j: int) -> None:
        so_far, *others = _taps(bordered(x[i:j], padding, outside), kernel, stride, out)
        if not others:
            y[i:j] = so_far
        for tap in others:
            so_far = f(so_far, tap, out=y[i:j])

    pmap(block, len(x), _images(x.shape, x.itemsize))
    return y


def _backward(give: Callable[[int, int, list[Array], bool], None], shape: tuple[int, ...],
              dtype: DType, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """dx of `shape`; give(i, j, places, add) adds to the places of the taps or overwrites them."""
    n, c, h, w = shape
    dx = empty_nhwc(n, c, h, w, dtype)
    out = count(shape[2:], kernel, stride, padding)
    # Where windows tile the image, each pixel lies in one of them: nothing to add up,
    # and no pixel that no window covers and that would have to be set to 0.
    tiled = kernel == stride and padding == (0, 0)
    tiled = tiled and (h, w) == (out[0] * kernel[0], out[1] * kernel[1])

    def block(i: int, j: int) -> None:
        border = dx[i:j]  # the image with its border: without one, dx itself
        if padding != (0, 0):
            size = (j - i, h + 2 * padding[0], w + 2 * padding[1], c)
            border = as_nchw(scratch("pool border", size, dtype))
        if not tiled:
            border[...] = 0
        give(i, j, _taps(border, kernel, stride, out), not tiled)
        if padding != (0, 0):
            dx[i:j] = inside(border, padding)  # what came to the border belongs to nobody

    pmap(block, n, _images(shape, dx.itemsize))
    return dx


def plain_max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    out = count(x.shape[2:], kernel, stride, padding)
    return view(bordered(x, padding, -np.inf), kernel, stride, out).max(axis=(4, 5))


@kernel(plain=plain_max_pool2d, gpu=gpu_windows.max_pool2d, small=0)
def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The largest value of each window: x (N, C, H, W) to (N, C, H', W') as by `checks.count`."""
    return _forward(np.maximum, -np.inf, x, kernel, stride, padding)


def _winners(taps: list[Array], y: Array, inner: list[Array], with_nan: bool) -> Iterator[Array]:
    """For each tap, in reading order, the windows (n, C, H', W') whose first largest value it is.

    `inner` are the taps of `_inner`, or empty without a border. A tap that is nan wins
    a window whose largest value is nan; that need not be asked unless the windows are
    `with_nan`.
    """
    free = xp.ones_like(y, bool)  # windows that no tap has won so far
    for k, tap in enumerate(taps):
        won = tap == y
        if with_nan:
            won |= tap != tap
        if inner:
            won &= inner[k]  # -inf in the image is as large as the border
        won &= free
        free ^= won  # won lies within free: the exclusive or takes it out
        yield won


def spread(g: Array, x: Array, y: Array, out: Array) -> None:
    """out (n, H, W, C): the gradient of x from g, that of y, the largest of its 2x2 windows.

    g and y (n, H/2, W/2, C) are laid out twice along the columns, so that all rows are as
    long as those of x, and compared with both rows of a window at once.
    """
    n, h, w, c = x.shape
    twice = np.arange(w) // 2
    wide = []
    for name, a in (("g twice", g), ("y twice", y)):
        rows = scratch(name, (n, h // 2, w, c), x.dtype)
        a.take(twice, axis=2, mode="clip", out=rows)
        wide.append(rows.reshape(n, h // 2, 1, w * c))
    pairs = (n, h // 2, 2, w * c)  # both rows of a window
    won = scratch("won", pairs, np.dtype(bool))
    np.equal(x.reshape(pairs), wide[1], out=won)
    if np.isnan(y.max(initial=-np.inf)):  # equal to none
        won |= np.isnan(x.reshape(pairs))
    if np.count_nonzero(won) != y.size:
        _first_alone(won.reshape(n, h // 2, 2, w // 2, 2, c))
    keep(wide[0], won, out=out.reshape(pairs))


def _first_alone(won: Array) -> None:
    """Of several winners in a window, (n, rows, 2, columns, 2, C), leave the first in
    reading order.

    They are rare, so this is not for every block.
    """
    found = won[:, :, 0, :, 0].copy()
    for a, b in ((0, 1), (1, 0), (1, 1)):
        place = won[:, :, a, :, b]
        place &= ~found
        found |= place


class Scattered(Pending):
    """The gradient of x from that of y, the largest values of its 2x2 windows: computed by
    the convolution in front, block by block."""

    def __init__(self, g: Array, x: Array, y: Array) -> None:
        super().__init__(x.shape, x.dtype)
        self.g, self.x, self.y = (as_nhwc(a) for a in (g, x, y))

    def fill(self, i: int, j: int, out: Array) -> None:
        spread(self.g[i:j], self.x[i:j], self.y[i:j], out)


def _inner(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair) -> list[Array]:
    """The taps of (1, 1, H, W) booleans, true in the image and false in its border, if any."""
    if padding == (0, 0):
        return []
    inner = xp.zeros((1, 1, shape[2] + 2 * padding[0], shape[3] + 2 * padding[1]), bool)
    inside(inner, padding)[...] = True
    return _taps(inner, kernel, stride, count(shape[2:], kernel, stride, padding))


def plain_max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    inner = _inner(x.shape, kernel, stride, padding)
    x = bordered(x, padding, -np.inf)
    dx = xp.zeros_like(x)
    inputs, places = (_taps(a, kernel, stride, y.shape[2:]) for a in (x, dx))
    for place, won in zip(places, _winners(inputs, y, inner, True), strict=True):
        place += keep(g, won)
    return inside(dx, padding)


@kernel(plain=plain_max_pool2d_backward, gpu=gpu_windows.max_pool2d_backward, small=0, wide=True)
def max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx from the gradient g of y = max_pool2d(x, ...)."""
    g, x, y = (as_nchw(as_nhwc(a)) for a in (g, x, y))
    inner = _inner(x.shape, kernel, stride, padding)

    def give(i: int, j: int, places: list[Array], add: bool) -> None:
        with_nan = bool(np.isnan(y[i:j].max(initial=-np.inf)))
        inputs = _taps(bordered(x[i:j], padding, -np.inf), kernel, stride, y.shape[2:])
        for place, won in zip(places, _winners(inputs, y[i:j], inner, with_nan), strict=True):
            if add:
                place += keep(g[i:j], won)
            else:
                keep(g[i:j], won, out=place)

    return _backward(give, x.shape, x.dtype, kernel, stride, padding)


@kernel(gpu=gpu_windows.global_max_pool2d_backward)
def global_max_pool2d_backward(g: Array, x: Array, y: Array) -> Array:
    """dx from the gradient g of y = x.max(axis=(2, 3)): to the first largest pixel, or nan."""
    n, c, h, w = x.shape
    rows = as_nhwc(x).reshape(n, h * w, c)
    won = rows == y[:, None]
    if bool(xp.isnan(y).any()):
        won |= rows != rows
    winner = won.argmax(axis=1)
    dx = xp.zeros_like(rows)
    dx[xp.arange(n)[:, None], winner, xp.arange(c)] = g
    return as_nchw(dx.reshape(n, h, w, c))


def plain_avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    out = count(x.shape[2:], kernel, stride, padding)
    found = view(bordered(x, padding), kernel, stride, out)
    return found.mean(axis=(4, 5), dtype=accumulator(x.dtype)).astype(x.dtype, copy=False)


@kernel(plain=plain_avg_pool2d, gpu=gpu_windows.avg_pool2d, small=0, wide=True)
def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window; zeros around the image count as values."""
    y = _forward(np.add, 0, x, kernel, stride, padding)
    y *= 1 / (kernel[0] * kernel[1])
    return y


def plain_avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                              padding: Pair) -> Array:
    n, c, h, w = shape
    ph, pw = padding
    dx = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), g.dtype)
    for place in _taps(dx, kernel, stride, g.shape[2:]):
        place += g / (kernel[0] * kernel[1])
    return inside(dx, padding)


@kernel(plain=plain_avg_pool2d_backward, gpu=gpu_windows.avg_pool2d_backward, small=0,
        wide=True)
def avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx, of shape (N, C, H, W), from the gradient g of y = avg_pool2d(x, ...)."""
    share = as_nchw(as_nhwc(g)) * (1 / (kernel[0] * kernel[1]))

    def give(i: int, j: int, places: list[Array], add: bool) -> None:
        for place in places:
            if add:
                place += share[i:j]
            else:
                place[...] = share[i:j]

    return _backward(give, shape, g.dtype, kernel, stride, padding)
