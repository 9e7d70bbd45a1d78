"""Element-wise operations: values against NumPy and SciPy, kinks, edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special

import tinynet as tn
from tests.arrays import close, equal
from tinynet import Tensor, grad, random
from tinynet.backend import xp

UNARY = {name: getattr(np, name) for name in (
    "exp", "expm1", "log", "log1p", "sqrt", "square", "sin", "cos", "tanh", "abs", "sign", "floor",
    "negative", "isfinite", "logical_not")} | {"sigmoid": scipy.special.expit,
                                               "erf": scipy.special.erf}
BINARY = {name: getattr(np, name) for name in (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "equal", "not_equal",
    "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or")}


def slope(f: Any, values: list[float]) -> list[float]:
    x = Tensor(np.array(values), requires_grad=True)
    found: list[float] = grad(f(x).sum(), x).tolist()
    return found


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument(name: str, dtype: str) -> None:
    x = random.uniform(1, (3, 50), 0.1, 4.0, dtype=dtype)
    x = x if name in ("log", "log1p", "sqrt") else x - 2.0
    y, want = getattr(tn, name)(Tensor(x)), UNARY[name](x)
    assert y.shape == x.shape and y.dtype == want.dtype
    assert close(y.data, want, rtol=2e-6 if dtype == "f4" else 1e-13, atol=1e-7 * (
        dtype == "f4"))
    assert equal(getattr(tn, name)(x), y.data)
    assert not hasattr(Tensor, name) or equal(getattr(Tensor(x), name)().data, y.data)


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arguments(name: str) -> None:
    a, b = random.uniform(1, (4, 1), 0.5, 2.0, dtype="f4"), random.uniform(2, (5,), 0.5, 2.0)
    b[0] = a[0, 0]
    y, want = getattr(tn, name)(Tensor(a), Tensor(b)), BINARY[name](a, b)
    assert y.dtype == want.dtype and equal(y.data, want)
    assert equal(getattr(tn, name)(a, b), want)
    assert equal(getattr(tn, name)(Tensor(a), b).data, want)


def test_sigmoid_and_erf_do_not_overflow() -> None:
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4])
    assert close(tn.sigmoid(xp.asarray(x)), scipy.special.expit(x), rtol=1e-14, atol=0.0)
    assert close(tn.erf(Tensor(x)).data, scipy.special.erf(x), rtol=1e-15)


def test_slopes_at_kinks() -> None:
    assert slope(tn.abs, [-2.0, 0.0, 3.0]) == [-1.0, 0.0, 1.0]
    assert slope(lambda x: tn.maximum(x, 1.0), [0.0, 1.0, 2.0]) == [0.0, 0.5, 1.0]
    assert slope(lambda x: tn.clip(x, -1.0, 1.0), [-2.0, -1.0, 0.0, 1.0]) == [0.0, 0.5, 1.0, 0.5]
    assert slope(lambda x: tn.clip(x, low=0.0), [-1.0, 1.0]) == [0.0, 1.0]
    with pytest.raises(ValueError, match="needs low, high or both"):
        tn.clip(Tensor([1.0]))


def test_powers_at_zero_and_below() -> None:
    assert slope(lambda x: x**2, [0.0, -3.0]) == [0.0, -6.0]
    assert slope(lambda x: x**1, [0.0, -3.0]) == [1.0, 1.0]
    assert slope(lambda x: x**0, [0.0, -3.0]) == [0.0, 0.0]
    assert slope(lambda x: x ** xp.array([0.0, 1.0, 2.0]), [0.0, 0.0, 0.0]) == [0.0, 1.0, 0.0]
    assert slope(lambda p: 2.0**p, [0.0, 3.0]) == pytest.approx([math.log(2), 8 * math.log(2)])
    assert slope(lambda p: 0.0**p, [1.0, 2.0]) == [0.0, 0.0]
    assert slope(lambda p: Tensor([-1.0, 0.0]) ** p, [2.0, 3.0]) == [0.0, 0.0]
    x = Tensor(np.zeros(2), requires_grad=True)
    for n, want in ((2, 2.0), (3, 0.0), (4, 0.0)):  # higher derivatives at 0, without 0 / 0
        second = grad(grad((x**n).sum(), x, create_graph=True).sum(), x)
        assert second.tolist() == [want, want]


def test_where_takes_a_mask_of_numpy_as_an_index_does() -> None:
    mask = np.array([True, False, True])
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    y = tn.where(mask, x, 0.0)
    y.sum().backward()
    assert y.tolist() == [1, 0, 3] and x[mask].tolist() == [1, 3]
    assert x.grad is not None and x.grad.tolist() == [1, 0, 1]


def test_where_passes_nothing_to_the_branch_not_taken() -> None:
    x = Tensor(np.array([0.0, 4.0]), requires_grad=True)
    safe = tn.where(x > 0, x, 1.0)
    y = tn.where(x > 0, tn.sqrt(safe), 0.0)
    assert y.tolist() == [0.0, 2.0] and grad(y.sum(), x).tolist() == [0.0, 0.25]


def test_logical_operators_and_comparisons_have_no_gradient() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    for y in (x > 1, x == x, ~(x > 1), (x > 1) & (x < 3), (x > 1) | (x < 1), tn.sign(x),
              tn.floor(x), x.argmax()):
        assert not y.requires_grad
    assert (~(x > 1)).tolist() == [True, False]


def test_functions_of_calculus_take_python_numbers() -> None:
    assert float(tn.erf(1)) == pytest.approx(0.8427008, abs=1e-7)
    assert float(tn.erf(1.0)) == float(tn.erf(1))
    assert float(tn.exp(1)) == pytest.approx(2.7182818, abs=1e-6)
