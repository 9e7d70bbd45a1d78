"""y <- a x + b y in one pass, by BLAS: what most of an optimizer's update consists of.

NumPy needs three calls and a temporary array for it. BLAS has a routine, `axpby`, which
NumPy does not offer, but brings along: it reads x and y once and writes y once. The
interpreter lock is free meanwhile, so worker threads wait for each other a third as
often. Where the BLAS at hand has no such routine (Apple's Accelerate), the plain twin
does it. Cost for n numbers: 3 n operations, 2 n numbers read and n written.

Read next: `kernels/gpu.py`.
"""

from __future__ import annotations

import ctypes
import functools
from itertools import product
from typing import Any

import numpy as np

from ..backend import Array, DType
from .kernel import kernel
from .memory import scratch
from .threads import blas_libraries

# OpenBLAS as NumPy and SciPy bring it has names of its own, so that it can stand beside
# another.
_NAMES = ("scipy_cblas_{}axpby64_", "cblas_{}axpby64_", "scipy_cblas_{}axpby", "cblas_{}axpby")
_TYPES = {np.dtype("f4"): ("s", ctypes.c_float), np.dtype("f8"): ("d", ctypes.c_double)}


@functools.cache
def _routine(dtype: DType) -> Any:
    """BLAS's routine for numbers of this dtype; None if there is none.

    Whole numbers are passed with 64 bits: a routine that wants 32 takes the lower half.
    """
    letter, real = _TYPES.get(dtype, (None, None))
    if letter is None:
        return None
    for library, name in product(blas_libraries(), _NAMES):
        found = getattr(ctypes.CDLL(library.filepath), name.format(letter), None)
        if found is not None:
            vector = (real, ctypes.c_void_p, ctypes.c_int64)  # factor, start, numbers to the next
            found.argtypes = (ctypes.c_int64, *vector, *vector)
            found.restype = None
            return found
    return None


def plain_axpby(a: float, x: Array, b: float, y: Array, work: Array | None = None) -> None:
    if work is None:
        work = scratch("axpby", x.shape, x.dtype)
    np.multiply(x, a, out=work)
    y *= b
    y += work


@kernel(plain=plain_axpby, small=0, of=1)
def axpby(a: float, x: Array, b: float, y: Array, work: Array | None = None) -> None:
    """Overwrite y with a x + b y, for writeable rows without gaps, alike in length and dtype.

    BLAS does not look at x if a is 0, nor at y if b is 0: what is not finite there does
    not count. The plain twin writes a x into `work`, which may be x itself (default:
    scratch memory).

    >>> y = np.ones(3)
    >>> axpby(2.0, np.arange(3.0), 0.5, y); y.tolist()
    [0.5, 2.5, 4.5]
    """
    routine = _routine(y.dtype)
    if routine is None:
        return plain_axpby(a, x, b, y, work)
    routine(y.size, a, _address(x), 1, b, _address(y), 1)
    return None


def _address(row: Array) -> Any:
    return ctypes.byref(ctypes.c_char.from_buffer(row))  # a quarter of the time of row.ctypes.data
