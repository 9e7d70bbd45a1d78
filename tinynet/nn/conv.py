"""The convolution layer: the same small linear layer at every place of an image.

Formula and gradients stand in `functional/conv.py`. Read next: `pool.py`, `norm.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..checks import check_whole
from ..functional.checks import pair
from ..tensor import Tensor
from . import init
from .checks import check_dtype, empty
from .module import Module, Parameter

__all__ = ["Conv2d"]


class Conv2d(Module):
    """y[n, o] = bias[o] + sum over c of weight[o, c] correlated with x[n, c]

    Shapes: x (N, in_channels, H, W), weight (out_channels, in_channels / groups, kH, kW),
    y (N, out_channels, H', W') with H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride)
    + 1. Sizes are one integer or two (height, width); `padding` may be "same" or "valid".
    ``groups`` cuts the channels into that many parts, each convolved by itself.
    Initial weights and bias are uniform in +-1/sqrt(fan_in), PyTorch's default.

    >>> Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(tn.zeros((1, 3, 32, 32))).shape
    (1, 8, 16, 16)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] | str = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True) -> None:
        self.in_channels = check_whole("in_channels", in_channels)
        self.out_channels = check_whole("out_channels", out_channels)
        self.groups = check_whole("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups={groups} must divide in_channels={in_channels} and "
                             f"out_channels={out_channels}")
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.dilation = pair("dilation", dilation, 1)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"padding must be 'same', 'valid' or numbers, got {padding!r}")
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got stride={stride}")
        self.padding = padding if isinstance(padding, str) else pair("padding", padding, 0)
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = Parameter(empty(out_channels)) if bias else None
        for parameter in self.own_parameters():
            init.default_(parameter, init.fans(self.weight.shape)[0])

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                        self.groups)

    def extra_repr(self) -> str:
        options = {"padding": (self.padding, (0, 0)), "dilation": (self.dilation, (1, 1)),
                   "groups": (self.groups, 1), "bias": (self.bias is not None, True)}
        return ", ".join([f"{self.in_channels}, {self.out_channels}",
                          f"kernel_size={self.kernel_size}, stride={self.stride}",
                          *(f"{name}={value!r}" for name, (value, default) in options.items()
                            if value != default)])

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * math.prod(self.weight.shape[1:]))
