"""What stands behind every fast kernel: blocks that fit the cache, on worker threads.

NumPy runs an element-wise operation or a small matrix product on one core and through
main memory. `pmap` cuts the work into blocks and lets worker threads pull them: NumPy
releases the interpreter lock inside its loops, so the threads run at the same time.
These rules hold:

* while workers run, BLAS uses one thread each. Two workers times two BLAS threads fight for two
  cores and take twice as long; `single_threaded_blas` sees to it and restores what it found.
* the cut depends on shapes alone, never on the number of workers or on timing, and kernels add
  partial sums in block order: results are equal bit for bit from run to run.
* helpers are optional: where no thread can be started the caller does all blocks by itself.
* an exception between any two lines (ctrl-C) leaves BLAS and the helpers free: what was taken is
  given back by steps that may be taken twice, and `_surely` takes them twice if need be.
* nothing relies on the interpreter lock: what threads share is a deque, a set or a queue, whose
  methods used here happen at once or not at all.

On CuPy the device is already parallel: `pmap` is one call.

Read next: `kernels/allocator.py`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..checks import check_whole
from .kernel import at_once, kernel

BLOCK_BYTES = 1 << 20  # of each operand; in shorter calls workers queue for the interpreter lock
SHORT_ROW = 1024  # numbers: NumPy copies operands with gaps whose rows are shorter than that

_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Work = Callable[[int, int], None]


def get_num_workers() -> int:
    """How many threads `pmap` uses, the calling one included."""
    return _workers


def set_num_workers(n: int) -> None:
    """Use `n` threads in `pmap` (1: none but the caller's). Results do not depend on `n`.

    Where the system gives fewer threads, or none as in a browser, those it has do all.
    """
    global _workers, _crew
    n = check_whole("number of workers", n)
    before = _crew
    _crew = _Crew()
    before.dismiss()
    _workers = n


@kernel(plain=at_once, small=0)
def pmap(work: Work, n: int, step: int) -> None:
    """Call work(i, j) for every block [i, j) of 0 .. n, `step` long, on worker threads.

    `work` writes its block of an output; it returns nothing. An exception in any block
    is raised here after the others have stopped.
    """
    if 0 < n <= step:
        return _do_alone(work, n)
    job = _Job(work, n, step)
    return _surely(job.run, job.end)


def _do_alone(work: Work, n: int) -> None:
    """All of it as one block, which there is nobody to share with."""
    me = object()

    def run() -> None:
        _use_blas(me)
        before = np.setbufsize(SHORT_ROW)
        try:
            work(0, n)
        finally:
            np.setbufsize(before)

    _surely(run, lambda: _leave_blas(me))


def _surely(work: Callable[[], None], undo: Callable[[], None]) -> None:
    """`work`, then `undo`, which starts again if an exception strikes it.

    `undo` must be fit to be called twice, and after any part of `work`.
    """
    try:
        try:
            work()
        finally:
            undo()
    except BaseException:
        undo()
        raise


class _Job:
    """The blocks of one `pmap` call: whoever is free pulls the next.

    Lighter than an executor's futures: the caller waits for helpers that are at work,
    not for those that have yet to wake up (50 us and more on a virtual machine); these
    find no block left.
    """

    def __init__(self, work: Work, n: int, step: int) -> None:
        self.work: Work | None = work
        self.blocks = deque((i, min(n, i + step)) for i in range(0, n, step))
        self.caller = threading.get_ident()
        self.at_work: set[object] = set()  # helpers; each joins before it takes a block
        self.left: SimpleQueue[None] = SimpleQueue()  # a note of each helper that has left
        self.error: BaseException | None = None

    def run(self) -> None:
        """The caller's share; then wait for the helpers."""
        _use_blas(self)
        helpers = min(_workers, len(self.blocks)) - 1
        if helpers > 0 and _running.take(self):
            _crew.call(self, helpers)
        self.pull()
        self.wait()
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Give back what `run` took, also if it was interrupted anywhere."""
        self.blocks.clear()
        self.wait()
        _running.give_back(self)
        _leave_blas(self)
        self.work = None  # a late helper must not keep the caller's arrays alive
        self.error = None

    def pull(self) -> None:
        """Do blocks until none is left; an error leaves none for the others."""
        work = self.work
        before = np.setbufsize(SHORT_ROW)
        try:
            while work is not None and (block := self.take()) is not None:
                work(*block)
        except BaseException:
            self.blocks.clear()
            raise
        finally:
            np.setbufsize(before)

    def take(self) -> tuple[int, int] | None:
        """The next block, which nobody else gets: `popleft` happens at once, lock or no lock."""
        try:
            return self.blocks.popleft()
        except IndexError:
            return None

    def wait(self) -> None:
        """Until no helper is at work, and all that they wrote is seen here.

        To copy the set takes its own lock, which each helper had when it left; to ask for
        its length does not, and on some processors would not wait for their results.
        """
        while self.at_work.copy():
            self.left.get()

    def help(self) -> None:
        """A helper's share; its error is raised by the caller."""
        me = object()

        def share() -> None:
            self.at_work.add(me)
            try:
                self.pull()
            except BaseException as error:
                self.error = error

        def leave() -> None:
            self.at_work.discard(me)
            self.left.put(None)

        _surely(share, leave)

    def go_on_alone(self) -> None:
        """In the child of a fork from within a block: its helpers are not there."""
        if self.at_work:
            self.error = RuntimeError("the process was forked inside a kernel whose "
                                      "worker threads were at work: the child lacks "
                                      "their share of the result")
        self.at_work.clear()
        self.left = SimpleQueue()


class _Turn:
    """Which job has the helpers; others, nested or of other threads, run serially.

    Unlike a lock it knows who holds it, so that giving it back twice does no harm.
    """

    def __init__(self) -> None:
        self.holder: dict[str, _Job] = {}

    def take(self, job: _Job) -> bool:
        return self.holder.setdefault("job", job) is job

    def give_back(self, job: _Job) -> None:
        if self.holder.get("job") is job:
            self.holder.clear()

    def locked(self) -> bool:
        return bool(self.holder)


class _Crew:
    """Helper threads, and the queue in which they wait for jobs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def call(self, job: _Job, count: int) -> None:
        """Hand the job to `count` helpers, or to as many as can be started."""
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        try:
            while len(self.threads) < count:
                thread = threading.Thread(target=_helper, name="tinynet", args=(self.jobs,),
                                          daemon=True)
                Context().run(thread.start)  # not under the caller's `np.errstate`, for ever
                self.threads.append(thread)
        except (RuntimeError, MemoryError):
            pass  # the system has no thread left to give: the caller does their share
        for _ in self.threads[:count]:
            self.jobs.put(job)

    def dismiss(self) -> None:
        """Let the threads end, also those that are just being started."""
        self.jobs.put(None)


def _helper(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.help()
        del job
    jobs.put(None)  # for the next one


_running = _Turn()
_crew = _Crew()


# One BLAS thread for each worker

_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
                   "OMP_NUM_THREADS")
_blas_lock = threading.RLock()  # held while BLAS is being set
_blas_users: dict[object, int] = {}  # who wants one BLAS thread, and the thread they run in
_blas_before: list[int] = []  # the numbers that were found; empty while nothing is changed
_blas_single = False  # whether all libraries have been set to one thread


@functools.cache
def blas_libraries() -> list[Any]:
    """The BLAS libraries of this process; empty, with one warning, where none can be set."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        known = []
    else:
        known = ThreadpoolController().lib_controllers
    found = [lib for lib in known if lib.user_api == "blas"]
    if sys.platform == "emscripten":  # in a browser: no threads, so none of BLAS either
        return found
    if not found and not any(os.environ.get(name) == "1" for name in _BLAS_VARIABLES):
        warnings.warn("threadpoolctl finds no BLAS that it could set to one thread. Results do not "
                      "change, but where BLAS runs threads of its own beside tinynet's, a step "
                      "takes two to three times as long. Update threadpoolctl (3.5 or newer), or "
                      f"set {' or '.join(_BLAS_VARIABLES)} to 1 before Python starts, whichever "
                      "your BLAS obeys", RuntimeWarning, stacklevel=2)
    return found


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS runs on the calling thread alone inside; counted, so users may overlap.

    Restores the numbers found by the first user when the last one leaves, also after an
    error.
    """
    me = object()
    try:
        try:
            _use_blas(me)
            yield
        finally:
            _leave_blas(me)
    except BaseException:
        _leave_blas(me)  # again, as in `_surely`
        raise


def _use_blas(user: object) -> None:
    _blas_users[user] = threading.get_ident()
    _set_blas()


def _leave_blas(user: object) -> None:
    _blas_users.pop(user, None)
    _set_blas()


def _set_blas() -> None:
    """One thread while there are users, else what was found.

    Every step may be the last before an exception, and the next call goes on from
    there.
    """
    global _blas_before, _blas_single
    libraries = blas_libraries()
    _blas_lock.acquire()
    try:
        if _blas_users and not _blas_single:
            _blas_before = _blas_before or [lib.get_num_threads() for lib in libraries]
            for lib in libraries:
                _set_threads(lib, 1)
            _blas_single = True
        elif not _blas_users and (_blas_single or _blas_before):
            _blas_single = False
            for lib, threads in zip(libraries, _blas_before, strict=True):
                _set_threads(lib, threads)
            _blas_before = []
    finally:
        try:
            while True:  # more than once if an earlier call was interrupted here
                _blas_lock.release()
        except RuntimeError:
            pass  # "cannot release un-acquired lock": it is free


def _set_threads(library: Any, n: int) -> None:
    """Set it from any thread: newer versions of threadpoolctl obey the first thread that asks."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


# What the process may do to all this

def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own, and only this one uses BLAS."""
    global _crew
    here = threading.get_ident()
    for job in [job for job in _running.holder.values() if job.caller == here]:
        job.go_on_alone()
    _running.holder.clear()
    _crew = _Crew()
    for user in [user for user, thread in _blas_users.items() if thread != here]:
        del _blas_users[user]
    _set_blas()  # releases the lock


if hasattr(os, "register_at_fork"):  # with the lock held nobody else is half-way through setting
    os.register_at_fork(before=_blas_lock.acquire, after_in_parent=_blas_lock.release,
                        after_in_child=_after_fork)
