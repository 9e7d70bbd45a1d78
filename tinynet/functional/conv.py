"""Convolution: the fast kernels as one differentiable operation, and the reference they equal.

The reference is a definition to read: copy out every window (`unfold`), multiply by the
weights. It serves gradients of gradients; the plain forward and backward are
`kernels/conv.py`.

`unfold` copies windows out, `fold` adds them into place. They are adjoint, each is the
other's gradient: what is composed of them and a product is exact at any order.

Read next: `functional/pool.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, accumulator, xp
from ..checks import (
    Pair,
    check_whole,
    convolution_padding,
    float_of_one_dtype,
    images,
    pair,
    taps,
    window_count,
)
from ..kernels import conv as fast
from ..kernels.channels import channel_sum
from ..kernels.pending import Pending, array_of
from ..operation import fused, primitive
from ..ops.shape import pad, reshape
from ..rules import operands
from ..tensor import Tensor


@primitive(lambda g, x_shape, kernel, dilation, padding, stride:
           _fold(g, x_shape[2:], kernel, dilation, padding, stride))
def _unfold(x: Array, kernel: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Array:
    n, c, h, w = x.shape
    count = window_count("unfold", (h, w), kernel, stride, padding, dilation)
    if padding != (0, 0):
        x = xp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
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
    inside = y[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return inside.astype(x.dtype, copy=False)


@operands("x")
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
           stride: Any = 1) -> Tensor:
    """Every window of an image as a column (im2col).

    Shapes: x (N, C, H, W); result (N, C kH kW, L) for L windows, from left to right and
    down.

    >>> from tinynet import xp
    >>> unfold(xp.arange(6.0).reshape(1, 1, 2, 3), kernel_size=2)[0].tolist()
    [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]
    """
    images("unfold", x)
    return _unfold(x, *_window_options(kernel_size, dilation, padding, stride))


@operands("columns")
def fold(columns: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Columns of windows added into an image, where they overlap summed (col2im).

    Shapes: columns (N, C kH kW, L); result (N, C, *output_size). The opposite of
    `unfold` in shape, and its adjoint: sum(unfold(x) * c) = sum(x * fold(c)).
    """
    size = pair("output_size", output_size, 1)
    kernel, *others = _window_options(kernel_size, dilation, padding, stride)
    dilation, padding, stride = others
    count = window_count("fold", size, kernel, stride, padding, dilation)
    shape = tuple(columns.shape)
    if len(shape) != 3 or shape[1] % math.prod(kernel) or shape[2] != math.prod(count):
        raise ValueError(f"fold: columns of shape {shape} do not fit: a {kernel} "
                         f"kernel over {size} pixels needs (N, a multiple of "
                         f"{math.prod(kernel)}, {math.prod(count)})")
    return _fold(columns, size, kernel, *others)


