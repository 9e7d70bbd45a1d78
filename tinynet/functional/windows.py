"""Images to windows and back: `unfold` copies every window out, `fold` adds windows into place.

They are adjoint, each is the other's gradient, so everything composed of them and a product is
exact at any order: the references of convolution and pooling are. Read next: `conv.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, accumulator, xp
from ..kernels.windows import bordered, inside, taps
from ..operation import primitive
from ..tensor import Tensor
from .checks import Pair, images, pair, window_count


@primitive(lambda g, x_shape, kernel, dilation, padding, stride:
           _fold(g, x_shape[2:], kernel, dilation, padding, stride))
def _unfold(x: Array, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Array:
    n, c, h, w = x.shape
    count = window_count("unfold", (h, w), kernel, stride, padding, dilation)
    x = bordered(x, padding)
    out = xp.empty((n, c, *kernel, *count), x.dtype)
    for i, j, rows, columns in taps(kernel, stride, count, dilation):
        out[:, :, i, j] = x[:, :, rows, columns]
    return out.reshape(n, c * math.prod(kernel), math.prod(count))


@primitive(lambda g, kernel, dilation, padding, stride:
           _unfold(g, kernel, dilation, padding, stride))
def _fold(x: Array, size: Pair, kernel: Pair, dilation: Pair, padding: Pair,
          stride: Pair) -> Array:
    count = window_count("fold", size, kernel, stride, padding, dilation)
    n = x.shape[0]
    x = x.reshape(n, -1, *kernel, *count)
    border = [s + 2 * p for s, p in zip(size, padding, strict=True)]
    y = xp.zeros((n, x.shape[1], *border), accumulator(x.dtype))
    for i, j, rows, columns in taps(kernel, stride, count, dilation):
        y[:, :, rows, columns] += x[:, :, i, j]
    return inside(y, padding).astype(x.dtype, copy=False)


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
