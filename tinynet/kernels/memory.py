"""Where kernels put their results: reused memory, in channels-last order.

A fresh 33 MB array costs more than computing it: the operating system hands out its pages one by
one, zeroed, at the first write. So large outputs come from a pool, and go back to it when the
last view of them dies; nobody has to free anything. Small arrays are NumPy's business.

Images have PyTorch's shape (N, C, H, W) for the user, but kernels like the C values of a pixel
side by side. `empty_nhwc` allocates in that order and returns the (N, C, H, W) view;
`as_nhwc` enters it again without a copy. `layout_copies` counts when it had to copy.
Read next: `im2col.py`.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from ..backend import Array, DType, on_gpu, xp

POOLED_BYTES = 1 << 18  # smaller arrays are cheap to allocate
LINE = 64  # bytes of a cache line and of the widest vector register
KEEP_BYTES = 1 << 30  # the pool never holds more unused memory than this

_lock = threading.RLock()  # re-entrant: a block may die (and come back) while the pool is locked
_free: dict[int, list[np.ndarray[Any, Any]]] = {}
_free_bytes = 0
_local = threading.local()
layout_copies = 0


class _Block:
    """Owner of pooled memory: the base of all views, so it dies with the last of them."""

    def __init__(self, memory: np.ndarray[Any, Any]) -> None:
        self.memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        global _free_bytes
        with _lock:
            size = self.memory.nbytes
            if _free_bytes + size <= KEEP_BYTES:
                _free.setdefault(size, []).append(self.memory)
                _free_bytes += size


def _aligned(nbytes: int) -> np.ndarray[Any, Any]:
    """Fresh bytes that start at a cache line: vector loads that straddle two cost up to 40 %."""
    memory = np.empty(nbytes + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + nbytes]


def _size_class(nbytes: int) -> int:
    """Round up to a multiple of 1/8 of the power of two below: at most 12.5 % unused."""
    step = 1 << max(0, nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


def empty(shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """An uninitialised array; large ones reuse memory that died before."""
    global _free_bytes
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if on_gpu or nbytes < POOLED_BYTES:
        return xp.empty(shape, dtype)
    size = _size_class(nbytes)
    with _lock:
        waiting = _free.get(size)
        memory = waiting.pop() if waiting else None
        if memory is not None:
            _free_bytes -= size
    if memory is None:
        memory = _aligned(size)
    return np.asarray(_Block(memory))[:nbytes].view(dtype).reshape(shape)


def empty_like(x: Array, dtype: DType = None) -> Array:
    """An uninitialised array of the shape and memory order of `x`, and its dtype or another."""
    if on_gpu or x.nbytes < POOLED_BYTES:
        return xp.empty_like(x, dtype)
    order = memory_order(x)
    dense = empty(tuple(x.shape[i] for i in order), dtype or x.dtype)
    return dense.transpose(np.argsort(order))


def memory_order(x: Array) -> tuple[int, ...]:
    """The axes of `x` from the slowest to the fastest in memory."""
    return tuple(sorted(range(x.ndim), key=lambda i: -abs(x.strides[i])))


def free_pool() -> None:
    """Give the pool's unused memory back to the system."""
    global _free_bytes
    with _lock:
        _free.clear()
        _free_bytes = 0


def scratch(name: str, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """A work array of this thread, kept by name: the next call with that name overwrites it."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if on_gpu:
        return xp.empty(shape, dtype)
    memory = _local.__dict__.get(name)
    if memory is None or memory.nbytes < nbytes:
        memory = _local.__dict__[name] = _aligned(nbytes)
    return memory[:nbytes].view(dtype).reshape(shape)


def as_nhwc(x: Array) -> Array:
    """(N, C, H, W) as a contiguous (N, H, W, C) array: a view if it lies so, else a copy."""
    global layout_copies
    y = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous:
        return y
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
