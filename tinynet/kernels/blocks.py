"""The two mechanisms behind every fast kernel: blocks that fit the cache, on worker threads.

NumPy runs an element-wise operation or a small matrix product on one core and through main
memory. `pmap` cuts the work into blocks and lets worker threads pull them: NumPy releases the
interpreter lock inside its loops, so the threads run at the same time. Two rules hold:

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
from queue import SimpleQueue
from typing import Any

from ..backend import Array, on_gpu
from ..checks import check_whole

BLOCK_BYTES = 1 << 20  # of each operand; in shorter calls workers queue for the interpreter lock
SERIAL_BYTES = 1 << 18  # below this, handing work to a thread costs more than it saves

forced: str | None = None  # by `conv.force_algorithm`; "plain" is for all kernels

_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_helpers = 0  # threads started so far; they wait in `_jobs` for work
_jobs: SimpleQueue[_Job | None] = SimpleQueue()
_running = threading.Lock()  # held while workers run: a nested or second pmap runs serially
_blas_lock = threading.Lock()
_blas_users = 0
_blas_before: list[int] = []


def is_plain(x: Array, below: int = SERIAL_BYTES) -> bool:
    """Whether a kernel takes its plain twin for `x`: on a GPU, if forced, or `below` some bytes."""
    return on_gpu or forced == "plain" or x.nbytes < below


def get_num_workers() -> int:
    """How many threads `pmap` uses, the calling one included."""
    return _workers


def set_num_workers(n: int) -> None:
    """Use `n` threads in `pmap` (1: none but the caller's). Results do not depend on `n`."""
    global _workers, _helpers
    n = check_whole("number of workers", n)
    with _running:
        for _ in range(_helpers):
            _jobs.put(None)
        _workers, _helpers = n, 0


@functools.cache
def blas_libraries() -> list[Any]:
    """The BLAS libraries of this process; empty where threadpoolctl knows none of them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [lib for lib in ThreadpoolController().lib_controllers if lib.user_api == "blas"]


def _set_threads(library: Any, n: int) -> None:
    """Set it from any thread: newer versions of threadpoolctl obey the first thread that asks."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS runs on the calling thread alone inside; counted, so users may overlap.

    Restores the numbers found by the first user when the last one leaves, also after an error.
    """
    global _blas_users, _blas_before
    libraries = blas_libraries()
    with _blas_lock:
        if _blas_users == 0:
            _blas_before = [lib.get_num_threads() for lib in libraries]
            for lib in libraries:
                _set_threads(lib, 1)
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                for lib, threads in zip(libraries, _blas_before, strict=True):
                    _set_threads(lib, threads)


def pmap(work: Callable[[int, int], None], n: int, step: int) -> None:
    """Call work(i, j) for every block [i, j) of 0 .. n, `step` long, on worker threads.

    `work` writes its block of an output; it returns nothing. An exception in any block is raised
    here after the others have stopped.
    """
    if on_gpu:
        return work(0, n)
    job = _Job(work, n, step)
    with single_threaded_blas():
        if _workers == 1 or step >= n or not _running.acquire(blocking=False):
            return job.run()
        try:
            for k in range(min(_workers, -(-n // step)) - 1):
                _start_helper(k)
                _jobs.put(job)
            job.run()
        finally:
            _running.release()


class _Job:
    """The blocks of one `pmap` call: whoever is free pulls the next.

    Lighter than an executor's futures: the caller waits for helpers that are at work, not for those
    that have yet to wake up (50 us and more on a virtual machine); these find no block left.
    """

    def __init__(self, work: Callable[[int, int], None], n: int, step: int) -> None:
        self.work: Callable[[int, int], None] | None = work
        self.blocks = iter([(i, min(n, i + step)) for i in range(0, n, step)])
        self.helping = 0
        self.idle = threading.Condition()
        self.error: BaseException | None = None

    def pull(self) -> None:
        try:
            for i, j in self.blocks:  # one shared iterator: each block goes to one thread
                self.work(i, j)  # type: ignore[misc]
        except BaseException as error:
            self.error = error
            for _ in self.blocks:  # nothing left for the others
                pass

    def help(self) -> None:
        """A helper's share."""
        with self.idle:
            self.helping += 1
        self.pull()
        with self.idle:
            self.helping -= 1
            self.idle.notify()

    def run(self) -> None:
        """The caller's share; then wait for the helpers."""
        self.pull()
        with self.idle:
            self.idle.wait_for(lambda: self.helping == 0)
        self.work = None  # a late helper must not keep the caller's arrays alive
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None


def _start_helper(k: int) -> None:
    """Start helper number k unless it runs already."""
    global _helpers
    if k == _helpers:
        threading.Thread(target=_helper, name="tinynet", args=(_jobs,), daemon=True).start()
        _helpers += 1


def _helper(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.help()
        del job


def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own."""
    global _helpers, _jobs, _running, _blas_lock, _blas_users
    _helpers, _jobs = 0, SimpleQueue()
    _running, _blas_lock, _blas_users = threading.Lock(), threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
