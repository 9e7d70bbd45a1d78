"""Newton, BFGS and L-BFGS with the numbers of section 1C, and the line search they use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, host, leaf
from tinynet import Tensor, nn, tanh, where
from tinynet.backend import asarray, xp
from tinynet.optim import BFGS, LBFGS, Newton, NewtonCG
from tinynet.optim.line_search import Phi, Point, strong_wolfe

SCIPY_EVALUATIONS = {"BFGS": 41, "L-BFGS-B": 46}  # Rosenbrock from (-1.2, 1)


def spd(n: int, seed: int = 0) -> np.ndarray:
    """A symmetric positive definite matrix with eigenvalues 1 .. n."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    return (q * np.arange(1.0, n + 1)) @ q.T


def quadratic(a: np.ndarray, b: np.ndarray) -> Callable[[Tensor], Tensor]:
    return lambda x: (x @ Tensor(a) @ x) / 2 - (Tensor(b) * x).sum()


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def net() -> tuple[list[Tensor], Callable[[], Tensor]]:
    """A tiny tanh net on fixed data: 37 weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 1))
    w1, b1, w2 = (leaf(rng.normal(size=shape) / 2) for shape in ((4, 6), (6,), (6, 1)))
    b2 = leaf([0.0])
    loss = lambda: (tanh(Tensor(x) @ w1 + b1) @ w2 + b2 - Tensor(y)).square().mean()  # noqa: E731
    return [w1, b1, w2, b2], loss


# Newton

@pytest.mark.parametrize("n", [1, 3, 10])
def test_C2_newton_solves_a_quadratic_in_one_step(n: int) -> None:
    a, b = spd(n), np.arange(n) - 1.0
    x = leaf(np.full(n, 5.0))
    Newton([x]).step(lambda: quadratic(a, b)(x))
    assert np.abs(x.numpy() - np.linalg.solve(a, b)).max() < 1e-10


def test_C2_error_of_the_quadratic_model_is_of_third_order() -> None:
    params, loss = net()
    optimizer = Newton(params)
    h = optimizer.hessian(loss)
    here = optimizer._visit(loss, optimizer._flat([p.data for p in params]))
    d = asarray(np.random.default_rng(1).normal(size=here.x.size))
    sizes = np.array([1e-1, 1e-2])
    errors = []
    for size in sizes:
        s = size * d / np.linalg.norm(d)
        model = here.value + here.g @ s + s @ h @ s / 2
        errors.append(abs(float(optimizer._visit(loss, here.x + s).value - model)))
    slope = np.diff(np.log(errors)) / np.diff(np.log(sizes))
    assert slope == pytest.approx(3.0, abs=0.1)


def test_C3_hessian_is_that_of_differences_and_symmetric() -> None:
    params, loss = net()
    optimizer = Newton(params)
    h = optimizer.hessian(loss)
    x, n, step = optimizer._flat([p.data for p in params]), 37, 1e-5
    differences = xp.stack([
        (optimizer._visit(loss, x + step * e).g - optimizer._visit(loss, x - step * e).g)
        / (2 * step) for e in xp.eye(n)])
    assert np.abs(h - differences).max() < 1e-6
    gradient = optimizer.gradient_graph(loss)
    rows = xp.stack([optimizer.pull_back(gradient, row) for row in xp.eye(n)])
    assert np.abs(rows - rows.T).max() < 1e-12


def test_C3_near_a_minimum_errors_square_each_step() -> None:
    x = leaf([1.2, 0.8])
    optimizer, errors = Newton([x]), []
    for _ in range(5):
        errors.append(float(np.abs(x.data - 1).max()))
        optimizer.step(lambda: ((x - 1) ** 2 + (x - 1) ** 3 / 3).sum())
    ratios = [errors[i + 1] / errors[i] ** 2 for i in range(4)]
    assert max(ratios) < 1 and ratios[2] == pytest.approx(ratios[1], rel=0.1)
    assert errors[4] < 1e-13


def test_newton_escapes_a_saddle_and_says_so() -> None:
    x = leaf([1.0, 1e-3])
    optimizer = Newton([x])
    with pytest.warns(RuntimeWarning, match="not positive definite"):
        for _ in range(3):
            optimizer.step(lambda: x[0] ** 2 - x[1] ** 2)
    assert optimizer.fallbacks == 3
    assert x.tolist() == pytest.approx([0.0, 8e-3])  # plain Newton would go to (0, 0)


def test_newton_takes_the_gradient_where_there_is_no_curvature() -> None:
    x = leaf([1.0, 2.0])
    with pytest.warns(RuntimeWarning, match="not positive definite"):
        Newton([x]).step(lambda: 3.0 * x[0] + x[1])
    assert x.tolist() == [-2.0, 1.0]


def test_newton_damping_and_line_search() -> None:
    x = leaf([4.0])
    Newton([x], damping=1.0).step(lambda: (x * x).sum())
    assert x.item() == pytest.approx(4 - 8 / 3)
    y = leaf([3.0])  # pure Newton on sqrt(1 + y^2) diverges from |y| > 1
    Newton([y], max_iter=20, line_search_fn="strong_wolfe").step(
        lambda: ((1 + y * y) ** 0.5).sum())
    assert abs(y.item()) < 1e-8


@pytest.mark.parametrize("make", [Newton, NewtonCG])
def test_newton_refuses_a_closure_that_calls_backward(make: Any) -> None:
    x = leaf([1.0])

    def closure() -> Tensor:
        loss = (x * x).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="not call backward"):
        make([x]).step(closure)


def test_newton_cg_equals_newton_on_a_quadratic_and_trains_a_net() -> None:
    a, b = spd(8), np.ones(8)
    x = leaf(np.zeros(8))
    NewtonCG([x], max_iter=10).step(lambda: quadratic(a, b)(x))
    assert np.abs(x.numpy() - np.linalg.solve(a, b)).max() < 1e-7
    params, loss = net()
    before = NewtonCG(params, max_iter=60).step(loss)
    assert loss().item() < before / 40  # BFGS: / 7 in as many evaluations


# BFGS

def exact(phi: Phi, start: Point, alpha: float) -> Point:
    """The minimum along the line of a quadratic, by the slopes at 0 and 1."""
    return phi(start.slope / (start.slope - phi(1.0).slope))


def test_C5_bfgs_finishes_a_10d_quadratic_in_10_steps_and_knows_the_inverse() -> None:
    a, b = spd(10), np.ones(10)
    x = leaf(np.full(10, 3.0))
    optimizer = BFGS([x], max_iter=10, tolerance_grad=0.0, line_search_fn=exact)
    optimizer.step(lambda: quadratic(a, b)(x))
    assert np.abs(a @ x.numpy() - b).max() < 1e-8
    assert np.abs(host(optimizer.memory["B"]) - np.linalg.inv(a)).max() < 1e-12


def test_C5_bfgs_on_rosenbrock_against_scipy() -> None:
    x = leaf([-1.2, 1.0])
    optimizer = BFGS([x], max_iter=200, tolerance_grad=1e-5)
    optimizer.step(lambda: rosenbrock(x))
    assert optimizer.converged and np.abs(x.data - 1).max() < 1e-4
    assert optimizer.evaluations <= 2 * SCIPY_EVALUATIONS["BFGS"]


def test_C5_bfgs_update_satisfies_the_secant_equation_and_stays_positive() -> None:
    x = leaf([-1.2, 1.0])
    optimizer = BFGS([x], max_iter=1)
    for _ in range(20):
        before = optimizer._visit(lambda: rosenbrock(x), x.data.copy())
        optimizer.step(lambda: rosenbrock(x))
        after = optimizer._visit(lambda: rosenbrock(x), x.data.copy())
        b = optimizer.memory["B"]
        assert close(b @ (after.g - before.g), after.x - before.x, atol=1e-12)
        assert np.linalg.eigvalsh(host(b))[0] > 0


# L-BFGS

def test_C6_two_loops_give_the_direction_of_explicit_bfgs() -> None:
    n, k = 12, 6
    rng, a = np.random.default_rng(0), spd(12)
    optimizer = LBFGS([leaf(np.zeros(n))], history_size=k)
    pairs = [(s, a @ s) for s in rng.normal(size=(k, n))]
    for s, y in pairs:
        optimizer.learn(asarray(s), asarray(y))
    s, y = pairs[-1]
    b = (s @ y) / (y @ y) * np.eye(n)
    for s, y in pairs:
        r = 1 / (s @ y)
        v = np.eye(n) - r * np.outer(y, s)
        b = v.T @ b @ v + r * np.outer(s, s)
    g = rng.normal(size=n)
    direction = host(optimizer.direction(asarray(g), asarray(g), lambda: None))
    assert np.abs(direction + b @ g).max() < 1e-10


def test_C6_every_accepted_step_satisfies_strong_wolfe() -> None:
    accepted = []

    def watched(phi: Phi, start: Point, alpha: float) -> Point:
        point = strong_wolfe(phi, start, alpha)
        accepted.append((start, point))
        return point

    x = leaf([-1.2, 1.0] * 5)
    optimizer = LBFGS([x], max_iter=500, tolerance_grad=1e-5, line_search_fn=watched)
    optimizer.step(lambda: rosenbrock(x))
    assert optimizer.converged and len(accepted) == optimizer.iterations > 50
    for start, point in accepted:
        assert point.value <= start.value + 1e-4 * point.alpha * start.slope
        assert abs(point.slope) <= 0.9 * abs(start.slope)


def test_C6_rosenbrock_within_twice_scipys_evaluations() -> None:
    x = leaf([-1.2, 1.0])
    optimizer = LBFGS([x], max_iter=200, tolerance_grad=1e-5)
    optimizer.step(lambda: rosenbrock(x))
    assert optimizer.converged and np.abs(x.data - 1).max() < 1e-4
    assert optimizer.evaluations <= 2 * SCIPY_EVALUATIONS["L-BFGS-B"]


@pytest.mark.parametrize("m", [1, 3, 10])
def test_C6_memory_is_two_vectors_for_each_pair(m: int) -> None:
    params, loss = net()
    optimizer = LBFGS(params, history_size=m, max_iter=15)
    optimizer.step(loss)
    assert sum(a.size for a in optimizer.memory.values()) == 2 * m * 37


def test_pairs_without_positive_curvature_are_skipped() -> None:
    s = xp.array([1.0, 2.0])
    for make in (BFGS, LBFGS):
        optimizer = make([leaf([0.0, 0.0])])
        for y in (-s, xp.array([2.0, -1.0]), 0 * s):
            optimizer.learn(s, y)
            assert not optimizer.memory
        optimizer.learn(s, s)
        assert optimizer.memory


@pytest.mark.parametrize("make", [BFGS, LBFGS, NewtonCG])
def test_a_loss_that_is_not_finite_shrinks_the_step(make: Any) -> None:
    """x - log x is infinite for x <= 0, where a step of 1 from 0.01 would lead."""
    x = leaf([0.01])
    optimizer = make([x], max_iter=50, line_search_fn="strong_wolfe", tolerance_grad=1e-8)
    optimizer.step(lambda: where(x > 0, x - where(x > 0, x, 1.0).log(), math.inf).sum())
    assert x.item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("make", [BFGS, LBFGS])
def test_each_iteration_goes_down_and_the_lowest_point_stays(make: Any) -> None:
    params, loss = net()
    optimizer = make(params, max_iter=1)
    losses = [float(optimizer.step(loss)) for _ in range(40)]
    assert (np.diff(losses) <= 0).all() and losses[-1] < losses[0] / 3


@pytest.mark.parametrize("make", [BFGS, LBFGS, NewtonCG])
def test_stops_by_itself_where_nothing_lower_can_be_found(make: Any) -> None:
    x = leaf([-1.2, 1.0])
    optimizer = make([x], max_iter=1000, tolerance_grad=0.0)
    optimizer.step(lambda: rosenbrock(x))
    assert optimizer.iterations < 200 and np.abs(x.data - 1).max() < 1e-6


@pytest.mark.parametrize("make", [BFGS, LBFGS, NewtonCG])
def test_warns_when_the_loss_changes_at_the_same_weights(make: Any) -> None:
    x, batches = leaf([1.0, 2.0]), iter([1.0, 1.0, 1.0, 3.0] * 20)
    optimizer = make([x], max_iter=1)
    optimizer.step(lambda: (x * x).sum())
    optimizer.step(lambda: (x * x).sum() + x.sum() * 0)  # the same: no warning, which is an error
    with pytest.warns(RuntimeWarning, match="at the same weights: .* full batch"):
        optimizer.step(lambda: ((x - next(batches)) ** 2).sum() + 1.0)


@pytest.mark.parametrize("make", [Newton, NewtonCG, BFGS, LBFGS])
def test_frozen_parameters_stay_and_the_others_move(make: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1, bias=False))
    model[1].requires_grad_(False)
    x, frozen = Tensor([[1.0, 2.0], [-1.0, 1.0], [0.5, 3.0]]), model[1].weight.item()
    loss = lambda: (model(x) - 1.0).square().mean()  # noqa: E731
    optimizer = make(model.named_parameters(), line_search_fn="strong_wolfe", max_iter=10)
    before = float(optimizer.step(loss))
    assert loss().item() < before / 100 and model[1].weight.item() == frozen
    optimizer.load_state_dict(optimizer.state_dict())
    assert float(optimizer.step(loss)) < before / 100


@pytest.mark.parametrize("make", [Newton, NewtonCG, BFGS, LBFGS])
@pytest.mark.parametrize("wrong", [lambda x: None, lambda x: (x * x).sum().item(),
                                   lambda x: (x * x).sum().backward()])
def test_a_closure_without_loss_or_gradient_is_refused(make: Any, wrong: Any) -> None:
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match="its closure must return the loss"):
        make([x]).step(lambda: wrong(x))


@pytest.mark.parametrize(("make", "message"), [
    (lambda x: LBFGS([x], line_search_fn="golden"), "choose 'strong_wolfe', None"),
    (lambda x: LBFGS([x], history_size=0), "history_size must be an integer of at least 1, got 0"),
    (lambda x: BFGS([x], max_iter=0), "max_iter must be an integer of at least 1, got 0"),
    (lambda x: NewtonCG([x], cg_iter=0), "cg_iter must be an integer of at least 1, got 0"),
    (lambda x: Newton([x], damping=-1.0), "damping must be a number >= 0, got -1.0"),
    (lambda x: BFGS([{"params": [x]}, {"params": [leaf([1.0])]}]), "one parameter group"),
    (lambda x: BFGS([{"params": [x], "weight_decay": 0.1}]), "penalties belong into the loss"),
])
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(leaf([1.0]))


def test_a_closure_is_needed_and_may_call_backward() -> None:
    x = leaf([1.0, -2.0])
    optimizer = LBFGS([x])
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 5.0
    assert np.abs(x.data).max() < 1e-7
    with pytest.raises(ValueError, match="is for 2 weights, there are 3"):
        other = LBFGS([leaf([1.0, 2.0, 3.0])])
        other.load_state_dict(optimizer.state_dict())


# The line search alone

@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize(("f", "slope"), [
    (lambda a: (a - 1) ** 4, lambda a: 4 * (a - 1) ** 3),
    (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    (lambda a: math.cos(a) + 0.01 * a * a - a * 0.1, lambda a: -math.sin(a) + 0.02 * a - 0.1),
])
def test_strong_wolfe_from_any_first_trial(f: Any, slope: Any, alpha: float) -> None:
    phi = lambda a: Point(a, f(a), slope(a), None, None)  # noqa: E731
    start = phi(0.0)
    point = strong_wolfe(phi, start, alpha)
    assert point.value <= start.value + 1e-4 * point.alpha * start.slope
    assert abs(point.slope) <= 0.9 * abs(start.slope)


def test_strong_wolfe_returns_the_start_if_nothing_is_lower() -> None:
    start = Point(0.0, 1.0, -1.0, None, None)  # the slope lies: everything else is higher
    assert strong_wolfe(lambda a: Point(a, 2.0, 1.0, None, None), start, 1.0) is start
