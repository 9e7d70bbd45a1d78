"""What may fall into a kernel's work on threads: a fork, or an exception between any two lines.

BLAS keeps its number of threads, the helpers are free for the next call, and nothing hangs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.kernels.test_threads import blas_threads
from tinynet.kernels import threads as kernel_threads
from tinynet.kernels.threads import get_num_workers, pmap, set_num_workers, single_threaded_blas

pytestmark = pytest.mark.numpy_only("worker threads; on a GPU pmap is one call")


@pytest.fixture(autouse=True)
def workers() -> Iterator[None]:
    before = get_num_workers()
    set_num_workers(2)
    yield
    set_num_workers(before)


def _child_status(work: Callable[[], bool]) -> int:
    """0 if `work` is true in a forked child, within 30 seconds."""
    child = os.fork()
    if child == 0:
        status = 2
        with contextlib.suppress(BaseException):
            status = 0 if work() else 1
        os._exit(status)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


def _all_blocks_are_done() -> bool:
    seen: list[int] = []
    pmap(lambda i, j: seen.append(i), 20, 1)
    return sorted(seen) == list(range(20))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_is_inside_leaves_blas_and_helpers_to_the_child() -> None:
    before = blas_threads()
    inside = threading.Event()
    leave = threading.Event()

    def hold(i: int, j: int) -> None:
        inside.set()
        leave.wait(30)

    other = threading.Thread(target=pmap, args=(hold, 4, 1))
    other.start()
    assert inside.wait(30)
    status = _child_status(lambda: blas_threads() == before and _all_blocks_are_done()
                           and blas_threads() == before and not kernel_threads._running.locked())
    leave.set()
    other.join()
    assert status == 0
    assert blas_threads() == before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_from_inside_keeps_blas_at_one_thread_until_the_child_leaves() -> None:
    before = blas_threads()
    statuses = []
    with single_threaded_blas():
        statuses.append(_child_status(lambda: set(blas_threads()) <= {1}))
    assert statuses == [0]
    assert blas_threads() == before


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_from_a_block_says_that_the_share_of_the_helpers_is_missing() -> None:
    caller = threading.get_ident()
    parent = os.getpid()
    meeting = threading.Barrier(2)
    statuses: list[int] = []

    def work(i: int, j: int) -> None:
        meeting.wait(30)
        if threading.get_ident() == caller:
            child = os.fork()
            statuses.append(child)
        if os.getpid() == parent:
            meeting.wait(30)

    try:
        pmap(work, 2, 1)
    except RuntimeError as error:
        os._exit(0 if os.getpid() != parent and "forked inside a kernel" in str(error) else 3)
    assert os.waitpid(statuses[0], 0)[1] == 0


class Interrupt(BaseException):
    """Like KeyboardInterrupt, which pytest would obey."""


class Strike:
    """A tracer that raises at the line event number `at` inside threads.py."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, value: Any) -> Any:
        if frame.f_code.co_filename != kernel_threads.__file__:
            return None
        if event == "line" and not self.struck:
            if self.left == 0:
                self.struck = f"{frame.f_code.co_name}, line {frame.f_lineno}"
                raise Interrupt
            self.left -= 1
        return self


@contextlib.contextmanager
def tracing(strike: Strike, helpers: bool = False) -> Iterator[None]:
    before = threading.gettrace() if helpers else sys.gettrace()
    settrace = threading.settrace if helpers else sys.settrace
    settrace(strike)
    try:
        yield
    finally:
        settrace(before)  # type: ignore[arg-type]


def _assert_nothing_is_held(where: str, threads: list[int]) -> None:
    assert blas_threads() == threads, where
    assert not kernel_threads._blas_users, where
    assert not kernel_threads._running.locked(), where
    free: list[bool] = []
    other = threading.Thread(
        target=lambda: free.append(kernel_threads._blas_lock.acquire(timeout=10))
        or kernel_threads._blas_lock.release())
    other.start()
    other.join(30)
    assert free == [True], where
    assert _all_blocks_are_done(), where


def _use(name: str) -> None:
    def work(i: int, j: int) -> None:
        time.sleep(0.0002)

    if name == "pmap":
        pmap(work, 6, 1)
    elif name == "pmap in one block":
        pmap(work, 6, 6)
    elif name == "nested pmap":
        pmap(lambda i, j: pmap(work, 2, 1), 2, 1)
    elif name == "single_threaded_blas":
        with single_threaded_blas():
            time.sleep(0)
    elif name == "set_num_workers":
        set_num_workers(2)


@pytest.mark.parametrize("name", ["pmap", "pmap in one block", "nested pmap",
                                  "single_threaded_blas", "set_num_workers"])
def test_an_interrupt_at_any_line_of_the_caller_leaves_nothing_held(name: str) -> None:
    threads = blas_threads()
    lines: set[str] = set()
    for at in range(1000):
        strike = Strike(at)
        with contextlib.suppress(Interrupt), tracing(strike):
            _use(name)
        _assert_nothing_is_held(strike.struck, threads)
        if not strike.struck:
            break
        lines.add(strike.struck)
    assert not strike.struck
    least = {"set_num_workers": 5, "single_threaded_blas": 20, "pmap in one block": 30}
    assert len(lines) >= least.get(name, 40)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupt_at_any_line_of_a_helper_leaves_nothing_held() -> None:
    threads = blas_threads()
    lines: set[str] = set()
    for at in range(60):
        strike = Strike(at)
        set_num_workers(2)  # a new helper, which is traced
        done: list[int] = []
        with contextlib.suppress(Interrupt), tracing(strike, helpers=True):
            pmap(lambda i, j, done=done: time.sleep(0.001) or done.append(i), 4, 1)
            assert sorted(done) == [0, 1, 2, 3] or "_helper" in strike.struck
        _assert_nothing_is_held(strike.struck, threads)
        helpers = kernel_threads._crew.threads
        set_num_workers(2)
        for helper in helpers:  # its exception, if it is still to come, belongs to this test
            helper.join(30)
        lines.add(strike.struck)
    assert len(lines) >= 15
