"""Crops in random sizes, and resampling: against Pillow, and the statistics of their windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.arrays import close, equal, host
from tinynet import random
from tinynet.backend import Array, asarray, xp
from tinynet.data import RandomResizedCrop, ResNetCrop, resize
from tinynet.data.crops import random_box
from tinynet.data.resample import sample, window

N = 4000
KEYS = random.key(1, xp.arange(N))
RNG = np.random.default_rng(3)


def pillow(plane: np.ndarray, size: tuple[int, int], box: Any = None) -> np.ndarray:
    """Pillow's bilinear resampling of a float32 plane; box is (left, top, right, bottom)."""
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize(("shape", "size"), [
    ((20, 30), (20, 30)), ((20, 30), (41, 77)), ((20, 30), (7, 9)), ((33, 20), (13, 40)),
    ((5, 4), (1, 1)), ((1, 3), (4, 6)),
])
def test_resize_equals_pillow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    x = RNG.random((3, 2, *shape), np.float32) * 255
    y = resize(asarray(x), size)
    expected = np.array([[pillow(plane, size) for plane in image] for image in x])
    assert close(y, expected, rtol=1e-5, atol=1e-3)


def test_resize_of_bytes_is_rounded_and_of_a_short_side_keeps_the_shape() -> None:
    x = RNG.integers(0, 256, (2, 3, 21, 34), np.uint8)
    y = resize(asarray(x), 10)
    assert y.shape == (2, 3, 10, 16) and y.dtype == np.uint8
    exact = resize(asarray(x.astype(np.float64)), (10, 16))
    assert np.abs(host(y) - host(exact)).max() < 0.501
    assert resize(asarray(x), 21).shape == x.shape
    assert resize(asarray(x), np.int64(10)).shape == y.shape
    assert resize(asarray(x.transpose(0, 1, 3, 2)), 10).shape == (2, 3, 16, 10)


def test_each_picture_has_a_window_of_its_own() -> None:
    x = RNG.random((5, 1, 24, 18), np.float32)
    top, left = np.array([0.0, 3.0, 2.5, 10.0, 0.3]), np.array([0.0, 1.0, 4.25, 2.0, 0.7])
    height, width = np.array([24.0, 8.0, 12.0, 4.5, 20.0]), np.array([18.0, 8.0, 6.0, 9.0, 16.5])
    y = host(window(asarray(x), *map(asarray, (top, left, height, width)), (8, 8)))
    for i in range(5):
        box = (left[i], top[i], left[i] + width[i], top[i] + height[i])
        assert np.allclose(y[i, 0], pillow(x[i, 0], (8, 8), box), atol=1e-4)
    assert equal(y[1, 0], x[1, 0, 3:11, 1:9])  # whole pixels are copied


def test_sample_reads_between_the_pixels_and_fades_into_the_fill() -> None:
    x = asarray(np.array([[[[0.0, 10.0], [20.0, 30.0]]] * 2]))
    at = asarray(np.array([[0.0, 0.5, 1.0, -0.5, 5.0, -9.0]]))[None]
    y = host(sample(x, at, at, fill=(100.0, -1.0)))
    assert np.allclose(y[0, 0, 0], [0.0, 15.0, 30.0, 75.0, 100.0, 100.0])
    assert np.allclose(y[0, 1, 0], [0.0, 15.0, 30.0, -0.75, -1.0, -1.0])


# ResNet's protocol

def test_F3_short_side_is_uniform_over_225_lengths() -> None:
    x = xp.zeros((N, 1, 8, 12), "uint8")
    crop = ResNetCrop(224, (256, 480))
    top, left, height, width = (host(v) for v in crop.windows(x, KEYS))
    short = 224 * 8 / height  # L, from the size of the window in the original picture
    assert np.allclose(short, short.round(), atol=1e-9)
    counts = np.bincount(short.round().astype(int), minlength=481)[256:]
    assert len(counts) == 225 and counts.sum() == N and counts.min() > 0
    chi2 = ((counts - N / 225) ** 2 / (N / 225)).sum()
    assert abs(chi2 - 224) < 4.0 * math.sqrt(2.0 * 224)
    long = 224 * 12 / width  # keeps the shape to a pixel
    assert np.allclose(long, long.round(), atol=1e-9)
    assert np.abs(long - short * 1.5).max() <= 0.5 + 1e-9
    for start, length, side in ((top, height, 8), (left, width, 12)):
        assert start.min() >= 0.0 and (start + length).max() <= side + 1e-9


def test_F3_every_place_of_the_patch_is_equally_likely() -> None:
    x = xp.zeros((N, 1, 10, 14), "uint8")
    crop = ResNetCrop(8, (10, 10))
    top, left, height, width = (host(v) for v in crop.windows(x, KEYS))
    assert (height == 8).all() and (width == 8).all()
    counts = np.zeros((3, 7))
    np.add.at(counts, (top.astype(int), left.astype(int)), 1)
    assert (top % 1 == 0).all() and counts.sum() == N
    chi2 = ((counts - N / 21) ** 2 / (N / 21)).sum()
    assert abs(chi2 - 20) < 4.0 * math.sqrt(40.0)


def test_F3_the_patch_is_that_of_the_scaled_picture() -> None:
    x = RNG.random((60, 1, 12, 18), np.float32)
    crop = ResNetCrop(8, (9, 16))
    y = host(crop(asarray(x), KEYS[:60]))
    top, left, height, width = (host(v) for v in crop.windows(asarray(x), KEYS[:60]))
    for i in range(60):
        size = round(8 * 12 / height[i]), round(8 * 18 / width[i])
        scaled = pillow(x[i, 0], size)
        a, b = round(top[i] * size[0] / 12), round(left[i] * size[1] / 18)
        assert np.allclose(y[i, 0], scaled[a : a + 8, b : b + 8], atol=1e-5)


