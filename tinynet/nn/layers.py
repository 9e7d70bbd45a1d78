"""The layers that are one function of `functional` each, from Linear to the losses.

A layer keeps what the function needs besides its input: parameters, and settings that
are checked once, when it is made. Formulas and gradients stand with the functions. A
layer prints itself: what its `__init__` was given, where that is not the default.

Read next: `norm.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from ..checks import check_choice, check_positive, check_probability, check_whole
from ..functional.checks import Pair, pair
from ..functional.loss import check_reduction
from ..ops.shape import reshape
from ..tensor import Tensor
from . import init
from .module import Buffer, Module, Parameter, check_dtype, empty, empty_parameter

# Linear, and two layers without numbers of their own


class Linear(Module):
    """y = x weight^T + bias

    Shapes: x (..., in_features), weight (out_features, in_features), y (...,
    out_features). Initial weights and bias are uniform in +-1/sqrt(in_features),
    PyTorch's default.

    >>> Linear(3, 2)(tn.zeros((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = check_whole("in_features", in_features)
        self.out_features = check_whole("out_features", out_features)
        self.weight = Parameter(empty(out_features, in_features))
        self.bias = empty_parameter(bias, out_features)
        for parameter in self.own_parameters():
            init.default_(parameter, fan_in=in_features)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.linear(x, self.weight, self.bias)

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * self.in_features)


class Flatten(Module):
    """All axes from `start_axis` (1: keep the batch) to `end_axis` as one, in row-major
    order.

    >>> Flatten()(tn.zeros((8, 16, 4, 4))).shape
    (8, 256)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Tensor:
        ndim = len(x.shape)
        first = self.start_axis + ndim * (self.start_axis < 0)
        last = self.end_axis + ndim * (self.end_axis < 0)
        if not 0 <= first <= last < ndim:
            raise ValueError(f"Flatten(start_axis={self.start_axis}, "
                             f"end_axis={self.end_axis}) does not fit an input of "
                             f"shape {tuple(x.shape)}")
        merged = math.prod(x.shape[first : last + 1])
        return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


class Identity(Module):
    """y = x, to stand where a layer may be left out."""

    def forward(self, x: Any) -> Tensor:
        return x


# Convolution: the same small linear layer at every place of an image


class Conv2d(Module):
    """y[n, o] = bias[o] + sum over c of weight[o, c] correlated with x[n, c]

    Shapes: x (N, in_channels, H, W), weight (out_channels, in_channels / groups, kH,
    kW), y (N, out_channels, H', W') with H' = floor((H + 2 padding - dilation (kH - 1)
    - 1) / stride) + 1. Sizes are one integer or two (height, width); `padding` may be
    "same" or "valid". ``groups`` cuts the channels into that many parts, each convolved
    by itself. Initial weights and bias are uniform in +-1/sqrt(fan_in), PyTorch's
    default.

    >>> Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(tn.zeros((1, 3, 32, 32))).shape
    (1, 8, 16, 16)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Pair,
                 stride: int | Pair = 1, padding: int | Pair | str = 0,
                 dilation: int | Pair = 1, groups: int = 1, bias: bool = True) -> None:
        self.in_channels = check_whole("in_channels", in_channels)
        self.out_channels = check_whole("out_channels", out_channels)
        self.groups = check_whole("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups={groups} must divide in_channels={in_channels} "
                             f"and out_channels={out_channels}")
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = pair("stride", stride, 1)
        self.dilation = pair("dilation", dilation, 1)
        self.padding = self._checked_padding(padding)
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = empty_parameter(bias, out_channels)
        for parameter in self.own_parameters():
            init.default_(parameter, init.fans(self.weight.shape)[0])

    def _checked_padding(self, padding: int | Pair | str) -> Pair | str:
        if not isinstance(padding, str):
            return pair("padding", padding, 0)
        if padding not in ("same", "valid"):
            raise ValueError("padding must be 'same', 'valid' or numbers, got "
                             f"{padding!r}")
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got stride={self.stride}")
        return padding

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                        self.groups)

    def multiply_adds(self, inputs: tuple[Any, ...], output: Any) -> int:
        return int(math.prod(output.shape) * math.prod(self.weight.shape[1:]))


# Pools: images (N, C, H, W) become smaller, channel by channel


class _Pool(Module):
    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None,
                 padding: int | Pair = 0) -> None:
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size
        if stride is not None:
            self.stride = pair("stride", stride, 1)
        self.padding = pair("padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding={padding} must be at most half of "
                             f"kernel_size={kernel_size}: else some windows would hold "
                             "nothing but padding")


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


class GlobalAvgPool2d(Module):
    """The mean of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_avg_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return F.global_max_pool2d(x)


# Activations: what keeps a stack of linear layers from being one linear layer


class ReLU(Module):
    """max(x, 0); slope 0 at 0."""

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class LeakyReLU(Module):
    """x for x > 0, negative_slope * x for the others."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x for x > 0, alpha (e^x - 1) for the others."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)


class GELU(Module):
    """x Phi(x) with the normal distribution function Phi: exact ("none") or its "tanh" formula."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_choice("approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, approximate=self.approximate)


class Softplus(Module):
    """log(1 + e^(beta x)) / beta, a smooth ReLU."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_positive("beta", beta)

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x, self.beta)


class Tanh(Module):
    """(e^x - e^-x) / (e^x + e^-x), from -1 to 1."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x), from 0 to 1."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Softmax(Module):
    """e^x / sum(e^x) along `axis`; not before CrossEntropyLoss, which takes raw scores."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return F.softmax(x, self.axis)


class LogSoftmax(Module):
    """log(softmax(x)) along `axis`, computed without overflow."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.axis)


# Losses, for those who like to pass them around


class CrossEntropyLoss(Module):
    """-log softmax(logits)[target]; takes raw scores (N, classes), so no Softmax before
    it.

    `target` holds class indices (N,) or probabilities (N, classes); `weight` one factor
    for each class; `label_smoothing` mixes that share of the uniform distribution into
    the target. At the start of training it is near log(classes) (E2).

    >>> loss = CrossEntropyLoss()
    >>> round(float(loss(tn.zeros((4, 10)), tn.tensor([0, 1, 2, 3]))), 6)
    2.302585
    """

    def __init__(self, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"
                 ) -> None:
        self.weight = weight
        if weight is not None:
            self.weight = Buffer(weight)
        self.label_smoothing = check_probability("label_smoothing", label_smoothing)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.cross_entropy(logits, target, weight=self.weight,
                               label_smoothing=self.label_smoothing, reduction=self.reduction)


class MSELoss(Module):
    """(prediction - target)^2, averaged over all elements; shapes must be equal."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(reduction)

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, reduction=self.reduction)


class HingeLoss(Module):
    """sum over j != y of max(0, s_j - s_y + margin), averaged over the batch (E1)."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin = margin
        self.reduction = check_reduction(reduction)

    def forward(self, scores: Any, target: Any) -> Tensor:
        return F.hinge_loss(scores, target, margin=self.margin, reduction=self.reduction)
