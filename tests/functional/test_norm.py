"""Normalisation: statistics, running buffers, purity, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal
from tinynet import Tensor, functional as F, grad
from tinynet.backend import xp
from tinynet.kernels import memory

SHAPES = [(8, 3), (6, 3, 5), (4, 3, 3, 2)]


def fresh() -> tuple[Any, Any]:
    return xp.zeros(3), xp.ones(3)


@pytest.mark.parametrize("shape", SHAPES)
def test_E10_training_output_has_mean_zero_and_variance_one(shape: Any, rng: Any) -> None:
    x = rng.normal(shape, mean=5.0, std=3.0, dtype="f8")
    y = F.batch_norm(x, *fresh(), training=True, eps=1e-12)
    axes = (0, *range(2, len(shape)))
    assert np.abs(y.mean(axes)).max() < 1e-6
    assert np.abs(y.var(axes) - 1).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_E10_far_from_zero_and_constant(dtype: str, rng: Any) -> None:
    x = (rng.normal((64, 3, 4, 4), dtype="f8") + 1000).astype(dtype)
    y = F.batch_norm(Tensor(x), *fresh(), training=True).data
    assert np.abs(y.std((0, 2, 3)) - 1).max() < 2e-4
    flat = F.batch_norm(Tensor(np.full((8, 3), 7, dtype)), *fresh(), training=True).data
    assert np.abs(flat).max() < 1e-3


def test_E10_evaluation_does_not_depend_on_the_batch(rng: Any) -> None:
    x = rng.normal((5, 3, 4, 4))
    mean, var = xp.array([0.1, -1, 2], "f4"), xp.array([0.5, 2, 1], "f4")
    together = F.batch_norm(x, mean, var)
    alone = np.concatenate([F.batch_norm(x[i : i + 1], mean, var) for i in range(5)])
    assert equal(together, alone)
    assert mean.tolist() == np.array([0.1, -1, 2], "f4").tolist()


def test_E10_running_mean_after_n_equal_batches(rng: Any) -> None:
    x = rng.normal((10, 3), dtype="f8")
    mean, var = xp.zeros(3), xp.zeros(3)
    for _ in range(7):
        F.batch_norm(x, mean, var, training=True, momentum=0.2)
    assert close(mean, x.mean(0) * (1 - 0.8**7), atol=1e-14)
    assert close(var, x.var(0, ddof=1) * (1 - 0.8**7), atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
def test_E10_one_value_for_each_channel_raises(shape: Any) -> None:
    with pytest.raises(ValueError, match="more than one value for each channel, got x of shape"):
        F.batch_norm(Tensor(np.ones(shape)), *fresh(), training=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_E10_gradient_by_hand(shape: Any, rng: Any) -> None:
    x = Tensor(rng.normal(shape, dtype="f8"), requires_grad=True)
    w, b = (Tensor(rng.normal(3, dtype="f8"), requires_grad=True) for _ in range(2))
    g = rng.normal(shape, dtype="f8")
    dx, dw, db = grad(F.batch_norm(x, *fresh(), w, b, training=True), [x, w, b], g)
    axes = (0, *range(2, len(shape)))
    spread = (slice(None), *(None,) * (len(shape) - 2))
    s = np.sqrt(x.data.var(axes, keepdims=True) + 1e-5)
    normal = (x.data - x.data.mean(axes, keepdims=True)) / s
    wanted = w.data[spread] / s * (g - g.mean(axes, keepdims=True)
                                   - normal * (g * normal).mean(axes, keepdims=True))
    assert np.abs(dx.data - wanted).max() < 1e-13
    assert np.abs(dw.data - (g * normal).sum(axes)).max() < 1e-12
    assert np.abs(db.data - g.sum(axes)).max() < 1e-12


def test_buffers_move_once_even_with_gradients_of_gradients(rng: Any) -> None:
    x = Tensor(rng.normal((8, 3), dtype="f8"), requires_grad=True)
    mean, var = fresh()
    y = F.batch_norm(x, mean, var, training=True)
    moved = mean.copy()
    dx = grad(y, x, rng.normal((8, 3), dtype="f8"), create_graph=True)
    grad(dx, x, rng.normal((8, 3), dtype="f8"))
    assert equal(mean, moved) and close(moved, 0.1 * x.data.mean(0))


def test_buffers_may_be_tensors_and_keep_their_dtype(rng: Any) -> None:
    mean, var = Tensor(np.zeros(3, "f4")), Tensor(np.ones(3, "f4"))
    memory_of_mean = mean.data
    F.batch_norm(Tensor(rng.normal((8, 3), dtype="f8")), mean, var, training=True)
    assert mean.data is memory_of_mean and mean.dtype == np.float32 and mean.data.any()


def test_evaluation_after_training_keeps_old_graphs_right(rng: Any) -> None:
    x, w = (Tensor(rng.normal(s, dtype="f8"), requires_grad=True) for s in ((8, 3), 3))
    mean, var = fresh()
    y = F.batch_norm(x, mean, var, w)
    F.batch_norm(x, mean, var, w, training=True)  # moves the buffers
    g = rng.normal((8, 3), dtype="f8")
    dx, dw = grad(y, [x, w], g)
    assert close(dx.data, g * w.data / np.sqrt(1 + 1e-5), atol=1e-14)
    assert close(dw.data, (g * x.data).sum(0) / np.sqrt(1 + 1e-5), atol=1e-13)


def test_relu_within_evaluation_is_relu_after_it(rng: Any) -> None:
    x, w, b = (Tensor(rng.normal(s, dtype="f8"), requires_grad=True) for s in ((8, 3, 5), 3, 3))
    running = xp.array([0.1, -100, 2]), xp.array([0.5, 2, 1])
    g = rng.normal(x.shape, dtype="f8")
    y = F.batch_norm(x, *running, w, b, with_relu=True)
    after = F.relu(F.batch_norm(x, *running, w, b))
    assert equal(y.data, after.data)
    assert 0 < int((y.data > 0).sum()) < y.data.size
    for found, wanted in zip(grad(y, [x, w, b], g), grad(after, [x, w, b], g), strict=True):
        assert close(found.data, wanted.data, atol=1e-12)


def test_without_running_arrays_the_batch_is_used(rng: Any) -> None:
    x = rng.normal((8, 3), dtype="f8")
    assert close(F.batch_norm(x, None, None), F.batch_norm(x, *fresh(), training=True))


@pytest.mark.numpy_only("channels-last memory is the layout of the kernels on the CPU")
@pytest.mark.parametrize("training", [True, False])
def test_images_come_out_channels_last_without_copies(training: bool, rng: Any) -> None:
    x = Tensor(rng.normal((2, 4, 4, 3)).transpose(0, 3, 1, 2), requires_grad=True)
    before = memory.layout_copies
    y = F.batch_norm(x, np.zeros(3, "f4"), np.ones(3, "f4"), training=training)
    dx = grad(y, x, rng.normal((2, 4, 4, 3)).transpose(0, 3, 1, 2))
    assert memory.layout_copies == before
    assert y.data.strides == dx.data.strides == x.data.strides


def test_layer_norm_normalises_each_sample(rng: Any) -> None:
    y = F.layer_norm(rng.normal((6, 4, 5), mean=3.0, dtype="f8"), (4, 5), eps=1e-12)
    assert np.abs(y.mean((1, 2))).max() < 1e-14
    assert np.abs(y.var((1, 2)) - 1).max() < 1e-10


def test_group_norm_normalises_each_group(rng: Any) -> None:
    y = F.group_norm(rng.normal((3, 6, 4, 4), mean=3.0, dtype="f8"), 2, eps=1e-12)
    groups = y.reshape(3, 2, -1)
    assert np.abs(groups.mean(2)).max() < 1e-14
    assert np.abs(groups.var(2) - 1).max() < 1e-10


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.batch_norm(x[0][0], *fresh()), r"\(N, C, H, W\), got \(4,\)"),
    (lambda x: F.batch_norm(x, *fresh(), weight=Tensor(np.ones(4))),
     r"weight must have shape \(3,\), one value for each channel of x of shape \(2, 3, 4\)"),
    (lambda x: F.batch_norm(x, xp.zeros(2), xp.ones(3)), "running_mean must have shape"),
    (lambda x: F.layer_norm(x, 5), r"normalized_shape \(5,\), got x of shape \(2, 3, 4\)"),
    (lambda x: F.layer_norm(x, 4, bias=Tensor(np.ones(3))), r"bias must have normalized_shape"),
    (lambda x: F.group_norm(x, 2), "C a multiple of num_groups.*num_groups=2"),
    (lambda x: F.group_norm(x, 3, bias=Tensor(np.ones(4))), "bias must have shape"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(np.ones((2, 3, 4))))


@pytest.mark.parametrize("call", [lambda x: F.batch_norm(x, *fresh()),
                                  lambda x: F.layer_norm(x, 4), lambda x: F.group_norm(x, 3)])
def test_integers_are_refused(call: Any) -> None:
    with pytest.raises(TypeError, match=r"x is int64: .* convert"):
        call(Tensor(np.ones((2, 3, 4), int)))
