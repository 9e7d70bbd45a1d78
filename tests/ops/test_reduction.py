"""Reductions: values are checked in test_properties.py; here are options, edges and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import Tensor, grad, random
from tinynet.backend import xp

X = random.normal(1, (3, 4, 5), dtype=float)


@pytest.mark.parametrize("axis", [0, -1, None])
def test_places_of_extremes_and_orders(axis: int | None) -> None:
    t = Tensor(X)
    assert equal(t.argmax(axis).data, X.argmax(axis))
    assert equal(t.argmin(axis=axis).data, X.argmin(axis))
    if axis is not None:
        assert equal(t.argsort(axis).data, X.argsort(axis))
        assert equal(t.sort(axis).data, np.sort(X, axis))
        assert close(t.median(axis).data, np.median(X, axis))
        assert close(t.cumsum(axis).data, X.cumsum(axis))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_of_several_nan_the_first_is_the_place_of_an_extreme(axis: int | None) -> None:
    x = np.arange(3.0 * 40).reshape(3, 40) % 7
    x[1, ::3] = x[2, 5:] = np.nan
    assert equal(tn.argmax(Tensor(x), axis).data, x.argmax(axis))
    assert equal(tn.argmin(Tensor(x), axis).data, x.argmin(axis))


def test_all_and_any_over_several_axes_by_place() -> None:
    t = Tensor(X) > -1.0
    assert equal(t.all((0, 2)).data, (X > -1).all((0, 2)))
    assert equal(tn.any(t, (0, 2), True).data, (X > -1).any((0, 2), keepdims=True))


@pytest.mark.parametrize("ddof", [0, 1])
def test_variance_and_deviation(ddof: int) -> None:
    t = Tensor(X)
    assert close(t.var(axis=(0, 1), ddof=ddof).data, X.var(axis=(0, 1), ddof=ddof))
    assert close(t.std(1, ddof, True).data, X.std(1, ddof=ddof, keepdims=True))
    with pytest.raises(ValueError, match="var with ddof=3 needs more than 3 values, got 3"):
        t.var(axis=0, ddof=3)


def test_logsumexp_of_large_numbers_and_of_minus_infinity() -> None:
    x = np.array([[1000.0, 1000.0], [-1e5, -1e5 - 1], [0.0, -math.inf]])
    y = tn.logsumexp(Tensor(x, requires_grad=True), axis=1)
    assert close(y.data, scipy.special.logsumexp(x, axis=1))
    assert tn.logsumexp(Tensor(X), (0, 2), True).shape == (1, 4, 1)


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_norms(order: float, axis: int | tuple[int, ...] | None) -> None:
    y = tn.norm(Tensor(X), order, axis=axis)
    want = {1: np.abs(X).sum(axis), 2: np.sqrt((X * X).sum(axis)), math.inf: np.abs(X).max(axis)}
    assert close(y.data, want[order])
    with pytest.raises(ValueError, match="norm knows ord 1, 2 and inf, got 3"):
        tn.norm(Tensor(X), 3)


def test_norm_has_slope_0_at_0() -> None:
    x = Tensor(np.zeros(3), requires_grad=True)
    assert grad(tn.norm(x), x).tolist() == [0.0, 0.0, 0.0]


def test_product_with_zeros_is_exact_at_any_order() -> None:
    x = Tensor(np.array([2.0, 0.0, 3.0, 0.0, 5.0]), requires_grad=True)
    assert grad(x.prod(), x).tolist() == [0.0] * 5
    one = Tensor(np.array([2.0, 0.0, 3.0]), requires_grad=True)
    g = grad(one.prod(), one, create_graph=True)
    assert g.tolist() == [0.0, 6.0, 0.0]
    assert grad(g[1], one).tolist() == [3.0, 0.0, 2.0]
    assert tn.prod(tn.zeros((2, 0)).data, axis=1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("f", [tn.sum, tn.mean, tn.max, tn.logsumexp, tn.norm, tn.prod])
def test_an_axis_out_of_range_is_an_error(f: object) -> None:
    for x in (Tensor(X, requires_grad=True), X):
        with pytest.raises((ValueError, IndexError), match="axis 3 is out of"):
            f(x, axis=3)  # type: ignore[operator]


def test_sort_carries_gradients_to_where_elements_came_from() -> None:
    x = Tensor(np.array([3.0, 1.0, 2.0]), requires_grad=True)
    assert grad(x.sort(), x, [10.0, 20.0, 30.0]).tolist() == [30.0, 10.0, 20.0]
    assert grad(x.median(), x).tolist() == [0.0, 0.0, 1.0]


def test_the_deviation_of_equal_values_has_gradient_0() -> None:
    x = tn.tensor([2.0, 2.0], requires_grad=True)
    assert tn.grad(tn.std(x), x).tolist() == [0.0, 0.0]


def test_logsumexp_of_minus_infinity_alone_has_slope_0() -> None:
    x = Tensor(xp.asarray([[-math.inf, -math.inf], [0.0, 1.0]]), requires_grad=True)
    y = x.logsumexp(axis=1)
    assert y.tolist() == [-math.inf, pytest.approx(math.log(1 + math.e))]
    slope = grad(y.sum(), x, create_graph=True)
    assert close(slope, [[0.0, 0.0], [1 / (1 + math.e), math.e / (1 + math.e)]])
    assert np.isfinite(host(grad(slope[1, 0], x))).all()
    alone = Tensor(-math.inf, requires_grad=True)
    assert grad(alone.logsumexp(), alone).item() == 0.0


def test_logsumexp_passes_over_minus_infinity_among_numbers() -> None:
    x = Tensor(xp.asarray([-math.inf, 0.0, 0.0]), requires_grad=True)
    assert grad(x.logsumexp(), x).tolist() == [0.0, 0.5, 0.5]
