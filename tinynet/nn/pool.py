"""Pooling layers: images (N, C, H, W) become smaller, channel by channel.

They have no parameters; what they compute stands in `functional/pool.py`. Read next:
`container.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..functional.checks import Pair, pair
from .module import Module

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "GlobalAvgPool2d", "GlobalMaxPool2d", "MaxPool2d"]


class _Pool(Module):
    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None,
                 padding: int | Pair = 0) -> None:
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding={padding} must be at most half of kernel_size="
                             f"{kernel_size}: else some windows would hold nothing but padding")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest value of each window; `stride` is the window's size by default.

    >>> MaxPool2d(2)(tn.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window (zeros of the padding count); `stride` is its size by default."""

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen such that the output has `output_size`, for any input size."""

    def __init__(self, output_size: int | Pair) -> None:
        self.output_size = pair("output_size", output_size, 1)

    def forward(self, x: Any) -> Any:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class GlobalAvgPool2d(Module):
    """The mean of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Any:
        return F.global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Any:
        return F.global_max_pool2d(x)
