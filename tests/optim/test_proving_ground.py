"""What the lecture says about valleys, saddles, wells and noise, with its numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.optim.problems import (
    Make,
    bowl,
    double_well,
    length,
    saddle,
    sign_changes,
    steps_until,
    turning_angle,
    walk,
)
from tinynet import Generator, Tensor, grad
from tinynet.optim import SGD, Adagrad, Adam, Nesterov, RMSprop


def gd(lr: float) -> Make:
    return lambda params: SGD(params, lr)


def momentum(lr: float, rho: float = 0.9) -> Make:
    return lambda params: SGD(params, lr, momentum=rho)


def nesterov(lr: float, rho: float = 0.9) -> Make:
    return lambda params: SGD(params, lr, momentum=rho, nesterov=True)


ADAPTIVE: dict[str, Make] = {
    "rmsprop": lambda params: RMSprop(params, 0.01, alpha=0.9),
    "adam": lambda params: Adam(params, 0.01),
    "adagrad": lambda params: Adagrad(params, 0.01),
}


def near(x: np.ndarray) -> bool:
    """A millionth of the distance of (1, 1) is left."""
    return float(np.linalg.norm(x)) < 1e-6 * math.sqrt(2)


@pytest.mark.parametrize(("k", "plain", "heavy_ball"),
                         [(10, 69, 27), (100, 691, 93), (1000, 6908, 315)])
def test_A3_iterations_grow_with_the_condition_number(k: int, plain: int, heavy_ball: int) -> None:
    assert steps_until(gd(2 / (1 + k)), [1, 1], bowl(k), near) == plain
    root = math.sqrt(k)
    best = momentum(4 / (1 + root) ** 2, ((root - 1) / (root + 1)) ** 2)
    assert steps_until(best, [1, 1], bowl(k), near) == heavy_ball


def test_A3_zig_zag_across_the_steep_axis_only() -> None:
    path = walk(gd(2 / 101), [1, 1], bowl(100), 50)
    assert sign_changes(path[:, 1]) == 50
    assert sign_changes(path[:, 0]) == 0


SADDLE_STEPS = {"gd": 349, "momentum": 72, "nesterov": 67, "rmsprop": 72, "adam": 77,
                "adagrad": 1263}
ON_SADDLE = {"gd": gd(0.01), "momentum": momentum(0.01), "nesterov": nesterov(0.01)} | ADAPTIVE


@pytest.mark.parametrize("name", SADDLE_STEPS)
def test_A4_steps_to_leave_a_saddle(name: str) -> None:
    away = lambda x: abs(x[1]) > 1  # noqa: E731
    assert steps_until(ON_SADDLE[name], [1, 1e-3], saddle, away) == SADDLE_STEPS[name]


@pytest.mark.parametrize("name", SADDLE_STEPS)
def test_A4_on_the_ridge_of_a_saddle_none_leaves(name: str) -> None:
    assert (walk(ON_SADDLE[name], [1, 0], saddle, 500)[:, 1] == 0).all()


@pytest.mark.parametrize(("start", "make", "end"), [
    (2.0, gd(0.01), 0.9143), (2.0, momentum(0.01), -1.0679), (2.0, momentum(0.01, 0.99), -1.0679),
    (1.5, gd(0.01), 0.9143), (1.5, momentum(0.01), 0.9143), (1.5, momentum(0.01, 0.99), -1.0679),
])
def test_A5_momentum_leaves_a_local_minimum(start: float, make: Make, end: float) -> None:
    assert walk(make, [start], double_well, 5000)[-1, 0] == pytest.approx(end, abs=5e-5)


def test_A6_minibatch_noise_falls_with_the_root_of_the_batch(float64: None) -> None:
    rng = Generator(0)
    x = rng.normal((1000, 5))
    y = x @ np.arange(1.0, 6.0) + rng.normal(1000)
    w = Tensor(np.zeros(5), requires_grad=True)
    scaled = []
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        gradients = [
            grad(((Tensor(x[i]) @ w - y[i]) ** 2).mean(), w).data
            for i in rng.integers(0, 1000, (1000, batch))
        ]
        scaled.append(np.sqrt(np.var(gradients, axis=0).sum() * batch))
    assert np.abs(np.array(scaled) / np.mean(scaled) - 1).max() < 0.05


@pytest.mark.parametrize("k", [10, 20, 50, 100])
def test_A9_momentum_cancels_the_oscillation_of_the_steep_axis(k: int) -> None:
    assert sign_changes(walk(gd(1.8 / k), [1, 1], bowl(k), 50)[:, 1]) == 50
    assert sign_changes(walk(momentum(1.8 / k), [1, 1], bowl(k), 50)[:, 1]) == 24


@pytest.mark.parametrize(("make", "degrees"),
                         [(gd(0.01), 75), (momentum(0.01), 27), (nesterov(0.01), 52)])
def test_A9_momentum_smooths_a_noisy_path(make: Make, degrees: float) -> None:
    angles = []
    for seed in range(20):
        noise = Generator(seed)
        noisy = lambda x, n=noise: bowl(10)(x) + n.normal(2, std=3.0, dtype=np.float64)  # noqa: E731
        angles.append(turning_angle(walk(make, [4, 4], noisy, 200)))
    assert np.mean(angles) == pytest.approx(degrees, abs=3)


def test_A9_without_noise_the_path_of_momentum_is_longer() -> None:
    assert length(walk(gd(0.01), [1, 1], bowl(100), 100)) == pytest.approx(1.62, abs=0.01)
    assert length(walk(momentum(0.01), [1, 1], bowl(100), 100)) == pytest.approx(14.41, abs=0.01)


def test_A12_nesterov_is_smoother_than_momentum() -> None:
    heavy = walk(momentum(0.01), [1, 1], bowl(100), 100)
    ahead = walk(nesterov(0.01), [1, 1], bowl(100), 100)
    assert length(heavy) == pytest.approx(14.41, abs=0.01)
    assert length(ahead) == pytest.approx(4.03, abs=0.01)
    assert (sign_changes(heavy[:51, 1]), sign_changes(ahead[:51, 1])) == (18, 2)
    assert -heavy[:, 0].min() == pytest.approx(0.153, abs=5e-4)
    assert -ahead[:, 0].min() == pytest.approx(0.121, abs=5e-4)


def test_A12_but_nesterov_alone_diverges_at_a_rate_that_others_bear() -> None:
    ends = {make: np.abs(walk(make(1.8 / 100), [1, 1], bowl(100), 300)[-1, 1])
            for make in (gd, momentum, nesterov)}
    assert ends[gd] < 1e-20 and ends[momentum] < 1e-5 and ends[nesterov] > 1e6


# lr l at the edge of stability, for friction .9: GD 2, momentum 2 (1+rho) = 3.8,
# Nesterov 2 (1+rho) / (1+2 rho) = 1.357
@pytest.mark.parametrize(("make", "edge"), [(gd, 2.0), (momentum, 3.8), (nesterov, 3.8 / 2.8)])
@pytest.mark.parametrize("curvature", [0.5, 20.0])
@pytest.mark.lecture("A1", "A7", "A11", "A12")
def test_stable_just_below_the_edge_and_not_above(make: type, edge: float,
                                                  curvature: float) -> None:
    def end(factor: float) -> float:
        path = walk(make(factor * edge / curvature), [1.0], lambda x: curvature * x, 20_000)
        return float(np.abs(path[-100:]).max())

    with np.errstate(over="ignore", invalid="ignore"):
        assert end(0.999) < 1e-3
        assert not end(1.001) < 1e3


@pytest.mark.parametrize(("make", "gap"), [
    (lambda params: Adagrad(params, 0.05), 2e-8),
    (lambda params: RMSprop(params, 0.05, alpha=0.9), 3.1e-5),
    (lambda params: Adam(params, 0.05), 1e-7),
])
@pytest.mark.parametrize("k", [10, 100, 1000])
def test_A15_adaptive_steps_are_alike_on_flat_and_steep_axes(make: Make, gap: float,
                                                             k: int) -> None:
    path = walk(make, [1, 1], bowl(k), 300)
    assert np.abs(path[:, 0] - path[:, 1]).max() < gap  # invariant to the scale of an axis, but
    assert np.abs(path[-1]).max() < 0.4  # for eps; plain GD would be k times slower on one


def test_A15_adagrad_stalls_where_rmsprop_goes_on() -> None:
    """Behind a cliff of gradient 100, a slope of gradient 1: the old squares stay in the way."""
    slope = lambda x: np.where(x > 0, 100.0, 1.0)  # noqa: E731
    adagrad = walk(lambda params: Adagrad(params, 0.1), [1.0], slope, 2000)
    rmsprop = walk(lambda params: RMSprop(params, 0.1), [1.0], slope, 2000)
    effective = -np.diff(adagrad[:, 0])[adagrad[:-1, 0] <= 0]  # lr / sqrt(s) on the slope
    assert effective.max() < 0.1 / 100 and (np.diff(effective) < 0).all()
    assert adagrad[-1, 0] > -1 and rmsprop[-1, 0] < -100


def test_A10_look_ahead_takes_the_same_path_over_the_bowl() -> None:
    """Nesterov with a closure, seen at its look-ahead points, is the A11 form to the last bits."""
    hessian = Tensor(np.array([1.0, 100.0]))
    x = Tensor(np.ones(2), requires_grad=True)
    optimizer, seen = Nesterov([x], 0.01), []

    def loss() -> Tensor:
        seen.append(x.data.copy())
        return (hessian * x * x).sum() / 2

    for _ in range(100):
        optimizer.step(loss)
    assert np.abs(np.stack(seen) - walk(nesterov(0.01), [1, 1], bowl(100), 99)).max() < 1e-14
