r"""Quasi-Newton: learn the inverse Hessian from the gradients met on the way (C5, C6).

A step s = x' - x that changed the gradient by y = g' - g says that H s ~ y. BFGS keeps
a matrix that agrees with the last such pair and changes as little as possible
otherwise; L-BFGS keeps the last few pairs themselves and multiplies by that matrix
without building it. Both want the full batch: on mini-batches y is mostly the
difference between two batches (C7). This is the last file of the package.

Read next: `optim/landscapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import Array, asarray, xp
from ..checks import check_whole
from .optimizer import Closure
from .second_order import FlatOptimizer


class QuasiNewton(FlatOptimizer):
    """What BFGS and L-BFGS share: the first trial step, which pairs to learn from."""

    def __init__(self, params: Iterable[Any], lr: float = 1.0, **options: Any) -> None:
        super().__init__(params, lr, **options)
        self.memory: dict[str, Array] = {}  # empty: nothing learned, go along -g

    def first_alpha(self, g: Array) -> float:
        """1, the minimum of the model; without a model a step of at most length 1."""
        if self.memory:
            return float(self.lr)
        return float(self.lr) * min(1.0, 1.0 / float(xp.abs(g).sum()))

    def forget(self) -> bool:
        had = bool(self.memory)
        self.memory = {}
        return had

    def learn(self, s: Array, y: Array) -> None:
        """Skip a pair with s'y <= 0: no positive definite matrix agrees with it."""
        sy = float(s @ y)
        eps = float(np.finfo(s.dtype).eps)
        if sy > eps * float(xp.sqrt((s @ s) * (y @ y))):
            self.remember(s, y, sy)

    def remember(self, s: Array, y: Array, sy: float) -> None:
        """Take a good pair into a new `memory`; `sy` is s'y > 0."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"memory": {k: a.copy() for k, a in self.memory.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_fits(state)
        if state["groups"][0]["names"] != self.param_groups[0]["names"]:
            raise ValueError(f"{self.kind} remembers one long vector: give it the "
                             "parameters in the order in which they were when the "
                             "state was saved")
        n = sum(p.size for p in self.params)
        memory = {}
        for name, a in state["memory"].items():
            if a.shape[-1] != n:
                raise ValueError(f"{name} in the state is for {a.shape[-1]} weights, "
                                 f"there are {n}")
            memory[name] = asarray(a).copy()
        super().load_state_dict(state)
        self.memory = memory


class BFGS(QuasiNewton):
    r"""Broyden, Fletcher, Goldfarb, Shanno: a dense inverse Hessian, N^2 numbers.

        d = -B g,      B <- (I - r s y') B (I - r y s') + r s s',      r = 1 / s'y

    B starts as the identity, scaled by s'y / y'y at the first pair.
    Source: Nocedal and Wright 2006, equations 6.17 and 6.20.

    >>> from tinynet import Tensor
    >>> x = Tensor([-1.2, 1.0], requires_grad=True, dtype="float64")
    >>> rosenbrock = lambda: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> _ = BFGS([x], max_iter=50).step(rosenbrock); [round(v, 6) for v in x.tolist()]
    [1.0, 1.0]
    """

    def direction(self, x: Array, g: Array, closure: Closure) -> Array:
        return -(self.memory["B"] @ g) if self.memory else -g

    def remember(self, s: Array, y: Array, sy: float) -> None:
        b = self.memory.get("B")
        if b is None:
            b = sy / float(y @ y) * xp.eye(s.size, dtype=s.dtype)
        by = b @ y  # multiplied out: three outer products, no product of matrices
        scale = (1 + float(y @ by) / sy) / sy
        crossed = xp.outer(by, s) + xp.outer(s, by)
        self.memory = {"B": b + scale * xp.outer(s, s) - crossed / sy}


class LBFGS(QuasiNewton):
    r"""Limited-memory BFGS: the last `history_size` pairs (s, y), 2 m N numbers.

    The direction -B g comes from two loops over the pairs, newest first and then oldest
    first; with all pairs kept it is that of BFGS started from (s'y / y'y) I. PyTorch's
    arguments; here the strong Wolfe line search is the default, not an option.
    Source: Nocedal and Wright 2006, algorithm 7.4.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, *, history_size: int = 10,
                 **options: Any) -> None:
        super().__init__(params, lr, **options)
        self.history_size = check_whole("history_size", history_size)

    def direction(self, x: Array, g: Array, closure: Closure) -> Array:
        if not self.memory:
            return -g
        pairs = list(zip(self.memory["s"], self.memory["y"], strict=True))  # oldest first
        q = g.copy()
        weights = []
        for s, y in reversed(pairs):
            weights.append((s @ q) / (s @ y))
            q -= weights[-1] * y
        s, y = pairs[-1]
        q *= (s @ y) / (y @ y)
        for (s, y), a in zip(pairs, reversed(weights), strict=True):
            q += (a - (y @ q) / (s @ y)) * s
        return -q

    def remember(self, s: Array, y: Array, sy: float) -> None:
        none = xp.empty((0, s.size), s.dtype)
        kept = {name: self.memory.get(name, none) for name in ("s", "y")}
        first = max(0, len(kept["s"]) + 1 - self.history_size)  # older pairs make room
        self.memory = {
            "s": xp.concatenate([kept["s"][first:], s[None]]),
            "y": xp.concatenate([kept["y"][first:], y[None]]),
        }
