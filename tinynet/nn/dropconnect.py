"""DropConnect layers: `Linear` and `Conv2d` whose weights are switched off at random in
training.

Names and shapes of the parameters are those of the plain layers, so a state goes from
one to the other. Formulas and cost stand in `functional/dropconnect.py`. Read next:
`fractional.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..checks import check_choice, check_probability
from ..random import Generator
from ..tensor import Tensor
from .layers import Conv2d, Linear
from .module import Parameter, check_dtype
from .noise import Noise


class _DropConnect(Noise):
    """What both share: u = (M * W) x + m * b, then ReLU if asked for."""

    weight: Parameter
    bias: Parameter | None

    def _set(self, p: float, relu: bool, inference: str, generator: Generator | None) -> None:
        self.inference = check_choice("inference", inference, ("mean", "gaussian"))
        if inference == "gaussian" and not relu:
            raise ValueError("inference='gaussian' is the mean of a ReLU: give "
                             "relu=True. Without one, the mean of the output is "
                             "inference='mean'")
        self.p = check_probability("p (of zeroing)", p)
        self.relu = relu
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        training = self.training and self.p > 0.0
        u = self._connected(x, self.weight, self.bias, self.p, self.training,
                            key=self.key_in_training())
        if self.inference == "mean" or training:
            return F.relu(u) if self.relu else u
        squares = None if self.bias is None else self.bias * self.bias
        variance = self._connected(x * x, self.weight * self.weight, squares, self.p, False)
        return F.expected_relu(u, variance * self.p)

    def _connected(self, x: Any, weight: Any, bias: Any, p: float, training: bool,
                   key: int | None = None) -> Any:
        return F.dropconnect_linear(x, weight, bias, p, training, key=key)


class DropConnectLinear(_DropConnect, Linear):
    """u_n = (M_n * W) x_n + m_n * b, with a mask of its own for each example x_n.

    `p` is the probability of ZEROING a weight (the paper's p is that of keeping it).
    With `relu` the output is max(u, 0). In evaluation all weights are on, by one of two
    kinds of inference:

        "mean"       max(E u, 0) with E u = (1 - p) (W x + b)
        "gaussian"   E max(u, 0), u being normal with that mean and its variance: the paper's
                     moment matching, with the integral in closed form instead of samples

    Source: Wan et al. 2013, sections 3 and 3.2 (CS231n lecture 8, G1).

    >>> layer = DropConnectLinear(3, 2, p=0.5, relu=True, inference="gaussian")
    >>> layer(tn.zeros((4, 3))).shape
    (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, p: float = 0.5, bias: bool = True, *,
                 relu: bool = False, inference: str = "mean",
                 generator: Generator | None = None) -> None:
        Linear.__init__(self, in_features, out_features, bias)
        self._set(p, relu, inference, generator)


class DropConnectConv2d(_DropConnect, Conv2d):
    """A convolution with a mask of its own on the filters for each picture; see
    DropConnectLinear.

    A picture's mask is the same at all its places.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, padding: int | tuple[int, int] | str = 0,
                 dilation: int | tuple[int, int] = 1, groups: int = 1, bias: bool = True, *,
                 p: float = 0.5, relu: bool = False, inference: str = "mean",
                 generator: Generator | None = None) -> None:
        Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation,
                        groups, bias)
        self._set(p, relu, inference, generator)

    def _connected(self, x: Any, weight: Any, bias: Any, p: float, training: bool,
                   key: int | None = None) -> Any:
        return F.dropconnect_conv2d(x, weight, bias, self.stride, self.padding, self.dilation,
                                    self.groups, p, training, key=key)
