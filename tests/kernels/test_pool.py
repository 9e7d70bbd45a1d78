"""Pooling in blocks equals the plain twin; ties go to the first in reading order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.measure import LAYOUTS, error, images
from tinynet.kernels import pool, threads as kernel_threads

pytestmark = pytest.mark.numpy_only("the kernels of the CPU; functional/test_pool.py runs CuPy's")

CASES = [  # x, kernel, stride, padding
    ((5, 3, 8, 8), (2, 2), (2, 2), (0, 0)),
    ((5, 3, 9, 7), (2, 2), (2, 2), (0, 0)),  # a row and a column are left over
    ((150, 32, 12, 14), (2, 2), (2, 2), (0, 0)),  # several blocks
    ((3, 4, 9, 10), (3, 3), (2, 2), (1, 1)),
    ((3, 4, 9, 10), (3, 2), (1, 2), (1, 0)),
    ((2, 3, 7, 7), (2, 3), (3, 4), (0, 1)),  # gaps between windows
    ((2, 3, 6, 5), (6, 5), (6, 5), (0, 0)),  # the whole image
    ((1, 1, 5, 5), (5, 5), (1, 1), (2, 2)),
    ((2, 2, 4, 4), (1, 1), (1, 1), (0, 0)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_max(shape: Any, kernel: Any, stride: Any, padding: Any, dtype: str, layout: str,
             rng: Any) -> None:
    x = np.round(images(rng, shape, dtype, layout))  # many ties
    options = (kernel, stride, padding)
    y = pool.max_pool2d(x, *options)
    assert (y == pool.plain_max_pool2d(x, *options)).all()
    assert y.dtype == x.dtype
    g = images(rng, y.shape, dtype, layout)
    dx = pool.max_pool2d_backward(g, x, y, *options)
    wanted = pool.plain_max_pool2d_backward(g.astype("f8"), x, y, *options)
    assert error(dx, wanted) < (1e-15 if dtype == "f8" else 5e-7)
    assert dx.dtype == x.dtype


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_avg(shape: Any, kernel: Any, stride: Any, padding: Any, dtype: str, layout: str,
             rng: Any) -> None:
    x = images(rng, shape, dtype, layout)
    options = (kernel, stride, padding)
    bound = 1e-14 if dtype == "f8" else 1e-6
    y = pool.avg_pool2d(x, *options)
    assert error(y, pool.plain_avg_pool2d(x.astype("f8"), *options)) < bound
    g = images(rng, y.shape, dtype, layout)
    dx = pool.avg_pool2d_backward(g, shape, *options)
    assert error(dx, pool.plain_avg_pool2d_backward(g.astype("f8"), shape, *options)) < bound
    assert y.dtype == dx.dtype == x.dtype


@pytest.mark.parametrize("backward", [pool.max_pool2d_backward, pool.plain_max_pool2d_backward])
def test_ties_go_to_the_first_in_reading_order(backward: Any) -> None:
    options: Any = ((2, 2), (2, 2), (0, 0))
    x = np.array([[[[1.0, 2], [2, 1]]], [[[3, 3], [3, 3]]], [[[0, 1], [1, 1]]]])
    y = pool.max_pool2d(x, *options)
    dx = backward(np.full_like(y, 5.0), x, y, *options)
    assert dx.tolist() == [[[[0, 5], [0, 0]]], [[[5, 0], [0, 0]]], [[[0, 5], [0, 0]]]]


def test_the_border_is_never_the_largest(rng: Any) -> None:
    x = -10.0 - rng.uniform((2, 2, 4, 4), dtype="f8")
    options: Any = ((3, 3), (2, 2), (1, 1))
    y = pool.max_pool2d(x, *options)
    assert y.max() < -10
    dx = pool.max_pool2d_backward(np.ones_like(y), x, y, *options)
    assert dx.sum() == y.size


def test_results_do_not_depend_on_workers(rng: Any) -> None:
    x = images(rng, (64, 32, 16, 16), "f4", "nhwc")
    options: Any = ((3, 3), (2, 2), (1, 1))
    found = []
    workers = kernel_threads.get_num_workers()
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        y = pool.max_pool2d(x, *options)
        arrays = (y, pool.max_pool2d_backward(y, x, y, *options), pool.avg_pool2d(x, *options))
        found.append([a.tobytes() for a in arrays])
    kernel_threads.set_num_workers(workers)
    assert found[0] == found[1]
