"""Digits are kept: means far from zero, float16, in every layout, on both sides of a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tests.kernels.measure import error
from tinynet import Tensor, functional as F, grad, std, var
from tinynet.backend import asarray, xp
from tinynet.kernels import precision
from tinynet.kernels.kernel import kernel

BOUND = {"f2": 2e-3, "f4": 2e-6, "f8": 1e-9}
FAR = [("f4", 0.0), ("f4", 1e3), ("f4", -1e5), ("f2", 1000.0), ("f8", 1e5)]
SHAPES = {"small": (4, 16, 6, 6), "large": (16, 16, 32, 33)}  # 256 KB lie between them
LAYOUTS = {
    "C": lambda x: x,
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "flipped": lambda x: np.ascontiguousarray(x[:, ::-1, ::-1])[:, ::-1, ::-1],
}
NORMS = {
    "batch norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    "batch norm with ReLU": lambda x, w, b: F.batch_norm(x, None, None, w, b, True, with_relu=True),
    "group norm": lambda x, w, b: F.group_norm(x, 4, w, b),
    "layer norm of pixels": lambda x, w, b: F.layer_norm(x.transpose(0, 2, 3, 1), 16, w, b),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_size = pytest.mark.parametrize("size", SHAPES)
far_from_zero = pytest.mark.parametrize(("dtype", "mean"), FAR, ids=str)


def value_and_gradients(f: Any, g: Any, *arrays: Any) -> list[np.ndarray[Any, Any]]:
    leaves = [Tensor(asarray(a), requires_grad=True) for a in arrays]
    y = f(*leaves)
    return [host(y), *(host(d) for d in grad(y, leaves, asarray(g)))]


@each_layout
@each_size
@far_from_zero
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_numbers_far_from_zero(name: str, dtype: str, mean: float, size: str, layout: str,
                                        rng: Any) -> None:
    shape = SHAPES[size]
    x = (host(rng.normal(shape, dtype="f8")) + mean).astype(dtype)
    w, b = (host(rng.normal(16)).astype(dtype) for _ in "wb")
    g = host(rng.normal(shape)).astype(dtype)
    if name == "layer norm of pixels":
        g = g.transpose(0, 2, 3, 1)
    found = value_and_gradients(NORMS[name], g, LAYOUTS[layout](x), w, b)
    wanted = value_and_gradients(NORMS[name], g.astype("f8"), *(a.astype("f8") for a in (x, w, b)))
    for a, exact in zip(found, wanted, strict=True):
        assert a.dtype == dtype
        assert error(a, exact) < 3 * BOUND[dtype]


@each_size
@far_from_zero
def test_batch_norm_in_evaluation_far_from_zero(dtype: str, mean: float, size: str, rng: Any
                                                ) -> None:
    x = (host(rng.normal(SHAPES[size], dtype="f8")) + mean).astype(dtype)
    w, b, g = (host(rng.normal(s)).astype(dtype) for s in (16, 16, x.shape))
    running = asarray(np.full(16, mean, dtype)), xp.ones(16, dtype)
    exact = asarray(np.full(16, mean)), xp.ones(16)
    found = value_and_gradients(lambda *a: F.batch_norm(a[0], *running, *a[1:]), g, x, w, b)
    wanted = value_and_gradients(lambda *a: F.batch_norm(a[0], *exact, *a[1:]),
                                 *(a.astype("f8") for a in (g, x, w, b)))
    for a, right in zip(found, wanted, strict=True):
        assert a.dtype == dtype
        assert error(a, right) < 3 * BOUND[dtype]


def test_batch_norm_of_a_constant_channel_is_its_bias() -> None:
    for n in (4, 64):
        y = F.batch_norm(xp.full((n, 16, 16, 16), 100.1, "f4"), None, None, None,
                         xp.full(16, 2.0, "f4"), training=True)
        assert (y == 2).all()


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2)], ids=str)
@each_size
@far_from_zero
def test_variance_of_numbers_far_from_zero(dtype: str, mean: float, size: str, axis: Any,
                                           rng: Any) -> None:
    x = (host(rng.normal(SHAPES[size], dtype="f8")) + mean).astype(dtype)
    exact = x.astype("f8")
    for layout in LAYOUTS.values():
        there = asarray(layout(x))
        assert error(host(var(there, axis)), exact.var(axis)) < BOUND[dtype]
        assert error(host(std(there, axis)), exact.std(axis)) < BOUND[dtype]
        leaf = Tensor(there, requires_grad=True)
        dx = host(grad(var(leaf, axis).sum(), leaf))
        centre = exact.mean(axis, keepdims=True)
        wanted = (exact - centre) * (2 * centre.size / x.size)
        assert error(dx, wanted) < 2 * BOUND[dtype]


def test_centred_takes_the_mean_in_two_parts() -> None:
    x = asarray(np.array([[1e8, 1e8 + 8, 1e8 + 8]], "f4"))
    d, mean = precision.centred(x, 1)
    assert d.dtype == np.float32 and mean.dtype == np.float64
    assert host(d).ravel() == pytest.approx([-16 / 3, 8 / 3, 8 / 3], rel=1e-6)
    assert host(precision.moments(x, 1)[1]).item() == pytest.approx(128 / 9, rel=1e-6)


def test_variance_of_integers_is_a_float() -> None:
    x = xp.asarray([[0, 200], [200, 0]], "uint8")
    assert var(Tensor(x)).dtype == np.float32
    assert var(Tensor(x)).item() == 10_000
    assert var(Tensor(x), 0, ddof=1).data.tolist() == [20_000, 20_000]


@pytest.mark.numpy_only("on a GPU kernels compute float16 in float32 themselves")
def test_a_wide_kernel_computes_in_float32_and_rounds_once() -> None:
    seen = []

    @kernel(wide=True)
    def scaled(x: Any, factor: float) -> Any:
        seen.append(x.dtype)
        return x * factor, x.astype("f8")

    x = np.ones(3, "f2")
    assert [a.dtype for a in scaled(x, 2.0)] == [np.float16, np.float64]
    assert [a.dtype for a in scaled(x.astype("f4"), 2.0)] == [np.float32, np.float64]
    assert seen == [np.float32, np.float32]
