"""Random erasing: one rectangle inside the picture, its statistics, and its fill. (Cutout, G4, is
tested in test_transform.py.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import equal, host
from tinynet import random
from tinynet.backend import Array, xp
from tinynet.data import Cutout, RandomErasing

N = 2000
KEYS = random.key(6, xp.arange(N))


def pictures(n: int, dtype: str = "uint8") -> Array:
    return random.integers(5, 1, 256, (n, 3, 20, 30)).astype(dtype)


def test_one_rectangle_inside_with_probability_p() -> None:
    x = xp.ones((N, 2, 20, 30), "float32")
    holes = host(RandomErasing(0.4)(x, KEYS)) == 0.0
    assert (holes[:, 0] == holes[:, 1]).all()
    holes = holes[:, 0]
    erased = holes.any(axis=(1, 2))
    assert abs(erased.mean() - 0.4) < 4.0 * math.sqrt(0.24 / N)
    heights, widths = holes.any(axis=2).sum(axis=1), holes.any(axis=1).sum(axis=1)
    assert (holes.sum(axis=(1, 2)) == heights * widths).all()  # a full rectangle
    area, ratio = (heights * widths / 600)[erased], (widths / np.maximum(heights, 1))[erased]
    assert area.min() < 0.04 and 0.28 < area.max() < 0.37  # rounded to whole pixels
    assert ratio.min() < 0.5 and ratio.max() > 2.5


def test_every_place_is_equally_likely() -> None:
    """A box of 4 x 4 in 8 x 8 pixels: 25 places."""
    n = 5000
    x = xp.ones((n, 1, 8, 8), "float32")
    erase = RandomErasing(1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    holes = host(erase(x, random.key(7, xp.arange(n))))[:, 0] == 0.0
    assert (holes.sum(axis=(1, 2)) == 16).all()
    places = holes.reshape(n, -1).argmax(axis=1)
    counts = np.bincount(places // 8 * 5 + places % 8, minlength=25)
    chi2 = ((counts - n / 25) ** 2 / (n / 25)).sum()
    assert len(counts) == 25 and abs(chi2 - 24) < 4.0 * math.sqrt(48.0)


def test_the_fill_and_the_rest_of_the_picture() -> None:
    x = pictures(200)
    hole = host(RandomErasing(1.0, fill=0)(x, KEYS[:200]) == 0)[:, 0]
    y = host(RandomErasing(1.0, fill=(10.2, 20.7, 30.0))(x, KEYS[:200]))
    for channel, value in enumerate((10, 21, 30)):
        assert (y[:, channel][hole] == value).all()
        assert (y[:, channel][~hole] == host(x)[:, channel][~hole]).all()


def test_noise_is_any_byte_or_standard_normal() -> None:
    x = pictures(400)
    hole = host(RandomErasing(1.0, fill=0)(x, KEYS[:400]) == 0)[:, 0]
    y = host(RandomErasing(1.0, fill="random")(x, KEYS[:400]))
    inside = y.transpose(0, 2, 3, 1)[hole].ravel().astype(float)
    assert (y.transpose(0, 2, 3, 1)[~hole] == host(x).transpose(0, 2, 3, 1)[~hole]).all()
    assert inside.min() == 0 and inside.max() == 255
    assert abs(inside.mean() - 127.5) < 4.0 * 74.0 / math.sqrt(inside.size)
    z = host(RandomErasing(1.0, fill="random")(x.astype("float64"), KEYS[:400]))
    normal = z.transpose(0, 2, 3, 1)[hole].ravel()
    assert abs(normal.mean()) < 4.0 / math.sqrt(normal.size)
    assert abs(normal.std() - 1.0) < 4.0 / math.sqrt(2 * normal.size)
    assert len(np.unique(normal)) == normal.size


def test_what_never_fits_stays_whole() -> None:
    x = pictures(50)
    assert equal(RandomErasing(1.0, scale=(0.9, 1.0), ratio=(9.0, 9.0), fill=0)(x, KEYS[:50]), x)


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda: RandomErasing(2.0), "p must be a probability between 0 and 1, got 2.0"),
    (lambda: RandomErasing(scale=(0.5, 1.5)), r"scale must be \(low, high\).* got \(0.5, 1.5\)"),
    (lambda: RandomErasing(ratio=(0.0, 1.0)), r"ratio must be \(low, high\).* got \(0.0, 1.0\)"),
    (lambda: RandomErasing(fill="noise"), "fill must be numbers, 'random' or None, got 'noise'"),
    (lambda: RandomErasing()(pictures(2), KEYS[:2]), "RandomErasing on uint8 pictures needs fill="),
    (lambda: Cutout(4)(pictures(2), KEYS[:2]), "Cutout on uint8 pictures needs fill="),
])
def test_mistakes_are_named(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
