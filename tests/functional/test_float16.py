"""float16 through convolutions, pools, norms and DropConnect: float32's result, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tests.kernels.measure import error
from tinynet import Tensor, functional as F, grad, random
from tinynet.backend import asarray, xp

W = (16, 16, 3, 3)
CASES: dict[str, tuple[Any, ...]] = {  # the function, and the shapes of what follows x
    "conv": (lambda x, w, b: F.conv2d(x, w, b, padding=1), W, 16),
    "conv, stride": (lambda x, w, b: F.conv2d(x, w, b, stride=2), W, 16),
    "conv, groups": (lambda x, w: F.conv2d(x, w, groups=4), (16, 4, 3, 3)),
    "conv, pointwise": (lambda x, w: F.conv2d(x, w), (16, 16, 1, 1)),
    "dropconnect": (lambda x, w, b: F.dropconnect_conv2d(x, w, b, padding=1, key=3), W, 16),
    "max pool": (lambda x: F.max_pool2d(x, 3, 1, 1),),
    "mean": (lambda x: F.avg_pool2d(x + 1000.0, 3, 1, 1),),
    "mean without border": (lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),),
    "adaptive mean": (lambda x: F.adaptive_avg_pool2d(x + 1000.0, (4, 5)),),
    "adaptive max": (lambda x: F.adaptive_max_pool2d(x, (4, 5)),),
    "adaptive mean to one": (lambda x: F.adaptive_avg_pool2d(x + 1000.0, 1),),
    "global mean": (lambda x: F.global_avg_pool2d(x + 1000.0),),
    "global max": (F.global_max_pool2d,),
    "fractional max": (lambda x: F.fractional_max_pool2d(x, ratio=1.5, key=2),),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), 16, 16),
    "group norm": (lambda x, w, b: F.group_norm(x, 4, w, b), 16, 16),
    "expected ReLU": (lambda x: F.expected_relu(x, x * x + 1.0),),
}


@pytest.mark.parametrize("size", [9, 33])
@pytest.mark.parametrize("name", CASES)
def test_float16_is_computed_in_float32(name: str, size: int) -> None:
    f, *shapes = CASES[name]
    rng = random.Generator(0)
    halves = [host(rng.normal(s, dtype="f8")).astype("f2")
              for s in ((8, 16, size, size), *shapes)]
    if len(halves) > 1:
        halves[1] /= 4
    found: list[list[np.ndarray[Any, Any]]] = []
    for dtype in ("f2", "f8"):
        leaves = [Tensor(asarray(a.astype(dtype)), requires_grad=True) for a in halves]
        y = f(*leaves)
        g = host(random.Generator(1).normal(y.shape)).astype("f2").astype(dtype)
        found.append([host(a) for a in (y, *grad(y, leaves, asarray(g)))])
    for a, exact in zip(*found, strict=True):
        assert a.dtype == np.float16
        assert error(a, exact) < 2e-3


@pytest.mark.parametrize("pool", [F.global_avg_pool2d, lambda x: F.adaptive_avg_pool2d(x, 1)],
                         ids=["global", "adaptive"])
def test_the_mean_of_more_pixels_than_float16_can_count(pool: Any) -> None:
    x = Tensor(xp.full((1, 1, 300, 300), 0.5, "float16"), requires_grad=True)
    y = pool(x)
    assert y.item() == 0.5
    assert host(grad(y, x)).max() == np.float16(1 / 90_000)


def test_sizes_may_be_integers_of_numpy() -> None:
    x = xp.ones((2, 4, 5, 5), "f4")
    w = xp.ones((4, 2, 1, 1), "f4")
    assert F.conv2d(x, w, groups=np.int64(2)).shape == (2, 4, 5, 5)
    assert F.layer_norm(x, np.int64(5)).shape == x.shape
    assert F.group_norm(x, np.int64(2)).shape == x.shape
    leaf = Tensor(x, requires_grad=True)
    assert grad(F.conv2d(leaf, w, groups=np.int64(2)).sum(), leaf).shape == x.shape
