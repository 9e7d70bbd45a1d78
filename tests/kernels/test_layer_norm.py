"""Layer normalisation in blocks of rows: exact far from zero, for rows of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels import layouts as plain
from tinynet.kernels import layer_norm as kernels, threads as kernel_threads

pytestmark = pytest.mark.numpy_only("blocks for the cache and worker threads")

SHAPES = [(4000, 33), (8192, 256), (70, 4096), (3, 300_000), (100_000, 2)]


@pytest.mark.parametrize("mean", [0.0, 3.0, -1e4])
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_the_formula_also_far_from_zero(shape: Any, mean: float, rng: Any) -> None:
    x = (rng.normal(shape, dtype="f8") + mean).astype("f4")
    g = rng.normal(shape)
    w = rng.normal(shape[1:])
    y, of = kernels.layer_norm(x, w, w, 1e-5)
    found = kernels.layer_norm_backward(g, x, w, of)
    exact = x.astype("f8")
    wanted = plain.layer_norm(exact)[0] * w + w
    bound = 3e-6 if shape[1] > 2 else 3e-4  # of two numbers the deviation may be very small
    assert np.abs(y - wanted).max() < bound * np.abs(wanted).max()
    for a, b in zip(found, plain.layer_norm_backward(g, exact, w), strict=True):
        assert np.abs(a - b).max() < 4 * bound * np.abs(b).max()


def test_a_mean_whose_square_is_beyond_float32(rng: Any) -> None:
    x = (1e20 + 1e15 * rng.normal((3000, 100), dtype="f8")).astype("f4")
    y, _ = kernels.layer_norm(x, None, None, 1e-5)
    wanted = plain.layer_norm(x.astype("f8"))[0]
    assert np.abs(y - wanted).max() < 3e-6 * np.abs(wanted).max()


def test_results_do_not_depend_on_workers(rng: Any) -> None:
    x, g = (rng.normal((5000, 120)) for _ in "xg")
    w = rng.normal((120,))
    workers = kernel_threads.get_num_workers()
    found = []
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        y, of = kernels.layer_norm(x, w, w, 1e-5)
        gradients = kernels.layer_norm_backward(g, x, w, of)
        found.append([a.tobytes() for a in (y, *of, *gradients)])
    kernel_threads.set_num_workers(workers)
    assert found[0] == found[1]


def test_sums_that_are_not_wanted_are_not_made(rng: Any) -> None:
    x = rng.normal((3000, 100))
    _, of = kernels.layer_norm(x, None, None, 1e-5)
    dx, dw, db = kernels.layer_norm_backward(x, x, None, of, want_sums=False)
    assert dw is None
    assert db is None
    assert (dx == kernels.layer_norm_backward(x, x, None, of)[0]).all()
