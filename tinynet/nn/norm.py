r"""Normalisation: y = weight (x - mean) / sqrt(var + eps) + bias, with statistics of
...

    BatchNorm    each channel, over the batch (in training) or over the past (in evaluation)
    LayerNorm    each sample, over its last axes
    GroupNorm    each sample, over groups of its channels

Formulas and gradients stand in `functional/norm.py`. Only batch norm keeps buffers and
behaves differently in training and evaluation. Read next: `noise.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from .. import functional as F
from ..checks import check_positive, check_whole
from ..tensor import Tensor
from . import init
from .module import Buffer, Module, check_dtype, empty, empty_parameter


class _Norm(Module):
    """What they share: eps, and a scale and a shift that start at 1 and 0 (or are None)."""

    def __init__(self, shape: tuple[int, ...], eps: float, affine: bool, bias: bool = True
                 ) -> None:
        check_positive("eps", eps)
        self.eps = eps
        self.weight = empty_parameter(affine, *shape)
        self.bias = empty_parameter(affine and bias, *shape)
        self.reset_parameters()

    def reset_parameters(self) -> Self:
        """Scale 1, shift 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)
        return self


class _BatchNorm(_Norm):
    axes: tuple[int, ...] = ()  # how many axes an input may have
    layout = ""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1,
                 affine: bool = True, *, relu: bool = False) -> None:
        if momentum is None or not 0.0 <= momentum <= 1.0:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum}: it "
                             "is the weight of the NEW batch, usually 0.1")
        self.num_features = check_whole("num_features", num_features)
        super().__init__((num_features,), eps, affine)
        self.affine = affine
        self.momentum = momentum
        self.relu = relu
        self.running_mean = Buffer(empty(num_features))
        self.running_var = Buffer(empty(num_features))
        self.reset_running_stats()

    def reset_running_stats(self) -> Self:
        """Forget the past: running mean 0, running variance 1."""
        init.zeros_(self.running_mean)
        init.ones_(self.running_var)
        return self

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.running_mean)
        if len(x.shape) not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(f"{type(self).__name__}({self.num_features}) takes inputs "
                             f"of shape {self.layout} with C = {self.num_features}, "
                             f"got {tuple(x.shape)}")
        normalise = F.batch_norm_relu if self.relu else F.batch_norm
        return normalise(x, self.running_mean, self.running_var, self.weight, self.bias,
                         self.training, self.momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of feature vectors (N, C) or sequences (N, C, L).

    In training: mean and variance of each channel over the batch, and

        running_mean <- (1 - momentum) running_mean + momentum mean
        running_var  <- (1 - momentum) running_var  + momentum var n / (n - 1)

    so `momentum` is the weight of the NEW value, and the running variance is unbiased.
    In evaluation the running statistics take the place of the batch's. With `relu` the
    output is max(0, y), computed in the same pass over memory. Source: Ioffe and
    Szegedy 2015; CS231n lecture 8 (E10).

    >>> norm = BatchNorm1d(1)
    >>> y = norm(tn.tensor([[1.0], [3.0]]))
    >>> norm.running_mean, norm.running_var           # 0.1 * 2, and 0.9 * 1 + 0.1 * 2
    (Buffer([0.2]), Buffer([1.1]))
    """

    axes = (2, 3)
    layout = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W), see `BatchNorm1d`: each channel over N, H, W."""

    axes = (4,)
    layout = "(N, C, H, W)"


class LayerNorm(_Norm):
    """Each sample by itself, over its last axes, which have the lengths
    `normalized_shape`.

    The same in training and evaluation. Source: Ba, Kiros and Hinton 2016.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True) -> None:
        lengths: Any = normalized_shape
        if not isinstance(lengths, tuple | list):
            lengths = [lengths]
        self.normalized_shape = tuple(check_whole("normalized_shape", n) for n in lengths)
        self.elementwise_affine = elementwise_affine
        super().__init__(self.normalized_shape, eps, elementwise_affine, bias)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(_Norm):
    """Each sample by itself, over `num_groups` groups of its channels: x (N, C, ...).

    The same in training and evaluation, and for any batch size. Source: Wu and He 2018.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
                 ) -> None:
        self.num_groups = check_whole("num_groups", num_groups)
        self.num_channels = check_whole("num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide "
                             f"num_channels={num_channels}")
        self.affine = affine
        super().__init__((num_channels,), eps, affine)

    def forward(self, x: Any) -> Tensor:
        check_dtype(x, self.weight)
        if len(x.shape) < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm takes inputs of shape (N, C, ...) with C = "
                             f"{self.num_channels}, got {tuple(x.shape)}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
