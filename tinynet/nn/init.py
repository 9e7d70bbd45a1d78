r"""Initial weights: how large they are decides whether a deep net starts to learn at all.

A layer sums fan_in products, so its outputs have variance fan_in Var(w) Var(x). The
methods here choose Var(w) such that signals (``mode="fan_in"``) or gradients
(``"fan_out"``) keep their size from layer to layer; the *gain* makes up for what the
activation takes away.

All functions write into the tensor, return it, and draw from the default generator or
from `generator`. New layers do not use these but PyTorch's default, see `default_`.

Read next: `nn/noise.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import HostArray, asarray, to_numpy
from ..checks import check_choice, check_positive
from ..names import lister as _lister
from ..random import Generator, default_generator
from ..tensor import Tensor

__dir__ = _lister(__name__)

_GAINS = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0),
          "selu": 0.75}


def calculate_gain(nonlinearity: str, slope: float | None = None) -> float:
    """What an activation's input is scaled by to keep its output's size; PyTorch's table.

    1 for linear, conv2d and sigmoid, 5/3 for tanh, sqrt(2) for relu (which drops half
    of the signal), sqrt(2 / (1 + slope^2)) for leaky_relu (slope 0.01 by default), 3/4
    for selu.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if slope is None else slope) ** 2))
    check_choice("nonlinearity", nonlinearity, sorted([*_GAINS, "leaky_relu"]))
    return _GAINS[nonlinearity]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs an output sums, and how many outputs an input goes to.

    >>> fans((10, 256)), fans((64, 32, 3, 3))     # linear (out, in), conv (out, in, kH, kW)
    ((256, 10), (288, 576))
    """
    if len(shape) < 2:
        raise ValueError("fan_in and fan_out need a weight with 2 or more axes (out, "
                         f"in, ...), got shape {tuple(shape)}: use normal_ or zeros_ "
                         "for biases")
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def _fan(tensor: Tensor, mode: str) -> int:
    check_choice("mode", mode, ("fan_in", "fan_out"))
    return fans(tensor.shape)[mode == "fan_out"]


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0,
             generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [low, high)."""
    draw = (generator or default_generator).uniform
    return tensor.copy_(draw(tensor.shape, low, high, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0,
            generator: Generator | None = None) -> Tensor:
    """Normal numbers with this mean and standard deviation."""
    draw = (generator or default_generator).normal
    return tensor.copy_(draw(tensor.shape, mean, std, tensor.dtype))


def constant_(tensor: Tensor, value: float) -> Tensor:
    """`value` everywhere."""
    return tensor.copy_(value)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere: usual for biases."""
    return tensor.copy_(0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere: usual for the scales of normalisation layers."""
    return tensor.copy_(1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
                    ) -> Tensor:
    """Uniform with std = gain sqrt(2 / (fan_in + fan_out)).

    For tanh and sigmoid nets (Glorot and Bengio 2010, equation 16).
    """
    bound = gain * math.sqrt(6.0 / sum(fans(tensor.shape)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
                   ) -> Tensor:
    """Normal with std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 12)."""
    std = gain * math.sqrt(2.0 / sum(fans(tensor.shape)))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu", generator: Generator | None = None
                     ) -> Tensor:
    """Uniform with std = gain / sqrt(fan); `a` is the slope of a leaky ReLU (0: ReLU)."""
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu", generator: Generator | None = None
                    ) -> Tensor:
    """Normal with std = gain / sqrt(fan); for ReLU nets (He et al. 2015, equations 10 and 14).

    `a` is the slope of a leaky ReLU; its default 0 is the ReLU.

    >>> from tinynet import nn
    >>> layer = nn.Linear(1000, 500)
    >>> round(float(kaiming_normal_(layer.weight).std()), 3)         # sqrt(2 / 1000)
    0.045
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def default_(tensor: Tensor, fan_in: int, generator: Generator | None = None) -> Tensor:
    """Uniform in [-1 / sqrt(fan_in), 1 / sqrt(fan_in)): what new Linear and Conv2d layers have.

    PyTorch's default for weights and biases, kept because its users expect it. Its std
    is 1 / sqrt(3 fan_in), less than half of Kaiming's: fine with normalisation layers,
    small for a deep net without them (use ``model.apply`` with `kaiming_normal_`
    there).
    """
    bound = 1.0 / math.sqrt(fan_in)
    return uniform_(tensor, -bound, bound, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """W W^T = gain^2 I, or W^T W if W is higher than wide (Saxe et al. 2014).

    W is the weight as a matrix (out, everything else). From the QR decomposition of a
    normal matrix, with R's diagonal made positive, so that all rotations are equally
    likely; computed on the host in float64.
    """
    if tensor.ndim < 2:
        raise ValueError("orthogonal_ needs a weight with 2 or more axes, got "
                         f"{tensor.shape}")
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    shape = (max(rows, columns), min(rows, columns))
    drawn = (generator or default_generator).normal(shape, dtype=np.float64)
    q, r = np.linalg.qr(to_numpy(drawn))
    q *= np.where(np.diag(r) < 0, -gain, gain)
    if rows < columns:
        q = q.T
    return tensor.copy_(asarray(q.reshape(tensor.shape)))


def identity_(tensor: Tensor) -> Tensor:
    """The first filters of a convolution hand the input channels on; the others stay.

    w[i, i, middle] = 1 and all else of w[i] is 0, for i < min(out, in): at the start the
    layer loses nothing of what it is given. Draw the weights first (`default_`), for the
    filters that are left. Also for a linear layer, (out, in).

    >>> from tinynet import zeros
    >>> identity_(zeros((2, 3))).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if tensor.ndim < 2:
        raise ValueError("identity_ needs a weight (out, in) or (out, in, kH, kW), got shape "
                         f"{tensor.shape}")
    weight = to_numpy(tensor.data).copy()
    channels = min(weight.shape[:2])
    middle = tuple(size // 2 for size in weight.shape[2:])
    weight[:channels] = 0.0
    for i in range(channels):
        weight[(i, i, *middle)] = 1.0
    return tensor.copy_(asarray(weight))


def whitening_(tensor: Tensor, images: Any, eps: float = 5e-4) -> Tensor:
    r"""Filters that turn patches of the `images` into uncorrelated numbers of variance 1.

        C = covariance of patches p,  C = V diag(l) V^T,   w_i = v_i / sqrt(l_i + eps)

    For the first convolution of a net, (out, in, kH, kW): the directions of the largest
    variance come first, with at most in kH kW of them, then the same with the other
    sign, as far as there are filters (a ReLU passes each half). Others stay as they
    are. `images` (N, in, H, W) are pictures as the net will see them, normalised; some
    thousands are enough, of which every place gives a patch. `eps` bounds how much a
    direction without variance is amplified. Freeze it: ``weight.requires_grad = False``.
    Source: Page 2019, "How to train your ResNet 8"; Jordan 2024, "94 % on CIFAR-10 in 3.29
    seconds".

    >>> from tinynet import nn, randn
    >>> layer = nn.Conv2d(3, 24, 2, bias=False)
    >>> pictures = randn(100, 3, 8, 8) * 5.0
    >>> filtered = layer(pictures) if whitening_(layer.weight, pictures) is layer.weight else None
    >>> round(float(filtered.std()), 1)
    1.0
    """
    check_positive("eps", eps)
    pictures = to_numpy(images.data if isinstance(images, Tensor) else images)
    if tensor.ndim != 4 or pictures.ndim != 4 or pictures.shape[1] != tensor.shape[1]:
        raise ValueError("whitening_ needs a weight (out, in, kH, kW) and images (N, in, H, W) "
                         f"of as many channels, got {tensor.shape} and {pictures.shape}")
    window = tensor.shape[2:]
    if pictures.dtype.kind != "f" or min(np.subtract(pictures.shape[2:], window)) < 0:
        raise ValueError("images must be floats, normalised as the net will see them, and no "
                         f"smaller than the filter, {window}; got {pictures.dtype}, "
                         f"{pictures.shape}")
    values, vectors = np.linalg.eigh(_patch_covariance(pictures, window))
    filters = (vectors / np.sqrt(np.maximum(values, 0.0) + eps)).T[::-1]  # the largest first
    filters = np.concatenate([filters, -filters]).reshape(-1, *tensor.shape[1:])
    weight = to_numpy(tensor.data).copy()
    count = min(len(weight), len(filters))
    weight[:count] = filters[:count]
    return tensor.copy_(asarray(weight))


def _patch_covariance(pictures: HostArray, window: Sequence[int]) -> HostArray:
    """The covariance of all patches (in kH kW, in kH kW), in blocks of pictures."""
    size = pictures.shape[1] * math.prod(window)
    total = np.zeros(size)
    squares = np.zeros((size, size))
    count = 0
    for start in range(0, len(pictures), 256):
        block = pictures[start : start + 256].astype(np.float64)
        views = np.lib.stride_tricks.sliding_window_view(block, window, axis=(2, 3))
        patches = views.transpose(0, 2, 3, 1, 4, 5).reshape(-1, size)
        total += patches.sum(axis=0)
        squares += patches.T @ patches
        count += len(patches)
    mean = total / count
    return squares / count - np.outer(mean, mean)
