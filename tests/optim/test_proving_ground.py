"""What the lecture says about valleys, saddles, wells and noise, with its numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinynet import Generator, Tensor, tensor, to_numpy, where
from tinynet.calculus import hessian, hvp, jacobian
from tinynet.optim import BFGS, LBFGS, SGD, Adagrad, Adam, Nesterov, Newton, NewtonCG, RMSprop
from tinynet.optim.landscapes import (
    Landscape,
    Make,
    bowl,
    double_well,
    noisy,
    path_length,
    regression,
    rosenbrock,
    saddle,
    sampled,
    sign_changes,
    steps_until,
    trace,
    turning_angle,
)


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


@pytest.mark.parametrize("landscape", [bowl(10), double_well, rosenbrock, regression()],
                         ids=lambda f: f.name)
def test_minima_of_the_landscapes_are_minima(landscape: Landscape) -> None:
    lowest = []
    for minimum in landscape.minima:
        at = np.array(minimum)
        assert np.abs(to_numpy(jacobian(landscape, at).data)).max() < 1e-7
        assert np.linalg.eigvalsh(to_numpy(hessian(landscape, at).data)).min() > 0.1
        lowest.append(landscape(Tensor(at)).item())
        left, right, bottom, top = landscape.window
        assert left < minimum[0] < right and bottom < minimum[1] < top
    assert lowest == sorted(lowest)
    points = np.array([[landscape.start, minimum], [minimum, landscape.start]])
    values = to_numpy(landscape(Tensor(points)).data)  # a grid of points, as for contours
    assert values.shape == (2, 2) and values[0, 1] == pytest.approx(lowest[-1], abs=1e-12)


def test_trace_ends_at_stop_and_where_it_diverges() -> None:
    path = trace(gd(0.5), bowl(1), (1, 1), 100, stop=lambda x: bool(x[0] < 0.2))
    assert path.tolist() == [[1, 1], [0.5, 0.5], [0.25, 0.25], [0.125, 0.125]]
    away = trace(gd(11.0), bowl(1), (1, 1), 100)
    assert away[-2, 0] == 10.0 ** 8 and len(away) == 10  # 1, -10, 100 ...
    never = lambda x: False  # noqa: E731
    assert steps_until(gd(0.5), bowl(1), (1, 1), never, limit=50) is None


RACERS: dict[str, Make] = {
    "gd": gd(0.1), "momentum": momentum(0.02), "nesterov": nesterov(0.02),
    "look-ahead": lambda params: Nesterov(params, 0.02),
    "adagrad": lambda params: Adagrad(params, 0.5),
    "rmsprop": lambda params: RMSprop(params, lambda t: 0.05 * 0.97**t),
    "adam": lambda params: Adam(params, 0.05),
    "newton": lambda params: Newton(params), "newton-cg": lambda params: NewtonCG(params),
    "bfgs": lambda params: BFGS(params, max_iter=1),
    "l-bfgs": lambda params: LBFGS(params, max_iter=1),
}


@pytest.mark.parametrize("name", RACERS)
def test_A2_every_optimizer_comes_within_a_thousandth_of_the_minimum(name: str) -> None:
    path = trace(RACERS[name], bowl(10), (1, 1), 500)
    assert np.linalg.norm(path[-1]) < 1e-3


@pytest.mark.parametrize(("k", "plain", "heavy_ball"),
                         [(10, 69, 27), (100, 691, 93), (1000, 6908, 315)])
def test_A3_iterations_grow_with_the_condition_number(k: int, plain: int, heavy_ball: int) -> None:
    assert steps_until(gd(2 / (1 + k)), bowl(k), [1, 1], near) == plain
    root = math.sqrt(k)
    best = momentum(4 / (1 + root) ** 2, ((root - 1) / (root + 1)) ** 2)
    assert steps_until(best, bowl(k), [1, 1], near) == heavy_ball


def test_A3_zig_zag_across_the_steep_axis_only() -> None:
    path = trace(gd(2 / 101), bowl(100), (1, 1), 50)
    assert sign_changes(path[:, 1]) == 50
    assert sign_changes(path[:, 0]) == 0


SADDLE_STEPS = {"gd": 349, "momentum": 72, "nesterov": 67, "rmsprop": 72, "adam": 77,
                "adagrad": 1263}
ON_SADDLE = {"gd": gd(0.01), "momentum": momentum(0.01), "nesterov": nesterov(0.01)} | ADAPTIVE


@pytest.mark.parametrize("name", SADDLE_STEPS)
def test_A4_steps_to_leave_a_saddle(name: str) -> None:
    away = lambda x: abs(x[1]) > 1  # noqa: E731
    assert steps_until(ON_SADDLE[name], saddle, [1, 1e-3], away) == SADDLE_STEPS[name]


@pytest.mark.parametrize("name", SADDLE_STEPS)
def test_A4_on_the_ridge_of_a_saddle_none_leaves(name: str) -> None:
    assert (trace(ON_SADDLE[name], saddle, [1, 0], 500)[:, 1] == 0).all()


@pytest.mark.parametrize(("make", "ends"), [
    (gd(0.01), (0.9143, 0.9143)), (momentum(0.01), (-1.0679, 0.9143)),
    (momentum(0.01, 0.99), (-1.0679, -1.0679)),
])
def test_A5_momentum_leaves_a_local_minimum(make: Make, ends: tuple[float, float]) -> None:
    """From 2 and from 1.5, at once: every weight moves by itself."""
    both = lambda x: double_well(x[:, None]).sum()  # noqa: E731
    assert trace(make, both, [2.0, 1.5], 2500)[-1] == pytest.approx(ends, abs=5e-5)


def test_A6_minibatch_noise_falls_with_the_root_of_the_batch() -> None:
    w, scaled = np.array([0.3, -0.2]), []
    for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        loss = regression(batch, Generator(batch))
        gradients = [to_numpy(jacobian(loss, w).data) for _ in range(1000)]
        scaled.append(np.sqrt(np.var(gradients, axis=0).sum() * batch))
    assert np.abs(np.array(scaled) / np.mean(scaled) - 1).max() < 0.05


def test_a_batch_needs_a_generator() -> None:
    with pytest.raises(ValueError, match=r"batch=8 and rng=None: .* pass both"):
        regression(8)


@pytest.mark.parametrize("k", [10, 20, 50, 100])
def test_A9_momentum_cancels_the_oscillation_of_the_steep_axis(k: int) -> None:
    assert sign_changes(trace(gd(1.8 / k), bowl(k), [1, 1], 50)[:, 1]) == 50
    assert sign_changes(trace(momentum(1.8 / k), bowl(k), [1, 1], 50)[:, 1]) == 24


@pytest.mark.parametrize(("make", "degrees"),
                         [(gd(0.01), 75), (momentum(0.01), 27), (nesterov(0.01), 52)])
def test_A9_momentum_smooths_a_noisy_path(make: Make, degrees: float) -> None:
    angles = []
    for seed in range(20):
        shaken = noisy(bowl(10), 3.0, Generator(seed))
        angles.append(turning_angle(trace(make, shaken, [4, 4], 200)))
    assert np.mean(angles) == pytest.approx(degrees, abs=3)


def test_A9_without_noise_the_path_of_momentum_is_longer() -> None:
    plain, heavy = (trace(make, bowl(100), [1, 1], 100) for make in (gd(0.01), momentum(0.01)))
    assert path_length(plain) == pytest.approx(1.62, abs=0.01)
    assert path_length(heavy) == pytest.approx(14.41, abs=0.01)


def test_A12_nesterov_is_smoother_than_momentum() -> None:
    heavy = trace(momentum(0.01), bowl(100), [1, 1], 100)
    ahead = trace(nesterov(0.01), bowl(100), [1, 1], 100)
    assert path_length(heavy) == pytest.approx(14.41, abs=0.01)
    assert path_length(ahead) == pytest.approx(4.03, abs=0.01)
    assert (sign_changes(heavy[:51, 1]), sign_changes(ahead[:51, 1])) == (18, 2)
    assert -heavy[:, 0].min() == pytest.approx(0.153, abs=5e-4)
    assert -ahead[:, 0].min() == pytest.approx(0.121, abs=5e-4)


def test_A12_but_nesterov_alone_diverges_at_a_rate_that_others_bear() -> None:
    ends = {make: np.abs(trace(make(1.8 / 100), bowl(100), [1, 1], 300)[-1, 1])
            for make in (gd, momentum, nesterov)}
    assert ends[gd] < 1e-20 and ends[momentum] < 1e-5 and ends[nesterov] > 1e6


# lr l at the edge of stability, for friction .9: GD 2, momentum 2 (1+rho) = 3.8,
# Nesterov 2 (1+rho) / (1+2 rho) = 1.357
@pytest.mark.parametrize(("make", "edge"), [(gd, 2.0), (momentum, 3.8), (nesterov, 3.8 / 2.8)])
@pytest.mark.parametrize("curvature", [0.5, 20.0])
@pytest.mark.lecture("A1", "A7", "A11", "A12")
def test_stable_just_below_the_edge_and_not_above(make: type, edge: float,
                                                  curvature: float) -> None:
    """Two weights, each by itself: a thousandth below the edge, and a thousandth above."""
    curvatures = tensor(curvature * np.array([0.999, 1.001]))
    path = trace(make(edge / curvature), lambda x: (curvatures * x * x).sum() / 2, [1, 1], 5000)
    below, above = np.abs(path[-100:]).max(axis=0)
    assert below < 1e-3
    assert above > 1e3


@pytest.mark.parametrize(("make", "gap"), [
    (lambda params: Adagrad(params, 0.05), 2e-8),
    (lambda params: RMSprop(params, 0.05, alpha=0.9), 3.1e-5),
    (lambda params: Adam(params, 0.05), 1e-7),
])
@pytest.mark.parametrize("k", [10, 100, 1000])
def test_A15_adaptive_steps_are_alike_on_flat_and_steep_axes(make: Make, gap: float,
                                                             k: int) -> None:
    path = trace(make, bowl(k), [1, 1], 300)
    assert np.abs(path[:, 0] - path[:, 1]).max() < gap  # invariant to the scale of an axis, but
    assert np.abs(path[-1]).max() < 0.4  # for eps; plain GD would be k times slower on one


def test_A15_adagrad_stalls_where_rmsprop_goes_on() -> None:
    """Behind a cliff of gradient 100, a slope of gradient 1: the old squares stay in the way."""
    slope = lambda x: where(x > 0, 100.0 * x, x).sum()  # noqa: E731
    adagrad = trace(lambda params: Adagrad(params, 0.1), slope, [1.0], 2000)
    rmsprop = trace(lambda params: RMSprop(params, 0.1), slope, [1.0], 2000)
    effective = -np.diff(adagrad[:, 0])[adagrad[:-1, 0] <= 0]  # lr / sqrt(s) on the slope
    assert effective.max() < 0.1 / 100 and (np.diff(effective) < 0).all()
    assert adagrad[-1, 0] > -1 and rmsprop[-1, 0] < -100


def test_A10_look_ahead_takes_the_same_path_over_the_bowl() -> None:
    """Nesterov with a closure, seen at its look-ahead points, is the A11 form to the last bits."""
    seen = []

    def watched(x: Tensor) -> Tensor:
        seen.append(to_numpy(x.data).copy())
        return bowl(100)(x)

    trace(lambda params: Nesterov(params, 0.01), watched, [1, 1], 100)
    assert np.abs(np.stack(seen) - trace(nesterov(0.01), bowl(100), [1, 1], 99)).max() < 1e-14


def test_A13_sharp_dips_are_noise_that_more_data_removes() -> None:
    """Depth below the bowl and curvature above its 1 fall with N, on the average as 1/sqrt(N)."""
    x, sizes = np.linspace(-2, 2, 1001)[:, None], (10, 100, 1000)
    depths, curvatures = np.empty((20, 3)), np.empty((20, 3))
    for seed, i in np.ndindex(20, 3):
        loss = sampled(sizes[i], seed)
        depths[seed, i] = (x[:, 0] ** 2 / 2 - to_numpy(loss(Tensor(x)).data)).max()
        second = hvp(lambda x, f=loss: f(x).sum(), x, np.ones_like(x))  # points do not mix
        curvatures[seed, i] = to_numpy(second.data).max() - 1
    for values in (depths, curvatures):
        assert (values[:, 0] > values[:, 1]).all() and (values[:, 1] > values[:, 2]).all()
        scaled = values.mean(axis=0) * np.sqrt(sizes)
        assert np.abs(scaled / scaled.mean() - 1).max() < 0.2
    assert depths[:, 2].max() < 0.2 < depths[:, 0].min()
