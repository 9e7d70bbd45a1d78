"""The pool gives a block back when its last view dies; layouts enter and leave without copies."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tinynet.kernels import memory
from tinynet.kernels.memory import as_nchw, as_nhwc, empty, empty_like, empty_nhwc, scratch

LARGE = (512, 1024)  # 2 MB of float32


@pytest.fixture(autouse=True)
def empty_pool() -> Iterator[None]:
    memory.free_pool()
    yield
    memory.free_pool()


def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


def test_a_block_returns_when_the_last_view_dies() -> None:
    x = empty(LARGE)
    place = address(x)
    view = x[3:, ::2].T
    del x
    assert memory._free_bytes == 0
    y = empty(LARGE)
    assert address(y) != place  # still in use by the view
    del view
    assert memory._free_bytes > 0
    assert address(empty(LARGE)) == place


def test_sizes_are_rounded_up_by_an_eighth_at_most() -> None:
    for n in (1 << 18, (1 << 18) + 1, 3_000_000, 12_345_678):
        size = memory._size_class(n)
        assert n <= size <= 1.125 * n


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.int64])
def test_memory_starts_at_a_cache_line(dtype: type) -> None:
    x = empty(LARGE, dtype)
    assert x.shape == LARGE
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert address(x) % memory.LINE == 0
    assert address(scratch("test", (3, 5), dtype)) % memory.LINE == 0


def test_the_pool_keeps_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEEP_BYTES", 5 << 20)
    arrays = [empty(LARGE) for _ in range(6)]
    arrays.clear()
    assert 0 < memory._free_bytes <= 5 << 20


def test_many_threads_share_the_pool() -> None:
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
