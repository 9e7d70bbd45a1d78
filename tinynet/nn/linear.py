"""The linear layer, and two layers without numbers of their own: Flatten and Identity.

Read next: `activation.py` (a stack of linear layers alone is only one linear layer), `conv.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..checks import check_whole
from ..ops.shape import reshape
from ..tensor import Tensor
from . import init
from .checks import check_dtype, empty
from .module import Module, Parameter

__all__ = ["Flatten", "Identity", "Linear"]


class Linear(Module):
    """y = x weight^T + bias

    Shapes: x (..., in_features), weight (out_features, in_features), y (..., out_features).
    Initial weights and bias are uniform in +-1/sqrt(in_features), PyTorch's default.

    >>> Linear(3, 2)(tn.zeros((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = check_whole("in_features", in_features)
        self.out_features = check_whole("out_features", out_features)
        self.weight = Parameter(empty(out_features, in_features))
        self.bias = Parameter(empty(out_features)) if bias else None
        for parameter in self.own_parameters():
            init.default_(parameter, fan_in=in_features)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * self.in_features)


class Flatten(Module):
    """All axes from `start_axis` (1: keep the batch) to `end_axis` as one, in row-major order.

    >>> Flatten()(tn.zeros((8, 16, 4, 4))).shape
    (8, 256)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Any) -> Tensor:
        ndim = len(x.shape)
        first, last = (axis + ndim if axis < 0 else axis for axis in (self.start_axis,
                                                                      self.end_axis))
        if not 0 <= first <= last < ndim:
            raise ValueError(f"Flatten(start_axis={self.start_axis}, end_axis={self.end_axis}) "
                             f"does not fit an input of shape {tuple(x.shape)}")
        merged = math.prod(x.shape[first : last + 1])
        return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


class Identity(Module):
    """y = x, to stand where a layer may be left out."""

    def forward(self, x: Any) -> Tensor:
        return x
