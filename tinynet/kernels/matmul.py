"""Matrix products whose bits do not depend on how many threads BLAS happens to have.

BLAS may cut a product differently for one thread and for two, and how many it has
depends on what other threads are doing. So a product that is large enough to be cut at
all is cut here, in blocks of rows that depend on its shape alone, each on one BLAS
thread. The plain twin is NumPy's product.

Read next: `kernels/windows.py`.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, wide, xp
from .kernel import kernel
from .memory import empty
from .threads import pmap, single_threaded_blas

SMALL = 1 << 16  # multiply-adds that BLAS never cuts
BLOCK = 1 << 21  # multiply-adds of a block: about 0.1 ms on one core


@kernel(plain=xp.matmul, small=0)
def matmul(a: Array, b: Array) -> Array:
    """a @ b for matrices and stacks of them.

    Cost: 2 n k m operations. The blocks of rows share the pages of `b` in the cache.
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
    out = empty((a.shape[0], b.shape[1]), np.result_type(a, b))

    def block(i: int, j: int) -> None:
        np.matmul(a[i:j], b, out=out[i:j])

    pmap(block, len(a), max(16, BLOCK // max(1, b.size)))
    return out
