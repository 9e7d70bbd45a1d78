"""The work that every contender does: nets S and R, one batch of data, one way to train.

A step is forward, cross-entropy, backward and an SGD update (Nesterov momentum, weight decay) on
128 pictures of 3x32x32 in float32. ``("conv", i, o)`` is a 3x3 convolution (padding 1, no bias),
BatchNorm and ReLU; ``"pool"`` a 2x2 max pool; ``("res", c)`` two such convolutions beside a skip.
Direct convolutions would cost 29 GFLOP per step on S and 219 on R.

And the update alone, by `RULES`, of net R's parameters and one matrix more: 2.7 million values. In
training the rest of a step lies between two updates, so they find nothing in the cache: before each
one a contender takes the ReLU of `elsewhere`, on all its threads, and after it the sum of all |x|,
by which contenders are compared; neither is timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.005, 0.9, 5e-4

RULES: dict[str, dict[str, Any]] = {"SGD": {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4},
                                    "Adam": {"lr": 1e-3, "eps": 1e-7, "weight_decay": 1e-4}}

NETS: dict[str, list] = {
    "S": [("conv", 3, 32), ("conv", 32, 32), "pool", ("conv", 32, 64), ("conv", 64, 64), "pool",
          ("conv", 64, 128), ("conv", 128, 128), "pool", "dropout", ("linear", 2048, 10)],
    "R": [("conv", 3, 64), ("conv", 64, 128), "pool", ("res", 128), ("conv", 128, 256), "pool",
          ("conv", 256, 256), "pool", ("res", 256), "global", ("linear", 256, 10)],
}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (size, 3, 32, 32) of noise and labels; speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, size)


def shapes() -> list[tuple[int, ...]]:
    """The shapes of the parameters that are updated."""
    from tinynet import models

    return [*(p.shape for p in models.net_r().parameters()), (508, 512)]


def updated() -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and their gradients: noise."""
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(shape, dtype=np.float32),
             rng.standard_normal(shape, dtype=np.float32)) for shape in shapes()]


def elsewhere() -> np.ndarray:
    """64 MB that are no weights."""
    return np.ones(1 << 24, np.float32)


class Arrays:
    """The numbers of a single layer, the same for all: drawn in the order of the calls."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.normal(shape) * np.float32(0.1)

    def second(self, what: str, shape: tuple[int, ...]) -> list[np.ndarray]:
        """What a layer is called with beside its input: "labels", an "other" array, or nothing."""
        if what == "labels":
            return [self.rng.integers(0, shape[1], shape[0])]
        return [self.normal(shape)] if what == "other" else []


def channels_last(x: np.ndarray) -> np.ndarray:
    """Maps as tinynet's layers leave them, channels side by side; pictures as they are."""
    if x.ndim != 4 or x.shape[1] <= 3:
        return x
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@dataclass(frozen=True)
class Update:
    """An update, and what is done before and after it; the parts are the peer's."""

    params: list[Any]
    optimizer: Any
    before: Callable[[], object]

    def __call__(self) -> None:
        self.optimizer.step()

    def after(self) -> float:
        return sum(float(abs(weights).sum()) for weights in self.weights())

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(p.data) for p in self.params]
