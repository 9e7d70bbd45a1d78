"""Blocks give what the plain function gives, bit for bit, in the layout of the operands."""

from __future__ import annotations

import timeit
from typing import Any

import numpy as np
import pytest

from tests.kernels.measure import images
from tinynet.kernels import elementwise
from tinynet.kernels.elementwise import add, keep_positive, masked, positive

pytestmark = pytest.mark.numpy_only("blocks for the cache and worker threads")

SHAPES = [(3, 2, 5, 4), (16, 32, 33, 31), (1, 1, 1, 500_001)]
TWO_ARGUMENTS = [np.add, np.multiply, np.maximum, keep_positive]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("f", TWO_ARGUMENTS)
def test_equal_to_plain(f: Any, shape: Any, dtype: str, layout: str, rng: Any) -> None:
    a, b = images(rng, shape, dtype, layout), images(rng, shape, dtype, layout)
    y = elementwise.elementwise(f, a, b)
    assert (y == f(a, b)).all()
    assert y.dtype == a.dtype
    for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
        assert not a.transpose(order).flags.c_contiguous or y.transpose(order).flags.c_contiguous
    out = np.empty_like(a)
    assert elementwise.elementwise(f, a, b, out=out) is out
    assert (out == y).all()


@pytest.mark.parametrize("f", TWO_ARGUMENTS)
def test_other_layouts_take_the_plain_way(f: Any, rng: Any) -> None:
    shape = (16, 16, 32, 33)
    a, b = images(rng, shape, "f4", "nchw"), images(rng, shape, "f4", "nhwc")
    c = images(rng, shape, "f4", "gaps")
    row = rng.normal((33,))
    for x, y in ((a, b), (c, c), (a, c), (a, row)):
        assert (elementwise.elementwise(f, x, y) == f(x, y)).all()


PARTNERS = [(), (48,), (48, 1), (16, 1, 1), (1, 16, 1, 1), (1, 1, 16, 48, 48)]


@pytest.mark.parametrize("partner", PARTNERS, ids=str)
def test_a_large_array_in_another_layout_meets_a_partner_of_another_number_of_axes(
        partner: Any, rng: Any) -> None:
    x = images(rng, (8, 16, 48, 48), "f4", "nhwc")
    y = rng.normal(partner)
    assert (add(x, y) == x + y).all()
    assert (add(y, x) == x + y).all()
    assert (elementwise.elementwise(np.multiply, x, y) == x * y).all()
    assert elementwise.flat_rows([x, y]) is None


def test_one_argument_and_mixed_dtypes(rng: Any) -> None:
    x = images(rng, (64, 32, 32, 32), "f4", "nhwc")
    assert (elementwise.elementwise(positive, x) == np.maximum(x, 0)).all()
    mask = x > 0.3
    assert (elementwise.relu(x) == np.maximum(x, 0)).all()
    assert (elementwise.relu_backward(x, -x) == np.minimum(x, 0)).all()
    y = masked(x, mask, 2.0)
    assert y.dtype == np.float32
    assert (y == np.where(mask, 2 * x, 0)).all()
    assert (masked(x, mask.copy(order="C"), 2.0) == y).all()
    assert (elementwise.elementwise(np.multiply, mask, x) == mask * x).all()


def test_add(rng: Any) -> None:
    a, b = rng.normal((1 << 20,)), rng.normal((1 << 20,))
    assert (add(a, b) == a + b).all()
    assert (add(a, 1.5) == a + 1.5).all()
    assert add(2, 3) == 5
    assert add(a, b.astype("f8")).dtype == np.float64


def test_small_arrays_cost_little_more_than_numpy() -> None:
    a, b = np.ones(32, "f4"), np.ones(32, "f4")
    best = [min(timeit.repeat(f, number=2000, repeat=15)) / 2000
            for f in (lambda: np.add(a, b), lambda: add(a, b),
                      lambda: elementwise.elementwise(np.add, a, b))]
    assert best[1] - best[0] < 1e-6
    assert best[2] - best[0] < 1e-6
