"""Pooling: first winners, borders, adaptive regions, layout, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal
from tinynet import Tensor, functional as F, grad
from tinynet.backend import xp
from tinynet.functional.pool import _regions
from tinynet.kernels import memory


def winners(pool: Any, x: np.ndarray) -> list[Any]:
    t = Tensor(x[None, None], requires_grad=True)
    return grad(pool(t).sum(), t).data[0, 0].tolist()


def test_first_of_equal_values_gets_the_gradient() -> None:
    ones = np.ones((4, 4))
    corner = [[1.0, 0, 1, 0], [0, 0, 0, 0]] * 2
    assert winners(lambda x: F.max_pool2d(x, 2), ones) == corner
    assert winners(lambda x: F.adaptive_max_pool2d(x, 2), ones) == corner
    assert winners(F.global_max_pool2d, ones) == [[1, 0, 0, 0]] + [[0] * 4] * 3
    assert winners(lambda x: F.adaptive_max_pool2d(x, (1, 2)), np.ones((2, 3))) == \
        [[1, 1, 0], [0, 0, 0]]
    # overlapping windows: a pixel that wins twice gets both gradients
    assert winners(lambda x: F.max_pool2d(x, 2, stride=1), np.array([[0, 0, 0], [0, 9.0, 0]])) == \
        [[0, 0, 0], [0, 2, 0]]


def test_gradient_goes_to_the_largest(rng: Any) -> None:
    x = rng.normal((2, 3, 6, 6), dtype="f8")
    t = Tensor(x, requires_grad=True)
    dx = grad(F.max_pool2d(t, 3).sum(), t).data
    blocks = x.reshape(2, 3, 2, 3, 2, 3)
    assert equal(dx, (blocks == blocks.max((3, 5), keepdims=True)).reshape(x.shape))


def test_border_never_wins() -> None:
    y = F.max_pool2d(xp.full((1, 1, 3, 3), -5.0), 3, stride=2, padding=1)
    assert (y == -5).all()


def test_border_counts_as_zeros_in_means_or_not_at_all() -> None:
    x = xp.ones((1, 1, 2, 2))
    assert F.avg_pool2d(x, 2, stride=2, padding=1)[0, 0].tolist() == [[0.25, 0.25]] * 2
    assert F.avg_pool2d(x, 2, stride=2, padding=1, count_include_pad=False)[0, 0].tolist() == \
        [[1, 1], [1, 1]]


def test_adaptive_regions_cover_everything() -> None:
    assert _regions(6, 3) == [(0, 2), (2, 4), (4, 6)]
    assert _regions(5, 3) == [(0, 2), (1, 4), (3, 5)]
    assert _regions(2, 3) == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (3, 3), (5, 7), (8, 8)])
def test_adaptive_pools_by_hand(size: tuple[int, int], rng: Any) -> None:
    x = rng.normal((2, 3, 6, 8), dtype="f8")
    means, largest = F.adaptive_avg_pool2d(x, size), F.adaptive_max_pool2d(x, size)
    for i, (a, b) in enumerate(_regions(6, size[0])):
        for j, (c, d) in enumerate(_regions(8, size[1])):
            assert close(means[:, :, i, j], x[:, :, a:b, c:d].mean((2, 3)), atol=1e-15)
            assert equal(largest[:, :, i, j], x[:, :, a:b, c:d].max((2, 3)))


def test_global_pools_return_a_row_for_each_sample(rng: Any) -> None:
    x = rng.normal((2, 3, 5, 4), dtype="f8")
    assert equal(F.global_max_pool2d(x), x.max((2, 3)))
    assert close(F.global_avg_pool2d(x), x.mean((2, 3)), atol=1e-15)


@pytest.mark.numpy_only("channels-last memory is the layout of the kernels on the CPU")
@pytest.mark.parametrize("pool", [
    lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, stride=2, padding=1),
    lambda x: F.avg_pool2d(x, 2), lambda x: F.avg_pool2d(x, 3, stride=1, padding=1),
    lambda x: F.adaptive_avg_pool2d(x, 4)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_results_lie_channels_last(pool: Any, channels_last: bool, rng: Any) -> None:
    x = rng.normal((2, 8, 8, 3)).transpose(0, 3, 1, 2)
    t = Tensor(x if channels_last else np.ascontiguousarray(x), requires_grad=True)
    before = memory.layout_copies
    y = pool(t)
    dx = grad(y, t, rng.normal((2, *y.shape[2:], 3)).transpose(0, 3, 1, 2))
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dx.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert memory.layout_copies - before <= (0 if channels_last else 2)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.max_pool2d(x[0], 2), r"max_pool2d: x must have shape \(N, C, H, W\)"),
    (lambda x: F.max_pool2d(x, 5), r"max_pool2d: the kernel spans \(5, 5\) pixels"),
    (lambda x: F.avg_pool2d(x, 2, padding=2), "padding=2 must be at most half of kernel_size=2"),
    (lambda x: F.avg_pool2d(x, 2.0), "kernel_size must be an integer of at least 1"),
    (lambda x: F.max_pool2d(x, 2, stride=0), "stride must be an integer of at least 1"),
    (lambda x: F.adaptive_avg_pool2d(x, 0), "output_size must be"),
    (lambda x: F.global_max_pool2d(x[0]), "global_max_pool2d: x must have shape"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(np.ones((1, 2, 4, 4))))


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_pictures_of_bytes_are_refused(pool: Any) -> None:
    with pytest.raises(TypeError, match=r"x is uint8: .* convert"):
        pool(Tensor(np.ones((1, 1, 5, 5), "u1")), 2)
