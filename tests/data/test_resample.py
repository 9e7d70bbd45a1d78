"""New pictures from old ones: the same bits from any memory layout."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.arrays import equal
from tinynet import random
from tinynet.backend import Array, xp
from tinynet.data import resize
from tinynet.data.resample import sample, window

N, H, W = 7, 20, 24

LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "channels-last": lambda x: xp.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "columns first": lambda x: xp.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3),
    "flipped": lambda x: xp.ascontiguousarray(x[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1],
    "sliced": lambda x: xp.repeat(xp.repeat(x, 2, axis=3), 3, axis=0)[::3, :, :, ::2],
}


def windows(x: Array) -> Array:
    """A window of its own for each picture."""
    n = xp.arange(N)
    return window(x, n * 0.7, n * 0.4, 5.0 + n, 9.0 + n, (11, 13))


def points(x: Array) -> Array:
    """Points all over the picture, and some beyond it."""
    places = random.uniform(random.key(3), (2, N, 9, 10), -2.0, 26.0)
    return sample(x, places[0], places[1], fill=5)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", [windows, points, lambda x: resize(x, (8, 30))],
                         ids=["window", "sample", "resize"])
def test_the_memory_layout_changes_no_bit(function: Callable[[Array], Array], layout: str,
                                          dtype: str) -> None:
    x = random.integers(random.key(5), 0, 256, (N, 3, H, W)).astype(dtype)
    other = LAYOUTS[layout](x)
    assert equal(other, x) and other.strides != x.strides
    assert equal(function(other), function(x))
