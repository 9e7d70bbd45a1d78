"""Optimizer updates in place, in blocks that stay in the cache, on worker threads.

Written as array expressions, a momentum update makes ten passes through main memory and six
arrays; here each block of 128 KB goes through all steps while it is in the cache: one pass over
weights, gradient and slots. The plain twins are the rules in `optim/first_order.py`, which the
tests hold equal. The gradient is never written to. Every function returns False, and touches
nothing, if the arrays do not lie in memory alike (or live on a GPU): the caller then takes the
plain rule. Read next: `optim/optimizer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..backend import Array, on_gpu
from .blocks import SERIAL_BYTES, pmap
from .elementwise import flat_rows
from .memory import scratch

BLOCK = 1 << 15  # elements: four to six float32 operands of 128 KB share the second-level cache


def _in_blocks(step: Callable[..., None], *arrays: Array) -> bool:
    """Call step(*blocks) for all blocks of `arrays`, which it overwrites."""
    rows = None if on_gpu else flat_rows(arrays)
    if rows is None or not all(a.flags.writeable for a in arrays):
        return False
    size = rows[0].size

    def block(i: int, j: int) -> None:
        step(*[row[i:j] for row in rows])

    if rows[0].nbytes < SERIAL_BYTES:
        for i in range(0, size, BLOCK):
            block(i, min(size, i + BLOCK))
    else:
        pmap(block, size, BLOCK)
    return True


def sgd(x: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool,
        weight_decay: float) -> bool:
    """v <- momentum v + g + weight_decay x;  x <- x - lr v  (nesterov: lr (g + momentum v)).

    `v` None: no momentum. Lecture ids A1, A7, A11.
    """

    def step(x: Array, g: Array, v: Array | None = None) -> None:
        t = scratch("update", x.shape, x.dtype)
        if weight_decay:
            np.multiply(x, weight_decay, out=t)
            t += g
            g = t
        if v is None:
            np.multiply(g, lr, out=t)
        elif nesterov:
            v *= momentum
            v += g
            u = np.multiply(v, momentum, out=scratch("update 2", x.shape, x.dtype))
            u += g
            np.multiply(u, lr, out=t)
        else:
            v *= momentum
            v += g
            np.multiply(v, lr, out=t)
        x -= t

    return _in_blocks(step, x, g) if v is None else _in_blocks(step, x, g, v)


def adam(x: Array, g: Array, m: Array, v: Array, lr: float, betas: tuple[float, float],
         eps: float, weight_decay: float, t: int) -> bool:
    """m, v <- leaky means of g and g^2;  x <- x - lr m^ / (sqrt(v^) + eps), ^ correcting the bias.

    `t` is 1 at the first update; 0 means no correction. L2 `weight_decay` is added to g.
    Lecture ids A18, A19.
    """
    b1, b2 = betas
    rate = lr / (1 - b1**t) if t else lr
    root = 1 / math.sqrt(1 - b2**t) if t else 1.0

    def step(x: Array, g: Array, m: Array, v: Array) -> None:
        a, b = (scratch(name, x.shape, x.dtype) for name in ("update", "update 2"))
        if weight_decay:
            np.multiply(x, weight_decay, out=b)
            b += g
            g = b
        np.multiply(g, 1 - b1, out=a)
        m *= b1
        m += a
        np.multiply(g, g, out=a)
        a *= 1 - b2
        v *= b2
        v += a
        np.sqrt(v, out=a)
        a *= root
        a += eps
        np.divide(m, a, out=a)
        a *= rate
        x -= a

    return _in_blocks(step, x, g, m, v)
