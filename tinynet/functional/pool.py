"""Pooling: windows of an image become one value each, their largest or their mean.

Of equal largest values the first (left to right, top to bottom) gets the gradient, in
the kernels and in the references.

Read next: `functional/norm.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, accumulator, average, float_dtype, on_gpu, wide, xp
from ..checks import Pair, float_of_one_dtype, images, pair, pool_windows, window_count
from ..kernels import memory, pool as kernels
from ..kernels.late_norm import Finished, Normed, Spread
from ..kernels.pending import array_of
from ..operation import fused, may_wait, primitive
from ..ops.arithmetic import logical_and, logical_or
from ..ops.indexing import take_along_axis
from ..ops.reduction import argmax, max as largest, mean
from ..ops.shape import expand_dims, pad, reshape
from ..rules import operands
from ..tensor import Tensor
from .conv import unfold

_MANY_TAPS = 64  # of a window: more are added up region by region


def _windows(x: Any, kernel: Pair, stride: Pair) -> Any:
    """All windows of x: (N, C, kH kW, L)."""
    n, c = x.shape[:2]
    return reshape(unfold(x, kernel, stride=stride), (n, c, kernel[0] * kernel[1], -1))


def first_largest(windows: Any, axis: int, inner: Array | None = None) -> Tensor:
    """The largest value along `axis`; of equal ones the first is taken, and gets the gradient.

    Where `inner` is false lies a border, which is never taken.
    """
    if inner is None:
        winner = argmax(windows, axis)
    else:
        top = largest(windows, axis, True)
        winner = argmax(logical_and(logical_or(windows == top, windows != windows), inner), axis)
    kept = list(windows.shape)
    kept[axis] = 1
    return reshape(take_along_axis(windows, reshape(winner, tuple(kept)), axis), winner.shape)


def _bordered(x: Any, padding: Pair, value: float) -> Any:
    """x with a border of `value`; x itself if there is none."""
    ph, pw = padding
    if not ph and not pw:
        return x
    return pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), value)


def max_pool2d_reference(x: Any, *, kernel: Pair, stride: Pair, padding: Pair,
                         wait: bool = False) -> Tensor:
    """Copy every window out, with a border of -infinity, and take its first largest value."""
    count = window_count("max_pool2d", x.shape[2:], kernel, stride, padding)
    windows = _windows(_bordered(x, padding, -math.inf), kernel, stride)
    inner = None
    if padding != (0, 0):
        image = xp.ones((1, 1, *x.shape[2:]), bool)
        inner = _windows(_bordered(image, padding, False), kernel, stride)
    return reshape(first_largest(windows, 2, inner), (*x.shape[:2], *count))


@fused(reference=max_pool2d_reference, by_blocks=True)
def _max_pool2d(x: Any, *, kernel: Pair, stride: Pair, padding: Pair, wait: bool = False,
                needs: Sequence[bool]) -> Any:
    """With `wait` the convolution in front computes its gradient (`kernels/pending.py`)."""
    halves = _halves(x.shape, kernel, stride, padding)
    if isinstance(x, Normed) and x.grows and halves:
        return _pool_of_norm(x)
    x = array_of(x)
    y = kernels.max_pool2d(x, kernel, stride, padding)

    def backward(g: Any, wanted: Sequence[bool]) -> tuple[Array | kernels.Scattered]:
        if wait and halves:
            return (kernels.Scattered(array_of(g), x, y),)
        return (kernels.max_pool2d_backward(array_of(g), x, y, kernel, stride, padding),)

    return y, backward


def _halves(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair) -> bool:
    """Whether these are 2x2 windows side by side."""
    even = shape[2] % 2 == shape[3] % 2 == 0
    return even and kernel == stride == (2, 2) and padding == (0, 0)


def _pool_of_norm(x: Normed) -> tuple[Normed, Any]:
    """2x2 windows of a batch norm that waits for its readers (`kernels/late_norm.py`)."""
    y = x.pooled()

    def backward(g: Any, wanted: Sequence[bool]) -> tuple[Array | Spread]:
        if x.exact:  # not only what passes the ReLU
            arrays = (array_of(g), x.array(), y.array())
            return (kernels.max_pool2d_backward(*arrays, (2, 2), (2, 2), (0, 0)),)
        if not isinstance(g, Finished):
            g = y.collected(array_of(g))
        return (Spread(x, y, g),)

    return y, backward


def avg_pool2d_reference(x: Any, *, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Copy every window out, with a border of zeros, and take its mean."""
    count = window_count("avg_pool2d", x.shape[2:], kernel, stride, padding)
    windows = _windows(_bordered(x, padding, 0.0), kernel, stride)
    return reshape(mean(windows, 2), (*x.shape[:2], *count))


