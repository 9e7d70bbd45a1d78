"""DropConnect: a mask for each example, never stored; its moments; Gaussian inference (G1)."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import Tensor, functional as F, grad, nn
from tinynet.backend import asarray, xp
from tinynet.kernels.conv import force_algorithm
from tinynet.kernels.threads import get_num_workers, set_num_workers
from tinynet.random import Generator


def masks(shape: tuple[int, ...], n: int, p: float, key: int) -> np.ndarray:
    """The masks of n examples, found out from outside: dW of one example that is all ones."""
    found = []
    for i in range(n):
        w = Tensor(xp.ones(shape, "f8"), requires_grad=True)
        x = xp.ones((n, shape[1]), "f8")
        y = F.dropconnect_linear(Tensor(x), w, p=p, key=key)
        g = xp.zeros(y.shape, "f8")
        g[i] = 1.0
        found.append(host(grad(y, w, g)))
    return np.array(found)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.7])
def test_G1_each_example_has_a_mask_of_its_own(p: float) -> None:
    n, shape = 12, (40, 30)
    m = masks(shape, n, p, key=5)
    assert set(np.unique(m)) == {0.0, 1.0}
    assert abs((m == 0).mean() - p) < 4 * math.sqrt(p * (1 - p) / m.size)
    for i, j in itertools.combinations(range(n), 2):  # independent: equal in p^2 + (1 - p)^2
        alike = p * p + (1 - p) ** 2
        assert abs((m[i] == m[j]).mean() - alike) < 5 * math.sqrt(alike * (1 - alike) / 1200)


def test_G1_forward_and_gradients_are_those_of_the_masked_weights(rng: Any) -> None:
    """u_n = (M_n * W) x_n; dW is masked by M, dx uses the masked weights: loops against the op."""
    n, o, i, p = 5, 4, 6, 0.4
    m = masks((o, i), n, p, key=8)
    w, x, g = (rng.normal(s, dtype="f8") for s in ((o, i), (n, i), (n, o)))
    tw, tx = Tensor(w, requires_grad=True), Tensor(x, requires_grad=True)
    u = F.dropconnect_linear(tx, tw, p=p, key=8)
    dx, dw = grad(u, [tx, tw], g)
    w, x, g = host(w), host(x), host(g)
    assert close(u, [(m[k] * w) @ x[k] for k in range(n)], atol=1e-13)
    assert close(dx, [(m[k] * w).T @ g[k] for k in range(n)], atol=1e-13)
    assert close(dw, sum(m[k] * np.outer(g[k], x[k]) for k in range(n)), atol=1e-13)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_G1_all_weights_or_none(p: float, rng: Any) -> None:
    x, w = rng.normal((2, 16, 8, 8)), rng.normal((16, 16, 3, 3))
    x, w = (Tensor(a, requires_grad=True) for a in (x, w))
    y = F.dropconnect_conv2d(x, w, padding=1, p=p, key=3)
    found = [host(a) for a in (y, *grad(y, [x, w]))]
    if p == 1.0:
        assert not any(a.any() for a in found)
    else:
        assert np.array_equal(found[0], host(F.conv2d(x, w, padding=1)))
    y = F.dropconnect_linear(xp.ones((2, 3)), xp.ones((4, 3)), p=p, key=1)
    assert float(y.sum()) == 24.0 * (1.0 - p)


def test_G1_a_picture_has_one_mask_at_all_places(rng: Any) -> None:
    x = xp.ones((3, 2, 9, 7), "f8")
    u = host(F.dropconnect_conv2d(x, rng.normal((4, 2, 3, 3), dtype="f8"), key=2))
    assert (u == u[:, :, :1, :1]).all() and len(np.unique(u[:, 0, 0, 0])) == 3


def test_G1_mean_and_variance_over_the_masks(rng: Any) -> None:
    """E u = (1-p) W v, Var u = p (1-p) (W * W) (v * v), by 20,000 examples with the same v."""
    n, p = 20_000, 0.3
    w, v, b = rng.normal((2, 10), dtype="f8"), rng.normal(10, dtype="f8"), rng.normal(2, dtype="f8")
    u = host(F.dropconnect_linear(xp.tile(v, (n, 1)), w, b, p=p, key=4))
    w, v, b = host(w), host(v), host(b)
    mean, variance = (1 - p) * (w @ v + b), p * (1 - p) * ((w * w) @ (v * v) + b * b)
    assert (abs(u.mean(0) - mean) < 4 * np.sqrt(variance / n)).all()
    assert (abs(u.var(0) / variance - 1) < 6 * math.sqrt(2 / n)).all()
    exact = F.dropconnect_linear(asarray(v[None]), asarray(w), asarray(b), p=p, training=False)
    assert close(exact[0], mean, rtol=1e-12)


def test_G1_expected_relu_is_the_mean_of_a_normal_that_is_cut(rng: Any) -> None:
    """mu = -0.428, sd = 0.509: about .057, where the mean inference says 0."""
    mu, sd, n = -0.428, 0.509, 200_000
    u = mu + sd * host(rng.normal(n, dtype="f8"))
    found = float(F.expected_relu(asarray(mu, "f8"), asarray(sd * sd, "f8")))
    assert found == pytest.approx(0.0567, abs=3e-4)
    assert abs(found - np.maximum(u, 0).mean()) < 4 * np.maximum(u, 0).std() / math.sqrt(n)
    for mean in (-2.0, 0.0, 3.0):  # and without variance it is the ReLU
        found = float(F.expected_relu(asarray(mean, "f4"), asarray(0.0, "f4")))
        assert found == pytest.approx(max(mean, 0.0), abs=1e-15)
    slope = Tensor(asarray([-1.0, 1.0], "f4"), requires_grad=True)
    assert grad(F.expected_relu(slope, xp.zeros(2, "f4")).sum(), slope).tolist() == [0.0, 1.0]


def test_G1_gaussian_inference_comes_nearer_to_the_mean_over_masks(float64: None) -> None:
    """The Monte-Carlo mean of relu(u) over 2,000 masks, against both kinds of inference."""
    layer = nn.DropConnectLinear(30, 16, p=0.5, relu=True)
    x = Generator(1).normal((4, 30), dtype="f8")
    wanted = host(nn.marginalize(layer, Tensor(x), how="sample", n=2000))
    found = {}
    for layer.inference in ("mean", "gaussian"):
        found[layer.inference] = abs(host(layer.eval()(Tensor(x))) - wanted).mean()
    noise = host(nn.marginalize(layer, Tensor(x), how="sample", n=2000, seed=1))
    assert found["gaussian"] < 0.1 * found["mean"]
    assert found["gaussian"] < 2 * abs(noise - wanted).mean() + 0.005


@pytest.mark.parametrize("inference", ["mean", "gaussian"])
def test_G1_layers_share_names_with_the_plain_ones(inference: str, rng: Any) -> None:
    x = Tensor(rng.normal((3, 4, 7, 6)))
    plain = nn.Conv2d(4, 5, 3, padding=1)
    layer = nn.DropConnectConv2d(4, 5, 3, padding=1, p=0.3, relu=True, inference=inference)
    layer.load_state_dict(plain.state_dict())
    mean = host(layer.eval()(x))
    assert not equal(layer.train()(x), layer(x))
    scaled = np.maximum(0.7 * host(plain(x)), 0)
    if inference == "mean":
        assert close(mean, scaled, atol=1e-6)
    else:
        assert (mean >= scaled - 1e-6).all() and (mean - scaled).max() > 0.01
    layer.p = 0.0
    assert close(layer(x), np.maximum(host(plain(x)), 0), atol=1e-6)


def test_G1_same_padding_strides_groups_and_linear_of_more_axes(rng: Any) -> None:
    x, w = rng.normal((3, 4, 6, 5), dtype="f8"), rng.normal((6, 2, 3, 3), dtype="f8")
    same = F.dropconnect_conv2d(x, w, padding="same", groups=2, key=1)
    assert equal(same, F.dropconnect_conv2d(x, w, padding=1, groups=2, key=1))
    strided = F.dropconnect_conv2d(x, w, stride=2, padding=1, groups=2, key=1)
    assert close(same[:, :, ::2, ::2], strided, atol=1e-12)
    rows, weight = rng.normal((3, 2, 4), dtype="f8"), rng.normal((5, 4), dtype="f8")
    both = F.dropconnect_linear(rows, weight, key=1)
    assert both.shape == (3, 2, 5)
    assert close(both[:, 1], F.dropconnect_linear(rows[:, 1], weight, key=1), atol=1e-12)


def test_G1_a_mask_does_not_depend_on_the_batch(rng: Any) -> None:
    """Not on how many examples are masked at a time, nor on who comes after."""
    x, w = rng.normal((21, 3, 12, 12)), rng.normal((4, 3, 3, 3))
    assert equal(F.dropconnect_conv2d(x, w, key=6)[:5], F.dropconnect_conv2d(x[:5], w, key=6))


@pytest.mark.numpy_only("the two ways of the CPU")
@pytest.mark.parametrize("channels", [16, 72, 128, 136])  # by tiles 8, 3, 1, none
def test_by_tiles_as_by_windows(channels: int, rng: Any) -> None:
    """11 pictures, which no number of pictures at a time divides."""
    x, w = rng.normal((11, channels, 9, 7)), rng.normal((channels, channels, 3, 3))
    x, w = Tensor(x, requires_grad=True), Tensor(w / math.sqrt(9 * channels), requires_grad=True)
    g, found = rng.normal((11, channels, 9, 7)), []
    for way in ("im2col", None):
        with force_algorithm(way):
            y = F.dropconnect_conv2d(x, w, padding=1, key=1)
            found.append([y, *grad(y, [x, w], g)])
    for a, b in zip(*found, strict=True):
        assert float(abs(a - b).max()) <= 2e-5 * float(abs(b).max())
        assert equal(a, b) == (channels == 136)


@pytest.mark.parametrize("size", [(3, 5, 5), (16, 12, 12)])
def test_results_are_bit_equal_for_one_and_two_workers(size: tuple[int, ...], rng: Any) -> None:
    c, x = size[0], Tensor(rng.normal((40, *size)), requires_grad=True)
    w, g = Tensor(rng.normal((16, c, 3, 3)), requires_grad=True), rng.normal((40, 16, *size[1:]))
    found, before = [], get_num_workers()
    try:
        for workers in (1, 2, 2):
            set_num_workers(workers)
            y = F.dropconnect_conv2d(x, w, padding=1, key=1)
            found.append([y, *grad(y, [x, w], g)])
    finally:
        set_num_workers(before)
    assert all(equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.numpy_only("counts the memory of NumPy arrays")
def test_G1_neither_masks_nor_masked_weights_of_all_examples_are_alive(rng: Any) -> None:
    n, o, i = 96, 256, 256
    x, w = Tensor(rng.normal((n, i)), requires_grad=True), Tensor(rng.normal((o, i)),
                                                                  requires_grad=True)
    g = rng.normal((n, o))

    def peak() -> tuple[int, int]:
        tracemalloc.start()
        u = F.dropconnect_linear(x, w, key=1)
        kept = tracemalloc.get_traced_memory()[0]
        grad(u, [x, w], g)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return kept, top

    peak()  # the scratch memory of the threads
    kept, top = peak()
    assert kept < w.data.nbytes, "the masks of 96 examples would take 24 times that, as bytes"
    assert top < n * w.data.nbytes / 4


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.dropconnect_linear(x, xp.ones((3, 4)), p=1.5), "p is the probability of zeroing"),
    (lambda x: F.dropconnect_linear(x, xp.ones((3, 5))), "linear: x of shape .* does not fit"),
    (lambda x: F.dropconnect_conv2d(x, xp.ones((3, 4, 1, 1))), "dropconnect_conv2d: x must have"),
    (lambda x: nn.DropConnectLinear(3, 2, p=-1.0), "must be a probability"),
    (lambda x: nn.DropConnectLinear(3, 2, inference="sum"), "'mean' or 'gaussian', got 'sum'"),
    (lambda x: nn.DropConnectLinear(3, 2, inference="gaussian"), "give relu=True"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(xp.ones((2, 4))))


def test_the_layers_say_what_they_are() -> None:
    text = repr(nn.DropConnectConv2d(3, 8, 3, p=0.2, relu=True))
    assert "in_channels=3, out_channels=8, kernel_size=(3, 3), p=0.2, relu=True" in text
