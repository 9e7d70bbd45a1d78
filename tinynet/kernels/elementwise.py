"""Element-wise work on large arrays, in blocks on worker threads, keeping the memory layout.

`elementwise(f, a, b)` is f(a, b) for arrays of one shape. If they lie in memory alike,
with no gaps, the shape does not matter: they are cut into flat blocks, and each block
goes through all of f's steps while it is in the cache. Everything else (small arrays,
mixed layouts, CuPy) is plain f.

Cost: one pass over the operands and the result, whatever f does (a chain of NumPy calls
on whole arrays makes one pass through main memory for each); a 33 MB map takes a third
of the time of plain NumPy on two cores, half of that gain because the result's memory
is reused (`memory.py`). Results never depend on the cut: every element is computed by
itself.

Read next: `kernels/activation.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import numpy as np

from ..backend import Array, is_array, xp
from . import gpu
from .kernel import SERIAL_BYTES, kernel
from .memory import empty_like, memory_order
from .threads import BLOCK_BYTES, pmap


def at_once(f: Callable[..., Array], *arrays: Array, out: Array | None = None) -> Array:
    """f(*arrays), into `out` if given."""
    if out is None:
        return f(*arrays)
    return f(*arrays, out=out)


def elementwise(f: Callable[..., Array], *arrays: Array, out: Array | None = None) -> Array:
    """f(*arrays), which must be element-wise and take ``out=``; into `out` if given.

    >>> elementwise(xp.add, xp.ones(3), xp.ones(3)).tolist()
    [2.0, 2.0, 2.0]
    """
    if arrays[0].nbytes < SERIAL_BYTES and out is None:
        return f(*arrays)  # at once: each call around it costs a small operation much
    return in_blocks(f, *arrays, out=out)


@kernel(plain=at_once, of=1)
def in_blocks(f: Callable[..., Array], *arrays: Array, out: Array | None = None) -> Array:
    """The same for large arrays."""
    x = arrays[0]
    rows = flat_rows(arrays if out is None else (*arrays, out))
    if rows is None:
        return at_once(f, *arrays, out=out)
    if out is None:
        out = empty_like(x, np.result_type(*arrays))
        rows.append(out.transpose(memory_order(out)).reshape(-1))
    *operands, target = rows

    def block(i: int, j: int) -> None:
        f(*[row[i:j] for row in operands], out=target[i:j])

    pmap(block, len(target), BLOCK_BYTES // x.itemsize)
    return out


def flat_rows(arrays: Sequence[Array]) -> list[Array] | None:
    """The operands as flat rows, if all have one shape and lie in memory alike."""
    x = arrays[0]
    if any(a.shape != x.shape for a in arrays):  # first: an order fits one number of axes alone
        return None
    order = None if x.flags.c_contiguous else memory_order(x)
    rows = []
    for a in arrays:
        y = a if order is None else a.transpose(order)
        if not y.flags.c_contiguous:
            return None
        rows.append(y.reshape(-1))
    return rows


@kernel(plain=operator.add)
def add(a: Array, b: Array) -> Array:
    """a + b, of which one may be a Python number."""
    if not is_array(b) or a.dtype != b.dtype:
        return a + b
    return elementwise(xp.add, a, b)


_BITS = {2: np.int16, 4: np.int32, 8: np.int64}  # integers of as many bytes


@kernel(gpu=gpu.keep)
def keep(x: Array, mask: Array, out: Array | None = None) -> Array:
    """x where the boolean mask is true, else 0: for infinities and nan as well.

    The bits, read as a whole number, times 1 or 0. NumPy's `where` takes ten times as
    long, and a product of floats with the mask makes nan of what is infinite.

    >>> keep(xp.asarray([1.0, xp.inf, xp.nan]), xp.asarray([True, False, False])).tolist()
    [1.0, 0.0, 0.0]
    """
    bits = _BITS[x.itemsize]
    if out is None:
        return xp.multiply(x.view(bits), mask).view(x.dtype)
    xp.multiply(x.view(bits), mask, out=out.view(bits))
    return out


def positive(x: Array, out: Array | None = None) -> Array:
    """max(x, 0); into `out` by `clip`, which is three times faster, but slow to call."""
    if out is None or x.dtype.kind != "f":
        return xp.maximum(x, 0, out=out)
    return xp.clip(x, 0, np.inf, out=out)


def keep_positive(g: Array, y: Array, out: Array | None = None) -> Array:
    """g where y > 0, else 0."""
    return keep(g, y > 0, out)


def relu(x: Array) -> Array:
    """max(x, 0) in blocks; plain twin: `positive`."""
    return elementwise(positive, x)


def relu_backward(g: Array, y: Array) -> Array:
    """The gradient of max(x, 0) from its output (or input) y; plain twin: `keep_positive`."""
    return elementwise(keep_positive, g, y)


@kernel(gpu=gpu.masked)
def masked(x: Array, mask: Array, scale: float) -> Array:
    """x * mask * scale for a boolean mask: dropout, and its gradient."""

    def f(x: Array, mask: Array, out: Array | None = None) -> Array:
        y = xp.multiply(x, mask, out=out)
        y *= scale
        return y

    return elementwise(f, x, mask)
