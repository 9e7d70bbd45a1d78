"""Pooling layers: images (N, C, H, W) become smaller, channel by channel.

They have no parameters; what they compute stands in `functional/pool.py`. Read next:
`container.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..checks import check_whole
from ..functional.checks import Pair, pair
from ..functional.fractional import fractional_size
from ..random import Generator, key
from ..tensor import Tensor
from .module import Module
from .noise import Noise

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "FractionalMaxPool2d", "GlobalAvgPool2d",
           "GlobalMaxPool2d", "MaxPool2d"]


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

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window (zeros of the padding count); `stride` is its size by default."""

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen such that the output has `output_size`, for any input size."""

    def __init__(self, output_size: int | Pair) -> None:
        self.output_size = pair("output_size", output_size, 1)

    def forward(self, x: Any) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class FractionalMaxPool2d(Noise):
    """The largest value of each of random regions; the image shrinks by any ratio from 1 to 2.

    Give the `output_size` or the `ratio` (input / output). In training every call draws new
    regions from `generator` (the default one if None), the same for the whole batch unless
    `per_sample`. In evaluation the result is the mean over `passes` choices of regions, always the
    same ones; to average the predictions of a net instead, as the paper does, call
    ``marginalize(net, x, how="sample", n=passes)``. Regions: `functional/fractional.py` (G2).

    >>> FractionalMaxPool2d(ratio=2**0.5)(tn.zeros((2, 3, 36, 36))).shape
    (2, 3, 25, 25)
    """

    def __init__(self, output_size: int | Pair | None = None, *,
                 ratio: float | tuple[float, float] | None = None, pseudo: bool = True,
                 overlapping: bool = True, per_sample: bool = False, passes: int = 1,
                 generator: Generator | None = None) -> None:
        fractional_size((1, 1), output_size, ratio)  # is one of them given, and sound?
        self.output_size, self.ratio = output_size, ratio
        self.pseudo, self.overlapping, self.per_sample = pseudo, overlapping, per_sample
        self.passes, self.generator = check_whole("passes", passes), generator

    def forward(self, x: Any) -> Tensor:
        keys = [self.draw_key()] if self.training else [key(0, k) for k in range(self.passes)]
        first, *others = (F.fractional_max_pool2d(
            x, self.output_size, ratio=self.ratio, pseudo=self.pseudo, key=k,
            overlapping=self.overlapping, per_sample=self.per_sample) for k in keys)
        return sum(others, first) / len(keys) if others else first

    def extra_repr(self) -> str:
        size = f"ratio={self.ratio}" if self.output_size is None else f"{self.output_size}"
        return (f"{size}, pseudo={self.pseudo}, overlapping={self.overlapping}, "
                f"per_sample={self.per_sample}, passes={self.passes}")


class GlobalAvgPool2d(Module):
    """The mean of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_max_pool2d(x)
