"""The allocator gets a block back when its last view dies; layouts enter and leave uncopied."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from itertools import pairwise
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tinynet.kernels import allocator as allocators, memory
from tinynet.kernels.allocator import ARENA_BYTES, LINE, Allocator
from tinynet.kernels.memory import as_nchw, as_nhwc, empty, empty_like, empty_nhwc, scratch

pytestmark = pytest.mark.numpy_only("the allocator of host memory")

LARGE = (512, 1024)  # 2 MB of float32


@pytest.fixture(autouse=True)
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    """An allocator of the test's own."""
    own = Allocator()
    monkeypatch.setattr(memory, "_allocator", own)
    return own


def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


def test_a_block_returns_when_the_last_view_dies() -> None:
    x = empty(LARGE)
    place = address(x)
    view = x[3:, ::2].T
    del x
    y = empty(LARGE)
    assert address(y) != place  # still in use by the view
    del view
    assert address(empty(LARGE)) == place


def test_holes_are_cut_and_merged(allocator: Allocator) -> None:
    x = [empty((1 << 18,)) for _ in range(8)]  # 1 MB each, side by side
    assert [address(b) - address(a) for a, b in pairwise(x)] == [1 << 20] * 7
    assert len(allocator.arenas) == 1
    place = address(x[2])
    del x[2:5]
    y = empty((3 << 18,))  # where three of them were
    assert address(y) == place
    del y
    z = empty((1 << 18,))
    assert address(z) == place
    assert address(empty((1 << 18,))) == place + (1 << 20)
    x.clear()
    del z
    allocator.collect()
    assert allocator.holes == [(1, 0, ARENA_BYTES)]
    assert allocator.unused() == ARENA_BYTES


