"""Every optimizer in its variants, and one on a gradient that a test writes down itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import Tensor, to_numpy
from tinynet.optim import (
    BFGS,
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Nesterov,
    Newton,
    NewtonCG,
    Optimizer,
    RMSprop,
)
from tinynet.optim.landscapes import Make, trace
from tinynet.optim.schedule import cosine, warmup

Gradient = Callable[[np.ndarray], np.ndarray]

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: SGD(p, 0.05, weight_decay=0.01),
    "momentum": lambda p: SGD(p, warmup(cosine(0.05, T=30), 5), momentum=0.9, l1=0.001),
    "nesterov": lambda p: SGD(p, 0.05, momentum=0.9, nesterov=True, clip_norm=0.5),
    "lr-inside": lambda p: SGD(p, 0.05, momentum=0.9, lr_inside=True, clip_value=0.5),
    "look-ahead": lambda p: Nesterov(p, 0.05),
    "adagrad": lambda p: Adagrad(p, 0.05, max_norm=2.0),
    "adagrad-keras": lambda p: Adagrad(p, 0.05, compat="keras"),
    "rmsprop": lambda p: RMSprop(p, 0.05),
    "adam": lambda p: Adam(p, cosine(0.05, T=20), weight_decay=0.01),
    "adam-plain": lambda p: Adam(p, 0.05, fused=False),
    "adamw": lambda p: AdamW(p, 0.05),
    "newton": lambda p: Newton(p, damping=30.0),  # enough to be positive definite
    "newton-cg": lambda p: NewtonCG(p, max_iter=1, cg_iter=2),
    "bfgs": lambda p: BFGS(p, max_iter=1),
    "lbfgs": lambda p: LBFGS(p, max_iter=1, history_size=3),
}
FLAT = ("newton", "newton-cg", "bfgs", "lbfgs")  # they see one long vector


def walk(make: Make, start: Any, gradient: Gradient, steps: int) -> np.ndarray:
    """The positions (n + 1, coordinates) of an optimizer whose loss has this gradient."""
    return trace(make, lambda x: (Tensor(gradient(to_numpy(x.data))) * x).sum(), start, steps)
