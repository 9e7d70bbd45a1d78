"""The layers that `bench.layers` compares: what a user meets in the first week, by name.

Each is built from the names that tinynet and PyTorch share, so one line serves both. Maps of
records ("odd maps") have 31, 15, 7 and 3 pixels: a valid convolution of 33 leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Build = Callable[[Any, Any], Callable[..., Any]]  # from `nn` and `functional`, the layer


@dataclass(frozen=True)
class Layer:
    """How to build it, and the shape of its input; what else it is called with."""

    build: Build
    shape: tuple[int, ...]
    second: str = ""  # "labels": of as many classes as columns; "other": an array like the input
    training: bool = True  # forward and backward, or forward alone in evaluation mode


def conv(i: int, o: int, kernel: int, pixels: int, batch: int = 128, training: bool = True,
         **options: Any) -> Layer:
    options = {"padding": kernel // 2, "bias": False, **options}
    return Layer(lambda nn, F: nn.Conv2d(i, o, kernel, **options), (batch, i, pixels, pixels),
                 training=training)


def linear(i: int, o: int, batch: int = 128, training: bool = True) -> Layer:
    return Layer(lambda nn, F: nn.Linear(i, o), (batch, i), training=training)


def module(name: str, *args: Any, shape: tuple[int, ...], **options: Any) -> Layer:
    return Layer(lambda nn, F: getattr(nn, name)(*args, **options), shape)


def function(name: str, shape: tuple[int, ...], **options: Any) -> Layer:
    def build(nn: Any, F: Any) -> Callable[..., Any]:
        return lambda x: getattr(F, name)(x, **options)

    return Layer(build, shape)


def unit(i: int, o: int, pool: bool) -> Layer:
    """A convolution, BatchNorm and ReLU, and perhaps a pool, as a net has them."""
    def build(nn: Any, F: Any) -> Callable[..., Any]:
        last = [nn.MaxPool2d(2)] if pool else []
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o),
                             nn.ReLU(), *last)

    return Layer(build, (128, i, 32, 32))


def gather(nn: Any, F: Any) -> Callable[..., Any]:
    """Rows of a table, as an embedding takes them: 4,096 of 10,000."""
    import numpy as np

    rows = np.random.default_rng(1).integers(0, 10_000, 4096)
    return lambda x: x[rows]


MAPS = (128, 64, 32, 32)
LAYERS: dict[str, Layer] = {
    **{f"conv 3x3 {i}->{o} @{pixels}": conv(i, o, 3, pixels) for i, o, pixels in (
        (3, 32, 32), (3, 64, 32), (16, 16, 32), (32, 32, 32), (64, 64, 32), (64, 128, 32),
        (64, 64, 16), (128, 128, 16), (128, 256, 16), (256, 256, 8), (512, 512, 4))},
    "conv 3x3 64->64 @56 batch 16": conv(64, 64, 3, 56, 16),
    "conv 3x3 64->64 @14": conv(64, 64, 3, 14),
    "conv 3x3 32->32 @30 valid": conv(32, 32, 3, 30, padding=0),
    "conv 3x3 64->64 @32 bias": conv(64, 64, 3, 32, bias=True),
    "conv 3x3 64->64 @31": conv(64, 64, 3, 31),
    "conv 3x3 256->256 @7": conv(256, 256, 3, 7),
    "conv 3x3 256->256 @3": conv(256, 256, 3, 3),
    "conv 3x3 stride 2 16->32 @32": conv(16, 32, 3, 32, stride=2),
    "conv 3x3 stride 2 64->128 @32": conv(64, 128, 3, 32, stride=2),
    "conv 3x3 stride 2 128->256 @16": conv(128, 256, 3, 16, stride=2),
    "conv 2x2 3->24 @33 valid": conv(3, 24, 2, 33, padding=0),
    "conv 1x1 64->64 @32": conv(64, 64, 1, 32),
    "conv 1x1 64->256 @16": conv(64, 256, 1, 16),
    "conv 1x1 256->64 @16": conv(256, 64, 1, 16),
    "conv 1x1 stride 2 64->128 @32": conv(64, 128, 1, 32, stride=2),
    "conv 5x5 3->32 @32": conv(3, 32, 5, 32),
    "conv 5x5 32->32 @32": conv(32, 32, 5, 32),
    "conv 5x5 64->64 @16": conv(64, 64, 5, 16),
    "conv 5x5 6->16 @14 valid": conv(6, 16, 5, 14, padding=0),
    "conv 7x7 stride 2 3->64 @64 batch 32": conv(3, 64, 7, 64, 32, stride=2),
    "depthwise 3x3 64 @32": conv(64, 64, 3, 32, groups=64),
    "depthwise 3x3 256 @8": conv(256, 256, 3, 8, groups=256),
    "groups 4 3x3 64 @16": conv(64, 64, 3, 16, groups=4),
    "dilation 2 3x3 64 @16": conv(64, 64, 3, 16, padding=2, dilation=2),
    "linear 784->100": linear(784, 100),
    "linear 3072->512": linear(3072, 512),
    "linear 2048->10": linear(2048, 10),
    "linear 4096->4096": linear(4096, 4096),
    "linear 512->512 batch 1024": linear(512, 512, 1024),
    "linear 1024->1024": linear(1024, 1024),
    "BatchNorm2d 64 @32": module("BatchNorm2d", 64, shape=MAPS),
    "BatchNorm2d 256 @8": module("BatchNorm2d", 256, shape=(128, 256, 8, 8)),
    "BatchNorm1d 512": module("BatchNorm1d", 512, shape=(128, 512)),
    "LayerNorm 256 on (128, 64, 256)": module("LayerNorm", 256, shape=(128, 64, 256)),
    "GroupNorm 8 of 64 @32": module("GroupNorm", 8, 64, shape=MAPS),
    "ReLU 64 @32": module("ReLU", shape=MAPS),
    "ReLU (128, 100)": module("ReLU", shape=(128, 100)),
    "GELU 64 @32": module("GELU", shape=MAPS),
    "GELU tanh 64 @32": module("GELU", "tanh", shape=MAPS),
    "SiLU 64 @32": function("silu", MAPS),
    "tanh 64 @32": module("Tanh", shape=MAPS),
    "sigmoid 64 @32": module("Sigmoid", shape=MAPS),
    "LeakyReLU 64 @32": module("LeakyReLU", shape=MAPS),
    "ELU 64 @32": module("ELU", shape=MAPS),
    "softplus 64 @32": module("Softplus", shape=MAPS),
    "max pool 2 64 @32": module("MaxPool2d", 2, shape=MAPS),
    "max pool 2 64 @31": module("MaxPool2d", 2, shape=(128, 64, 31, 31)),
    "max pool 2 256 @7": module("MaxPool2d", 2, shape=(128, 256, 7, 7)),
    "max pool 3 stride 2 64 @32": module("MaxPool2d", 3, 2, 1, shape=MAPS),
    "average pool 2 64 @32": module("AvgPool2d", 2, shape=MAPS),
    "global average 256 @8": module("AdaptiveAvgPool2d", 1, shape=(128, 256, 8, 8)),
    "dropout 64 @32": module("Dropout", 0.5, shape=MAPS),
    "residual add 64 @32": Layer(lambda nn, F: lambda x, other: x + other, MAPS, "other"),
    "sum over leading axes (8192, 512)": Layer(lambda nn, F: lambda x: x.sum(0), (8192, 512)),
    "rows of a table (10000, 128)": Layer(gather, (10_000, 128)),
    "softmax (128, 1000)": module("Softmax", -1, shape=(128, 1000)),
    "log softmax (128, 1000)": module("LogSoftmax", -1, shape=(128, 1000)),
    "cross-entropy (128, 10)": Layer(lambda nn, F: F.cross_entropy, (128, 10), "labels"),
    "cross-entropy (128, 1000)": Layer(lambda nn, F: F.cross_entropy, (128, 1000), "labels"),
    "conv, norm, ReLU 64->64 @32": unit(64, 64, pool=False),
    "conv, norm, ReLU, pool 32->32 @32": unit(32, 32, pool=True),
    "batch 1: conv 3x3 64->64 @32, forward": conv(64, 64, 3, 32, 1, training=False),
    "batch 1: conv 3x3 256->256 @8, forward": conv(256, 256, 3, 8, 1, training=False),
    "batch 1: linear 2048->10, forward": linear(2048, 10, 1, training=False),
}
