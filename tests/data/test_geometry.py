"""Affine maps and lens distortion: exact cases, SciPy's resampling, and what bends how."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from tests.arrays import close, equal, host
from tinynet import random
from tinynet.backend import Array, asarray, xp
from tinynet.data import LensDistortion, RandomAffine

N = 2000
KEYS = random.key(4, xp.arange(N))


def pictures(n: int = 20, dtype: str = "uint8", size: tuple[int, int] = (16, 16)) -> Array:
    return random.integers(5, 1, 256, (n, 2, *size)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("t", [3, -2, 15, 16])
def test_F7_shift_by_whole_pixels_is_exact(dtype: str, t: int) -> None:
    x = pictures(dtype=dtype)
    y = RandomAffine(translate=(t / 16, t / 16), fill=7.0)(x, KEYS[:20])
    expected = np.full_like(host(x), 7)
    new, old = slice(max(0, t), 16 + min(0, t)), slice(max(0, -t), 16 - max(0, t))
    expected[:, :, new, new] = host(x)[:, :, old, old]
    assert equal(y, expected)


@pytest.mark.parametrize("shape", [(16, 16), (15, 15)])
def test_F7_rotation_by_90_degrees_is_rot90_and_by_360_the_identity(shape: tuple[int, int]) -> None:
    for dtype, error in (("uint8", 0.0), ("float32", 2e-3), ("float64", 1e-9)):
        x = pictures(dtype=dtype, size=shape)
        for turns in range(-4, 5):
            y = host(RandomAffine(degrees=(90.0 * turns, 90.0 * turns))(x, KEYS[:20]))
            expected = np.rot90(host(x), turns, axes=(2, 3))
            assert np.abs(y.astype(float) - expected).max() <= error, (dtype, turns)


def test_F7_determinant_is_scale_squared_times_stretch() -> None:
    x = pictures(N, size=(4, 4))
    affine = RandomAffine(degrees=180.0, scale=0.3, stretch=0.5, shear=30.0, translate=0.2)
    a, shift = (host(v) for v in affine.maps(x, KEYS))
    apart = RandomAffine(scale=0.3, stretch=0.5)
    factors = host(apart.maps(x, KEYS)[0])  # the same draws without rotation and shear
    assert (factors[:, 0, 1] == 0).all() and (factors[:, 1, 0] == 0).all()
    s = factors[:, 1, 1]
    r = factors[:, 0, 0] / s
    assert np.allclose(np.linalg.det(a), s * s * r, rtol=1e-12)
    assert 1 / 1.3 <= s.min() < 0.78 and 1.29 < s.max() <= 1.3
    assert 1 / 1.5 <= r.min() < 0.68 and 1.49 < r.max() <= 1.5
    assert abs(np.log(r).mean()) < 4.0 * 2 * math.log(1.5) / math.sqrt(12 * N)
    assert np.abs(shift).max() <= 0.8 and abs(shift[:, 0].mean()) < 4.0 * 1.6 / math.sqrt(12 * N)
    draws = np.stack([s, r, *shift.T, np.arctan2(a[:, 1, 0], a[:, 0, 0])])
    off = np.corrcoef(draws) - np.eye(5)
    assert np.abs(off).max() < 4.0 / math.sqrt(N)  # all drawn apart


def test_F7_area_grows_by_the_determinant() -> None:
    x = xp.zeros((50, 1, 64, 64))
    x[:, :, 22:42, 22:42] = 1.0
    for affine in (RandomAffine(scale=(1.5, 1.5)), RandomAffine(stretch=(1.5, 1.5)),
                   RandomAffine(shear=20.0), RandomAffine(degrees=45.0),
                   RandomAffine(10.0, 0.1, 0.2, 0.2, 10.0)):
        a, _ = affine.maps(x, KEYS[:50])
        area = host(affine(x, KEYS[:50])).sum(axis=(1, 2, 3))
        assert np.allclose(area, 400.0 * np.linalg.det(host(a)), rtol=0.02), affine


def test_F7_equals_scipys_affine_transform() -> None:
    """Linear interpolation of the picture with a frame of zeros, at the same points."""
    x = pictures(30, "float64", (14, 18))
    affine = RandomAffine(40.0, 0.2, 0.2, 0.2, 15.0)
    y = host(affine(x, KEYS[:30]))
    a, shift = (host(v) for v in affine.maps(x, KEYS[:30]))
    middle = np.array([(18 - 1) / 2, (14 - 1) / 2])
    for i in range(30):
        inverse = np.linalg.inv(a[i])
        offset = middle - inverse @ (middle + shift[i])  # in (x, y); SciPy wants (row, column)
        for plane in range(2):
            framed = np.pad(host(x)[i, plane], 2)
            at = np.stack(np.meshgrid(np.arange(14), np.arange(18), indexing="ij"))
            points = np.tensordot(inverse[::-1, ::-1], at, 1) + offset[::-1, None, None] + 2.0
            expected = ndimage.map_coordinates(framed, points, order=1, mode="constant")
            assert np.allclose(y[i, plane], expected, atol=1e-8)


def test_F7_directions() -> None:
    """Right and down are positive, angles turn counter-clockwise, shear leans right downwards."""
    x = xp.zeros((1, 1, 9, 9))
    x[0, 0, 4, 7] = 1.0  # right of the middle

    def peak(**settings: Any) -> tuple[int, int]:
        y = host(RandomAffine(**settings)(x, KEYS[:1]))[0, 0]
        return tuple(int(v) for v in np.unravel_index(y.argmax(), y.shape))  # type: ignore[return-value]

    assert peak(degrees=(90, 90)) == (1, 4)  # up
    assert peak(stretch=(4 / 3, 4 / 3)) == (4, 8)
    assert peak(scale=(1 / 3, 1 / 3)) == (4, 5)
    x = xp.zeros((1, 1, 9, 9))
    x[0, 0, 7, 4] = 1.0  # below the middle
    assert peak(shear=(45, 45)) == (7, 7)


# Lens

def test_F7_lens_of_k_0_is_the_identity() -> None:
    for dtype in ("uint8", "float32", "float64"):
        x = pictures(dtype=dtype)
        assert equal(LensDistortion(0.0)(x, KEYS[:20]), x)


@pytest.mark.parametrize("k", [-0.3, -0.1, 0.1, 0.4])
def test_F7_a_straight_line_bends_with_the_sign_of_k(k: float) -> None:
    """The ends of a line above the middle come down (k > 0, barrel) or go up (pincushion)."""
    size = 101
    x = np.zeros((1, 1, size, size))
    x[0, 0, 20:23] = 1.0  # a horizontal line, 29 pixels above the middle
    y = host(LensDistortion((k, k))(asarray(x), KEYS[:1]))[0, 0]
    rows = np.arange(size)[:, None]
    with np.errstate(invalid="ignore"):
        place = (y * rows).sum(axis=0) / y.sum(axis=0)
    middle, side = place[50], place[15]
    expected = []
    for column in (50, 15):  # where the formula has row 21 of the old picture
        out = np.linspace(0, size - 1, 20001) - 50.0
        r2 = (out**2 + (column - 50.0) ** 2) / (2 * 50.5**2)
        expected.append(50.0 + out[np.abs(out * (1 + k * r2) + 29.0).argmin()])
    assert abs(middle - expected[0]) < 0.2 and abs(side - expected[1]) < 0.2
    assert np.sign(side - middle) == np.sign(k) and abs(side - middle) > 0.5


def test_F7_lens_equals_scipy() -> None:
    x = pictures(1, "float64", (12, 20))
    y = host(LensDistortion((0.25, 0.25))(x, KEYS[:1]))
    rows, columns = np.meshgrid(np.arange(12) - 5.5, np.arange(20) - 9.5, indexing="ij")
    bend = 1 + 0.25 * (rows**2 + columns**2) / (6**2 + 10**2)
    points = np.stack([rows * bend + 5.5, columns * bend + 9.5]) + 2.0
    for plane in range(2):
        expected = ndimage.map_coordinates(np.pad(host(x)[0, plane], 2), points, order=1)
        assert close(y[0, plane], expected, atol=1e-9)


def test_F7_k_is_uniform_in_its_range() -> None:
    """Read off the corner of a ramp: its distance from the middle grows by k."""
    ramp = np.broadcast_to((np.arange(33.0) - 16.0).reshape(1, 1, 1, 33), (N, 1, 33, 33))
    y = host(LensDistortion((-0.3, 0.0))(asarray(ramp.copy()), KEYS))[:, 0, 16, 32]
    k = (y / 16.0 - 1.0) * (2 * 16.5**2) / 16.0**2
    assert -0.3 <= k.min() < -0.295 and -0.005 < k.max() <= 1e-6
    assert abs(k.mean() + 0.15) < 4.0 * 0.3 / math.sqrt(12 * N)


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda: RandomAffine(degrees=-5.0), r"degrees must be v for \(-v, v\).* got -5.0"),
    (lambda: RandomAffine(degrees=(1.0, 2.0, 3.0)), r"degrees must .* got \(1.0, 2.0, 3.0\)"),
    (lambda: RandomAffine(fill="mean")(pictures(), KEYS[:20]), "fill must be .* got 'mean'"),
    (lambda: RandomAffine(translate=(0.2, 0.1)), r"translate must .* got \(0.2, 0.1\)"),
    (lambda: RandomAffine(scale=-0.1), "scale must be v for factors .* got -0.1"),
    (lambda: RandomAffine(scale=-1.0), "scale must be v for factors .* got -1.0"),
    (lambda: RandomAffine(stretch=(0.0, 1.0)), r"stretch must be .* got \(0.0, 1.0\)"),
    (lambda: RandomAffine(shear=90.0), "shear must be .* within -90 and 90, got 90.0"),
    (lambda: RandomAffine(fill=(1.0, 2.0, 3.0))(pictures(), KEYS[:20]), "fill must be one number"),
    (lambda: LensDistortion(0.4), "k must be more than -1/3, or the picture folds, got 0.4"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
