r"""A convolution of any shape as a matrix product: every window of the image becomes a row.

    y = A W,      dW = A^T dy,      dA = dy W^T,  dx = the rows of dA added back into place

A has one row for each output pixel and one column for each weight of a filter (C kH kW
of them): kH kW times the size of the image. So it is never built as a whole: a block of
images is copied to scratch memory that stays in the cache, multiplied, and overwritten
by the next block. With `groups` there is one product for each group of channels.

What makes the copy fast is long runs of neighbours: channels-last memory has runs of kW
C numbers. With few channels (the first layer) the rows of pixels are longer, so there
A^T is what is stored, and dA^T. A 1x1 kernel with stride 1 needs no copy. Where the whole batch
has fewer pixels than there are filters (one picture, late in a net), to bring the
weights into the order of A would take longer than the product: they are used as they
lie, y^T = w A^T, and workers share the filters instead of the images.

Cost: 2 N H' W' C kH kW O / groups operations, once forward and twice backward; the copy
moves 8 N H' W' C kH kW bytes (float32) through the cache. Source: Chellapilla, Puri and
Simard 2006, "High performance convolutional neural networks for document processing",
section 3.

Read next: `kernels/depthwise.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backend import Array, xp
from ..checks import Pair, count, taps
from .memory import as_nchw, as_nhwc, empty, scratch
from .pending import Pending, reader
from .sums import sum_if
from .threads import pmap
from .windows import bordered, inside, view

CHUNK_BYTES = 1 << 20  # of columns in a block
FEW_CHANNELS = 8  # below this, runs of channels are shorter than those of pixels
FILTERS = 128  # of a block, where workers share them


class Shape:
    """All sizes of a convolution."""

    def __init__(self, x: Array | Pending, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1) -> None:
        shape: tuple[int, ...] = x.shape
        self.n, self.c, *self.size = shape
        self.o, self.inner, *kernel = w.shape  # inner: input channels of one group
        self.kernel = (kernel[0], kernel[1])
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.out = count(self.size, self.kernel, stride, padding, dilation)
        self.padded = (self.size[0] + 2 * padding[0], self.size[1] + 2 * padding[1])
        self.taps = self.inner * kernel[0] * kernel[1]  # columns of A in one group
        self.is_pointwise = self.kernel == stride == (1, 1) and padding == (0, 0)


def _all_windows(x: Array, s: Shape) -> Array:
    """Windows of padded images, a view: (N, groups, C / groups, H', W', kH, kW)."""
    found = view(x, s.kernel, s.stride, s.out, s.dilation)
    return found.reshape(len(x), s.groups, s.inner, *s.out, *s.kernel)


def columns_of(x: Array, s: Shape) -> Array:
    """A for a block of images: (groups, pixels, taps), taps being (kH, kW, C / groups)."""
    if s.is_pointwise:  # a pixel is its own window: a view of channels-last memory
        return x.transpose(0, 2, 3, 1).reshape(-1, s.groups, s.inner).swapaxes(0, 1)
    # Axes of found: 0 image, 1 group, 2 channel, 3 and 4 pixel (H', W'), 5 and 6 tap
    # (kH, kW).
    found = _all_windows(bordered(x, s.padding), s)
    if s.inner < FEW_CHANNELS:  # runs of W' neighbours: A^T is what lies in memory
        a = scratch("im2col", (s.groups, *s.kernel, s.inner, len(x), *s.out), x.dtype)
        a[...] = found.transpose(1, 5, 6, 2, 0, 3, 4)
        return a.reshape(s.groups, s.taps, -1).swapaxes(1, 2)
    a = scratch("im2col", (len(x), *s.out, s.groups, *s.kernel, s.inner), x.dtype)
    a[...] = found.transpose(0, 3, 4, 1, 5, 6, 2)
    return a.reshape(-1, s.groups, s.taps).swapaxes(0, 1)


def matrix_of(w: Array, s: Shape) -> Array:
    """The weights as W: (groups, taps, O / groups)."""
    # (group, output, channel, kH, kW) to (group, kH, kW, channel, output): taps as in
    # `columns_of`
    w = w.reshape(s.groups, -1, s.inner, *s.kernel).transpose(0, 3, 4, 2, 1)
    return w.reshape(s.groups, s.taps, -1)


def filters_of(matrix: Array, s: Shape) -> Array:
    """The opposite of `matrix_of`: (O, C / groups, kH, kW)."""
    w = matrix.reshape(s.groups, *s.kernel, s.inner, -1).transpose(0, 4, 3, 1, 2)
    return w.reshape(s.o, s.inner, *s.kernel)


def by_group(y: Array, s: Shape) -> Array:
    """Output pixels (n, H', W', O) as (groups, pixels, O / groups)."""
    return y.reshape(-1, s.groups, s.o // s.groups).swapaxes(0, 1)


def _images(s: Shape, itemsize: int) -> int:
    """Images of a block: about CHUNK_BYTES of columns."""
    columns: int = s.out[0] * s.out[1] * s.taps * s.groups * itemsize
    return max(1, CHUNK_BYTES // columns)


def conv2d(x: Array | Pending, w: Array, s: Shape) -> Array:
    """x (N, C, H, W) with weights (O, C / groups, kH, kW)."""
    images = reader(x, "images")
    y = empty((s.n, *s.out, s.o), x.dtype)
    if s.n * s.out[0] * s.out[1] <= s.o and s.groups == 1:
        _by_filters(images(0, s.n), w, y, s)
        return as_nchw(y)
    matrix = matrix_of(w, s)

    def block(i: int, j: int) -> None:
        np.matmul(columns_of(images(i, j), s), matrix, out=by_group(y[i:j], s))

    pmap(block, s.n, _images(s, y.itemsize))
    return as_nchw(y)


def _by_filters(x: Array, w: Array, y: Array, s: Shape) -> None:
    """y (N, H', W', O), of fewer pixels than filters."""
    windows = _all_windows(bordered(x, s.padding), s)[:, 0]  # (N, C, H', W', kH, kW)
    a = scratch("im2col", (s.c, *s.kernel, s.n, *s.out), x.dtype)  # A^T, taps as those of w
    a[...] = windows.transpose(1, 4, 5, 0, 2, 3)
    columns = a.reshape(s.taps, -1)
    filters = w.reshape(s.o, s.taps)
    pixels = y.reshape(-1, s.o)

    def block(i: int, j: int) -> None:
        pixels[:, i:j] = np.matmul(filters[i:j], columns).T

    pmap(block, s.o, FILTERS)


def conv2d_backward(g: Array | Pending, x: Array | Pending, w: Array, s: Shape,
                    wanted: Sequence[bool] = (True, True)) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dw) of `conv2d`; one that is not `wanted` is None."""
    if not isinstance(g, Pending):
        g = as_nchw(as_nhwc(g))
    gradient = reader(g, "gradient")
    images = reader(x, "images")
    matrix = matrix_of(w, s)
    dx = None
    turned = wanted[0] and _as_convolution(s)
    if turned:
        # Windows of g with the weights turned by half a turn: no columns to add back.
        around = [d * (k - 1) - p for d, k, p in zip(s.dilation, s.kernel, s.padding, strict=True)]
        back = w[:, :, ::-1, ::-1].swapaxes(0, 1)
        found = conv2d(g, back, Shape(g, back, (1, 1), (around[0], around[1]), s.dilation))
        if not wanted[1]:
            return found, None
    elif wanted[0]:
        dx = empty((s.n, *s.size, s.c), x.dtype)

    def block(i: int, j: int, out: Array | None = None) -> None:
        dy = by_group(as_nhwc(gradient(i, j)), s)
        if out is not None:
            np.matmul(columns_of(images(i, j), s).swapaxes(1, 2), dy, out=out)
        if dx is not None:
            columns_back(dy, matrix.swapaxes(1, 2), dx[i:j], s)

    dw = sum_if(wanted[1], block, s.n, _images(s, matrix.itemsize), matrix.shape, x.dtype)
    if dx is not None:
        dx = as_nchw(dx)
    if turned:
        dx = found
    if dw is not None:
        dw = filters_of(dw, s)
    return dx, dw


