"""Matrix products whose bits do not depend on how many threads BLAS happens to have.

BLAS may cut a product differently for one thread and for two, and how many it has
depends on what other threads are doing. So a product that is large enough to be cut at
all is cut here, in blocks that depend on its shape alone, each on one BLAS thread. The
plain twin is NumPy's product.

BLAS copies ("packs") both operands of a block first. So blocks are few, and cut along
the longer side of the result: what all of them copy is then the smaller operand.

Read next: `kernels/windows.py`.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, wide, xp
from .kernel import kernel
from .memory import empty
from .threads import pmap, single_threaded_blas

SMALL = 1 << 16  # multiply-adds that BLAS never cuts
BLOCK = 1 << 21  # multiply-adds of a block, at least: about 0.1 ms on one core
BLOCKS = 8  # at most
GRAIN = 16  # rows or columns of a block are a multiple of it


@kernel(plain=xp.matmul, small=0)
def matmul(a: Array, b: Array) -> Array:
    """a @ b for matrices and stacks of them.

    Cost: 2 n k m operations; each block copies its part of the longer side, and all of
    the shorter one.
    """
    if a.size * b.shape[-1] <= SMALL:
        return a @ b
    dtype = np.result_type(a, b)
    if dtype == np.float16:  # which BLAS does not know
        return _large(wide(a), wide(b)).astype(dtype)
    return _large(a, b)


def _large(a: Array, b: Array) -> Array:
    if a.ndim != 2 or b.ndim != 2:
        with single_threaded_blas():
            return a @ b
    rows, inner = a.shape
    columns = b.shape[1]
    out = empty((rows, columns), np.result_type(a, b))
    longer, shorter = sorted((rows, columns), reverse=True)
    step = max(-(-longer // BLOCKS), BLOCK // max(1, inner * shorter))
    step = -(-step // GRAIN) * GRAIN

    def rows_of(i: int, j: int) -> None:
        np.matmul(a[i:j], b, out=out[i:j])

    def columns_of(i: int, j: int) -> None:
        np.matmul(a, b[:, i:j], out=out[:, i:j])

    pmap(rows_of if rows >= columns else columns_of, longer, step)
    return out
