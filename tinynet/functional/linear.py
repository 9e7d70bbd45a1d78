"""The linear layer's product: inputs times weights plus bias, as one operation.

One recorded operation instead of three (transpose, product, sum) halves the cost of
small nets. Its derivatives are linear maps again, so it is exact at any order.

Read next: `functional/loss.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array
from ..kernels import matmul as fast
from ..operation import primitive
from ..ops.linalg import matmul
from ..ops.shape import reshape
from ..rules import operands
from ..tensor import Tensor


@primitive(lambda g, weight: matmul(g, weight), lambda g, x: matmul(g.T, x), lambda g: g)
def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = fast.matmul(x, weight.T)
    if bias is not None:
        y += bias
    return y


@operands("x", "weight", "bias")
def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = x weight^T + bias

    Shapes: x (..., in), weight (out, in), bias (out,) or None; y (..., out).

    >>> from tinynet import xp
    >>> linear(xp.array([[1.0, 2.0]]), xp.array([[3.0, 4.0], [0.0, 1.0]]), xp.array([0.5, 0.5]))
    array([[11.5,  2.5]])
    """
    shape = x.shape
    w = weight.shape
    if len(w) != 2 or not shape or shape[-1] != w[1]:
        raise ValueError(f"linear: x of shape {tuple(shape)} does not fit weight of "
                         f"shape {tuple(w)}: the last axis of x must have the length "
                         "of the last of weight, which is (out, in)")
    if bias is not None and bias.shape != w[:1]:
        raise ValueError(f"linear: bias of shape {tuple(bias.shape)} does not fit "
                         f"weight of shape {tuple(w)}: it must be {tuple(w[:1])}")
    if len(shape) == 2:
        return _linear(x, weight, bias)
    rows = reshape(x, (math.prod(shape[:-1]), w[1]))  # -1 is not defined where w[1] is 0
    return reshape(_linear(rows, weight, bias), (*shape[:-1], w[0]))