def _as_convolution(s: Shape) -> bool:
    """Whether dx is best made as a convolution of g: of stride 1, if g is not much larger."""
    fits = all(p <= d * (k - 1) for p, d, k in zip(s.padding, s.dilation, s.kernel, strict=True))
    few = s.o <= 2 * s.c and s.groups == 1
    return fits and few and s.stride == (1, 1) and not s.is_pointwise


def columns_back(dy: Array, transposed: Array, dx: Array, s: Shape) -> None:
    """dA = dy W^T, and each of its columns added to the pixels it was copied from."""
    if s.is_pointwise:
        xp.matmul(dy, transposed, out=dx.reshape(-1, s.groups, s.inner).swapaxes(0, 1))
        return
    if s.inner < FEW_CHANNELS:
        _rows_back(dy, transposed, dx, s)
        return
    da = scratch("im2col", (len(dx), *s.out, s.groups, *s.kernel, s.inner), dx.dtype)
    xp.matmul(dy, transposed, out=da.reshape(-1, s.groups, s.taps).swapaxes(0, 1))
    border = scratch("im2col border", (len(dx), *s.padded, s.groups, s.inner), dx.dtype)
    border[...] = 0
    for i, j, rows, columns in taps(s.kernel, s.stride, s.out, s.dilation):
        border[:, rows, columns] += da[:, :, :, :, i, j]  # one tap meets no pixel twice
    as_nchw(dx)[...] = inside(as_nchw(border.reshape(len(dx), *s.padded, s.c)), s.padding)


