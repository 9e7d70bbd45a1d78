"""Optimizer updates in place, in blocks that stay in the cache, on worker threads.

Written as array expressions, a momentum update makes ten passes through main memory and
six arrays; here each block of 1 MB goes through all steps while it is in or near the
cache: one pass over weights, gradient and slots, most of it by BLAS (`axpby.py`). The
plain twins are the rules in `optim/first_order.py`, which the tests hold equal. The
gradient is never written to. Cost for n numbers: 3 n read and 2 n written for momentum
(4 n and 3 n for Adam), and with weight decay 3 or 9 calls for a block.

`sgd`, `adam` and `squares` describe the `Update` of one tensor, or return None if its
arrays are small or do not lie in memory alike: the caller then takes the plain rule. On
a GPU all updates are one launch (`gpu_update.py`). `run` does all updates of a net at once: it
has a few large tensors and many small ones, and cut into blocks together they keep all
workers busy to the end. Blocks are larger than the cache alone would ask for, since a
worker needs the interpreter lock between two calls: with calls shorter than some 20 us
the workers mostly wait for each other. `run` takes all its memory before it begins, so
that a step that cannot be finished for want of memory has not been begun.

Read next: `kernels/axpby.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from . import gpu_update
from .axpby import axpby
from .elementwise import flat_rows
from .kernel import SERIAL_BYTES, kernel
from .memory import scratch
from .threads import get_num_workers, pmap

BLOCK = 1 << 18  # numbers of each array
SMALL_BYTES = 1 << 13  # below this the plain rule is quicker


class Decay(NamedTuple):
    """Weight decay: x counts as ``shrink`` x, and g as g + ``l2`` x."""

    l2: float = 0.0
    shrink: float = 1.0


class Update(NamedTuple):
    """``step(*rows)`` overwrites rows[0], the weights, and the slots; rows[1] is the gradient.

    On a CPU all rows are flat, and `step` is called with equal blocks of them, after
    the two rows of the same length that it may use: ``step(spare, work, *blocks)``. On a
    GPU `step` is the rule that `gpu_update.run` launches.
    """

    step: Any
    rows: Sequence[Any]


@kernel(gpu=gpu_update.run)
def run(updates: Sequence[Update]) -> None:
    """Do all updates; whatever can fail does so before the first number is written."""
    parts = []
    for step, rows in updates:
        for i in range(0, rows[0].size, BLOCK):
            parts.append((step, [row[i : i + BLOCK] for row in rows]))
    if not parts:
        return
    longest = max(rows[0].nbytes for _, rows in parts)
    longest = -(-longest // 64) * 64  # rounded up: the second row is aligned like the first
    at_once = min(get_num_workers(), len(parts))
    # Two rows for each worker; who is free takes a pair, and gives it back.
    pairs = [scratch(f"update {k}", (2, longest), np.uint8) for k in range(at_once)]

    def work(i: int, j: int) -> None:
        pair = pairs.pop()
        for step, rows in parts[i:j]:
            x = rows[0]
            step(*(row[: x.nbytes].view(x.dtype) for row in pair), *rows)
        pairs.append(pair)

    if sum(x.nbytes for _, (x, *_) in parts) < SERIAL_BYTES:
        work(0, len(parts))
    else:
        pmap(work, len(parts), 1)


def _update(step: Callable[..., None], decay: Decay, arrays: Sequence[Array]) -> Update | None:
    """The update of `arrays` by `step`, unless they differ in dtype or in how they lie."""
    x = arrays[0]
    if x.nbytes < SMALL_BYTES:
        return None
    alike = x.dtype.char in "fd" and all(a.dtype == x.dtype for a in arrays)
    rows = flat_rows(arrays) if alike and all(a.flags.writeable for a in arrays) else None
    if rows is None:
        return None

    def shrunk(spare: Array, work: Array, x: Array, *others: Array) -> None:
        x *= decay.shrink
        step(spare, work, x, *others)

    return Update(step if decay.shrink == 1.0 else shrunk, rows)


def _decayed(g: Array, x: Array, l2: float, spare: Array) -> Array:
    """g + l2 x, written to `spare`; g itself without decay."""
    if not l2:
        return g
    np.multiply(x, l2, out=spare)
    spare += g
    return spare


def _launched(rule: Callable[..., gpu_update.Rule], slots: int) -> Callable[..., Update]:
    """What describes the update of x, g and `slots` more arrays for a GPU."""

    def describe(*given: Any) -> Update:
        arrays = [a for a in given[: 2 + slots] if a is not None]
        *settings, decay = given[2 + slots :]
        return Update(rule(len(arrays) - 2, *settings, decay.l2, decay.shrink), arrays)

    return describe


@kernel(gpu=_launched(gpu_update.sgd, 1))
def sgd(x: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool,
        decay: Decay) -> Update | None:
    """v <- momentum v + g;  x <- x - lr v  (nesterov: lr (g + momentum v)).

    `v` None: no momentum.
    """
    def step(spare: Array, work: Array, x: Array, g: Array, v: Array | None = None) -> None:
        if v is None or nesterov:
            g = _decayed(g, x, decay.l2, spare)
            axpby(-lr, g, 1.0, x, work)
        if v is None:
            return
        axpby(1.0, g, momentum, v, work)
        if decay.l2 and not nesterov:
            axpby(decay.l2, x, 1.0, v, work)  # one pass less than `_decayed`
        axpby(-lr * momentum if nesterov else -lr, v, 1.0, x, work)

    return _update(step, decay, (x, g) if v is None else (x, g, v))


@kernel(gpu=_launched(gpu_update.adam, 2))
def adam(x: Array, g: Array, m: Array, v: Array, rate: float, betas: tuple[float, float],
         eps: float, decay: Decay) -> Update | None:
    """m, v <- leaky means of g and g^2;  x <- x - rate m / (sqrt(v) + eps).

    `rate` and `eps` carry the correction of the bias.
    """
    b1, b2 = betas

    def step(spare: Array, work: Array, x: Array, g: Array, m: Array, v: Array) -> None:
        g = _decayed(g, x, decay.l2, spare)
        axpby(1 - b1, g, b1, m, work)
        np.multiply(g, g, out=work)
        axpby(1 - b2, work, b2, v, work)
        np.sqrt(v, out=work)
        work += eps
        np.divide(m, work, out=work)
        axpby(-rate, work, 1.0, x, work)

    return _update(step, decay, (x, g, m, v))


@kernel(gpu=_launched(gpu_update.squares, 1))
def squares(x: Array, g: Array, s: Array, lr: float, shares: tuple[float, float], eps: float,
            inside: bool, decay: Decay) -> Update | None:
    """s <- keep s + add g^2;  x <- x - lr g / (sqrt(s) + eps), or sqrt(s + eps) if `inside`.

    `shares` is (keep, add): (1, 1) for Adagrad, (alpha, 1 - alpha) for RMSprop.
    """
    keep, add = shares

    def step(spare: Array, work: Array, x: Array, g: Array, s: Array) -> None:
        g = _decayed(g, x, decay.l2, spare)
        np.multiply(g, g, out=work)
        axpby(add, work, keep, s, work)
        if inside:
            np.add(s, eps, out=work)
            np.sqrt(work, out=work)
        else:
            np.sqrt(s, out=work)
            work += eps
        np.divide(g, work, out=work)
        axpby(-lr, work, 1.0, x, work)

    return _update(step, decay, (x, g, s))
