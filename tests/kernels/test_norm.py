"""Batch normalisation and the per-channel passes equal their plain twins, also far from zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynet.backend import xp
from tinynet.kernels import channels, memory, norm, threads as kernel_threads

EPS = 1e-5
SHAPES = [(32, 32, 16, 16), (21, 24, 17, 19), (17, 3, 64, 64), (3000, 40), (150, 17, 70),
          (40, 8200), (7, 5, 3, 3), (9, 4), (1, 3, 5, 7)]
BOUND = {"f4": 2e-6, "f8": 1e-13}


def array(rng: Any, shape: tuple[int, ...], dtype: str, layout: str) -> np.ndarray:
    if layout == "channels last":
        x = rng.normal((shape[0], *shape[2:], shape[1]), dtype=dtype)
        return np.moveaxis(x, -1, 1) * 2 + 0.5
    return rng.normal(shape, dtype=dtype) * 2 + 0.5


def difference(a: Any, b: Any) -> float:
    """Relative to the norm of b: single elements of dx may be far smaller than its terms."""
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape: Any, dtype: str, relu: bool, layout: str, rng: Any) -> None:
    x, g = (array(rng, shape, dtype, layout) for _ in "xg")
    weight, bias = (rng.normal((shape[1],), dtype=dtype) for _ in "wb")
    y, found = norm.batch_norm(x, weight, bias, EPS, relu)
    exact = x.astype("f8")
    mean, var = norm.plain_statistics(exact)
    assert difference(found.mean, mean) < BOUND[dtype]
    assert difference(found.var, var) < BOUND[dtype]
    statistics = norm.Statistics(mean, var, np.sqrt(var + EPS))
    scale = weight / statistics.deviation
    wanted = channels.plain_scale_and_shift(exact, scale, bias - mean * scale, relu)
    assert difference(y, wanted) < BOUND[dtype]
    assert y.dtype == x.dtype
    gate = y if relu else None
    gradients = norm.batch_norm_backward(g, x, weight, found, True, gate)
    plain = norm.plain_batch_norm_backward(g.astype("f8"), exact, weight.astype("f8"), statistics,
                                           True, gate)
    for a, b in zip(gradients, plain, strict=True):
        assert difference(a, b) < BOUND[dtype] * 5
        assert a.dtype == x.dtype
    none, dw, db = norm.batch_norm_backward(g, x, weight, found, False, gate)
    assert none is None
    assert (dw == gradients[1]).all()
    assert (db == gradients[2]).all()


def test_plain_gradient_by_differences(rng: Any) -> None:
    x, g, direction = (rng.normal((6, 3, 2, 2), dtype="f8") for _ in range(3))
    weight, bias = rng.normal((3,), dtype="f8"), rng.normal((3,), dtype="f8")

    def value(t: float) -> float:
        return float((g * norm.batch_norm(x + t * direction, weight, bias, EPS)[0]).sum())

    _, of = norm.batch_norm(x, weight, bias, EPS)
    dx, dw, db = norm.plain_batch_norm_backward(g, x, weight, of)
    assert abs((dx * direction).sum() - (value(1e-5) - value(-1e-5)) / 2e-5) < 1e-7
    normal = (x - of.mean[:, None, None]) / of.deviation[:, None, None]
    assert np.allclose(dw, (g * normal).sum((0, 2, 3)))
    assert np.allclose(db, g.sum((0, 2, 3)))


@pytest.mark.parametrize("mean", [0.0, 3.9, -4.1, 1e3, -1e5])
@pytest.mark.parametrize("shape", [(64, 32, 16, 16), (20000, 16)])
def test_E10_statistics_far_from_zero(mean: float, shape: Any, rng: Any) -> None:
    """The statistics lose nothing. y = x A + B loses the digits that x itself lacks: float32 spaces
    numbers at 1e5 by 0.008."""
    x = (rng.normal(shape, dtype="f8") + mean).astype("f4")
    m, v = norm.statistics(x)
    exact = x.astype("f8")
    axes = (0, *range(2, x.ndim))
    assert np.abs(m - exact.mean(axes)).max() < 1e-6
    assert np.abs(v / exact.var(axes) - 1).max() < 1e-5
    y, _ = norm.batch_norm(x, None, None, EPS)
    assert np.abs(y.mean(axes, dtype="f8")).max() < 1e-6 + 1e-7 * abs(mean)
    assert np.abs(y.std(axes, dtype="f8") - 1).max() < 1e-4 + 1e-7 * abs(mean)


def test_statistics_whose_squares_are_too_large_for_the_dtype(rng: Any) -> None:
    x = rng.normal((64, 32, 16, 16))
    x[:, 5] = 1e20 + 1e18 * x[:, 5]  # float32 ends at 3e38
    m, v = norm.statistics(x)
    exact = x.astype("f8")
    assert difference(m, exact.mean((0, 2, 3))) < 1e-6
    assert np.abs(v / exact.var((0, 2, 3)) - 1).max() < 1e-5


def test_one_channel_that_is_constant(rng: Any) -> None:
    x = rng.normal((64, 8, 32, 32))
    x[:, 3] = 7.0
    y, found = norm.batch_norm(x, None, None, EPS)
    assert found.var[3] == 0
    assert np.abs(y[:, 3]).max() < 1e-3
    dx, _, _ = norm.batch_norm_backward(np.ones_like(x), x, None, found)
    assert np.isfinite(dx).all()


def test_no_weight_and_bias(rng: Any) -> None:
    x = rng.normal((64, 16, 32, 32))
    one, zero = xp.ones(16, "f4"), xp.zeros(16, "f4")
    y, found = norm.batch_norm(x, None, None, EPS)
    z, same = norm.batch_norm(x, one, zero, EPS)
    assert (y == z).all()
    for a, b in zip(norm.batch_norm_backward(y, x, None, found),
                    norm.batch_norm_backward(y, x, one, same), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_channels(shape: Any, dtype: str, rng: Any) -> None:
    scale, shift = rng.normal((shape[1],), dtype=dtype), rng.normal((shape[1],), dtype=dtype)
    for layout in ("channels first", "channels last"):
        x = array(rng, shape, dtype, layout)
        y = channels.scale_and_shift(x, scale, shift)
        assert difference(y, channels.plain_scale_and_shift(x, scale, shift)) < BOUND[dtype]
        wanted = channels.plain_channel_sum(x.astype("f8"))
        assert np.abs(channels.channel_sum(x) - wanted).max() < BOUND[dtype] * np.abs(x).sum()


def test_results_do_not_depend_on_workers_nor_copy(rng: Any) -> None:
    x, g = (array(rng, (64, 32, 16, 16), "f4", "channels last") for _ in "xg")
    weight = rng.normal((32,))
    before, found = memory.layout_copies, []
    workers = kernel_threads.get_num_workers()
    for n in (1, 2):
        kernel_threads.set_num_workers(n)
        y, of = norm.batch_norm(x, weight, None, EPS, True)
        gradients = norm.batch_norm_backward(g, x, weight, of, True, y)
        found.append([a.tobytes() for a in (y, *of[:3], *gradients, channels.channel_sum(g))])
    kernel_threads.set_num_workers(workers)
    assert found[0] == found[1]
    assert memory.layout_copies == before