def _window_options(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> list[Pair]:
    return [pair("kernel_size", kernel_size, 1), pair("dilation", dilation, 1),
            pair("padding", padding, 0), pair("stride", stride, 1)]


def conv2d_reference(x: Any, weight: Any, bias: Any = None, *, stride: Pair, padding: Pair,
                     dilation: Pair, groups: int) -> Tensor:
    """Windows as columns, times the weights as a matrix, for each group of channels."""
    n, _, h, w = x.shape
    o, i, *kernel = weight.shape
    count = window_count("conv2d", (h, w), (kernel[0], kernel[1]), stride, padding, dilation)
    columns = unfold(x, tuple(kernel), dilation, padding, stride)  # (N, C kH kW, L)
    columns = reshape(columns, (n, groups, i * kernel[0] * kernel[1], -1))
    y = reshape(weight, (groups, o // groups, -1)) @ columns  # (N, groups, O / groups, L)
    y = reshape(y, (n, o, *count))
    return y if bias is None else y + reshape(bias, (o, 1, 1))


@fused(reference=conv2d_reference, by_blocks=True)
def _conv2d(x: Array | Pending, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair,
            dilation: Pair, groups: int, needs: Sequence[bool]) -> Any:
    if fast.get_algorithm() == "plain":
        x = array_of(x)
    kept: list[Any] | None = [] if needs[1] else None
    y = fast.conv2d(x, weight, stride, padding, dilation, groups, kept)
    seen = kept[0] if kept else x
    if bias is not None:
        y += bias[:, None, None]

    def backward(g: Array | Pending, wanted: Sequence[bool]) -> tuple[Any, ...]:
        if wanted[2] or fast.get_algorithm() == "plain":
            g = array_of(g)
        dx, dw = fast.conv2d_backward(
            g, seen, weight, stride, padding, dilation, groups, wanted[:2]
        ) if any(wanted[:2]) else (None, None)
        return dx, dw, channel_sum(g) if wanted[2] else None

    return y, backward


@operands("x", "weight", "bias")
def conv2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
           dilation: Any = 1, groups: int = 1) -> Tensor:
    r"""y[n, o, p, q] = bias[o] + sum over c, i, j of weight[o, c, i, j]
    * x[n, c, p stride + i dilation - padding, q stride + j dilation - padding]

    Shapes: x (N, C, H, W), weight (O, C / groups, kH, kW), bias (O,) or None; y (N, O,
    H', W') with H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1. Each
    of `groups` blocks of output channels sees its own block of input channels.
    `stride`, `padding` and `dilation` are numbers or (height, width); padding "valid"
    is 0, "same" keeps H and W (stride 1).

    >>> from tinynet import xp
    >>> x = xp.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, xp.ones((1, 1, 2, 2)))[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    x, options = checked("conv2d", x, weight, bias, stride, padding, dilation, groups)
    return _conv2d(x, weight, bias, **options)


def checked(what: str, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
            groups: Any) -> tuple[Any, dict[str, Any]]:
    """The options of a convolution; and x, which a named padding may have made larger."""
    c = images(what, x)[1]
    shape = tuple(weight.shape)
    if len(shape) != 4:
        raise ValueError(f"{what}: weight must have shape (O, C / groups, kH, kW), got "
                         f"{shape}")
    o, i, *kernel = shape
    groups = check_whole(f"{what}: groups", groups)
    if o % groups:
        raise ValueError(f"{what}: groups must be a number that divides the {o} output "
                         f"channels of weight, got {groups}")
    if c != i * groups:
        raise ValueError(f"{what}: x of shape {tuple(x.shape)} has {c} channels, but "
                         f"weight of shape {shape} with groups={groups} takes "
                         f"{i * groups}: the second axis of weight is input channels / "
                         "groups")
    if bias is not None and tuple(bias.shape) != (o,):
        raise ValueError(f"{what}: bias must have shape {(o,)}, one for each output "
                         f"channel of weight, got {tuple(bias.shape)}")
    float_of_one_dtype(what, x=x, weight=weight, bias=bias)
    stride = pair("stride", stride, 1)
    dilation = pair("dilation", dilation, 1)
    padding = convolution_padding(padding, stride)
    if isinstance(padding, str):
        x, padding = _named_padding(x, padding, (kernel[0], kernel[1]), dilation)
    size = (x.shape[2], x.shape[3])
    window_count(what, size, (kernel[0], kernel[1]), stride, padding, dilation)
    return x, {"stride": stride, "padding": padding, "dilation": dilation,
               "groups": int(groups)}


def _named_padding(x: Any, name: str, kernel: Pair, dilation: Pair) -> tuple[Any, Pair]:
    """"valid": none. "same": as much as keeps the size, the odd pixel at the bottom and right."""
    if name == "valid":
        return x, (0, 0)
    both = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before = (both[0] // 2, both[1] // 2)
    odd = (both[0] % 2, both[1] % 2)
    if any(odd):
        x = pad(x, ((0, 0), (0, 0), (0, odd[0]), (0, odd[1])))
    return x, before
