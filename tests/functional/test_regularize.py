"""Dropout: the right share of zeros, the mean kept, the same mask both ways, reproducible."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import Tensor, functional as F, grad
from tinynet.backend import on_gpu, xp
from tinynet.functional.regularize import _masked
from tinynet.random import Generator


@pytest.mark.parametrize("p", [0.25, 0.5, 0.9])
def test_E4_p_is_the_probability_of_zeroing(p: float) -> None:
    n = 100_000
    zeros = (F.dropout(xp.ones(n), p, key=1) == 0).mean()
    assert abs(zeros - p) < 4 * (p * (1 - p) / n) ** 0.5


def test_E4_mask_is_reused_in_the_backward_pass(rng: Any) -> None:
    x = Tensor(rng.normal((6, 5), dtype="f8"), requires_grad=True)
    v, g = rng.normal((6, 5), dtype="f8"), rng.normal((6, 5), dtype="f8")
    y = F.dropout(x, 0.4, key=3)
    dx = grad(y, x, g).data
    assert equal(dx == 0, y.data == 0)
    ahead, behind = (F.dropout(x.data + e * v, 0.4, key=3) for e in (1e-3, -1e-3))
    assert abs(((ahead - behind) * g).sum() / 2e-3 - (dx * v).sum()) < 1e-9


def test_E5_scaling_by_keep_is_the_mean_over_all_masks() -> None:
    w, x, keep = xp.array([2.0, 3.0]), xp.array([5.0, 7.0]), 0.5
    masks = xp.array(list(itertools.product([False, True], repeat=2)))
    vanilla = sum(keep ** int(m.sum()) * (1 - keep) ** int((~m).sum()) * (_masked(x, m, 1.0) @ w)
                  for m in masks)
    inverted = sum(0.25 * (_masked(x, m, 1 / keep) @ w) for m in masks)
    assert vanilla == keep * (w @ x) == 15.5
    assert inverted == w @ x


@pytest.mark.parametrize("keep", [0.25, 0.4, 0.7])
def test_E6_inverted_dropout_keeps_the_mean(keep: float) -> None:
    x = 10 + Generator(1).normal((500, 500), dtype="f8")
    y = F.dropout(x, 1 - keep, key=2)
    assert abs(y.mean() - x.mean()) < 4 * 10 * ((1 - keep) / keep / x.size) ** 0.5
    assert close(y[y != 0], x[y != 0] / keep, rtol=1e-15)


def test_E6_E9_evaluation_returns_the_input_itself() -> None:
    x = Tensor([1.0, 2.0])
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    images = Tensor(np.ones((2, 3, 4, 4)))
    assert F.dropout2d(images, 0.5, training=False) is images


def test_E9_training_calls_differ() -> None:
    x = xp.ones(64)
    assert not equal(F.dropout(x), F.dropout(x))


@pytest.mark.parametrize("f", [F.dropout, F.drop_path])
def test_integers_are_refused(f: Any) -> None:
    for options in ({"key": 1}, {"training": False, "inverted": False}):
        with pytest.raises(TypeError, match=r"drop\w+: x is int64: all must be floats"):
            f(xp.arange(6), **options)


def test_p_one_zeroes_everything() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = F.dropout(x, 1.0)
    assert y.tolist() == grad(y.sum(), x).tolist() == [0.0, 0.0]


def test_keys_and_the_default_generator_reproduce() -> None:
    x = xp.ones(1000)
    assert equal(F.dropout(x, key=5), F.dropout(x, key=5))
    state = tn.get_state()
    first = F.dropout(x)
    assert not equal(F.dropout(x), first)
    tn.set_state(state)
    assert equal(F.dropout(x), first)


def test_layout_changes_no_result_and_stays(rng: Any) -> None:
    x = rng.normal((2, 4, 4, 3)).transpose(0, 3, 1, 2)
    t = Tensor(x, requires_grad=True)
    y = F.dropout(t, key=1)
    assert equal(y.data, F.dropout(xp.ascontiguousarray(x), key=1))
    if not on_gpu:
        assert y.data.strides == x.strides
        assert grad(y, t, np.ones_like(x)).data.strides == x.strides


def test_input_is_not_kept() -> None:
    leaf = Tensor(np.ones((4, 8), "f4"), requires_grad=True)
    x = leaf * 1.0
    data = weakref.ref(x.data)
    y = F.dropout(x, key=0)
    output = weakref.ref(y.data)
    y = y.sum()
    del x
    assert data() is None and output() is None
    assert np.unique(grad(y, leaf).data).tolist() == [0, 2]


def test_dropout2d_drops_whole_channels() -> None:
    y = host(F.dropout2d(xp.ones((50, 40, 3, 2), "f4"), 0.3, key=9))
    assert y.dtype == np.float32
    first = y[:, :, :1, :1]
    assert equal(y, np.broadcast_to(first, y.shape))
    assert close(np.unique(first), [0, 1 / 0.7])
    assert abs((first == 0).mean() - 0.3) < 4 * (0.21 / 2000) ** 0.5


@pytest.mark.parametrize("p", [0.25, 0.5, 0.9])
def test_E4_E5_vanilla_dropout_does_not_scale_in_training(p: float) -> None:
    x = xp.ones((50, 40, 3, 2))
    for f in (F.dropout, F.dropout2d, F.drop_path):
        inverted, vanilla = (f(x, p, inverted=i, key=7) for i in (True, False))
        assert set(np.unique(host(vanilla))) == {0.0, 1.0}
        assert close(inverted, vanilla / (1 - p))
        assert close(f(x, p, False, inverted=False), x * (1 - p), rtol=1e-15)


def test_drop_path_drops_whole_samples() -> None:
    y = host(F.drop_path(xp.ones((2000, 3, 2)), 0.3, key=9))
    assert equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert abs((y[:, 0, 0] == 0).mean() - 0.3) < 4 * (0.21 / 2000) ** 0.5


def test_E1_E3_the_whole_loss_is_hinge_plus_lambda_R(rng: Any) -> None:
    """1/N sum_i L_i + lambda R(W): the gradient of R is W for L2, sign(W) for L1, both: elastic."""
    w = Tensor(rng.normal((3, 4), dtype="f8"), requires_grad=True)
    x = rng.normal((5, 4), dtype="f8")
    labels, strength = [0, 1, 2, 1, 0], 0.3
    data = F.hinge_loss(F.linear(x, w), labels)
    for penalty, slope in ((F.l2_penalty, host(w)), (F.l1_penalty, np.sign(host(w)))):
        whole = data + strength * penalty([w])
        assert close(grad(whole, w), host(grad(data, w)) + strength * slope, atol=1e-14)
    assert float(F.l2_penalty([w, w]).item()) == pytest.approx((host(w) ** 2).sum(), rel=1e-14)
    assert float(F.l1_penalty([w]).item()) == pytest.approx(abs(host(w)).sum(), rel=1e-14)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.dropout(x, 1.5), "p is the probability of zeroing, between 0 and 1, got 1.5"),
    (lambda x: F.dropout2d(x), r"must have shape \(N, C, H, W\), got \(2, 3\)"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(np.ones((2, 3))))