def test_F3_without_keys_the_middle_at_the_smallest_length() -> None:
    x = RNG.random((2, 3, 30, 40), np.float32)
    y = ResNetCrop(8, (10, 20))(asarray(x))
    scaled = host(resize(asarray(x), 10))
    assert scaled.shape == (2, 3, 10, 13) and equal(y, scaled[:, :, 1:9, 2:10])


# Inception's

def test_random_boxes_have_the_areas_and_shapes_they_should() -> None:
    box, fits = random_box(KEYS, (300, 500), (0.08, 0.5), (3 / 4, 4 / 3))
    top, left, height, width = (host(v).astype(float) for v in box)
    assert bool(fits.all())  # the largest, 0.5 of the area at 3:4, is 316 high: drawn again
    assert top.min() >= 0 and left.min() >= 0
    assert (top + height).max() <= 300 and (left + width).max() <= 500
    area, shape = height * width / 150_000, width / height
    assert 0.079 < area.min() < 0.09 and 0.48 < area.max() < 0.501
    assert abs(shape.min() - 0.75) < 0.01 and abs(shape.max() - 4 / 3) < 0.01
    small = area < 0.3  # those always fit, so both are uniform: mean and 4 standard errors
    error = 4.0 * 0.22 / math.sqrt(12 * small.sum())
    assert abs(area[small].mean() - 0.19) < error
    span = 2.0 * math.log(4 / 3)
    assert abs(np.log(shape[small]).mean()) < 4.0 * span / math.sqrt(12 * small.sum()) + 1e-3
    places = top[small] / (300 - height[small] + 1)
    assert abs(places.mean() - 0.5) < 4.0 / math.sqrt(12 * small.sum()) + 3e-3


def test_random_resized_crop_is_its_box_brought_to_size() -> None:
    x = RNG.random((40, 1, 30, 40), np.float32)
    crop = RandomResizedCrop((9, 12), scale=(0.1, 1.0))
    box, fits = random_box(crop.draws(asarray(x), KEYS[:40]), (30, 40), crop.scale, crop.ratio)
    assert bool(fits.all())
    top, left, height, width = (host(v) for v in box)
    y = host(crop(asarray(x), KEYS[:40]))
    for i in range(40):
        corners = (left[i], top[i], left[i] + width[i], top[i] + height[i])
        assert np.allclose(y[i, 0], pillow(x[i, 0], (9, 12), corners), atol=1e-5)


@pytest.mark.parametrize(("shape", "inside"), [
    ((10, 40), (slice(None), slice(13, 26))),  # 4:3 of height 10 is 13 wide
    ((40, 9), (slice(14, 26), slice(None))),  # 3:4 of width 9 is 12 high
    ((12, 12), (slice(None), slice(None))),
])
def test_a_box_that_never_fits_is_the_middle(shape: tuple[int, int], inside: Any) -> None:
    """And so is the box without keys."""
    x = RNG.random((3, 1, *shape), np.float32)
    crop = RandomResizedCrop(6, scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3))
    expected = np.array([pillow(image[0], (6, 6), _corners(inside, shape)) for image in x])
    assert close(crop(asarray(x))[:, 0], expected, atol=1e-5)
    never = RandomResizedCrop(6, scale=(0.999, 1.0), ratio=(0.75, 0.75))
    if shape[0] != shape[1]:
        assert never(asarray(x), KEYS[:3]).shape == (3, 1, 6, 6)
        _, fits = random_box(KEYS[:3], shape, crop.scale, crop.ratio)
        assert not bool(fits.any())
        assert close(crop(asarray(x), KEYS[:3])[:, 0], expected, atol=1e-5)


def _corners(inside: tuple[slice, slice], shape: tuple[int, int]) -> tuple[int, ...]:
    (top, bottom, _), (left, right, _) = (s.indices(n) for s, n in zip(inside, shape, strict=True))
    return left, top, right, bottom


X: Array = xp.zeros((2, 3, 8, 8), "uint8")


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda: ResNetCrop(224, (200, 480)), "size must be 1 .. 200 pixels, what the smallest short"),
    (lambda: ResNetCrop((8, 8), (10, 20)), r"size must be an integer .* got \(8, 8\)"),
    (lambda: ResNetCrop(8, (9.5, 20)), "short_side must be an integer .* got 9.5"),
    (lambda: ResNetCrop(8, 16), "short_side must be .* got 16"),
    (lambda: RandomResizedCrop(8, scale=0.5), r"scale must be \(low, high\).* got 0.5"),
    (lambda: ResNetCrop(8, (20, 10)), r"short_side must be \(low, high\), low <= high, .*\(20, 10"),
    (lambda: RandomResizedCrop(0), "size must be an integer of at least 1 .* got 0"),
    (lambda: RandomResizedCrop(8, scale=(0.0, 1.0)), r"scale must .* more than 0 to 1, got \(0.0,"),
    (lambda: RandomResizedCrop(8, scale=(0.5, 2.0)), r"scale must .* more than 0 to 1, got \(0.5,"),
    (lambda: RandomResizedCrop(8, ratio=(2.0, 1.0)), r"ratio must be .* got \(2.0, 1.0\)"),
    (lambda: resize(X, 0), "size must be an integer of at least 1 .* got 0"),
    (lambda: resize(X[0], 4), r"images must be \(N, C, H, W\)"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
