"""Images to windows and back: `unfold` copies every window out, `fold` adds windows into place.

They are adjoint, each is the other's gradient, so everything composed of them and a product is
exact at any order: the references of convolution and pooling are. Read next: `conv.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, xp
from ..operation import primitive
from ..tensor import Tensor
from .checks import Pair, images, pair, window_count


def _taps(kernel: Pair, stride: Pair, dilation: Pair, count: Pair) -> Any:
    """For each tap (i, j) of the kernel: the rows and columns of the image it meets."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            yield i, j, (..., slice(top, top + stride[0] * (count[0] - 1) + 1, stride[0]),
                         slice(left, left + stride[1] * (count[1] - 1) + 1, stride[1]))


@primitive(lambda g, x_shape, kernel, dilation, padding, stride:
           _fold(g, x_shape[2:], kernel, dilation, padding, stride))
def _unfold(x: Array, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Array:
    n, c, h, w = x.shape
    count = window_count("unfold", (h, w), kernel, stride, padding, dilation)
    (ph, pw) = padding
    if ph or pw:
        padded = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
        padded[:, :, ph : ph + h, pw : pw + w] = x
        x = padded
    columns = xp.empty((n, c, *kernel, *count), x.dtype)
    for i, j, place in _taps(kernel, stride, dilation, count):
        columns[:, :, i, j] = x[place]
    return columns.reshape(n, c * math.prod(kernel), math.prod(count))


@primitive(lambda g, kernel, dilation, padding, stride:
           _unfold(g, kernel, dilation, padding, stride))
def _fold(columns: Array, size: Pair, kernel: Pair, dilation: Pair, padding: Pair,
          stride: Pair) -> Array:
    count = window_count("fold", size, kernel, stride, padding, dilation)
    n, c = columns.shape[0], columns.shape[1] // math.prod(kernel)
    columns = columns.reshape(n, c, *kernel, *count)
    (h, w), (ph, pw) = size, padding
    x = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), columns.dtype)
    for i, j, place in _taps(kernel, stride, dilation, count):
        x[place] += columns[:, :, i, j]
    return x[:, :, ph : ph + h, pw : pw + w]


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
           stride: Any = 1) -> Tensor:
    """Every window of an image as a column (im2col).

    Shapes: x (N, C, H, W); result (N, C kH kW, L) for L windows, from left to right and down.

    >>> from tinynet import xp
    >>> unfold(xp.arange(6.0).reshape(1, 1, 2, 3), kernel_size=2)[0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]
    """
    images("unfold", x)
    return _unfold(x, *_options(kernel_size, dilation, padding, stride))


def fold(columns: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Columns of windows added into an image, where they overlap summed (col2im).

    Shapes: columns (N, C kH kW, L); result (N, C, *output_size). The opposite of `unfold` in
    shape, and its adjoint: sum(unfold(x) * c) = sum(x * fold(c)).
    """
    size = pair("output_size", output_size, 1)
    kernel, *others = _options(kernel_size, dilation, padding, stride)
    dilation, padding, stride = others
    count = window_count("fold", size, kernel, stride, padding, dilation)
    shape = tuple(columns.shape)
    if len(shape) != 3 or shape[1] % math.prod(kernel) or shape[2] != math.prod(count):
        raise ValueError(f"fold: columns of shape {shape} do not fit: a {kernel} kernel over "
                         f"{size} pixels needs (N, a multiple of {math.prod(kernel)}, "
                         f"{math.prod(count)})")
    return _fold(columns, size, kernel, *others)


def _options(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> list[Pair]:
    return [pair("kernel_size", kernel_size, 1), pair("dilation", dilation, 1),
            pair("padding", padding, 0), pair("stride", stride, 1)]
