"""tinygrad on its CPU device (needs clang), jitted, without its kernel search."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from tinygrad import Tensor, TinyJit, nn
from tinygrad.helpers import Context
from tinygrad.nn.optim import SGD

from bench import nets

WARM_UP, VERSION = 3, f"tinygrad {version('tinygrad')}"


class Unit:
    def __init__(self, i: int, o: int) -> None:
        self.conv, self.norm = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm(o)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.conv(x)).relu()


class Residual:
    def __init__(self, c: int) -> None:
        self.a, self.b = Unit(c, c), Unit(c, c)

    def __call__(self, x: Any) -> Any:
        return x + self.b(self.a(x))


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float]:
    layers: list[Any] = []
    for layer in nets.NETS[net]:
        if layer == "pool":
            layers.append(lambda x: x.max_pool2d())
        elif layer == "dropout":
            layers.append(lambda x: x.dropout(0.5))
        elif layer == "global":
            layers.append(lambda x: x.max((2, 3)))
        elif layer[0] == "conv":
            layers.append(Unit(*layer[1:]))
        elif layer[0] == "res":
            layers.append(Residual(layer[1]))
        else:
            layers += [lambda x: x.flatten(1), nn.Linear(*layer[1:])]
    optimizer = SGD(nn.state.get_parameters(layers), lr=nets.LEARNING_RATE, momentum=nets.MOMENTUM,
                    nesterov=True, weight_decay=nets.WEIGHT_DECAY)
    images, labels = nets.batch(size)
    x, y = Tensor(images).realize(), Tensor(labels.astype(np.int32)).realize()

    @TinyJit
    def step() -> Any:
        optimizer.zero_grad()
        loss = x.sequential(layers).sparse_categorical_crossentropy(y).backward()
        optimizer.step()
        return loss.realize()

    @TinyJit
    def predict() -> Any:
        return x.sequential(layers).realize()

    def train() -> float:
        with Context(TRAINING=1):
            return step().item()

    return train if task == "train" else lambda: float(predict()[0, 0].item())
