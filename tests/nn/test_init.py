"""Initial weights: their spread, their shapes, their generator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import nn, random
from tinynet.nn import init

# shape, fan_in, fan_out: linear (out, in); convolution (out, in / groups, kH, kW)
SHAPES = [((300, 500), 500, 300), ((64, 48, 3, 5), 48 * 15, 64 * 15)]

# name, keyword arguments, std from (fan_in, fan_out), normal or uniform
METHODS: list[tuple[str, dict[str, Any], Any, str]] = [
    ("kaiming_normal_", {}, lambda i, o: math.sqrt(2 / i), "normal"),
    ("kaiming_normal_", {"mode": "fan_out"}, lambda i, o: math.sqrt(2 / o), "normal"),
    ("kaiming_normal_", {"nonlinearity": "linear"}, lambda i, o: math.sqrt(1 / i), "normal"),
    ("kaiming_uniform_", {}, lambda i, o: math.sqrt(2 / i), "uniform"),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, lambda i, o: math.sqrt(1 / (3 * i)), "uniform"),
    ("xavier_normal_", {}, lambda i, o: math.sqrt(2 / (i + o)), "normal"),
    ("xavier_uniform_", {"gain": 5 / 3}, lambda i, o: 5 / 3 * math.sqrt(2 / (i + o)), "uniform"),
]


@pytest.mark.parametrize(("shape", "fan_in", "fan_out"), SHAPES)
@pytest.mark.parametrize(("name", "options", "std", "kind"), METHODS)
def test_spread(name: str, options: dict[str, Any], std: Any, kind: str, shape: tuple[int, ...],
                fan_in: int, fan_out: int) -> None:
    w = tn.zeros(shape, dtype="float64")
    assert getattr(init, name)(w, **options) is w
    values, sigma, n = w.numpy().ravel(), std(fan_in, fan_out), w.size
    kurtosis = 3.0 if kind == "normal" else 1.8
    assert abs(values.mean()) < 4 * sigma / math.sqrt(n)
    # the standard error of a variance is sigma^2 sqrt((kurtosis - 1) / n)
    assert abs(values.var() / sigma**2 - 1) < 4 * math.sqrt((kurtosis - 1) / n)
    largest = abs(values).max() / sigma
    assert largest < math.sqrt(3) if kind == "uniform" else 3.5 < largest < 6.5


@pytest.mark.parametrize("layer", [nn.Linear(400, 300), nn.Conv2d(48, 64, 3, groups=2)])
def test_new_layers_have_pytorchs_default(layer: Any) -> None:
    fan_in = 400 if isinstance(layer, nn.Linear) else 24 * 9
    for values in (layer.weight.numpy().ravel(), layer.bias.numpy()):
        bound = 1 / math.sqrt(fan_in)
        assert abs(values).max() <= bound and values.dtype == np.float32
        error = 4 * math.sqrt(0.8 / values.size)
        assert abs(values.var() / (bound**2 / 3) - 1) < error


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (8, 3, 3, 3), (16, 16)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = init.orthogonal_(tn.zeros(shape, dtype="float64"), gain=1.5).numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 2.25 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_matrices_are_evenly_spread() -> None:
    """Without the correction of signs the diagonal would lean to one side."""
    diagonals = [init.orthogonal_(tn.zeros((3, 3), dtype="float64")).numpy().diagonal()
                 for _ in range(400)]
    # entries of a random rotation or reflection of 3 axes have mean 0 and variance 1/3
    assert abs(np.mean(diagonals)) < 4 * math.sqrt(1 / 3 / 1200)


def test_constants() -> None:
    w = nn.Parameter(np.zeros((2, 3), "float32"))
    for function, value in ((init.ones_, 1.0), (init.zeros_, 0.0),
                            (lambda t: init.constant_(t, 0.25), 0.25)):
        assert function(w) is w and (w.numpy() == value).all()
    assert w.requires_grad and w.dtype == np.float32


def test_draws_come_from_the_default_generator_or_the_one_given() -> None:
    state = tn.get_state()
    first = init.normal_(tn.zeros(100), mean=3.0, std=0.5).numpy()
    tn.set_state(state)
    np.testing.assert_array_equal(init.normal_(tn.zeros(100), mean=3.0, std=0.5).numpy(), first)
    assert 2.8 < first.mean() < 3.2
    state = tn.get_state()
    for name, *_ in [*METHODS, ("uniform_",), ("normal_",), ("orthogonal_",)]:
        a, b = (getattr(init, name)(tn.zeros((4, 5)), generator=random.Generator(5)).numpy()
                for _ in range(2))
        np.testing.assert_array_equal(a, b)
    assert tn.get_state() == state


def test_the_same_seed_gives_the_same_network() -> None:
    def build() -> dict[str, Any]:
        tn.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)).state_dict()

    for a, b in zip(build().values(), build().values(), strict=True):
        assert equal(a, b)


def test_gains() -> None:
    assert init.calculate_gain("tanh") == pytest.approx(5 / 3)
    assert init.calculate_gain("relu") == pytest.approx(math.sqrt(2))
    assert init.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
    assert init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / 1.0001))
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1.0
    with pytest.raises(ValueError, match=r"nonlinearity must be 'conv2d', 'le.*got 'swish'"):
        init.calculate_gain("swish")


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"2 or more axes .* got shape \(5,\)"):
        init.kaiming_normal_(tn.zeros(5))
    with pytest.raises(ValueError, match="2 or more axes, got"):
        init.orthogonal_(tn.zeros(5))
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_uniform_(tn.zeros((2, 2)), mode="fan")


def test_signals_keep_their_size_through_a_deep_relu_net() -> None:
    """The point of it all: 20 layers of Kaiming's weights keep the variance, PyTorch's default
    divides it by 6 in each layer."""
    x = tn.randn(64, 256)
    net = nn.Sequential(*(layer for _ in range(20)
                          for layer in (nn.Linear(256, 256, bias=False), nn.ReLU())))
    small = float((net(x) ** 2).mean())
    for p in net.parameters():
        init.kaiming_normal_(p)
    kept = float((net(x) ** 2).mean())
    assert 0.2 < kept < 1.5  # E[relu(u)^2] is half of Var(u)
    assert math.log(kept / small) / 20 == pytest.approx(math.log(6), abs=0.1)


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (3, 5, 1, 1), (4, 4, 5, 3), (6, 4)])
def test_identity_hands_the_input_on(shape: tuple[int, ...]) -> None:
    w = tn.randn(*shape)
    before = w.numpy().copy()
    assert init.identity_(w) is w
    channels = min(shape[:2])
    if len(shape) == 4:
        x = tn.randn(2, shape[1], 7, 7)
        padding = (shape[2] // 2, shape[3] // 2)
        y = tn.functional.conv2d(x, w, padding=padding)
    else:
        x = tn.randn(2, shape[1])
        y = tn.functional.linear(x, w)
    np.testing.assert_allclose(y.numpy()[:, :channels], x.numpy()[:, :channels], atol=1e-6)
    assert equal(w[channels:], before[channels:])


@pytest.mark.parametrize("filters", [24, 12, 30, 5])
def test_whitened_patches_are_uncorrelated_and_of_variance_1(filters: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 3, 12, 12))
    images = noise + 0.7 * np.roll(noise, 1, axis=3) + 3.0 * noise[:, ::-1]
    w = tn.randn(filters, 3, 2, 2, dtype="float64")
    drawn = w.numpy().copy()
    assert init.whitening_(w, images, eps=1e-12) is w
    y = tn.functional.conv2d(tn.tensor(images), w).numpy()
    kinds = min(filters, 12)
    flat = y[:, :kinds].transpose(1, 0, 2, 3).reshape(kinds, -1)
    np.testing.assert_allclose(np.cov(flat, bias=True), np.eye(kinds), atol=1e-8)
    mirrored = min(filters, 24) - 12
    if mirrored > 0:
        assert equal(w[12 : 12 + mirrored], -w[:mirrored])
    assert equal(w[24:], drawn[24:])
    lengths = np.linalg.norm(w.numpy()[:kinds].reshape(kinds, -1), axis=1)
    assert (np.diff(lengths) >= 0).all()  # a large variance is divided by most


def test_whitening_bounds_a_direction_without_variance() -> None:
    w = init.whitening_(tn.zeros((3, 3, 1, 1)), np.zeros((4, 3, 2, 2), "float32"), eps=0.25)
    np.testing.assert_allclose(np.linalg.norm(w.numpy()[:, :, 0, 0], axis=1), 2.0, rtol=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: init.identity_(tn.zeros(3)), r"identity_ needs a weight .* got shape \(3,\)"),
    (lambda: init.whitening_(tn.zeros((8, 3, 2, 2)), np.zeros((4, 1, 8, 8))), "as many channels"),
    (lambda: init.whitening_(tn.zeros((8, 3)), np.zeros((4, 3, 8, 8))), "needs a weight"),
    (lambda: init.whitening_(tn.zeros((8, 3, 2, 2)), np.zeros((4, 3, 8, 8), "uint8")),
     "images must be floats"),
    (lambda: init.whitening_(tn.zeros((8, 3, 5, 5)), np.zeros((4, 3, 4, 8))), "no smaller than"),
    (lambda: init.whitening_(tn.zeros((8, 3, 2, 2)), np.zeros((4, 3, 8, 8)), eps=0.0),
     "eps must be a number > 0"),
])
def test_weights_and_pictures_that_do_not_fit_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
