"""Activations: stable at extremes, defined slopes at kinks, small footprints."""

from __future__ import annotations

import doctest
import math
import weakref
from typing import Any

import numpy as np
import pytest

from tinynet import Tensor, functional as F, grad
from tinynet.backend import xp
from tinynet.functional import activation

OF_THE_FILE = sorted(name for name, f in vars(activation).items() if not name.startswith("_")
                     and getattr(f, "__module__", "") == activation.__name__)
ALL = [*OF_THE_FILE, "sigmoid", "tanh"]


def slope(f: Any, at: list[float]) -> list[float]:
    x = Tensor(at, requires_grad=True)
    return grad(f(x).sum(), x).tolist()


@pytest.mark.parametrize("name", OF_THE_FILE)
def test_its_text_shows_values_in_an_example(name: str) -> None:
    examples = doctest.DocTestParser().get_examples(getattr(F, name).__doc__)
    assert any(f"{name}(" in example.source and example.want for example in examples)


@pytest.mark.parametrize("name", ALL)
def test_finite_at_extremes(name: str) -> None:
    x = Tensor([-1e4, -100.0, -0.0, 0.0, 100.0, 1e4], requires_grad=True)
    y = getattr(F, name)(x)
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(grad(y.sum(), x).numpy()).all()


@pytest.mark.parametrize("name", ALL)
def test_float32_stays_float32(name: str) -> None:
    x = Tensor(np.linspace(-3, 3, 6, dtype="f4"), requires_grad=True)
    y = getattr(F, name)(x)
    dx = grad(y, x, np.ones(6, "f4"), create_graph=True)
    assert y.dtype == dx.dtype == grad(dx.sum(), x).dtype == np.float32


@pytest.mark.parametrize("name", ALL)
def test_array_in_array_out(name: str) -> None:
    y = getattr(F, name)(xp.array([-1.0, 2.0]))
    assert type(y) is xp.ndarray


@pytest.mark.parametrize("name", sorted(set(ALL) - {"softmax", "log_softmax"}))
def test_a_number_is_computed_like_an_array_of_it(name: str) -> None:
    f = getattr(F, name)
    assert float(f(0.5)) == pytest.approx(f(xp.array([0.5])).item(), rel=1e-6)
    assert float(f(-2)) == pytest.approx(f(xp.array([-2.0])).item(), rel=1e-6)


def test_slopes_at_kinks() -> None:
    assert slope(F.relu, [-1.0, 0.0, 1.0]) == [0.0, 0.0, 1.0]
    assert slope(F.relu6, [0.0, 3.0, 6.0, 7.0]) == [0.0, 1.0, 0.0, 0.0]
    assert slope(lambda x: F.leaky_relu(x, 0.25), [-1.0, 0.0, 1.0]) == [0.25, 0.25, 1.0]
    assert slope(lambda x: F.elu(x, alpha=0.5), [0.0, 1.0]) == [0.5, 1.0]


def test_relu_passes_nan() -> None:
    assert math.isnan(F.relu(Tensor([math.nan])).item())


def test_relu_keeps_its_output_alone() -> None:
    leaf = Tensor(np.ones(3, "f4"), requires_grad=True)
    x = leaf * 2.0
    data = weakref.ref(x.data)
    y = F.relu(x)
    del x
    assert data() is None
    assert grad(y.sum(), leaf).tolist() == [2, 2, 2]


@pytest.mark.numpy_only("channels-last memory is the layout of the kernels on the CPU")
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "elu", "softplus", "softmax"])
def test_channels_last_layout_stays(name: str, rng: Any) -> None:
    x = Tensor(rng.normal((2, 4, 5, 3)).transpose(0, 3, 1, 2), requires_grad=True)
    g = rng.normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    y = getattr(F, name)(x)
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert grad(y, x, g).data.transpose(0, 2, 3, 1).flags.c_contiguous


def test_leaky_relu_of_any_slope() -> None:
    x = xp.array([-2.0, 0.0, 3.0])
    for s in (-0.5, 0.0, 1.0, 2.5):
        assert F.leaky_relu(x, s).tolist() == [-2 * s, 0.0, 3.0]


def test_gelu_refuses_an_unknown_approximation() -> None:
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', got 'erf'"):
        F.gelu(Tensor([1.0]), approximate="erf")


def test_softplus_refuses_beta_zero() -> None:
    with pytest.raises(ValueError, match="beta must be a number > 0, got 0"):
        F.softplus(Tensor([1.0]), beta=0)


def test_softmax_sums_to_one_and_ignores_a_shift(rng: Any) -> None:
    x = rng.normal((4, 7), dtype="f8")
    p = F.softmax(x, axis=0)
    assert np.abs(p.sum(0) - 1).max() < 1e-15
    assert np.abs(F.softmax(x + 1e4, axis=0) - p).max() < 1e-11
    assert np.abs(np.exp(F.log_softmax(x, axis=0)) - p).max() < 1e-15


LIMITS = {"relu": (0, math.inf), "relu6": (0, 6), "sigmoid": (0, 1), "tanh": (-1, 1),
          "elu": (-1, math.inf), "gelu": (0, math.inf), "silu": (0, math.inf),
          "softplus": (0, math.inf), "leaky_relu": (-math.inf, math.inf)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", LIMITS)
def test_at_infinity_values_and_slopes_are_their_limits(name: str, dtype: str) -> None:
    f = getattr(F, name)
    x = Tensor(xp.asarray([-math.inf, math.inf], dtype), requires_grad=True)
    y = f(x)
    assert y.tolist() == list(LIMITS[name])
    left = 0.01 if name == "leaky_relu" else 0.0
    right = 1.0 if LIMITS[name][1] == math.inf else 0.0
    assert grad(y, x, xp.ones(2, dtype)).tolist() == pytest.approx([left, right], rel=1e-3)


def test_gelu_by_tanh_is_finite_far_out() -> None:
    for dtype, far in (("float16", 6e4), ("float32", 1e30), ("float64", 1e200)):
        x = Tensor(xp.asarray([-far, far, -math.inf], dtype), requires_grad=True)
        y = F.gelu(x, "tanh")
        assert y.tolist() == [0.0, x.tolist()[1], 0.0]
        assert grad(y, x, xp.ones(3, dtype)).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 2.0, -0.5])
def test_leaky_relu_of_infinity_and_nan(slope: float) -> None:
    x = Tensor(xp.asarray([math.inf, -math.inf, math.nan]), requires_grad=True)
    y = F.leaky_relu(x, slope)
    left = -math.inf * slope if slope else 0.0
    assert y.tolist()[:2] == [math.inf, left] and math.isnan(y.tolist()[2])
    assert grad(y, x, xp.ones(3)).tolist() == [1.0, slope, slope]