@fused(reference=avg_pool2d_reference)
def _avg_pool2d(x: Array, *, kernel: Pair, stride: Pair, padding: Pair,
                needs: Sequence[bool]) -> Any:
    shape = x.shape
    y = kernels.avg_pool2d(x, kernel, stride, padding)
    return y, lambda g, wanted: (kernels.avg_pool2d_backward(g, shape, kernel, stride, padding),)


def global_max_pool2d_reference(x: Any) -> Tensor:
    """All pixels of a channel in a row, and their first largest value."""
    return first_largest(reshape(x, (*x.shape[:2], -1)), 2)


@fused(reference=global_max_pool2d_reference)
def _global_max_pool2d(x: Array, *, needs: Sequence[bool]) -> Any:
    y = x.max(axis=(2, 3))
    return y, lambda g, wanted: (kernels.global_max_pool2d_backward(g, x, y),)


@primitive(lambda g, x_shape: _spread_evenly(g, x_shape[2:]))
def _pixel_mean(x: Array) -> Array:
    return average(wide(x), (2, 3)).astype(float_dtype(x.dtype), copy=False)


@primitive(lambda g: _pixel_mean(g))
def _spread_evenly(x: Array, size: Pair) -> Array:
    """x (N, C) shared equally by the pixels of images of `size`: the adjoint of the mean."""
    n, c = x.shape
    h, w = size
    share = (wide(x) / (h * w))[:, :, None, None].astype(x.dtype, copy=False)
    if on_gpu:  # nothing to copy
        return xp.broadcast_to(share, (n, c, h, w))
    y = memory.empty_nhwc(n, c, h, w, x.dtype)
    y[...] = share
    return y


def _options(what: str, x: Any, kernel_size: Any, stride: Any, padding: Any
             ) -> dict[str, Pair]:
    """Checked options; the stride is the kernel's size if not given."""
    _, _, h, w = images(what, x)
    float_of_one_dtype(what, x=x)
    kernel, steps, border = pool_windows(kernel_size, stride, padding)
    window_count(what, (h, w), kernel, steps, border)
    return {"kernel": kernel, "stride": steps, "padding": border}


@operands("x")
def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The largest value of each window; the border counts as -infinity.

    Shapes: x (N, C, H, W); y (N, C, H', W'), H' = floor((H + 2 padding - kernel) /
    stride) + 1. The stride is the kernel's size if not given.

    >>> from tinynet import xp
    >>> max_pool2d(xp.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    options = _options("max_pool2d", x, kernel_size, stride, padding)
    return _max_pool2d(x, wait=may_wait(x, "conv2d"), **options)


@operands("x")
def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
               count_include_pad: bool = True) -> Tensor:
    """The mean of each window; the border counts as zeros, or not at all.

    Shapes as in `max_pool2d`.

    >>> from tinynet import xp
    >>> avg_pool2d(xp.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    options = _options("avg_pool2d", x, kernel_size, stride, padding)
    y = _avg_pool2d(x, **options)
    if count_include_pad or options["padding"] == (0, 0):
        return y
    return y / _avg_pool2d(xp.ones((1, 1, *x.shape[2:]), x.dtype), **options)


def _regions(n: int, parts: int) -> list[tuple[int, int]]:
    """`parts` regions of 0..n, from floor(i n / parts) to ceil((i + 1) n / parts)."""
    return [(i * n // parts, -(-(i + 1) * n // parts)) for i in range(parts)]


def _part(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The index of start .. stop along `axis`, of everything along the axes before it."""
    return (*(slice(None),) * axis, slice(start, stop))


