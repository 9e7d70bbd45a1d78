r"""Softmax and its logarithm along an axis, and their gradients: rows in blocks.

    p = e^(z - max z) / sum,           dz = p (g - sum of g p)
    q = z - max z - log(sum),          dz = g - e^q sum of g          (sums along the axis)

Rows of numbers side by side, of large arrays, are done a block at a time; `einsum` sums
them in half the time of `sum`. Other axes and layouts take the plain twins. Cost for n
numbers: 5 n operations and an exponential each way.

Read next: `kernels/loss.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..backend import Array, add_up, xp
from .kernel import kernel
from .memory import empty, scratch
from .threads import BLOCK_BYTES, pmap

AXIS = int | tuple[int, ...] | None


def _largest(x: Array, axis: AXIS) -> Array:
    """The largest element over `axis`, which is kept; of no elements 0."""
    if not x.size:
        return x.sum(axis=axis, keepdims=True)
    return x.max(axis=axis, keepdims=True)


def _by_rows(work: Callable[..., None], *arrays: Array) -> Array:
    """work(out, *arrays) for blocks of the rows of arrays of one shape, along their last axis."""
    shape = arrays[0].shape
    y = empty(shape, arrays[0].dtype)
    rows = [a.reshape(-1, shape[-1]) for a in (y, *arrays)]
    in_blocks(lambda i, j: work(*[a[i:j] for a in rows]), rows[0])
    return y


def at_once(work: Callable[[int, int], None], x: Array) -> None:
    work(0, len(x))


@kernel(plain=at_once, of=1, small=BLOCK_BYTES)  # below that, waking a thread costs more
def in_blocks(work: Callable[[int, int], None], x: Array) -> None:
    """work(i, j) for blocks of the rows of x."""
    pmap(work, len(x), max(1, BLOCK_BYTES // (4 * x[0].nbytes)))


def _are_rows(axis: AXIS, *arrays: Array) -> bool:
    """Whether `axis` is the last one of arrays that lie in memory as they are indexed."""
    x = arrays[0]
    alike = all(a.flags.c_contiguous and a.dtype == x.dtype for a in arrays)
    return axis in (-1, x.ndim - 1) and alike


def row_sums(x: Array) -> Array:
    """The sum of each row, (rows, 1)."""
    sums: Array = np.einsum("ij->i", x)
    return sums[:, None]


def plain_softmax(x: Array, axis: AXIS = -1) -> Array:
    e = xp.exp(x - _largest(x, axis))
    e /= add_up(e, axis, True)
    return e


@kernel(plain=plain_softmax, wide=True)
def softmax(x: Array, axis: AXIS = -1) -> Array:
    """e^x / sum(e^x) along `axis`."""
    if not _are_rows(axis, x):
        return plain_softmax(x, axis)

    def work(p: Array, z: Array) -> None:
        np.subtract(z, z.max(axis=1, keepdims=True), out=p)
        np.exp(p, out=p)
        p /= row_sums(p)

    return _by_rows(work, x)


def plain_softmax_backward(g: Array, y: Array, axis: AXIS = -1) -> Array:
    return y * (g - add_up(g * y, axis, True))


@kernel(plain=plain_softmax_backward, wide=True)
def softmax_backward(g: Array, y: Array, axis: AXIS = -1) -> Array:
    """The gradient from y = softmax(x)."""
    if not _are_rows(axis, g, y):
        return plain_softmax_backward(g, y, axis)

    def work(dz: Array, g: Array, p: Array) -> None:
        np.subtract(g, np.vecdot(g, p)[:, None], out=dz)
        dz *= p

    return _by_rows(work, g, y)


def plain_log_softmax(x: Array, axis: AXIS = -1) -> Array:
    shifted = x - _largest(x, axis)
    if not x.size:
        return shifted
    return shifted - xp.log(add_up(xp.exp(shifted), axis, True))


@kernel(plain=plain_log_softmax, wide=True)
def log_softmax(x: Array, axis: AXIS = -1) -> Array:
    """log(softmax(x)) along `axis`."""
    if not _are_rows(axis, x):
        return plain_log_softmax(x, axis)

    def work(q: Array, z: Array) -> None:
        np.subtract(z, z.max(axis=1, keepdims=True), out=q)
        q -= np.log(row_sums(np.exp(q, out=scratch("e^q", q.shape, q.dtype))))

    return _by_rows(work, x)


def plain_log_softmax_backward(g: Array, y: Array, axis: AXIS = -1) -> Array:
    return g - xp.exp(y) * add_up(g, axis, True)


@kernel(plain=plain_log_softmax_backward, wide=True)
def log_softmax_backward(g: Array, y: Array, axis: AXIS = -1) -> Array:
    """The gradient from y = log_softmax(x)."""
    if not _are_rows(axis, g, y):
        return plain_log_softmax_backward(g, y, axis)

    def work(dz: Array, g: Array, q: Array) -> None:
        np.exp(q, out=dz)
        dz *= row_sums(g)
        np.subtract(g, dz, out=dz)

    return _by_rows(work, g, y)
