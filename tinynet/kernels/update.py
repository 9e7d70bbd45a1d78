"""Optimizer updates in place, in blocks that stay in the cache, on worker threads.

Written as array expressions, a momentum update makes ten passes through main memory and six
arrays; here each block of 1 MB goes through all steps while it is in the cache: one pass over
weights, gradient and slots. The plain twins are the rules in `optim/first_order.py`, which the
tests hold equal. The gradient is never written to. Cost for n numbers: 3 n read and 2 n written for
momentum (4 n and 3 n for Adam), 6 and 14 operations each with weight decay.

`sgd` and `adam` describe the `Update` of one tensor, or return None if its arrays do not lie in
memory alike: the caller then takes the plain rule. On a GPU an update is one launch (`device.py`).
`run` does all updates of a net at once: it has a few large tensors and many small ones, and cut
into blocks together they keep all workers busy to the end (1.2 to 1.4 times as fast as one after
the other, on two cores). Blocks are larger than the cache alone would ask for, since a worker needs
the interpreter lock between two NumPy calls: with calls shorter than some 20 us the workers mostly
wait for each other.
Read next: `optim/optimizer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby

import numpy as np

from ..backend import Array, on_gpu
from . import device
from .blocks import pmap
from .elementwise import flat_rows
from .memory import scratch

BLOCK = 1 << 18  # numbers of each array

# step, rows: call step(*blocks) for all blocks of the rows, which it overwrites.
Update = tuple[Callable[..., None], Sequence[Array]]


def run(updates: Sequence[Update]) -> None:
    """Do all updates, cut into blocks of one size; small tensors share a block."""
    if on_gpu:
        for step, rows in updates:
            step(*rows)
        return
    parts = [(step, [row[i : i + BLOCK] for row in rows])
             for step, rows in updates for i in range(0, rows[0].size, BLOCK)]
    ends = accumulate(rows[0].size for _, rows in parts)
    jobs = [[part for part, _ in job]
            for _, job in groupby(zip(parts, ends, strict=True), lambda pair: pair[1] // BLOCK)]

    def work(i: int, j: int) -> None:
        for job in jobs[i:j]:
            for step, rows in job:
                step(*rows)

    pmap(work, len(jobs), 1)


def _update(step: Callable[..., None], *arrays: Array) -> Update | None:
    """The update of `arrays` by `step`, unless they do not lie alike."""
    rows = flat_rows(arrays) if all(a.flags.writeable for a in arrays) else None
    return None if rows is None else (step, rows)


def sgd(x: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool,
        weight_decay: float) -> Update | None:
    """v <- momentum v + g + weight_decay x;  x <- x - lr v  (nesterov: lr (g + momentum v)).

    `v` None: no momentum. Lecture ids A1, A7, A11.
    """
    if on_gpu:
        return (lambda: device.sgd(x, g, v, lr, momentum, nesterov, weight_decay)), ()

    def step(x: Array, g: Array, v: Array | None = None) -> None:
        t = scratch("update", x.shape, x.dtype)
        if weight_decay:
            np.multiply(x, weight_decay, out=t)
            t += g
            g = t
        if v is not None:
            v *= momentum
            v += g
            if nesterov:
                u = np.multiply(v, momentum, out=scratch("update 2", x.shape, x.dtype))
                u += g
            g = u if nesterov else v
        np.multiply(g, lr, out=t)
        x -= t

    return _update(step, x, g) if v is None else _update(step, x, g, v)


def adam(x: Array, g: Array, m: Array, v: Array, lr: float, betas: tuple[float, float],
         eps: float, weight_decay: float, t: int) -> Update | None:
    """m, v <- leaky means of g and g^2;  x <- x - lr m^ / (sqrt(v^) + eps), ^ correcting the bias.

    `t` is 1 at the first update; 0 means no correction. L2 `weight_decay` is added to g.
    Lecture ids A18, A19.
    """
    b1, b2 = betas
    rate = lr / (1 - b1**t) if t else lr
    root = math.sqrt(1 - b2**t) if t else 1.0  # m^ / (sqrt(v^) + eps) with both multiplied by it
    rate, eps = rate * root, eps * root
    if on_gpu:
        return (lambda: device.adam(x, g, m, v, rate, betas, eps, weight_decay)), ()

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
        a += eps
        np.divide(m, a, out=a)
        a *= rate
        x -= a

    return _update(step, x, g, m, v)


def squares(x: Array, g: Array, s: Array, lr: float, keep: float, add: float, eps: float,
            inside: bool, weight_decay: float) -> Update | None:
    """s <- keep s + add g^2;  x <- x - lr g / (sqrt(s) + eps), or sqrt(s + eps) if `inside`.

    Adagrad and RMSprop, on a GPU alone. Lecture ids A14, A17.
    """
    if on_gpu:
        return (lambda: device.squares(x, g, s, lr, keep, add, eps, inside, weight_decay)), ()
    return None