def test_large_arrays_get_arenas_of_their_own(allocator: Allocator) -> None:
    x = empty((ARENA_BYTES // 4 + 1000,))
    x[-1] = 1
    assert allocator.unused() < 8192
    del x
    assert address(empty((1000, 1000))) > 0
    assert len(allocator.arenas) == 1


def test_unused_arenas_beyond_a_limit_go_back(allocator: Allocator,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocators, "KEEP_BYTES", 2 * ARENA_BYTES)
    arrays = [empty((ARENA_BYTES // 4,)) for _ in range(5)]
    assert len(allocator.arenas) == 5
    arrays.clear()
    allocator.collect()
    assert len(allocator.arenas) == 2
    assert allocator.unused() == 2 * ARENA_BYTES


def test_random_traffic_never_overlaps(allocator: Allocator, rng: Any) -> None:
    live: dict[int, np.ndarray] = {}
    for step, (action, size) in enumerate(zip(rng.integers(0, 3, (600,)).tolist(),
                                              rng.integers(1 << 16, 1 << 20, (600,)).tolist(),
                                              strict=True)):
        if action == 0 and live:
            del live[next(iter(live))]
        elif action == 1 and live:
            live.popitem()
        else:
            live[step] = empty((size,))
            live[step][:] = step
    assert all((x == step).all() for step, x in live.items())
    live.clear()
    allocator.collect()
    assert allocator.unused() == sum(len(a) for a in allocator.arenas.values())
    assert len(allocator.holes) == len(allocator.arenas)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.int64])
def test_memory_starts_at_a_cache_line(dtype: type) -> None:
    x = empty(LARGE, dtype)
    assert x.shape == LARGE
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert address(x) % LINE == 0
    assert address(scratch("test", (3, 5), dtype)) % LINE == 0


def test_many_threads_share_the_allocator() -> None:
    clashes: list[int] = []

    def user(k: int) -> None:
        for _ in range(100):
            x = empty((1 << 17,), np.float32)
            x[:] = k
            y = empty((1 << 17,), np.float32)
            y[:] = -k
            if not ((x == k).all() and (y == -k).all()):
                clashes.append(k)

    threads = [threading.Thread(target=user, args=(k,)) for k in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes


def test_empty_like_keeps_the_order() -> None:
    for x in (np.ones((8, 16, 64, 65)), np.ones((8, 64, 65, 16)).transpose(0, 3, 1, 2),
              np.ones((2, 3)).T):
        y = empty_like(x)
        assert (y.shape, y.strides, y.dtype) == (x.shape, x.strides, x.dtype)
        z = empty_like(x, np.float32)
        assert z.dtype == np.float32
        assert [2 * s for s in z.strides] == list(x.strides)


def test_scratch_is_kept_by_name_and_thread() -> None:
    x = scratch("a", (100, 10))
    assert address(scratch("a", (10, 10))) == address(x)
    assert address(scratch("b", (10, 10))) != address(x)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(address(scratch("a", (10, 10)))))
    thread.start()
    thread.join()
    assert found != [address(x)]


def test_each_thread_makes_its_own_once() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(threading.get_ident())
        return made[-1]

    own = memory.per_thread(make)
    seen: list[tuple[int, int]] = []

    def user() -> None:
        seen.extend((threading.get_ident(), own()) for _ in range(3))

    threads = [threading.Thread(target=user) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 9
    assert all(mine == got for mine, got in seen)
    assert len(made) == 3


def test_layouts() -> None:
    x = empty_nhwc(2, 3, 4, 5)
    assert x.shape == (2, 3, 4, 5)
    before = memory.layout_copies
    inside = as_nhwc(x)
    assert inside.shape == (2, 4, 5, 3)
    assert inside.flags.c_contiguous
    assert address(inside) == address(x)
    assert as_nchw(inside).strides == x.strides
    assert memory.layout_copies == before
    y = np.arange(120.0).reshape(2, 3, 4, 5)
    assert (as_nhwc(y) == y.transpose(0, 2, 3, 1)).all()
    assert memory.layout_copies == before + 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork with threads, 3.12+
def test_a_fork_while_another_thread_allocates_leaves_the_child_free_to_do_so() -> None:
    stop = threading.Event()

    def user() -> None:
        while not stop.is_set():
            empty((1 << 17,))

    threads = [threading.Thread(target=user) for _ in range(3)]
    for thread in threads:
        thread.start()
    statuses: list[int] = []
    while len(statuses) < 12 and not any(statuses):
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # ends a child that hangs
            empty((1 << 17,))[:] = 1.0
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 12


class Interrupt(Exception):
    pass


def test_interrupts_are_not_swallowed_and_lose_no_memory(
        allocator: Allocator, capsys: pytest.CaptureFixture[str]) -> None:
    def raise_it(number: int, frame: FrameType | None) -> None:
        nonlocal sent
        sent += 1
        raise Interrupt

    live: list[np.ndarray] = []
    sent = 0
    arrived = 0
    before = signal.signal(signal.SIGALRM, raise_it)
    deadline = time.monotonic() + 1.0
    gc.disable()  # what is raised in a collector's callback, such as hypothesis has, is swallowed
    try:
        while time.monotonic() < deadline:
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + 1e-6 * (arrived % 97), 0.5)
                while True:
                    live.append(empty((1 << 17,)))
                    live[-1][:] = len(live)
                    del live[len(live) // 3 + 20 :]
            except Interrupt:
                arrived += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert arrived == sent > 100
    assert "Exception ignored" not in capsys.readouterr().err
    places = sorted(address(x) for x in live)
    assert all(b - a >= 1 << 19 for a, b in pairwise(places))
    live.clear()
    allocator.collect()
    allocator.find_holes()
    assert allocator.unused() == sum(len(a) for a in allocator.arenas.values()) == ARENA_BYTES


def test_holes_that_an_interrupt_lost_are_found_before_a_new_arena_is_taken(
        allocator: Allocator) -> None:
    kept = empty((1 << 18,))
    allocator.holes.clear()
    assert address(empty((1 << 18,))) == address(kept) + (1 << 20)
    assert len(allocator.arenas) == 1
    assert allocator.holes == [(1, 2 << 20, ARENA_BYTES)]
