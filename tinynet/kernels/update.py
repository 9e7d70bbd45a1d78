"""Optimizer updates in place, in blocks that stay in the cache, on worker threads.

Written as array expressions, a momentum update makes ten passes through main memory and six
arrays; here each block of 1 MB goes through all steps while it is in or near the cache: one pass
over weights, gradient and slots, most of it by BLAS (`axpby.py`). The plain twins are the rules in
`optim/first_order.py`, which the tests hold equal. The gradient is never written to. Cost for n
numbers: 3 n read and 2 n written for momentum (4 n and 3 n for Adam), and with weight decay 3 or 9
calls for a block.

`sgd` and `adam` describe the `Update` of one tensor, or return None if its arrays do not lie in
memory alike: the caller then takes the plain rule. On a GPU an update is one launch (`device.py`).
`run` does all updates of a net at once: it has a few large tensors and many small ones, and cut
into blocks together they keep all workers busy to the end. Blocks are larger than the cache alone
would ask for, since a worker needs the interpreter lock between two calls: with calls shorter than
some 20 us the workers mostly wait for each other (a bias is such a call, but there are few).
Read next: `optim/optimizer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..backend import Array, on_gpu
from . import device
from .axpby import axpby
from .blocks import pmap
from .elementwise import flat_rows
from .memory import scratch

BLOCK = 1 << 18  # numbers of each array

# step, rows: call step(*blocks) for all blocks of the rows, which it overwrites.
Update = tuple[Callable[..., None], Sequence[Array]]


def run(updates: Sequence[Update]) -> None:
    """Do all updates, cut into blocks."""
    if on_gpu:
        for step, rows in updates:
            step(*rows)
        return
    parts = [(step, [row[i : i + BLOCK] for row in rows])
             for step, rows in updates for i in range(0, rows[0].size, BLOCK)]

    def work(i: int, j: int) -> None:
        for step, rows in parts[i:j]:
            step(*rows)

    pmap(work, len(parts), 1)


def _update(step: Callable[..., None], *arrays: Array) -> Update | None:
    """The update of `arrays`, all of one dtype, by `step`, unless they do not lie alike."""
    rows = flat_rows(arrays) if all(a.flags.writeable for a in arrays) else None
    return None if rows is None else (step, rows)


def _decayed(g: Array, x: Array, weight_decay: float) -> Array:
    """g + weight_decay x, in scratch memory; g itself without decay."""
    if not weight_decay:
        return g
    t = np.multiply(x, weight_decay, out=scratch("decayed", x.shape, x.dtype))
    t += g
    return t


def sgd(x: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool,
        weight_decay: float) -> Update | None:
    """v <- momentum v + g + weight_decay x;  x <- x - lr v  (nesterov: lr (g + momentum v)).

    `v` None: no momentum. Lecture ids A1, A7, A11.
    """
    if on_gpu:
        return (lambda: device.sgd(x, g, v, lr, momentum, nesterov, weight_decay)), ()

    def step(x: Array, g: Array, v: Array | None = None) -> None:
        if v is None or nesterov:
            g = _decayed(g, x, weight_decay)
            axpby(-lr, g, 1.0, x)
        if v is not None:
            axpby(1.0, g, momentum, v)
            if not nesterov and weight_decay:
                axpby(weight_decay, x, 1.0, v)
            axpby(-lr * momentum if nesterov else -lr, v, 1.0, x)

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
        g, t = _decayed(g, x, weight_decay), scratch("update", x.shape, x.dtype)
        axpby(1 - b1, g, b1, m)
        np.multiply(g, g, out=t)
        axpby(1 - b2, t, b2, v)
        np.sqrt(v, out=t)
        t += eps
        np.divide(m, t, out=t)
        axpby(-rate, t, 1.0, x)

    return _update(step, x, g, m, v)


def squares(x: Array, g: Array, s: Array, lr: float, keep: float, add: float, eps: float,
            inside: bool, weight_decay: float) -> Update | None:
    """s <- keep s + add g^2;  x <- x - lr g / (sqrt(s) + eps), or sqrt(s + eps) if `inside`.

    Adagrad and RMSprop, on a GPU alone. Lecture ids A14, A17.
    """
    if on_gpu:
        return (lambda: device.squares(x, g, s, lr, keep, add, eps, inside, weight_decay)), ()
    return None
