"""Noise in training, marginalised at test: dropout, and one table of all noise layers (E11)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from examples import dropout as example
from tests.arrays import close, equal, host
from tinynet import nn
from tinynet.backend import asarray, xp
from tinynet.gradcheck import gradcheck
from tinynet.random import Generator

# Vanilla dropout


@pytest.mark.parametrize("make", [nn.Dropout, nn.Dropout2d])
def test_E4_E5_vanilla_dropout_zeroes_in_training_and_scales_at_test(make: Any) -> None:
    n, p = (40, 50, 10, 10), 0.3
    layer, x = make(p, inverted=False), tn.ones(n)
    y = host(layer(x))
    assert set(np.unique(y)) == {0.0, 1.0}
    units = y.size if make is nn.Dropout else 2000
    assert abs((y == 0).mean() - p) < 4 * math.sqrt(p * (1 - p) / units)
    assert close(layer.eval()(x), np.full(n, 1 - p))
    assert make(0.0, inverted=False).eval()(x) is x


def test_E5_mean_over_all_masks_is_the_test_output_of_one_linear_unit(float64: None) -> None:
    """w = (2, 3), x = (5, 7), p = 1/2: 15.5 both ways; and any unit: sum_masks P(m) w.(m x)."""
    unit = nn.Sequential(nn.Dropout(0.5, inverted=False), nn.Linear(2, 1, bias=False))
    unit[1].weight.copy_(np.array([[2.0, 3.0]]))
    assert unit.eval()(tn.tensor([[5.0, 7.0]])).item() == 15.5
    outputs = [2 * 5 * a + 3 * 7 * b for a, b in itertools.product((0, 1), repeat=2)]
    assert sum(outputs) / 4 == 15.5
    sampled = nn.marginalize(unit, tn.tensor([[5.0, 7.0]]), how="sample", n=4000).item()
    assert abs(sampled - 15.5) < 4 * np.std(outputs) / math.sqrt(4000)
    w, x, keep = host(Generator(2).normal(6)), host(Generator(3).normal(6)), 0.7
    masks = np.array(list(itertools.product((0, 1), repeat=6)))
    weights = keep ** masks.sum(1) * (1 - keep) ** (6 - masks.sum(1))
    layer = nn.Dropout(1 - keep, inverted=False).eval()
    assert (weights @ (masks * x) @ w) == pytest.approx(float(host(layer(tn.tensor(x))) @ w),
                                                        abs=1e-14)


def test_E6_vanilla_and_inverted_nets_agree_in_both_modes(float64: None) -> None:
    """The vanilla net with weights w / keep behind the dropout is the inverted net with w."""
    keep, x = 0.6, tn.randn(7, 4)
    made = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(1 - keep, inverted=inverted),
                          nn.Linear(8, 2)) for inverted in (True, False)]
    made[1].load_state_dict(made[0].state_dict())
    made[1][3].weight.copy_(made[0][3].weight.data / keep)
    for train in (True, False):
        outputs = []
        for net in made:
            tn.manual_seed(4)
            outputs.append(host(net.train(train)(x)))
        np.testing.assert_allclose(*outputs, rtol=1e-12)


# Why it helps

def test_E7_with_dropout_a_net_uses_redundant_cues() -> None:
    """Without the ear the plain net falls to 0.85, since the ear alone was enough in training;
    with dropout each cue had to do without the other, and nothing is lost."""
    for seed in range(4):
        plain, dropout = (example.accuracy_by_cues(p, seed) for p in (0.0, 0.5))
        assert plain["both cues"] > 0.98 and dropout["both cues"] > 0.98
        assert plain["no ear"] < 0.93
        assert dropout["no ear"] > plain["no ear"] + 0.05
        assert dropout["no tail"] > plain["no tail"] - 0.01


# An ensemble with shared weights

def test_E8_geometric_mean_of_all_masks_is_the_scaled_softmax_unit() -> None:
    """For one softmax layer over 6 inputs it is exact; the arithmetic mean differs."""
    geometric, arithmetic, scaled = example.all_masks_of_a_softmax_layer()
    assert abs(geometric - scaled).max() < 1e-15
    assert abs(arithmetic - scaled).max() > 0.05


def test_E8_on_a_deep_net_scaling_is_an_approximation_of_the_mean() -> None:
    """Scores: the mean of 1,000 passes against one scaled pass. The difference is real (0.01 to
    0.03; two such means differ by 0.004), but less than what one random pass is off by (0.07)."""
    net, x = example.deep_net()
    mean = host(nn.marginalize(net, x, how="sample", n=1000))
    again = host(nn.marginalize(net, x, how="sample", n=1000, seed=1))
    scaled, one = host(nn.marginalize(net, x)), host(nn.marginalize(net, x, how="sample", n=1))
    bias, noise = abs(mean - scaled).mean(), abs(mean - again).mean()
    assert 2 * noise < bias < 0.7 * abs(one - mean).mean()


# marginalize

NOISY: dict[str, Callable[[], nn.Module]] = {
    "Dropout": lambda: nn.Dropout(0.4),
    "vanilla Dropout": lambda: nn.Dropout(0.4, inverted=False),
    "Dropout2d": lambda: nn.Dropout2d(0.4),
    "DropConnectConv2d": lambda: nn.DropConnectConv2d(4, 4, 3, padding=1),
    "DropConnectLinear": lambda: nn.Sequential(nn.Flatten(), nn.DropConnectLinear(144, 5)),
    "FractionalMaxPool2d": lambda: nn.FractionalMaxPool2d(ratio=1.5, passes=50),
    "FractionalMaxPool2d per sample": lambda: nn.FractionalMaxPool2d(4, pseudo=False,
                                                                     per_sample=True, passes=50),
    "stochastic depth": lambda: nn.ResidualBlock(4, 4, p=0.5, pre_activation=True),
    "stochastic depth per sample": lambda: nn.ResidualBlock(4, 4, p=0.5, pre_activation=True,
                                                            mode="sample", inverted=True),
}
layers = pytest.mark.parametrize("make", NOISY.values(), ids=NOISY.keys())


@layers
def test_E8_E11_marginalize_error_falls_as_one_over_root_n(make: Any) -> None:
    """Root mean square distances of two means of n: 1 / sqrt(16) from n = 2 to n = 32."""
    layer, x = make(), tn.randn(4, 4, 6, 6)

    def spread(n: int) -> float:
        means = [host(nn.marginalize(layer, x, how="sample", n=n, seed=s)) for s in range(30)]
        return float(np.sqrt(np.var(means, axis=0).mean()))

    assert 2.5 < spread(2) / spread(32) < 6.4


@layers
def test_E11_marginalize_analytic_is_the_mean_of_the_samples(make: Any) -> None:
    """Each layer alone is linear in its noise, so its own answer is exact (fractional pooling's
    is a mean of 50 fixed passes)."""
    layer, x = make(), tn.randn(4, 4, 6, 6)
    for _, m in layer.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.ones_(m.running_var)
    exact = host(nn.marginalize(layer, x))
    n = 400
    mean = host(nn.marginalize(layer, x, how="sample", n=n))
    singles = [host(nn.marginalize(layer, x, how="sample", n=1, seed=s)) for s in range(60)]
    sigma = np.std(singles, axis=0).mean()
    passes = 50 if isinstance(layer, nn.FractionalMaxPool2d) else np.inf
    error = np.sqrt(((mean - exact) ** 2).mean())
    assert error < 3 * np.sqrt(np.var(singles, axis=0).mean() * (1 / n + 1 / passes)) + 1e-6
    assert sigma > 0.01


def test_marginalize_leaves_everything_as_it_was() -> None:
    own = Generator(3)
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4),
                        nn.Dropout(0.5, generator=own))
    net[0].eval()
    state, modes = tn.get_state(), [m.training for _, m in net.named_modules()]
    x = tn.randn(6, 4)
    state, stats = tn.get_state(), host(net[0].running_mean).copy()
    y = nn.marginalize(net, x, how="sample", n=5)
    assert tn.get_state() == state and own.counter == 0 and not y.requires_grad
    assert [m.training for _, m in net.named_modules()] == modes
    assert net[1].generator is None and net[3].generator is own
    assert equal(net[0].running_mean, stats)
    assert equal(y, nn.marginalize(net, x, how="sample", n=5))
    assert not equal(y, nn.marginalize(net, x, how="sample", n=5, seed=1))
    with pytest.raises(ValueError, match="takes inputs of shape"):
        nn.marginalize(net, tn.randn(6, 5), how="sample")
    assert [m.training for _, m in net.named_modules()] == modes
    with pytest.raises(ValueError, match="how must be 'analytic' or 'sample', got 'exact'"):
        nn.marginalize(net, x, how="exact")
    with pytest.raises(ValueError, match="n, the number of passes, must be an integer of at"):
        nn.marginalize(net, x, how="sample", n=0)


# The table of everything that is random in training. A row is a function of (training, draw): what
# an input becomes in training mode by random draw number `draw`, or in evaluation.

Row = Callable[[bool, int], Any]


def of_layer(make: Callable[[], nn.Module]) -> Row:
    layer, x = make(), Generator(1).normal((4, 4, 6, 6))

    def call(training: bool, draw: int) -> Any:
        return layer.train(training)(tn.tensor(x))

    return call


def of_batch_norm(training: bool, draw: int) -> Any:
    """One sample's output; what is random is the rest of its minibatch."""
    norm, rng = nn.BatchNorm2d(3), Generator(1)
    sample, others = rng.normal((1, 3, 4, 4)), Generator(draw).normal((7, 3, 4, 4))
    return norm.train(training)(tn.tensor(xp.concatenate([sample, others])))[:1]