def _rows_back(dy: Array, transposed: Array, dx: Array, s: Shape) -> None:
    """The same for few channels: of dA^T, whose runs are rows of pixels."""
    da = scratch("im2col", (s.groups, *s.kernel, s.inner, len(dx), *s.out), dx.dtype)
    columns = da.reshape(s.groups, s.taps, -1)
    xp.matmul(transposed.swapaxes(1, 2), dy.swapaxes(1, 2), out=columns)
    border = scratch("border", (s.groups, s.inner, len(dx), *s.padded), dx.dtype)
    border[...] = 0
    for i, j, rows, across in taps(s.kernel, s.stride, s.out, s.dilation):
        border[..., rows, across] += da[:, i, j]
    images = border.reshape(s.c, len(dx), *s.padded).swapaxes(0, 1)
    as_nchw(dx)[...] = inside(images, s.padding)


# The plain twins: the same sums with the whole of A in memory.


def plain_conv2d(x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
                 dilation: Pair = (1, 1), groups: int = 1, kept: object = None) -> Array:
    """Windows times weights, group by group: one copy and one product (`tensordot`) each."""
    s = Shape(x, w, stride, padding, dilation, groups)
    found = _all_windows(bordered(x, s.padding), s)
    weights = w.reshape(s.groups, -1, *w.shape[1:])
    # Summed over channels and taps: axes 1, 4, 5 of (N, C, H', W', kH, kW), 1, 2, 3 of
    # weights.
    y = [xp.tensordot(found[:, k], weights[k], ((1, 4, 5), (1, 2, 3))) for k in range(s.groups)]
    return xp.concatenate(y, axis=3).transpose(0, 3, 1, 2)


def plain_conv2d_backward(g: Array, x: Array, w: Array, stride: Pair = (1, 1),
                          padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1,
                          wanted: Sequence[bool] = (True, True)
                          ) -> tuple[Array | None, Array | None]:
    s = Shape(x, w, stride, padding, dilation, groups)
    dx = dw = None
    weights = w.reshape(s.groups, -1, *w.shape[1:])
    g = g.reshape(s.n, s.groups, -1, *s.out)
    if wanted[1]:  # summed over images and pixels
        found = _all_windows(bordered(x, s.padding), s)
        dw = xp.concatenate([xp.tensordot(g[:, k], found[:, k], ((0, 2, 3), (0, 2, 3)))
                             for k in range(s.groups)])
    if wanted[0]:
        border = xp.zeros((s.n, s.c, *s.padded), x.dtype)
        da = xp.concatenate([xp.tensordot(g[:, k], weights[k], (1, 0))
                             for k in range(s.groups)], axis=3)  # (N, H', W', C, kH, kW)
        for i, j, rows, columns in taps(s.kernel, s.stride, s.out, s.dilation):
            border[:, :, rows, columns] += da[..., i, j].transpose(0, 3, 1, 2)
        dx = inside(border, s.padding)
    return dx, dw
