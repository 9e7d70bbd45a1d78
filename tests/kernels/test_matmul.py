"""Matrix products equal ``a @ b``, with the same bits for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.measure import error
from tinynet.kernels import threads as kernel_threads
from tinynet.kernels.matmul import matmul

pytestmark = pytest.mark.numpy_only("products cut for BLAS threads")

SHAPES = [((3, 4), (4, 5)), ((300, 700), (700, 130)), ((1, 5000), (5000, 64)), ((513, 64), (64, 1)),
          ((2000, 33), (33, 1001)), ((6, 70, 80), (6, 80, 90)), ((70, 80), (5, 80, 90)),
          ((0, 400), (400, 400)), ((4000, 30), (30,)), ((30,), (30, 4000)), ((4,), (4,))]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_equal_to_plain(a: Any, b: Any, dtype: str, rng: Any) -> None:
    x, y = rng.normal(a, dtype=dtype), rng.normal(b, dtype=dtype)
    wanted = x.astype("f8") @ y.astype("f8")
    for left, right in ((x, y), (np.asfortranarray(x), np.asfortranarray(y))):
        found = np.asarray(matmul(left, right))
        assert found.dtype == dtype
        assert error(found, wanted) < (1e-13 if dtype == "f8" else 2e-5)


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_results_do_not_depend_on_workers_or_blas(a: Any, b: Any, rng: Any) -> None:
    x, y = rng.normal(a), rng.normal(b)
    workers = kernel_threads.get_num_workers()
    found = []
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        found.append(np.asarray(matmul(x, y)).tobytes())
    kernel_threads.set_num_workers(workers)
    with kernel_threads.single_threaded_blas():
        found.append(np.asarray(matmul(x, y)).tobytes())
    assert found[0] == found[1] == found[2]
