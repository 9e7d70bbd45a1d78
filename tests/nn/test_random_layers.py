"""Layers that differ in training and evaluation: dropout and batch normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import nn


@pytest.mark.parametrize("p", [0.25, 0.4, 0.7])
def test_E4_E6_dropout_zeroes_with_probability_p_and_keeps_the_mean(p: float) -> None:
    n = 100_000
    x = tn.tensor(np.random.default_rng(0).normal(10.0, 1.0, n).astype("float32"))
    y = nn.Dropout(p)(x).numpy()
    sigma = math.sqrt(p * (1 - p) / n)
    assert abs((y == 0).mean() - p) < 4 * sigma
    np.testing.assert_allclose(y[y != 0], x.numpy()[y != 0] / (1 - p), rtol=1e-6)
    # y = x mask / keep has variance E[x^2] p / keep around x
    assert abs(y.mean() - x.numpy().mean()) < 4 * math.sqrt(101 * p / (1 - p) / n)


def test_E6_dropout_in_evaluation_is_the_identity_object_for_object() -> None:
    x = tn.randn(5, 3, 2, 2)
    for layer in (nn.Dropout(0.5), nn.Dropout2d(0.5)):
        assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert (nn.Dropout(1.0)(x).numpy() == 0).all()


def test_dropout2d_drops_whole_channels() -> None:
    y = nn.Dropout2d(0.5)(tn.ones((8, 16, 3, 3))).numpy()
    per_channel = y.reshape(128, 9)
    assert set(np.unique(per_channel.sum(1))) == {0.0, 18.0}


def test_E9_evaluation_is_not_random_training_is() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5),
                        nn.Linear(8, 2))
    x = tn.randn(9, 6)
    assert (net(x).numpy() != net(x).numpy()).any()
    net.eval()
    state, before = tn.get_state(), net.state_dict()
    a, b = net(x).numpy(), net(x).numpy()
    np.testing.assert_array_equal(a, b)
    assert tn.get_state() == state, "evaluation draws nothing"
    for name, value in net.state_dict().items():
        assert equal(value, before[name])


def test_dropout_masks_are_repeated_from_a_saved_random_state() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.3), nn.Dropout(0.2))
    x = tn.ones((4, 3, 5, 5))
    net(x)
    state = tn.get_state()
    a, b = net(x).numpy(), net(x).numpy()
    tn.set_state(state)
    np.testing.assert_array_equal(net(x).numpy(), a)
    np.testing.assert_array_equal(net(x).numpy(), b)
    assert (a != b).any()


# Batch normalisation

@pytest.mark.parametrize(("make", "shape"), [
    (nn.BatchNorm1d, (40, 5)), (nn.BatchNorm1d, (8, 5, 6)), (nn.BatchNorm2d, (6, 5, 4, 3))])
def test_E10_batch_norm_in_training(make: Any, shape: tuple[int, ...]) -> None:
    norm = make(5)
    x = tn.randn(*shape) * 3.0 + 7.0
    y = norm(x).numpy().swapaxes(1, -1).reshape(-1, 5)
    assert abs(y.mean(0)).max() < 1e-6 and abs(y.var(0) - 1).max() < 1e-5
    values = x.numpy().swapaxes(1, -1).reshape(-1, 5).astype("float64")
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * values.var(0, ddof=1),
                               rtol=1e-5)


def test_E10_variance_is_one_to_1e_6_when_eps_does_not_count(float64: None) -> None:
    y = nn.BatchNorm2d(3)(tn.randn(16, 3, 5, 5) * 10.0 - 4.0).numpy()
    assert abs(y.mean((0, 2, 3))).max() < 1e-12 and abs(y.var((0, 2, 3)) - 1).max() < 1e-6


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.5])
def test_E10_running_mean_after_n_equal_batches(momentum: float, float64: None) -> None:
    norm, n = nn.BatchNorm1d(2, momentum=momentum), 12
    x = tn.tensor(np.array([[0.0, -1.0], [2.0, 3.0]]))  # both means are 1
    for _ in range(n):
        norm(x)
    np.testing.assert_allclose(norm.running_mean.numpy(), 1 - (1 - momentum) ** n, rtol=1e-12)
    norm.reset_running_stats()
    assert (norm.running_mean.numpy() == 0).all() and (norm.running_var.numpy() == 1).all()


def test_E10_in_evaluation_a_sample_does_not_depend_on_its_batch() -> None:
    norm = nn.BatchNorm2d(4)
    for _ in range(3):
        norm(tn.randn(8, 4, 5, 5) + 2.0)
    x = tn.randn(6, 4, 5, 5)
    in_training = norm(x).numpy()
    norm.eval()
    whole = norm(x).numpy()
    for i in range(6):
        np.testing.assert_array_equal(norm(x[i : i + 1]).numpy()[0], whole[i])
    assert abs(in_training - whole).max() > 0.1
    expected = ((x.numpy() - norm.running_mean.numpy()[:, None, None])
                / np.sqrt(norm.running_var.numpy()[:, None, None] + 1e-5))
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)


def test_E10_a_batch_of_one_vector_is_refused_in_training() -> None:
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="training needs more than one value for each channel"):
        norm(tn.ones((1, 3)))
    assert (norm.running_mean.numpy() == 0).all()
    assert norm.eval()(tn.ones((1, 3))).shape == (1, 3)


def test_batch_norm_updates_its_buffers_once_also_for_gradients_of_gradients(float64: None
                                                                             ) -> None:
    norm = nn.BatchNorm1d(3)
    x = tn.randn(6, 3, requires_grad=True)
    y = norm(x)
    after = norm.running_mean.numpy().copy()
    (dx,) = tn.grad((y * y * y).sum(), [x], create_graph=True)
    (dx * dx).sum().backward()
    np.testing.assert_array_equal(norm.running_mean.numpy(), after)
    assert norm.running_mean.requires_grad is False


def test_frozen_batch_norm_gives_no_gradient_to_its_buffers() -> None:
    norm = nn.BatchNorm1d(3).eval()
    norm(tn.randn(4, 3)).sum().backward()
    assert norm.running_mean.grad is None and norm.weight.grad is not None
