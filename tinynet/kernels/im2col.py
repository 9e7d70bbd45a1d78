r"""A convolution of any shape as a matrix product: every window of the image becomes a row.

    y = A W,      dW = A^T dy,      dA = dy W^T,  dx = the rows of dA added back into place

A has one row for each output pixel and one column for each weight of a filter (C kH kW of them):
kH kW times the size of the image. So it is never built as a whole: a block of images is copied to
scratch memory that stays in the cache, multiplied, and overwritten by the next block. With `groups`
there is one product for each group of channels.

What makes the copy fast is long runs of neighbours. Channels-last memory has runs of kW C numbers;
with few channels (the first layer) the rows of pixels of each channel are longer, so there the
columns of A are stored one after the other ("planar"). A 1x1 kernel with stride 1 needs no copy.

Cost: 2 N H' W' C kH kW O / groups operations, once forward and twice backward; the copy moves
8 N H' W' C kH kW bytes (float32) through the cache.
Source: Chellapilla, Puri and Simard 2006, "High performance convolutional neural networks for
document processing", section 3. Read next: `conv.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, xp
from .blocks import pmap
from .elementwise import sum_parts
from .memory import as_nchw, as_nhwc, empty, scratch

CHUNK_BYTES = 1 << 20  # of columns in a block
PLANAR_RUN = 16  # shorter runs of neighbours than this: store A by columns

Pair = tuple[int, int]


class Shape(NamedTuple):
    """All sizes of a convolution."""

    n: int
    c: int
    h: int
    w: int
    o: int
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    out: Pair

    @property
    def taps(self) -> int:
        """Weights of one filter: the columns of A in one group."""
        return self.c // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def is_pointwise(self) -> bool:
        return self.kernel == (1, 1) == self.stride and self.padding == (0, 0)


def shape_of(x: Array, w: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Shape:
    n, c, *size = x.shape
    o, _, *kernel = w.shape
    out = [(a + 2 * p - d * (k - 1) - 1) // s + 1 for a, k, s, p, d
           in zip(size, kernel, stride, padding, dilation, strict=True)]
    return Shape(n, c, size[0], size[1], o, (kernel[0], kernel[1]), stride, padding, dilation,
                 groups, (out[0], out[1]))


def windows(x: Array, s: Shape) -> Array:
    """All windows of a padded (n, C, H, W): a view (n, groups, C / groups, H', W', kH, kW)."""
    sn, sc, *steps = x.strides
    move = [a * b for a, b in zip(s.stride, steps, strict=True)]
    reach = [a * b for a, b in zip(s.dilation, steps, strict=True)]
    inner = s.c // s.groups
    view = xp.lib.stride_tricks.as_strided
    return view(x, (len(x), s.groups, inner, *s.out, *s.kernel),
                (sn, sc * inner, sc, *move, *reach))


def _taps(s: Shape) -> Any:
    """For each weight (i, j) of the kernel: the padded rows and columns that it meets."""
    for i in range(s.kernel[0]):
        for j in range(s.kernel[1]):
            rows, columns = (slice(a * d, a * d + t * (m - 1) + 1, t) for a, d, t, m in zip(
                (i, j), s.dilation, s.stride, s.out, strict=True))
            yield i, j, rows, columns


def _padded(x: Array, s: Shape, planar: bool) -> Array:
    """A block of images as (n, C, H + 2p, W + 2p) with zeros around, in one of two orders."""
    (ph, pw), n = s.padding, len(x)
    if (ph, pw) == (0, 0) and planar == x.flags.c_contiguous:
        return x
    h, w = s.h + 2 * ph, s.w + 2 * pw
    if planar:
        y = scratch("im2col padded", (n, s.c, h, w), x.dtype)
    else:
        y = as_nchw(scratch("im2col padded", (n, h, w, s.c), x.dtype))
    y[:, :, :ph], y[:, :, h - ph :] = 0, 0
    y[:, :, :, :pw], y[:, :, :, w - pw :] = 0, 0
    y[:, :, ph : ph + s.h, pw : pw + s.w] = x
    return y


def _is_planar(s: Shape) -> bool:
    return s.c // s.groups * s.kernel[1] < PLANAR_RUN and s.out[1] >= PLANAR_RUN


def _columns(x: Array, s: Shape) -> Array:
    """A for a block of images: (groups, pixels, taps), taps ordered as by `_matrix`."""
    if s.is_pointwise:
        return x.transpose(0, 2, 3, 1).reshape(-1, s.groups, s.c // s.groups).swapaxes(0, 1)
    planar = _is_planar(s)
    view, n, inner = windows(_padded(x, s, planar), s), len(x), s.c // s.groups
    if planar:
        a = scratch("im2col", (s.groups, inner, *s.kernel, n, *s.out), x.dtype)
        a[...] = view.transpose(1, 2, 5, 6, 0, 3, 4)
        return a.reshape(s.groups, s.taps, -1).swapaxes(1, 2)
    a = scratch("im2col", (n, *s.out, s.groups, *s.kernel, inner), x.dtype)
    a[...] = view.transpose(0, 3, 4, 1, 5, 6, 2)
    return a.reshape(-1, s.groups, s.taps).swapaxes(0, 1)


def _matrix(w: Array, s: Shape, planar: bool) -> Array:
    """The weights as W: (groups, taps, O / groups)."""
    w = w.reshape(s.groups, s.o // s.groups, s.c // s.groups, *s.kernel)
    order = (0, 2, 3, 4, 1) if planar else (0, 3, 4, 2, 1)
    return np.ascontiguousarray(w.transpose(order)).reshape(s.groups, s.taps, -1)


def _by_group(y: Array, s: Shape) -> Array:
    """Output pixels (n, H', W', O) as (groups, pixels, O / groups)."""
    return y.reshape(-1, s.groups, s.o // s.groups).swapaxes(0, 1)


def _images(s: Shape, itemsize: int) -> int:
    """Images of a block: about CHUNK_BYTES of columns."""
    return max(1, CHUNK_BYTES // (s.out[0] * s.out[1] * s.taps * s.groups * itemsize))


def conv2d(x: Array, w: Array, s: Shape) -> Array:
    """x (N, C, H, W) with weights (O, C / groups, kH, kW)."""
    planar = _is_planar(s)
    x = x if planar else as_nchw(as_nhwc(x))
    matrix = _matrix(w, s, planar)
    y = empty((s.n, *s.out, s.o), x.dtype)

    def block(i: int, j: int) -> None:
        np.matmul(_columns(x[i:j], s), matrix, out=_by_group(y[i:j], s))

    pmap(block, s.n, _images(s, x.itemsize))
    return as_nchw(y)


def conv2d_backward(g: Array, x: Array, w: Array, s: Shape,
                    wanted: Sequence[bool] = (True, True)) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dw) of `conv2d`; one that is not `wanted` is None."""
    planar = _is_planar(s)
    x = x if planar else as_nchw(as_nhwc(x))
    g = as_nhwc(g)
    step = _images(s, x.itemsize)
    dx = empty((s.n, s.h, s.w, s.c), x.dtype) if wanted[0] else None
    shape = (-(-s.n // step), s.groups, s.taps, s.o // s.groups)
    parts = empty(shape, x.dtype) if wanted[1] else None
    transposed = _matrix(w, s, False).swapaxes(1, 2)

    def block(i: int, j: int) -> None:
        dy = _by_group(g[i:j], s)
        if parts is not None:
            np.matmul(_columns(x[i:j], s).swapaxes(1, 2), dy, out=parts[i // step])
        if dx is not None:
            _columns_back(dy, transposed, dx[i:j], s)

    pmap(block, s.n, step)
    dw = None
    if parts is not None:
        order = (s.c // s.groups, *s.kernel) if planar else (*s.kernel, s.c // s.groups)
        dw = sum_parts(parts).reshape(s.groups, *order, s.o // s.groups)
        dw = dw.transpose((0, 4, 1, 2, 3) if planar else (0, 4, 3, 1, 2))
        dw = np.ascontiguousarray(dw).reshape(w.shape)
    return None if dx is None else as_nchw(dx), dw


def _columns_back(dy: Array, transposed: Array, dx: Array, s: Shape) -> None:
    """dA = dy W^T, and each of its columns added to the pixels it was copied from."""
    n, inner = len(dx), s.c // s.groups
    if s.is_pointwise:
        np.matmul(dy, transposed, out=dx.reshape(-1, s.groups, inner).swapaxes(0, 1))
        return
    da = scratch("im2col", (n, *s.out, s.groups, *s.kernel, inner), dx.dtype)
    np.matmul(dy, transposed, out=da.reshape(-1, s.groups, s.taps).swapaxes(0, 1))
    (ph, pw) = s.padding
    padded = scratch("im2col padded", (n, s.h + 2 * ph, s.w + 2 * pw, s.groups, inner), dx.dtype)
    padded[...] = 0
    for i, j, rows, columns in _taps(s):
        padded[:, rows, columns] += da[:, :, :, :, i, j]
    dx[...] = padded.reshape(n, s.h + 2 * ph, -1, s.c)[:, ph : ph + s.h, pw : pw + s.w]


# The plain twins: the same sums with the whole of A in memory. They run on CuPy, too, where one
# large product is the fast way.


def _plain_padded(x: Array, s: Shape) -> Array:
    (ph, pw) = s.padding
    y = xp.zeros((s.n, s.c, s.h + 2 * ph, s.w + 2 * pw), x.dtype)
    y[:, :, ph : ph + s.h, pw : pw + s.w] = x
    return y


def plain_conv2d(x: Array, w: Array, s: Shape) -> Array:
    """Windows times weights, group by group, by `tensordot`: one copy and one product."""
    view = windows(_plain_padded(x, s), s)
    weights = w.reshape(s.groups, -1, *w.shape[1:])
    y = [xp.tensordot(view[:, k], weights[k], ((1, 4, 5), (1, 2, 3))) for k in range(s.groups)]
    return xp.concatenate(y, axis=3).transpose(0, 3, 1, 2)


def plain_conv2d_backward(g: Array, x: Array, w: Array, s: Shape,
                          wanted: Sequence[bool] = (True, True)
                          ) -> tuple[Array | None, Array | None]:
    dx = dw = None
    weights = w.reshape(s.groups, -1, *w.shape[1:])
    g = g.reshape(s.n, s.groups, -1, *s.out)
    if wanted[1]:
        view = windows(_plain_padded(x, s), s)
        dw = xp.concatenate([xp.tensordot(g[:, k], view[:, k], ((0, 2, 3), (0, 2, 3)))
                             for k in range(s.groups)])
    if wanted[0]:
        padded = _plain_padded(xp.zeros_like(x), s)
        da = xp.concatenate([xp.tensordot(g[:, k], weights[k], (1, 0))
                             for k in range(s.groups)], axis=3)  # (N, H', W', C, kH, kW)
        for i, j, rows, columns in _taps(s):
            padded[:, :, rows, columns] += da[..., i, j].transpose(0, 3, 1, 2)
        dx = padded[:, :, s.padding[0] : s.padding[0] + s.h, s.padding[1] : s.padding[1] + s.w]
    return dx, dw