TABLE: dict[str, Callable[[], Row]] = {
    **{name: lambda make=make: of_layer(make) for name, make in NOISY.items()},
    "BatchNorm2d": lambda: of_batch_norm,
}


@pytest.mark.parametrize("make", TABLE.values(), ids=TABLE.keys())
def test_E9_E11_random_in_training_fixed_at_test(make: Callable[[], Row]) -> None:
    call = make()
    draws = [host(call(True, k)) for k in range(8)]
    assert len({d.tobytes() for d in draws}) >= 2, "training is random"
    state = tn.get_state()
    first, second = host(call(False, 0)), host(call(False, 1))
    assert np.array_equal(first, second), "evaluation is not"
    assert tn.get_state() == state and first.shape == draws[0].shape


def test_E11_the_table_has_every_noise_layer() -> None:
    """All layers whose class is a `Noise`; a new one needs a row."""
    public = [kind for kind in vars(nn).values() if isinstance(kind, type)]
    noisy = {kind for kind in public if issubclass(kind, nn.Noise)}
    made = {type(m) for make in NOISY.values() for _, m in make().named_modules()}
    assert noisy - made == {nn.Noise, nn.Residual}  # Residual: tests/nn/test_stochastic_depth.py


@layers
def test_E4_G1_G2_G3_gradients_with_frozen_noise(make: Any, float64: None) -> None:
    """Orders 1 and 2 of each layer in training, for its input and all its parameters.

    The seed is one where no block is skipped, and of two samples one: else there is nothing to see.
    """
    layer = make()
    places = [(module, name) for _, module in layer.named_modules()
              for name, value in vars(module).items() if isinstance(value, nn.Parameter)]
    start = [host(vars(module)[name]).copy() for module, name in places]

    def f(x: tn.Tensor, *values: tn.Tensor) -> Any:
        for (module, name), value in zip(places, values, strict=True):
            vars(module)[name] = value
        return layer(x)

    tn.manual_seed(11)
    x = Generator(5).normal((2, 4, 6, 6), dtype="f8")
    state = tn.get_state()
    values = [tn.tensor(v, requires_grad=True) for v in start]
    y = f(tn.tensor(x), *values)
    assert all(host(g).any() for g in tn.grad(y, values, tn.randn(*y.shape)))
    if getattr(layer, "mode", "") == "sample":
        assert (host(y) == host(x)).all(axis=(1, 2, 3)).tolist() == [False, True]
    tn.set_state(state)
    report = gradcheck(f, x, *map(asarray, start), order=2, directions=1)
    assert {c.order for c in report} == {1, 2} and report.worst.error < 1e-8


# BatchNorm's alternatives

def test_E10_group_and_layer_norm_take_a_batch_of_one_and_never_look_at_others() -> None:
    x = tn.randn(5, 4, 3, 3)
    for norm in (nn.GroupNorm(2, 4), nn.LayerNorm((4, 3, 3))):
        whole = host(norm(x))
        assert close(norm(x[:1]), whole[:1], atol=1e-6)
        assert equal(norm.eval()(x), whole)
    with pytest.raises(ValueError, match=r"use a larger batch.*or GroupNorm or LayerNorm"):
        nn.BatchNorm2d(4)(tn.randn(1, 4, 1, 1))