def _empty_along(x: Array, axis: int, length: int) -> Array:
    """Uninitialised images like x (N, C, H, W), but for the length of one axis."""
    n, c, h, w = (length if i == axis else size for i, size in enumerate(x.shape))
    return memory.empty_nhwc(n, c, h, w, x.dtype)


@primitive(lambda g, x_shape, axis: _spread_over_regions(g, axis, x_shape[axis]))
def _region_means(x: Array, axis: int, parts: int) -> Array:
    """The mean of each of `parts` regions along an axis of (N, C, H, W), of its pixels alone."""
    y = _empty_along(x, axis, parts)
    for i, (a, b) in enumerate(_regions(x.shape[axis], parts)):
        means = x[_part(axis, a, b)].mean(axis, dtype=accumulator(x.dtype), keepdims=True)
        y[_part(axis, i, i + 1)] = means
    return y


@primitive(lambda g, x_shape, axis: _region_means(g, axis, x_shape[axis]))
def _spread_over_regions(x: Array, axis: int, n: int) -> Array:
    """A value for each region along an axis, shared equally by its pixels: the means' adjoint."""
    y = _empty_along(x, axis, n)
    y[...] = 0
    for i, (a, b) in enumerate(_regions(n, x.shape[axis])):
        y[_part(axis, a, b)] += x[_part(axis, i, i + 1)] / (b - a)
    return y


def _places(regions: list[tuple[int, int]]) -> Array:
    """The indices of each region (a row each); the last one is repeated in the shorter ones."""
    longest = max(b - a for a, b in regions)
    return xp.asarray([[min(a + j, b - 1) for j in range(longest)] for a, b in regions])


def _largest_of_regions(x: Any, rows: list[tuple[int, int]], columns: list[tuple[int, int]]) -> Any:
    """The largest value in each rectangle rows[p] times columns[q]; they may overlap."""
    p = _places(rows)
    q = _places(columns)
    windows = x[:, :, p[:, None, :, None], q[None, :, None, :]]  # (N, C, P, Q, longest, longest)
    return first_largest(reshape(windows, (*windows.shape[:4], -1)), 4)


def _even(what: str, x: Any, output_size: Any) -> tuple[Pair, Pair | None]:
    """The output size, and the kernel that gives it if all regions are equal."""
    _, _, h, w = images(what, x)
    float_of_one_dtype(what, x=x)
    p, q = pair("output_size", output_size, 1)
    return (p, q), (None if h % p or w % q else (h // p, w // q))


@operands("x")
def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """The mean of each of output_size (height, width) regions, equal or nearly so.

    Region i of n pixels goes from floor(i n / parts) to ceil((i + 1) n / parts).
    Shapes: x (N, C, H, W); y (N, C, *output_size).
    """
    (p, q), kernel = _even("adaptive_avg_pool2d", x, output_size)
    if (p, q) == (1, 1):
        return expand_dims(expand_dims(_pixel_mean(x), 2), 3)
    if kernel is not None and kernel[0] * kernel[1] <= _MANY_TAPS:
        return avg_pool2d(x, kernel)
    return _region_means(_region_means(x, 2, p), 3, q)


@operands("x")
def adaptive_max_pool2d(x: Any, output_size: Any) -> Tensor:
    """The largest value of each of output_size regions, cut as in `adaptive_avg_pool2d`."""
    (p, q), kernel = _even("adaptive_max_pool2d", x, output_size)
    if kernel is not None:
        return max_pool2d(x, kernel)
    return _largest_of_regions(x, _regions(x.shape[2], p), _regions(x.shape[3], q))


@operands("x")
def global_avg_pool2d(x: Any) -> Tensor:
    """The mean of each channel: (N, C, H, W) to (N, C)."""
    images("global_avg_pool2d", x)
    return _pixel_mean(x)


@operands("x")
def global_max_pool2d(x: Any) -> Tensor:
    """The largest value of each channel: (N, C, H, W) to (N, C)."""
    images("global_max_pool2d", x)
    return _global_max_pool2d(x)
