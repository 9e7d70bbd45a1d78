"""Sums over blocks that come out the same, bit for bit, whoever computed which block.

A worker must not add what it has to a common total: the order, and so the rounding,
would depend on timing. So blocks leave partial sums, which are added in the order of
the blocks at the end. Neighbouring blocks form a *lane*, done by one worker in order,
with one partial sum that stays in its cache: 16 lanes keep 16 workers busy, and more
would be more to write and to read again. Lanes depend on sizes alone.

Cost for b blocks and p lanes of n numbers: b n additions in the cache, and p n numbers
written and read again: at most 64 MB, or four partial sums where one is larger than 16
MB.

Sums over the leading axes of one array, of many rows, need no such lanes: a block is
folded in halves, whose rounding grows with the logarithm of their number, and the few
partial sums are added in float64.

Read next: `kernels/precision.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import backend
from ..backend import MANY, PLAIN, Array, DType, on_gpu, xp
from . import kernel as bodies
from .kernel import kernel
from .memory import empty, scratch
from .threads import BLOCK_BYTES, pmap

LANES = 16  # at most
PARTS_BYTES = 1 << 26  # of partial sums
SHORT = 8  # numbers of a row below which folding rows gains nothing


def plain_sum_parts(parts: Array) -> Array:
    return parts.sum(axis=0)


@kernel(plain=plain_sum_parts, small=0)
def sum_parts(parts: Array) -> Array:
    """parts[0] + parts[1] + ..., in this order; cut along the other axes into blocks."""
    rows = parts.reshape(len(parts), -1)
    total = empty(rows.shape[1:], parts.dtype)

    def block(i: int, j: int) -> None:
        xp.sum(rows[:, i:j], axis=0, out=total[i:j])

    pmap(block, total.size, max(1, BLOCK_BYTES // (4 * len(parts))))
    return total.reshape(parts.shape[1:])


@kernel(plain=backend.sum_to)
def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`backend.sum_to`, over leading axes in blocks: the gradient of a bias."""
    n = math.prod(shape)
    leading = x.shape[x.ndim - len(shape) :] == shape and x.flags.c_contiguous
    many = x.size > MANY * n  # which plainly would be added in float64, at a quarter of the speed
    if not leading or not many or n < SHORT or x.dtype.char not in PLAIN:
        return backend.sum_to(x, shape)
    rows = x.reshape(-1, n)
    step = max(1, BLOCK_BYTES // (n * x.itemsize))
    parts = np.empty((-(-len(rows) // step), n), x.dtype)
    pmap(lambda i, j: _fold(rows[i:j], parts[i // step]), len(rows), step)
    return parts.sum(axis=0, dtype=np.float64).astype(x.dtype).reshape(shape)


def _fold(x: Array, out: Array) -> None:
    """The sum of the rows of x, its second half added to the first one, again and again."""
    folded = scratch("folded", (-(-len(x) // 2), x.shape[1]), x.dtype)
    while len(x) > 1:
        pairs = len(x) // 2
        half = len(x) - pairs  # one more than the pairs if the number is odd
        np.add(x[:pairs], x[half:], out=folded[:pairs])
        if half > pairs:
            folded[pairs] = x[pairs]
        x = folded[:half]
    out[...] = x[0]


def sum_if(wanted: bool, work: Callable[..., None], n: int, step: int, shape: tuple[int, ...],
           dtype: DType) -> Array | None:
    """`sum_blocks`; or just the work of the blocks, work(i, j), if the sum is not `wanted`."""
    if wanted:
        return sum_blocks(work, n, step, shape, dtype)
    pmap(work, n, step)
    return None


def sum_blocks(work: Callable[[int, int, Array], None], n: int, step: int, shape: tuple[int, ...],
               dtype: DType) -> Array:
    """The sum of what work(i, j, out) puts in `out` (of `shape`) for all blocks [i, j) of 0 .. n.

    >>> import numpy as np
    >>> sum_blocks(lambda i, j, out: np.copyto(out, j - i), 10, 3, (2,), np.float32).tolist()
    [10.0, 10.0]
    """
    blocks = -(-n // step)  # rounded up, as all divisions here: the last one may be shorter
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize  # of a partial sum
    lanes = min(LANES, max(4, PARTS_BYTES // nbytes))  # at most
    length = step * -(-blocks // lanes)  # of a lane: a number of whole blocks
    if on_gpu or bodies.forced == "plain":  # there `pmap` is one call
        length = n
    parts = empty((-(-n // length), *shape), dtype)

    def lane(i: int, j: int) -> None:
        total = parts[i // length]  # lane k begins at k * length
        work(i, min(j, i + step), total)
        for a in range(i + step, j, step):
            part = scratch("part", shape, dtype)
            work(a, min(j, a + step), part)  # a worker's own, overwritten by the next block
            total += part

    pmap(lane, n, length)
    return sum_parts(parts)
