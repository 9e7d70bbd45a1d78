"""`pmap`: every block once, errors, nesting, other threads, and BLAS left as it was found."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.kernels.test_layouts import ROWS
from tinynet import kernels
from tinynet.kernels import threads as kernel_threads
from tinynet.kernels.threads import pmap, set_num_workers, single_threaded_blas

pytestmark = pytest.mark.numpy_only("worker threads; on a GPU pmap is one call")


@pytest.fixture(autouse=True)
def two_workers() -> Iterator[None]:
    before = kernel_threads.get_num_workers()
    set_num_workers(2)
    yield
    set_num_workers(before)


def blas_threads() -> list[int]:
    return [library.get_num_threads() for library in kernel_threads.blas_libraries()]


@pytest.mark.parametrize(("n", "step"), [(1, 1), (7, 3), (8, 2), (100, 1), (3, 10), (0, 4)])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_block_is_done_once(n: int, step: int, workers: int) -> None:
    set_num_workers(workers)
    seen: list[tuple[int, int]] = []
    pmap(lambda i, j: seen.append((i, j)), n, step)
    assert sorted(seen) == [(i, min(n, i + step)) for i in range(0, n, step)]


def test_blocks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)  # passes only if two threads wait at it
    places: list[int] = []
    pmap(lambda i, j: places.append(meeting.wait(timeout=30)), 2, 1)
    assert sorted(places) == [0, 1]


def test_an_error_stops_the_others_and_arrives_here() -> None:
    done: list[int] = []

    def work(i: int, j: int) -> None:
        if i == 3:
            raise KeyError("block 3")
        done.append(i)
        time.sleep(0.001)

    before = blas_threads()
    with pytest.raises(KeyError, match="block 3"):
        pmap(work, 1000, 1)
    assert len(done) < 900
    assert blas_threads() == before
    pmap(lambda i, j: done.append(i), 4, 1)  # and the next call works
    assert sorted(done[-4:]) == [0, 1, 2, 3]


def test_an_error_in_a_helper_arrives_here() -> None:
    caller = threading.get_ident()
    meeting = threading.Barrier(2)

    def work(i: int, j: int) -> None:
        meeting.wait(timeout=30)
        if threading.get_ident() != caller:
            raise ValueError("of the helper")

    with pytest.raises(ValueError, match="of the helper"):
        pmap(work, 2, 1)


def test_nested_calls_run_serially() -> None:
    seen: list[tuple[int, int]] = []

    def outer(i: int, j: int) -> None:
        here = threading.get_ident()

        def inner(k: int, _: int) -> None:
            assert threading.get_ident() == here
            seen.append((i, k))

        pmap(inner, 3, 1)

    pmap(outer, 4, 1)
    assert sorted(seen) == [(i, k) for i in range(4) for k in range(3)]


def test_user_threads_at_once() -> None:
    results: dict[int, np.ndarray] = {}

    def user(k: int) -> None:
        out = np.zeros(1000)
        for _ in range(20):
            pmap(lambda i, j: out.__setitem__(slice(i, j), out[i:j] + k), 1000, 10)
        results[k] = out

    threads = [threading.Thread(target=user, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[k] == 20 * k).all() for k in range(1, 5))
    assert not kernel_threads._running.locked()


def test_blas_threads_are_one_inside_and_restored() -> None:
    before = blas_threads()
    inside: list[list[int]] = []
    pmap(lambda i, j: inside.append(blas_threads()), 4, 1)
    assert all(n == 1 for threads in inside for n in threads)
    with single_threaded_blas(), single_threaded_blas():
        assert all(n == 1 for n in blas_threads())
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError), single_threaded_blas():
        _ = 1 / 0
    assert blas_threads() == before


def test_overlapping_users_of_single_threaded_blas() -> None:
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def user() -> None:
        with single_threaded_blas():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=user)
    thread.start()
    entered.wait(30)
    with single_threaded_blas():
        pass
    assert all(n == 1 for n in blas_threads())  # the other user is still inside
    leave.set()
    thread.join()
    assert blas_threads() == before


def test_a_late_helper_holds_nothing() -> None:
    """The caller does not wait for a helper that has not started; it must not keep arrays alive."""
    class Canary:
        alive = 0

        def __init__(self) -> None:
            Canary.alive += 1

        def __del__(self) -> None:
            Canary.alive -= 1

    for _ in range(50):
        canary = Canary()
        pmap(lambda i, j, kept=canary: None, 2, 1)
        del canary
    deadline = time.monotonic() + 30
    while Canary.alive and time.monotonic() < deadline:
        time.sleep(0.001)
    assert Canary.alive == 0


def test_number_of_workers() -> None:
    with pytest.raises(ValueError, match=r"an integer of at least 1, got 2\.5"):
        set_num_workers(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        set_num_workers(0)
    pmap(lambda i, j: None, 4, 1)
    set_num_workers(1)
    here = threading.get_ident()
    seen: list[int] = []
    pmap(lambda i, j: seen.append(threading.get_ident()), 50, 1)
    assert seen == [here] * 50


def _in_child(queue: Any) -> None:
    out = np.zeros(100)
    pmap(lambda i, j: out.__setitem__(slice(i, j), 1.0), 100, 10)
    queue.put(float(out.sum()))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork with threads, 3.12+
def test_a_forked_child_starts_its_own_threads() -> None:
    pmap(lambda i, j: None, 4, 1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == 100
    child.join(30)
    assert child.exitcode == 0


def test_where_no_thread_can_be_started_the_caller_does_all_blocks(
        monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    set_num_workers(3)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    here = threading.get_ident()
    seen: list[tuple[int, int]] = []
    pmap(lambda i, j: seen.append((i, threading.get_ident())), 5, 1)
    assert seen == [(i, here) for i in range(5)]
    monkeypatch.undo()
    meeting = threading.Barrier(3)
    pmap(lambda i, j: meeting.wait(30) and None, 3, 1)  # and as soon as threads are to be had


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_helper_that_died_is_replaced() -> None:
    class Deadly:
        def help(self) -> None:
            raise SystemExit

    pmap(lambda i, j: None, 4, 1)
    kernel_threads._crew.jobs.put(Deadly())  # type: ignore[arg-type]
    for thread in kernel_threads._crew.threads:
        thread.join(30)
    meeting = threading.Barrier(2)
    pmap(lambda i, j: meeting.wait(30) and None, 2, 1)


def test_blocks_are_handed_out_once_however_often_threads_change(rng: Any) -> None:
    set_num_workers(4)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in rng.integers(2, 200, (150,)).tolist():
            counts = np.zeros(n, int)

            def work(i: int, j: int, counts: Any = counts) -> None:
                counts[i:j] += 1

            pmap(work, n, 1)
            assert (counts == 1).all()
    finally:
        sys.setswitchinterval(interval)


def test_helpers_do_not_stay_under_the_error_state_of_who_started_them() -> None:
    """A thread may inherit its starter's context, `np.errstate` with it: free-threaded ones do."""
    set_num_workers(2)  # a new crew, whose helper is yet to be started
    caller = threading.get_ident()
    meeting = threading.Barrier(2)
    states: list[dict[str, str]] = []

    def work(i: int, j: int) -> None:
        meeting.wait(120)  # one block for each thread
        if threading.get_ident() != caller:
            states.append(np.geterr())

    with np.errstate(all="raise"):
        pmap(work, 2, 1)
    pmap(work, 2, 1)
    assert states == [np.geterr(), np.geterr()]


