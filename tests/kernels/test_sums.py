"""Sums over blocks: right, and the same for any number of workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.measure import error
from tinynet import Tensor, exp, grad, log, logsumexp, sum_to
from tinynet.kernels import sums, threads as kernel_threads
from tinynet.kernels.sums import plain_sum_parts, sum_blocks, sum_parts

pytestmark = pytest.mark.numpy_only("partial sums of worker threads")


@pytest.mark.parametrize("shape", [(1, 5), (7, 3, 4), (5, 400_000), (300, 64, 65)])
def test_sum_parts(shape: Any, rng: Any) -> None:
    parts = rng.normal(shape, dtype="f8")
    assert error(sum_parts(parts), plain_sum_parts(parts)) < 1e-14
    in_order = parts[0].copy()
    for part in parts[1:]:
        in_order += part
    workers = kernel_threads.get_num_workers()
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        assert (sum_parts(parts) == in_order).all()
    kernel_threads.set_num_workers(workers)


@pytest.mark.parametrize("limit", [1, 4000, 1 << 26])
@pytest.mark.parametrize(("n", "step"), [(1, 1), (100, 7), (64, 8), (9, 20)])
def test_sum_blocks(n: int, step: int, limit: int, rng: Any,
                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "PARTS_BYTES", limit)  # few lanes, or a lane for each block
    x = rng.normal((n, 1000))
    seen: list[tuple[int, int]] = []

    def work(i: int, j: int, out: np.ndarray) -> None:
        seen.append((i, j))
        x[i:j].sum(axis=0, out=out)

    workers = kernel_threads.get_num_workers()
    found = []
    for k in (1, 2, 3):
        kernel_threads.set_num_workers(k)
        seen.clear()
        total = sum_blocks(work, n, step, (1000,), x.dtype)
        assert sorted(seen) == [(i, min(n, i + step)) for i in range(0, n, step)]
        assert error(total, x.sum(axis=0, dtype="f8")) < 1e-5
        found.append(total.tobytes())
    kernel_threads.set_num_workers(workers)
    assert found[0] == found[1] == found[2]


SUMS = {
    "sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0) * len(x),
    "sum_to": lambda x: sum_to(x, (1, x.shape[1])), "norm": lambda x: x.norm(axis=0) ** 2,
    "of all": lambda x: x.T.sum(), "logsumexp": lambda x: exp(logsumexp(log(x), 0)),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_along_a_leading_axis_does_not_stand_still(name: str) -> None:
    ones = Tensor(np.ones(((1 << 24) + 1000, 1), "f4"))
    assert SUMS[name](ones).item() == pytest.approx((1 << 24) + 1000, rel=3e-6)


@pytest.mark.parametrize("dtype", ["f2", "f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_many_small_numbers_add_up(order: Any, dtype: str) -> None:
    x = Tensor(np.full((300_000, 3), 0.1, dtype, order))
    y = x.mean(0)
    assert y.dtype == dtype
    assert error(y.data, x.data.astype("f8").mean(0)) < np.finfo(dtype).eps
    bias = Tensor(np.zeros(3, dtype), requires_grad=True)
    d = grad(((x + bias) * 0.1).sum(), bias)
    assert error(d.data, np.full(3, 30_000.0)) < 2 * np.finfo(dtype).eps
