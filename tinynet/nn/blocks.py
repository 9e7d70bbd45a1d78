"""The blocks that conv nets are built from: conv-norm-ReLU, and the shortcut around a body.

Read next: `../models.py`, whose nets use them.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .container import Sequential
from .conv import Conv2d
from .linear import Identity
from .module import Module
from .norm import BatchNorm2d

__all__ = ["Residual", "ResidualBlock", "conv_bn_relu"]


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> Sequential:
    """3x3 convolution (padding 1, no bias: the norm has one), batch norm and ReLU as one layer."""
    return Sequential(Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
                      BatchNorm2d(out_channels, relu=True))


class Residual(Module):
    """y = shortcut(x) + body(x); the shortcut is the identity unless given.

    The gradient reaches the input whole through the shortcut, so very deep nets can be trained.
    Source: He et al. 2016, "Deep residual learning for image recognition", equations 1 and 2.

    >>> from tinynet import nn
    >>> Residual(nn.Conv2d(4, 4, 3, padding=1))(tn.zeros((1, 4, 8, 8))).shape
    (1, 4, 8, 8)
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = Identity() if shortcut is None else shortcut

    def forward(self, x: Any) -> Any:
        y, kept = self.body(x), self.shortcut(x)
        if y.shape != kept.shape:
            raise ValueError(f"the body turns {tuple(x.shape)} into {tuple(y.shape)}, the shortcut "
                             f"into {tuple(kept.shape)}: they must be equal to be added; give a "
                             "shortcut such as a 1x1 convolution of the same stride")
        return kept + y


class ResidualBlock(Module):
    """relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x)))))): the basic block of a ResNet.

    Where `stride` or the number of channels changes, the shortcut is a 1x1 convolution with batch
    norm (option B of He et al. 2016), else the identity. Parameter names are those of
    torchvision's BasicBlock.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        changes = stride != 1 or in_channels != out_channels
        self.downsample = Sequential(
            Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels),
        ) if changes else None

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
