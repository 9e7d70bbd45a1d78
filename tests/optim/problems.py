"""Every optimizer in its variants, each rule by hand, and one on a gradient of a test's own.

A new optimizer is a row of `OPTIMIZERS`, and of `BY_HAND` if it has a rule: the tests of this
folder then ask of it what they ask of all.
"""

from __future__ import annotations

import math
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
    Muon,
    Nesterov,
    Newton,
    NewtonCG,
    Optimizer,
    RMSprop,
    Together,
)
from tinynet.optim.landscapes import Make, trace
from tinynet.optim.parameters import named_tensors
from tinynet.optim.schedule import cosine, warmup

Gradient = Callable[[np.ndarray], np.ndarray]


def by_shape(params: Any) -> Together:
    """Muon for the matrices and SGD for the rest, in the order of their names."""
    pairs = sorted(named_tensors(params))
    matrices = [pair for pair in pairs if pair[1].ndim > 1]
    rest = [pair for pair in pairs if pair[1].ndim <= 1]
    members: list[Optimizer] = []
    if matrices:
        members.append(Muon(matrices, cosine(0.05, T=30)))
    if rest:
        members.append(SGD(rest, cosine(0.05, T=30), momentum=0.9))
    return Together(*members)


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
    "together": by_shape,
    "newton": lambda p: Newton(p, damping=30.0),  # enough to be positive definite
    "newton-cg": lambda p: NewtonCG(p, max_iter=1, cg_iter=2),
    "bfgs": lambda p: BFGS(p, max_iter=1),
    "lbfgs": lambda p: LBFGS(p, max_iter=1, history_size=3),
}
# Two steps at lr = 1 from x = 0, on the gradients 1 and 3, computed by the slides' formulas.
BY_HAND: dict[str, tuple[Callable[[Any], Optimizer], float, float]] = {
    "SGD": (lambda p: SGD(p, 1.0), -1, -4),
    "momentum": (lambda p: SGD(p, 1.0, momentum=0.5), -1, -1 - (0.5 + 3)),
    "SGD, Nesterov": (lambda p: SGD(p, 1.0, momentum=0.5, nesterov=True),
                      -1.5, -1.5 - (3 + 0.5 * 3.5)),
    "Nesterov": (lambda p: Nesterov(p, 1.0, momentum=0.5), -1, -1 + (-0.5 - 3)),
    "Adagrad": (lambda p: Adagrad(p, 1.0, eps=0.0), -1, -1 - 3 / math.sqrt(1 + 9)),
    "RMSprop": (lambda p: RMSprop(p, 1.0, alpha=0.5, eps=0.0),
                -1 / math.sqrt(0.5), -1 / math.sqrt(0.5) - 3 / math.sqrt(0.25 + 4.5)),
    "Adam": (lambda p: Adam(p, 1.0, betas=(0.5, 0.75), eps=0.0),
             -1, -1 - (1.75 / 0.75) / math.sqrt((0.1875 + 2.25) / 0.4375)),
    "AdamW": (lambda p: AdamW(p, 1.0, betas=(0.5, 0.75), eps=0.0, weight_decay=0.5),
              -1, -0.5 - (1.75 / 0.75) / math.sqrt((0.1875 + 2.25) / 0.4375)),
}
FLAT = ("newton", "newton-cg", "bfgs", "lbfgs")  # they see one long vector


def walk(make: Make, start: Any, gradient: Gradient, steps: int) -> np.ndarray:
    """The positions (n + 1, coordinates) of an optimizer whose loss has this gradient."""
    return trace(make, lambda x: (Tensor(gradient(to_numpy(x.data))) * x).sum(), start, steps)


def kinds(makers: dict[str, Callable[[Any], Optimizer]]) -> list[type[Optimizer]]:
    """The classes that they make, each once."""
    made = (type(make([Tensor([1.0], requires_grad=True)])) for make in makers.values())
    return list(dict.fromkeys(made))


RULES = kinds({name: make for name, make in OPTIMIZERS.items() if name not in (*FLAT, "together")})
