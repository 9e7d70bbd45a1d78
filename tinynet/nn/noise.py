r"""Noise layers: random in training, their noise marginalised at test; or by hand.

    y = E_z[f(x, z)] = integral of p(z) f(x, z) dz            (CS231n lecture 8: E8, E11)

A layer of this kind draws z (a mask, regions, which blocks to skip) from `generator`,
tinynet's default one if None, whenever it is in training mode: one key for each call,
so ``tn.get_state()`` and ``tn.set_state(...)`` repeat it exactly. In evaluation it
computes its own answer to the integral: exact for one linear layer, an approximation
for a deep net. `marginalize` gives that answer, or the mean over many draws, which is
right for any net but costs a pass for each.

In the lecture p is the probability of KEEPING a value; here, as in PyTorch, it is that
of zeroing one: keep = 1 - p. Formulas and cost of DropConnect and of fractional pooling
stand in `functional/`.

Read next: `nn/blocks.py`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .. import functional as F
from ..checks import Pair, check_choice, check_probability, check_whole
from ..functional.fractional import fractional_size
from ..graph import no_grad
from ..random import Generator, default_generator, key
from ..tensor import Tensor
from .layers import Conv2d, Linear
from .module import Module, Parameter, check_dtype, modes_kept


class Noise(Module):
    """Base class of the layers that draw random numbers in training, with `draw_key`.

    Inside ``random.share_of_batch`` they get their part of what the whole batch would
    draw.
    """

    generator: Generator | None = None
    p: float = 1.0

    def draw_key(self) -> int:
        """The key of the next random numbers."""
        return (self.generator or default_generator).key()

    def key_in_training(self) -> int | None:
        """The key of the next random numbers, or None where none are needed: p = 0, or a test.
        """
        if self.training and self.p > 0.0:
            return self.draw_key()
        return None


# Layers


class _Dropout(Noise):
    def __init__(self, p: float = 0.5, *, inverted: bool = True,
                 generator: Generator | None = None) -> None:
        self.p = check_probability("p (of zeroing)", p)
        self.inverted = inverted
        self.generator = generator


class Dropout(_Dropout):
    """Inverted dropout: in training x * mask / keep with keep = 1 - p, in evaluation x.

    `p` is the probability of zeroing. Dividing by keep in training keeps the mean, so
    that evaluation has nothing to do. With ``inverted=False`` it is the lecture's
    vanilla dropout: x * mask in training, x * keep in evaluation.

    >>> layer, x = Dropout(p=0.25), tn.tensor([1.0, 2.0])
    >>> layer.eval()(x) is x, Dropout(p=0.25, inverted=False).eval()(x)
    (True, Tensor([0.75, 1.5 ]))
    """

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training, inverted=self.inverted,
                         key=self.key_in_training())


class Dropout2d(_Dropout):
    """Dropout of whole channels: each x[n, c] of (N, C, H, W) is zeroed or kept at once."""

    def forward(self, x: Any) -> Tensor:
        return F.dropout2d(x, self.p, self.training, inverted=self.inverted,
                           key=self.key_in_training())


class _DropConnect(Noise):
    """What both share: u = (M * W) x + m * b, then ReLU if asked for."""

    weight: Parameter
    bias: Parameter | None

    def _set(self, p: float, relu: bool, inference: str, generator: Generator | None
             ) -> None:
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
        key = self.key_in_training()
        u = self._connected(x, self.weight, self.bias, self.training, key)
        if self.inference == "gaussian" and key is None:
            weight = self.weight * self.weight
            bias: Any = self.bias
            if bias is not None:
                bias = bias * bias
            variance = self._connected(x * x, weight, bias, False, None)
            return F.expected_relu(u, variance * self.p)
        return F.relu(u) if self.relu else u

    def _connected(self, x: Any, weight: Any, bias: Any, training: bool,
                   key: int | None) -> Tensor:
        return F.dropconnect_linear(x, weight, bias, self.p, training, key=key)


class DropConnectLinear(_DropConnect, Linear):
    """u_n = (M_n * W) x_n + m_n * b, with a mask of its own for each example x_n.

    `p` is the probability of ZEROING a weight (the paper's p is that of keeping it).
    With `relu` the output is max(u, 0). In evaluation all weights are on, by one of two
    kinds of inference:

        "mean"       max(E u, 0) with E u = (1 - p) (W x + b)
        "gaussian"   E max(u, 0), u being normal with that mean and its variance: the paper's
                     moment matching, with the integral in closed form instead of samples

    Source: Wan et al. 2013, sections 3 and 3.2 (CS231n lecture 8).

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
    """A convolution with a mask on the filters for each picture; see DropConnectLinear.

    A picture's mask is the same at all its places.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | Pair,
                 stride: int | Pair = 1, padding: int | Pair | str = 0,
                 dilation: int | Pair = 1, groups: int = 1, bias: bool = True, *,
                 p: float = 0.5, relu: bool = False, inference: str = "mean",
                 generator: Generator | None = None) -> None:
        Conv2d.__init__(self, in_channels, out_channels, kernel_size, stride, padding,
                        dilation, groups, bias)
        self._set(p, relu, inference, generator)

    def _connected(self, x: Any, weight: Any, bias: Any, training: bool,
                   key: int | None) -> Tensor:
        return F.dropconnect_conv2d(x, weight, bias, self.stride, self.padding,
                                    self.dilation, self.groups, self.p, training, key=key)


class FractionalMaxPool2d(Noise):
    """The largest value of each of random regions: images shrink by any ratio from 1 to 2.

    Give the `output_size` or the `ratio` (input / output). In training every call draws
    new regions from `generator` (the default one if None), the same for the whole batch
    unless `per_sample`. In evaluation the result is the mean over `passes` choices of
    regions, always the same ones; to average the predictions of a net instead, as the
    paper does, call ``marginalize(net, x, how="sample", n=passes)``. Regions:
    `functional/fractional.py`.

    >>> FractionalMaxPool2d(ratio=2**0.5)(tn.zeros((2, 3, 36, 36))).shape
    (2, 3, 25, 25)
    """

    def __init__(self, output_size: int | Pair | None = None, *,
                 ratio: float | tuple[float, float] | None = None, pseudo: bool = True,
                 overlapping: bool = True, per_sample: bool = False, passes: int = 1,
                 generator: Generator | None = None) -> None:
        fractional_size((1, 1), output_size, ratio)  # is one of them given, and sound?
        self.output_size = output_size
        self.ratio = ratio
        self.pseudo = pseudo
        self.overlapping = overlapping
        self.per_sample = per_sample
        self.passes = check_whole("passes", passes)
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        keys = [key("test", k) for k in range(self.passes)]
        if self.training:
            keys = [self.draw_key()]
        first, *others = (F.fractional_max_pool2d(
            x, self.output_size, ratio=self.ratio, pseudo=self.pseudo, key=k,
            overlapping=self.overlapping, per_sample=self.per_sample) for k in keys)
        if not others:
            return first
        return sum(others, first) / len(keys)


# Of whole networks


def noise_state(model: Module) -> dict[str, Any]:
    """State of all generators that a pass through `model` may draw from, as plain numbers."""
    return {"default": default_generator.get_state(),
            "layers": {name: own.get_state() for name, own in _own_generators(model)}}


def set_noise_state(model: Module, state: Mapping[str, Any]) -> None:
    """Restore what `noise_state` returned."""
    default_generator.set_state(state["default"])
    for name, own in _own_generators(model):
        if name not in state["layers"]:
            raise ValueError(f"it has no state for the generator of layer {name!r}")
        own.set_state(state["layers"][name])


def _own_generators(model: Module) -> list[tuple[str, Generator]]:
    """The generators that noise layers have for themselves, by the layers' names."""
    return [(name, layer.generator) for name, layer in model.named_modules()
            if isinstance(layer, Noise) and layer.generator is not None]


@contextlib.contextmanager
def _only_noise(model: Module, generator: Generator) -> Iterator[None]:
    """Inside, the noise layers of `model` draw from `generator`, all else is in evaluation mode."""
    noisy = [module for _, module in model.named_modules() if isinstance(module, Noise)]
    generators = [layer.generator for layer in noisy]
    try:
        with modes_kept(model):
            model.eval()
            for layer in noisy:
                layer.training = True  # itself alone: what it wraps may be no noise
                layer.generator = generator
            yield
    finally:
        for layer, own in zip(noisy, generators, strict=True):
            layer.generator = own


def marginalize(model: Module, x: Any, how: str = "analytic", n: int = 100, *,
                transform: Callable[[Any], Any] | None = None, seed: int = 0) -> Any:
    """E_z[model(x, z)] over the noise z of all `Noise` layers, without gradients.

    "analytic": one pass in evaluation mode, in which each layer stands in for its mean.
    "sample": the mean of `n` passes with noise drawn anew, its error falling as 1 /
    sqrt(n). Only noise layers are in training mode then: batch norm uses its running
    statistics, which are its answer to the integral. The draws depend on `seed` alone,
    and the default generator, the layers' own and all modes are left as they were.
    `transform` is applied to every output before the mean, such as ``F.softmax``.

    >>> from tinynet import nn
    >>> net, x = nn.Sequential(nn.Dropout(0.5)), tn.ones(4)
    >>> marginalize(net, x), marginalize(net, x, how="sample", n=4)
    (Tensor([1., 1., 1., 1.]), Tensor([1.5, 1. , 1. , 1. ]))
    """
    check_choice("how", how, ("analytic", "sample"))
    apply = transform or (lambda y: y)
    passes = 1
    if how == "sample":
        passes = check_whole("n, the number of passes,", n)
    with no_grad(), _only_noise(model, Generator(seed)):
        if how == "analytic":
            model.eval()
        outputs = (apply(model(x)) for _ in range(passes))
        return functools.reduce(operator.add, outputs) / passes
