r"""Muon: momentum whose step turns all directions of a weight matrix alike.

A gradient matrix G = U S V^T of a layer has a few large singular values and many small
ones: a plain step moves the weights along a few directions only. Muon takes U V^T
instead, the nearest matrix whose singular values are all 1. It is found without an SVD,
by a polynomial that pushes each singular value s towards 1 (Newton-Schulz):

    X <- a X + b (X X^T) X + c (X X^T)^2 X        s <- a s + b s^3 + c s^5

With (a, b, c) = (3.4445, -4.7750, 2.0315) five turns bring every s between 1e-3 and 1
to 0.7 .. 1.2; steep at 0, so small ones grow fast, and never quite 1, which training does
not mind. X begins as G / |G|, so that no s is over 1.
Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".

Read next: `optim/together.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..backend import Array, xp
from ..checks import check_whole
from .optimizer import Arrays, Optimizer, Settings, check_below_1, check_bound, setting
from .parameters import named_tensors
from .schedule import Schedule

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(g: Array, steps: int = 5) -> Array:
    """About U V^T of ``g = U S V^T``, a matrix: Newton-Schulz; see the module's text.

    >>> from tinynet import xp
    >>> g = xp.asarray([[3.0, 0.0], [0.0, -0.01]])
    >>> [[abs(round(float(v), 1)) for v in row] for row in orthogonalized(g)]
    [[0.7, 0.0], [0.0, 1.2]]
    """
    a, b, c = COEFFICIENTS
    x = g / (xp.linalg.norm(g) + 1e-7)
    high = x.shape[0] > x.shape[1]
    if high:
        x = x.T  # the square x x^T is then the smaller of the two
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if high else x


def _check_steps(name: str, value: Any) -> None:
    check_whole(name, value, 1)


class Muon(Optimizer):
    r"""Momentum, orthogonalised, for the weights of hidden layers (2 or more axes).

        v <- rho v + g
        u = g + rho v  (nesterov, the default)  or  v
        x <- x - lr r O(u),        r = sqrt(max(1, rows / columns))

    O is `orthogonalized` of the weight as a matrix, (out, everything else): a filter is
    a row. A step has the same size whatever the gradient's: each of its singular values
    is about lr r. ``weight_decay`` is decoupled: x <- (1 - lr weight_decay) x.

    ``norm=1.0`` brings the weights back to |x| = norm sqrt(rows) before each step (a
    row has length norm then): for layers before a normalisation, which takes no notice
    of their length, so that lr alone says how far they turn.

    Biases, norm scales, the first and the last layer belong to another rule: put both
    into `Together`.

    >>> from tinynet import Tensor
    >>> w = Tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> (3.0 * w[0, 0] + 0.3 * w[1, 1]).backward()
    >>> Muon([w], lr=0.1).step(); bool((w < 0.95).numpy().diagonal().all())
    True
    """

    slots = ("v",)
    momentum = setting(check_below_1)
    nesterov = setting()
    steps = setting(_check_steps)
    norm = setting(check_bound)

    def __init__(self, params: Iterable[Any], lr: float | Schedule = 0.02,
                 momentum: float = 0.95, *, nesterov: bool = True, steps: int = 5,
                 norm: float | None = None, **common: Any) -> None:
        common.setdefault("decoupled", True)
        super().__init__(params, lr, momentum=momentum, nesterov=nesterov, steps=steps,
                         norm=norm, **common)
        for group in self.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                if p.ndim < 2:
                    raise ValueError(f"Muon turns matrices, and parameter {name!r} has "
                                     f"shape {p.shape}: give it to another optimizer, "
                                     "and both to optim.Together")

    def rule(self, h: Settings, x: Array, g: Array, v: Array) -> Arrays:
        rows = len(x)
        if h.norm is not None:
            x = x * (h.norm * math.sqrt(rows) / (xp.linalg.norm(x) + 1e-12))
        v = h.momentum * v + g
        u = g + h.momentum * v if h.nesterov else v
        matrix = u.reshape(rows, -1)
        r = math.sqrt(max(1.0, rows / matrix.shape[1]))
        return x - h.lr * r * orthogonalized(matrix, h.steps).reshape(x.shape), v


def matrices_and_rest(params: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Hidden weights for Muon, and all else for another rule.

    `params` is a model or its ``named_parameters()``. The first and the last weight go
    with the rest: one meets pixels, the other makes scores, where directions differ in
    what they mean.

    >>> from tinynet import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    >>> hidden, rest = matrices_and_rest(net)
    >>> [name for name, _ in hidden], len(rest)
    (['1.weight'], 5)
    """
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    pairs = named_tensors(params)
    weights = [name for name, p in pairs if p.ndim > 1]
    hidden = weights[1:-1]
    return ([pair for pair in pairs if pair[0] in hidden],
            [pair for pair in pairs if pair[0] not in hidden])
