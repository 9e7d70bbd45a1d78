"""Where kernels put their results: reused memory, in channels-last order.

Large outputs come from `allocator.py`, and go back to it when the last view of them
dies; nobody has to free anything. Small arrays are NumPy's business.

Images have PyTorch's shape (N, C, H, W) for the user, but kernels like the C values of
a pixel side by side. `empty_nhwc` allocates in that order and returns the (N, C, H, W)
view; `as_nhwc` enters it again without a copy. `layout_copies` counts when it had to
copy.

Read next: `kernels/elementwise.py`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, DType, xp
from ..locks import thread_lock
from .allocator import Allocator, aligned
from .kernel import kernel

POOLED_BYTES = 1 << 18  # smaller arrays are cheap to allocate

_allocator = Allocator()
_local = threading.local()
_counting = thread_lock()
layout_copies = 0


@kernel(plain=xp.empty, small=0)  # every caller in the library gives the dtype
def empty(shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """An uninitialised array; large ones reuse memory that died before."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < POOLED_BYTES:
        return xp.empty(shape, dtype)
    return _allocator.take(nbytes).view(dtype).reshape(shape)


@kernel(plain=xp.empty_like, small=POOLED_BYTES)
def empty_like(x: Array, dtype: DType = None) -> Array:
    """An uninitialised array of the shape and memory order of `x`, and its dtype or another."""
    order = memory_order(x)
    dense = empty(tuple(x.shape[i] for i in order), dtype or x.dtype)
    return dense.transpose(np.argsort(order))


def memory_order(x: Array) -> tuple[int, ...]:
    """The axes of `x` from the slowest to the fastest in memory."""
    return tuple(sorted(range(x.ndim), key=lambda i: -abs(x.strides[i])))  # flipped: below 0


def _fresh(name: str, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    return xp.empty(shape, dtype)


@kernel(gpu=_fresh)
def scratch(name: str, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """A work array of this thread, kept by name: the next call with that name overwrites it."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    memory = _local.__dict__.get(name)
    if memory is None or memory.nbytes < nbytes:
        memory = _local.__dict__[name] = aligned(nbytes)
    return memory[:nbytes].view(dtype).reshape(shape)


def per_thread(make: Callable[[], Any]) -> Callable[[], Any]:
    """A function that calls `make` once in each thread: for scratch memory, and views of it."""
    local = threading.local()

    def own() -> Any:
        if not hasattr(local, "made"):
            local.made = make()
        return local.made

    return own


def as_nhwc(x: Array) -> Array:
    """(N, C, H, W) as a contiguous (N, H, W, C) array: a view if it lies so, else a copy."""
    global layout_copies
    y = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous:
        return y
    with _counting:
        layout_copies += 1
    out = empty(y.shape, y.dtype)
    out[...] = y
    return out


def as_nchw(x: Array) -> Array:
    """The (N, C, H, W) view of an (N, H, W, C) array."""
    return x.transpose(0, 3, 1, 2)


def empty_nhwc(n: int, c: int, h: int, w: int, dtype: DType = np.float32) -> Array:
    """An uninitialised (N, C, H, W) view of channels-last memory."""
    return as_nchw(empty((n, h, w, c), dtype))
