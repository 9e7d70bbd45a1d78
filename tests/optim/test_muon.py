"""Muon: the published formula by its effect on singular values, and on whole trainings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, host, leaf
from tinynet import Tensor, nn
from tinynet.backend import asarray
from tinynet.optim import Muon, matrices_and_rest
from tinynet.optim.muon import COEFFICIENTS, orthogonalized


def pushed(s: np.ndarray, steps: int) -> np.ndarray:
    """What Newton-Schulz makes of singular values: s <- a s + b s^3 + c s^5."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (4, 4), (3, 20), (20, 3), (64, 576)])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_directions_stay_and_singular_values_follow_the_polynomial(
        shape: tuple[int, int], steps: int) -> None:
    g = np.random.default_rng(0).normal(size=shape)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    expected = u * pushed(s / np.linalg.norm(g), steps) @ vt
    assert close(orthogonalized(asarray(g), steps), expected, rtol=1e-6, atol=1e-6)


def test_five_steps_bring_singular_values_near_1() -> None:
    s = np.geomspace(1e-3, 1.0, 1000)
    reached = pushed(s, 5)
    assert reached.min() > 0.2 and reached.max() < 1.21
    assert pushed(np.geomspace(4e-3, 1.0, 1000), 5).min() > 0.65


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_the_step_does_not_depend_on_the_size_of_the_gradient(scale: float) -> None:
    g = np.random.default_rng(1).normal(size=(4, 6))
    big = orthogonalized(asarray(g))
    if scale == 1e-30:  # as good as no gradient: the guard of the division shows
        assert np.abs(host(orthogonalized(asarray(scale * g)))).max() < 1e-3
    else:
        assert close(orthogonalized(asarray(scale * g)), big, rtol=1e-3, atol=1e-3)


def test_a_gradient_of_zero_gives_no_step() -> None:
    assert not host(orthogonalized(asarray(np.zeros((3, 4))))).any()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (40, 2, 3, 3), (5, 8)])
def test_three_steps_are_those_of_the_formula(shape: tuple[int, ...], nesterov: bool) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape)
    gradients = rng.normal(size=(3, *shape))
    w = leaf(x)
    optimizer = Muon([w], 0.1, 0.9, nesterov=nesterov, weight_decay=0.2, steps=4)
    v = np.zeros(shape)
    for g in gradients:
        w.grad = Tensor(g)
        optimizer.step()
        v = 0.9 * v + g
        u = (g + 0.9 * v if nesterov else v).reshape(shape[0], -1)
        left, s, right = np.linalg.svd(u, full_matrices=False)
        o = left * pushed(s / np.linalg.norm(u), 4) @ right
        r = math.sqrt(max(1.0, u.shape[0] / u.shape[1]))
        x = (1 - 0.1 * 0.2) * x - 0.1 * r * o.reshape(shape)
    assert close(w, x, rtol=1e-6, atol=1e-6)


def test_norm_brings_rows_back_to_their_length() -> None:
    """With lr = 0 all that is left of a step is |x| = norm sqrt(rows)."""
    w = leaf(5.0 * np.random.default_rng(3).normal(size=(9, 4, 3, 3)))
    before = host(w).copy()
    w.grad = Tensor(np.ones(w.shape))
    Muon([w], 0.0, norm=0.5).step()
    after = host(w)
    assert np.linalg.norm(after) == pytest.approx(0.5 * 3.0)
    assert close(after / np.linalg.norm(after), before / np.linalg.norm(before))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_dtype_of_weights_keeps_its_own(dtype: str) -> None:
    w = Tensor(np.ones((3, 4), dtype), requires_grad=True)
    w.grad = Tensor(np.full((3, 4), 200.0, dtype))  # whose square float16 does not hold
    Muon([w], 0.1).step()
    assert w.dtype == dtype and np.isfinite(host(w)).all() and (host(w) < 1).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"steps": 0}, "steps must be"), ({"steps": 2.5}, "steps must be"),
    ({"norm": 0.0}, "norm must be a number > 0 or None, got 0.0"),
    ({"momentum": 1.0}, "momentum must be a number in"),
])
def test_settings_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Muon([leaf([[1.0]])], 0.1, **options)


def test_a_vector_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"'0.bias' has shape \(5,\).*optim.Together"):
        Muon(nn.Sequential(nn.Linear(4, 5)).named_parameters())


def test_hidden_weights_are_those_between_the_first_and_the_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(),
                        nn.Linear(4, 2))
    hidden, rest = matrices_and_rest(net)
    assert [name for name, _ in hidden] == ["2.weight"]
    assert [name for name, _ in rest] == ["0.weight", "0.bias", "1.weight", "1.bias", "2.bias",
                                          "4.weight", "4.bias"]
    assert matrices_and_rest(net.named_parameters())[0] == hidden
