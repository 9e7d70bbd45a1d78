r"""The blocks that conv nets are built from: conv-norm-ReLU, and shortcuts around a body.

Blocks with a shortcut can be skipped at random in training, which is stochastic depth
(G3):

    y = shortcut(x) + z body(x)      z: 1 with probability keep = 1 - p, else 0
    test: z = keep                   inverted: z / keep in training, 1 at test

Source: Huang, Sun, Liu, Sedra and Weinberger 2016, "Deep networks with stochastic
depth", equations 2, 4 and 5 (their p is the probability of survival, here `keep`).

Read next: `nn/summary.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..checks import check_choice, check_probability, check_whole
from ..random import Generator
from ..tensor import Tensor
from .layers import BatchNorm2d, Conv2d, Identity, Sequential
from .module import Module
from .noise import Noise


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> Sequential:
    """3x3 convolution (padding 1, no bias: the norm has one), batch norm and ReLU as one layer."""
    return Sequential(Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
                      BatchNorm2d(out_channels, relu=True))


def linear_decay(blocks: int, last: float = 0.5) -> list[float]:
    """p_l = (l / L) last for l = 1 .. L: the probabilities of skipping each of L blocks.

    Early blocks, on which all others build, are skipped rarely. Of 54 blocks with last
    = 0.5 there are 40.25 left on average. Source: equation 4 of the paper, which counts
    survivals, 1 - p_l.

    >>> linear_decay(4, last=0.5), 54 - sum(linear_decay(54))
    ([0.125, 0.25, 0.375, 0.5], 40.25)
    """
    blocks = check_whole("blocks", blocks)
    last = check_probability("last", last)
    return [(i + 1) / blocks * last for i in range(blocks)]


class _Skipping(Noise):
    """A body that is skipped with probability p in training."""

    def _set(self, p: float, mode: str, inverted: bool, generator: Generator | None
             ) -> None:
        self.p = check_probability("p (of skipping)", p)
        self.mode = check_choice("mode", mode, ("batch", "sample"))
        self.inverted = inverted
        self.generator = generator

    def _add(self, shortcut: Any, body: Callable[[Any], Any], x: Any) -> Tensor:
        """shortcut + z body(x)."""
        keep = 1.0 - self.p
        key = self.key_in_training()
        if key is None:  # a test, or nothing is skipped
            y = body(x)
            if self.p > 0.0 and not self.inverted:
                y = y * keep
        elif self.mode == "sample":
            y = F.drop_path(body(x), self.p, inverted=self.inverted, key=key)
        elif key >= keep * 2.0**64:  # a random integer: no number comes from a device
            return shortcut
        else:
            y = body(x)
            if self.inverted:
                y = y / keep
        return shortcut + y


class Residual(_Skipping):
    """y = shortcut(x) + body(x); the shortcut is the identity unless given.

    The gradient reaches the input whole through the shortcut, so very deep nets can be
    trained. With probability `p` the body is skipped in training: for the whole batch
    (mode "batch", the paper's; then it is not even computed and gets no gradient) or
    for each sample by itself (mode "sample"). At test its output is multiplied by 1 -
    p; with `inverted` it is divided by it in training instead. Source: He et al. 2016,
    "Deep residual learning for image recognition", equations 1 and 2; and see the
    module's text.

    >>> from tinynet import nn
    >>> Residual(nn.Conv2d(4, 4, 3, padding=1), p=0.5)(tn.zeros((1, 4, 8, 8))).shape
    (1, 4, 8, 8)
    """

    def __init__(self, body: Module, shortcut: Module | None = None, *, p: float = 0.0,
                 mode: str = "batch", inverted: bool = False,
                 generator: Generator | None = None) -> None:
        self.body = body
        if shortcut is None:
            shortcut = Identity()
        self.shortcut = shortcut
        self._set(p, mode, inverted, generator)

    def forward(self, x: Any) -> Tensor:
        kept = self.shortcut(x)

        def checked(x: Any) -> Any:
            y = self.body(x)
            if y.shape != kept.shape:
                raise ValueError(f"the body turns {tuple(x.shape)} into "
                                 f"{tuple(y.shape)}, the shortcut into "
                                 f"{tuple(kept.shape)}: they must be equal to be "
                                 "added; give a shortcut such as a 1x1 convolution of "
                                 "the same stride")
            return y

        return self._add(kept, checked, x)


class ResidualBlock(_Skipping):
    """A block of a ResNet, to be skipped with probability `p` in training as `Residual` says.

        basic          3x3, 3x3                      bottleneck     1x1, 3x3, 1x1, a quarter as wide
        after (2015)   relu(shortcut + body), body   conv, bn, relu, conv, bn
        pre (2016)     shortcut + body, body         bn, relu, conv, bn, relu, conv

    Where `stride` or the number of channels changes, the shortcut is a 1x1 convolution
    (option B of He et al. 2016), followed by batch norm unless `pre_activation`; else
    the identity. The names of the parameters are those of torchvision's BasicBlock and
    Bottleneck. Source: He et al. 2016, as above, and 2016, "Identity mappings in deep
    residual networks".
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *,
                 bottleneck: bool = False, pre_activation: bool = False, p: float = 0.0,
                 mode: str = "batch", inverted: bool = False,
                 generator: Generator | None = None) -> None:
        self.pre_activation = pre_activation
        self._set(p, mode, inverted, generator)
        if bottleneck and out_channels % 4:
            raise ValueError("out_channels must be a multiple of 4 for a bottleneck, "
                             f"which is a quarter as wide inside, got {out_channels}")
        shapes = [(in_channels, out_channels, 3, stride), (out_channels, out_channels, 3, 1)]
        if bottleneck:
            inner = out_channels // 4
            shapes = [(in_channels, inner, 1, 1), (inner, inner, 3, stride),
                      (inner, out_channels, 1, 1)]
        self._layers = len(shapes)
        for i, (c, o, size, step) in enumerate(shapes, 1):
            conv = Conv2d(c, o, size, step, padding=size // 2, bias=False)
            if pre_activation:
                norm = BatchNorm2d(c, relu=True)
            else:
                norm = BatchNorm2d(o, relu=i < len(shapes))
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", norm)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut: list[Module] = [Conv2d(in_channels, out_channels, 1, stride, bias=False)]
            if not pre_activation:
                shortcut.append(BatchNorm2d(out_channels))
            self.downsample = Sequential(*shortcut)

    def _body(self, x: Any) -> Any:
        for i in range(1, self._layers + 1):
            conv = getattr(self, f"conv{i}")
            norm = getattr(self, f"bn{i}")
            if self.pre_activation:
                x = conv(norm(x))
            else:
                x = norm(conv(x))
        return x

    def forward(self, x: Any) -> Tensor:
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample(x)
        y = self._add(shortcut, self._body, x)
        if self.pre_activation:
            return y
        return F.relu(y)
