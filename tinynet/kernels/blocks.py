"""The two mechanisms behind every fast kernel: blocks that fit the cache, on worker threads.

NumPy runs an element-wise operation or a small matrix product on one core and through main
memory. `pmap` cuts the work into blocks and lets worker threads pull them: NumPy releases the
interpreter lock inside its loops, so the threads run at the same time. Two rules make it pay:

* while workers run, BLAS uses one thread each. Two workers times two BLAS threads fight for two
  cores and take twice as long; `single_threaded_blas` sees to it and restores what it found.
* the cut depends on shapes alone, never on the number of workers or on timing, and kernels add
  partial sums in block order: results are equal bit for bit from run to run.

On CuPy the device is already parallel: `pmap` is one call. Read next: `memory.py`, `im2col.py`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..backend import on_gpu

BLOCK_BYTES = 1 << 19  # per operand: a few operands of a block share the 1-2 MB second-level cache
SERIAL_BYTES = 1 << 18  # below this, handing work to a thread costs more than it saves

_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pool: ThreadPoolExecutor | None = None
_running = threading.Lock()  # held while workers run: a nested or second pmap runs serially
_blas_lock = threading.Lock()
_blas_users = 0
_blas_before: list[int] = []


def get_num_workers() -> int:
    """How many threads `pmap` uses, the calling one included."""
    return _workers


def set_num_workers(n: int) -> None:
    """Use `n` threads in `pmap` (1: none but the caller's). Results do not depend on `n`."""
    global _workers, _pool
    if n < 1:
        raise ValueError(f"number of workers must be at least 1, got {n}")
    with _running:
        if _pool is not None:
            _pool.shutdown()
        _workers, _pool = n, None


@functools.cache
def _blas_libraries() -> list[Any]:
    """The BLAS libraries of this process; empty where threadpoolctl knows none of them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [lib for lib in ThreadpoolController().lib_controllers if lib.user_api == "blas"]


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS runs on the calling thread alone inside; counted, so users may overlap.

    Restores the numbers found by the first user when the last one leaves, also after an error.
    """
    global _blas_users, _blas_before
    libraries = _blas_libraries()
    with _blas_lock:
        if _blas_users == 0:
            _blas_before = [lib.get_num_threads() for lib in libraries]
            for lib in libraries:
                lib.set_num_threads(1)
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                for lib, threads in zip(libraries, _blas_before, strict=True):
                    lib.set_num_threads(threads)


def pmap(work: Callable[[int, int], None], n: int, step: int) -> None:
    """Call work(i, j) for every block [i, j) of 0 .. n, `step` long, on worker threads.

    `work` writes its block of an output; it returns nothing. An exception in any block is raised
    here after the others have stopped.
    """
    if on_gpu:
        return work(0, n)
    blocks = iter(range(0, n, step))

    def pull() -> None:
        for i in blocks:  # one shared iterator: whoever is free takes the next block
            work(i, min(n, i + step))

    with single_threaded_blas():
        if _workers == 1 or step >= n or not _running.acquire(blocking=False):
            return pull()
        try:
            others = [_threads().submit(pull) for _ in range(min(_workers, -(-n // step)) - 1)]
            try:
                pull()
            finally:
                for other in others:
                    other.result()
        finally:
            _running.release()


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, _workers - 1), thread_name_prefix="tinynet")
    return _pool


def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own."""
    global _pool, _running, _blas_lock, _blas_users
    _pool, _running, _blas_lock, _blas_users = None, threading.Lock(), threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
