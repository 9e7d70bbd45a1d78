"""The work that every contender does: nets S and R, one batch of data, one way to train.

A step is forward, cross-entropy, backward and an SGD update (Nesterov momentum, weight decay) on
128 pictures of 3x32x32 in float32. ``("conv", i, o)`` is a 3x3 convolution (padding 1, no bias),
BatchNorm and ReLU; ``"pool"`` a 2x2 max pool; ``("res", c)`` two such convolutions beside a skip.
Direct convolutions would cost 29 GFLOP per step on S and 219 on R.
"""

from __future__ import annotations

import os

import numpy as np

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.005, 0.9, 5e-4

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
