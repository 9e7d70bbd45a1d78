"""Test-time views: ten crops in their order, five scales of them, and flips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import equal, host
from tinynet import random
from tinynet.backend import Array, xp
from tinynet.data import flips, resize, resnet_crops, ten_crops


def pictures(size: tuple[int, int] = (9, 12), n: int = 3) -> Array:
    return random.integers(5, 0, 1 << 20, (n, 2, *size)).astype("float32")


def test_F4_ten_crops_are_corners_middle_and_flips() -> None:
    x = pictures()
    views = list(ten_crops(x, (4, 5)))
    assert len(views) == 10 and all(v.shape == (3, 2, 4, 5) for v in views)
    for view, (top, left) in zip(views, [(0, 0), (0, 7), (5, 0), (5, 7), (2, 3)], strict=False):
        assert equal(view, host(x)[:, :, top : top + 4, left : left + 5])
    for view, flipped in zip(views[:5], views[5:], strict=True):
        assert equal(flipped, np.flip(host(view), 3))
    assert all(equal(a, b) for a, b in zip(ten_crops(x, 9), ten_crops(x, (9, 9)), strict=True))


def distinct(views: list[Array]) -> int:
    return len({host(v).tobytes() for v in views})


def test_F4_places_at_224_and_256() -> None:
    """On a square picture: 1 place of a 224 crop at short side 224 (2 with its flip), 5 at 256."""
    at_224 = list(resnet_crops(pictures((32, 32), 1), 224, (224,)))
    assert distinct(at_224) == 2 and distinct(at_224[:5]) == 1
    at_256 = list(resnet_crops(pictures((32, 32), 1), 224, (256,)))
    assert distinct(at_256) == 10 and distinct(at_256[:5]) == 5


def test_F4_fifty_crops_of_five_scales() -> None:
    """224, 256, 384, 480 and 640, ten crops each; the first ten are those of the first scale."""
    x = pictures((10, 14), 1)
    views = list(resnet_crops(x))
    assert len(views) == 50 and {v.shape for v in views} == {(1, 2, 224, 224)}
    for i, side in enumerate((224, 256, 384, 480, 640)):
        scaled = resize(x, side)
        assert scaled.shape == (1, 2, side, round(1.4 * side))
        assert all(equal(a, b) for a, b in zip(views[10 * i : 10 * i + 10],
                                               ten_crops(scaled, 224), strict=True))


def test_F4_one_scale_is_in_memory_at_a_time() -> None:
    """The crops of a scale share its memory, and the scale goes when the next one comes."""
    import tracemalloc

    x = pictures((16, 16), 4)
    largest = 4 * 2 * 640 * 640 * 4
    tracemalloc.start()
    for view in resnet_crops(x):
        assert view.base is not None  # no copy
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3.5 * largest  # the scale, the one before (480), and the work of its making


def test_F4_flips() -> None:
    x = pictures()
    first, second = flips(x)
    assert first is x and equal(second, np.flip(host(x), 3))


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda: list(ten_crops(pictures(), 10)), r"size=\(10, 10\) exceeds the pictures of 9x12:"),
    (lambda: list(resnet_crops(pictures(), 8, (4, 16))), "size must be 1 .. 4 pixels, what the"),
    (lambda: list(flips(xp.zeros((3, 4)))), r"images must be \(N, C, H, W\), got shape \(3, 4\)"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