class NoBlas:
    """What threadpoolctl says of a process whose BLAS it does not know."""

    lib_controllers = (types.SimpleNamespace(user_api="openmp"),)


@pytest.fixture
def unknown_blas(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in kernel_threads._BLAS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("threadpoolctl.ThreadpoolController", NoBlas)
    kernel_threads.blas_libraries.cache_clear()
    yield
    kernel_threads.blas_libraries.cache_clear()


@pytest.mark.usefixtures("unknown_blas")
def test_a_blas_that_cannot_be_set_is_told_once() -> None:
    done: list[int] = []
    with pytest.warns(RuntimeWarning, match=r"finds no BLAS that it could set to one thread\. .*"
                                            r"Update threadpoolctl \(3\.5 or newer\)") as caught:
        for _ in range(3):
            pmap(lambda i, j: done.append(i), 4, 1)
    assert len(caught) == 1 and sorted(done) == sorted([0, 1, 2, 3] * 3)


@pytest.mark.usefixtures("unknown_blas")
def test_a_blas_that_was_set_by_hand_is_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pmap(lambda i, j: None, 4, 1)
    assert kernel_threads.blas_libraries() == []


@pytest.mark.usefixtures("unknown_blas")
def test_a_missing_threadpoolctl_is_told_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.warns(RuntimeWarning, match="finds no BLAS"):
        assert kernel_threads.blas_libraries() == []


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel cuts its work into many blocks."""
    for info in pkgutil.iter_modules(kernels.__path__):
        module = importlib.import_module(f"{kernels.__name__}.{info.name}")
        for name in {"BLOCK_BYTES", "CHUNK_BYTES"} & set(vars(module)):
            monkeypatch.setattr(module, name, 1 << 15)


@pytest.mark.parametrize("name", ROWS)
def test_results_of_a_kernel_do_not_depend_on_the_number_of_workers(
        name: str, small_blocks: None) -> None:
    row = ROWS[name]
    found = []
    for n in (1, 2, 3):
        set_num_workers(n)
        results = row.kernel(*row.arrays("large", "f4"))
        arrays = results if isinstance(results, tuple) else (results,)
        found.append([a.tobytes() for a in arrays])
    assert found[0] == found[1] == found[2]
