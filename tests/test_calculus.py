"""jacobian, hessian and products with them, against formulas and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close
from tinynet import Tensor, random
from tinynet.backend import xp
from tinynet.calculus import hessian, hvp, jacobian, jvp, taylor


def numbers(seed: int, *shape: int) -> Any:
    return random.normal(seed, shape, dtype=float)


def rosenbrock(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def test_jacobian_of_a_linear_map_is_its_matrix() -> None:
    a, x = numbers(1, 3, 4), numbers(2, 4)
    assert close(jacobian(lambda x: Tensor(a) @ x, x).data, a, atol=1e-15)
    assert jacobian(lambda x: x.sum(), x).shape == (4,)
    assert jacobian(lambda x: x.reshape(2, 2), x).shape == (2, 2, 4)
    assert jacobian(lambda x: x[:0], x).shape == (0, 4)
    assert jacobian(lambda x: x * 2.0, 3.0).shape == ()
    assert jacobian(lambda x: tn.ones(2), x).tolist() == [[0.0] * 4] * 2  # does not depend on x


def test_hessian_of_a_quadratic_is_its_matrix() -> None:
    a = numbers(3, 5, 5)
    h = hessian(lambda x: 0.5 * x @ Tensor(a + a.T) @ x, numbers(4, 5))
    assert close(h.data, a + a.T, atol=1e-13)


def test_hessian_equals_differences_of_the_gradient_and_is_symmetric() -> None:
    x = numbers(5, 6)
    h = hessian(rosenbrock, x).data
    eps, numeric = 1e-6, xp.empty((6, 6))
    for i in range(6):
        step = xp.zeros(6)
        step[i] = eps
        sides = [jacobian(rosenbrock, x + s * step).data for s in (1, -1)]
        numeric[i] = (sides[0] - sides[1]) / (2 * eps)
    assert np.abs(h - h.T).max() <= 1e-12 * np.abs(h).max()
    assert np.abs(h - numeric).max() <= 1e-6 * np.abs(h).max()


def test_hessian_has_the_axes_of_x_twice() -> None:
    x = numbers(6, 2, 3)
    h = hessian(lambda x: (x**3).sum(), x)
    assert h.shape == (2, 3, 2, 3)
    assert close(h.data.reshape(6, 6), np.diag(6 * x.ravel()))


def test_products_equal_the_matrices_times_the_vector() -> None:
    x, v = numbers(7, 6), numbers(8, 6)
    assert close(hvp(rosenbrock, x, v).data, hessian(rosenbrock, x).data @ v)

    def f(x: Any) -> Any:
        return tn.stack([tn.sin(x).sum(), (x * x).prod(), x[0] * x[1]])

    assert close(jvp(f, x, v).data, jacobian(f, x).data @ v)


def test_hvp_of_several_tensors() -> None:
    x, y, u, v = (numbers(i, 3) for i in range(10, 14))
    hx, hy = hvp(lambda x, y: (x * x * y).sum(), (x, y), (u, v))
    assert close(hx.data, 2 * y * u + 2 * x * v) and close(hy.data, 2 * x * u)


def test_hvp_of_a_function_whose_gradient_is_constant() -> None:
    assert hvp(lambda x: x.sum(), [1.0, 2.0], [3.0, 4.0]).tolist() == [0.0, 0.0]
    assert hessian(lambda x: x.sum(), [1.0, 2.0]).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("f", [rosenbrock, lambda x: tn.exp(tn.sin(x)).sum(),
                               lambda x: tn.logsumexp(x * x)])
@pytest.mark.parametrize("seed", range(5))
def test_C1_C2_errors_of_the_tangent_and_of_the_parabola(f: Any, seed: int) -> None:
    """On log-log axes the error of the linear model has slope 2, of the quadratic one slope 3."""
    x, d = numbers(2 * seed + 20, 4), numbers(2 * seed + 21, 4)
    a, b, c = taylor(f, x, d)
    t = np.geomspace(1e-4, 1e-3, 5)
    values = np.array([f(Tensor(x + step * d)).item() for step in t])
    for order, model in ((2, a + b * t), (3, a + b * t + c * t * t / 2)):
        slope = np.polyfit(np.log(t), np.log(np.abs(values - model)), 1)[0]
        assert slope == pytest.approx(order, abs=0.05)


def test_taylor_along_directions_in_which_f_is_flat() -> None:
    assert taylor(lambda x: x.sum(), [1.0, 2.0], [3.0, 4.0]) == (3.0, 7.0, 0.0)
    with tn.no_grad():
        assert taylor(lambda x: x[0] ** 3, [2.0, 1.0], [0.0, 1.0]) == (8.0, 0.0, 0.0)


def test_results_carry_no_graph_and_leave_the_argument_alone() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for y in (jacobian(lambda x: x * x, x), hessian(lambda x: (x**3).sum(), x),
              hvp(lambda x: (x**3).sum(), x, [1.0, 0.0]), jvp(lambda x: x * x, x, [1.0, 0.0])):
        assert not y.requires_grad and y.dtype == np.float32
    assert x.grad is None


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"hessian needs a function with one number.*\(2,\)"):
        hessian(lambda x: x * x, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"hvp: v has shape \(3,\), x \(2,\)"):
        hvp(lambda x: x.sum(), [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"taylor: d has shape \(1,\), x \(2,\)"):
        taylor(lambda x: x.sum(), [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="hvp: x is a tuple of 2, so v must be one, too"):
        hvp(lambda x, y: (x * y).sum(), ([1.0], [1.0]), ([1.0],))
    with pytest.raises(TypeError, match="jacobian: f must return a Tensor, got float"):
        jacobian(lambda x: 1.0, [1.0])
    with pytest.raises(TypeError, match="jvp: f must return a Tensor, got float"):
        jvp(lambda x: 1.0, [1.0], [1.0])
    with pytest.raises(ValueError, match=r"hvp needs a function with one number.*float"):
        hvp(lambda x: 2.0, [1.0], [1.0])


def test_derivatives_do_not_care_about_no_grad() -> None:
    with tn.no_grad():
        assert hessian(lambda x: (x**3).sum(), [1.0, 2.0]).tolist() == [[6, 0], [0, 12]]
        assert hvp(lambda x: (x**3).sum(), [1.0, 2.0], [1.0, 1.0]).tolist() == [6, 12]
        with pytest.raises(RuntimeError, match="under no_grad"):
            x = tn.tensor([1.0], requires_grad=True)
            tn.grad((x * x).sum(), x)


def test_integers_are_places_too() -> None:
    assert jacobian(lambda x: x * x, [1, 3]).tolist() == [[2.0, 0.0], [0.0, 6.0]]
    assert hessian(lambda x: x[0] * x[0] * x[1], np.array([2, 3], "uint8")).dtype == "float32"
    assert hvp(lambda x: (x * x * x).sum(), [1, 2], [1, 0]).tolist() == [6.0, 0.0]
    assert taylor(lambda x: (x**3).sum(), [1, 2], [True, False]) == (9.0, 3.0, 6.0)
