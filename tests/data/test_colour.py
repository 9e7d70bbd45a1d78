"""Brightness, contrast, saturation and PCA lighting: closed forms and statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import random
from tinynet.backend import Array, asarray, xp
from tinynet.data import ColorJitter, LightJitter, PCALighting, load_shapes

N = 2000
KEYS = random.key(2, xp.arange(N))
LUMA = np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)


def pictures(n: int = 50, dtype: str = "float64") -> Array:
    return random.integers(5, 0, 256, (n, 3, 12, 16)).astype(dtype)


def fixed(**factors: float) -> ColorJitter:
    return ColorJitter(**{name: (f, f) for name, f in factors.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_F5_brightness_multiplies_the_mean(factor: float) -> None:
    x = pictures()
    y = fixed(brightness=factor)(x, KEYS[:50])
    assert close(y, host(x) * factor, rtol=1e-12)
    assert close(y.mean(axis=(1, 2, 3)), factor * host(x).mean(axis=(1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_F5_contrast_preserves_the_mean(factor: float) -> None:
    x = pictures()
    y = host(fixed(contrast=factor)(x, KEYS[:50]))
    grey_x, grey_y = (host(x) * LUMA).sum(axis=1), (y * LUMA).sum(axis=1)
    mean = grey_x.mean(axis=(1, 2))
    assert np.allclose(grey_y.mean(axis=(1, 2)), mean, rtol=1e-12)
    assert np.allclose(grey_y.std(axis=(1, 2)), factor * grey_x.std(axis=(1, 2)), rtol=1e-11)
    assert np.allclose(y, factor * host(x) + (1 - factor) * mean[:, None, None, None], rtol=1e-12)
    flat = xp.broadcast_to(x[:, :1], x.shape)  # of grey pictures every channel's mean is kept
    z = fixed(contrast=factor)(flat, KEYS[:50])
    assert close(z.mean(axis=(2, 3)), host(flat).mean(axis=(2, 3)), rtol=1e-12)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 2.0])
def test_F5_saturation_moves_along_the_line_to_grey(factor: float) -> None:
    x = pictures()
    y = host(fixed(saturation=factor)(x, KEYS[:50]))
    grey = (host(x) * LUMA).sum(axis=1, keepdims=True)
    assert np.allclose(y, factor * host(x) + (1 - factor) * grey, rtol=1e-12, atol=1e-10)
    assert np.allclose((y * LUMA).sum(axis=1, keepdims=True), grey)  # as bright as before
    one, two = x[:, :1], x[:, :2]
    assert close(fixed(saturation=factor)(one, KEYS[:50]), one)  # grey already
    mean = host(two).mean(axis=1, keepdims=True)
    expected = factor * host(two) + (1 - factor) * mean
    assert close(fixed(saturation=factor)(two, KEYS[:50]), expected)


def test_F5_all_three_in_order_rounded_once_and_held_to_bytes() -> None:
    x = pictures()
    jitter = fixed(brightness=1.4, contrast=1.5, saturation=1.3)
    steps = [fixed(brightness=1.4), fixed(contrast=1.5), fixed(saturation=1.3)]
    exact = x
    for step in steps:
        exact = step(exact, KEYS[:50])
    assert close(jitter(x, KEYS[:50]), exact, rtol=1e-12)
    values = host(exact)
    assert values.min() < 0.0 and values.max() > 255.0  # floats are not cut off
    y = host(jitter(x.astype("uint8"), KEYS[:50]))
    assert y.dtype == np.uint8
    assert np.abs(y - np.clip(values, 0, 255)).max() < 0.501  # bytes are, and never wrap around


def test_F5_factors_are_uniform_and_independent() -> None:
    x = asarray(np.full((N, 1, 1, 1), 1.0))
    b = host(ColorJitter(brightness=0.4)(x, KEYS)).ravel()
    assert 0.6 <= b.min() < 0.61 and 1.39 < b.max() <= 1.4
    assert abs(b.mean() - 1.0) < 4.0 * 0.8 / math.sqrt(12 * N)
    assert abs(b.std() - 0.8 / math.sqrt(12)) < 0.01
    wave = asarray(np.tile(np.array([0.0, 2.0]).reshape(1, 1, 1, 2), (N, 1, 1, 1)))
    c = host(ColorJitter(contrast=0.4)(wave, KEYS))
    c = (c[..., 1] - c[..., 0]).ravel() / 2.0
    assert abs(c.mean() - 1.0) < 4.0 * 0.8 / math.sqrt(12 * N)
    assert abs(np.corrcoef(b, c)[0, 1]) < 4.0 / math.sqrt(N)
    assert ColorJitter(brightness=2.0).brightness == (0.0, 3.0)


# Lighting

def test_F5_light_of_normalised_pictures_is_scaled_and_shifted() -> None:
    """y = c x + b with one b and one c for a picture, uniform and independent."""
    n = 4000
    x = xp.stack([xp.zeros((n, 2, 2)), xp.ones((n, 2, 2)), xp.full((n, 2, 2), -1.0)], axis=1)
    y = host(LightJitter(0.14, 0.13)(x, random.key(0, xp.arange(n))))
    assert (y == y[:, :, :1, :1]).all()
    b = y[:, 0, 0, 0]
    c = y[:, 1, 0, 0] - b
    np.testing.assert_allclose(y[:, 2, 0, 0], b - c, atol=1e-12)
    for values, low, high in ((b, -0.14, 0.14), (c, 0.87, 1.13)):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * n)
    assert abs(np.corrcoef(b, c)[0, 1]) < 4 / math.sqrt(n)


def test_F6_components_are_those_of_the_training_set() -> None:
    """Eigenpairs of the covariance of all pixels, in parts of white; the largest first."""
    train, _ = load_shapes(train=300, test=10)
    light = PCALighting.fit(train.images)
    values, p = np.array(light.eigenvalues), np.array(light.eigenvectors)
    pixels = train.images.transpose(0, 2, 3, 1).reshape(-1, 3) / 255.0
    covariance = np.cov(pixels.T, bias=True)
    assert np.allclose(p @ np.diag(values) @ p.T, covariance, atol=1e-12)
    assert np.allclose(p.T @ p, np.eye(3), atol=1e-12)
    assert values[0] > values[1] > values[2] > 0
    assert (p[np.abs(p).argmax(axis=0), range(3)] > 0).all()
    floats = PCALighting.fit(train.images / 255.0)
    assert np.allclose(floats.eigenvalues, values) and np.allclose(floats.eigenvectors, p)


@pytest.mark.parametrize(("dtype", "white"), [("float64", 1.0), ("float32", 1.0)])
def test_F6_covariance_of_the_shift(dtype: str, white: float) -> None:
    """sigma^2 P diag(lambda^2) P' with sigma = 0.1, over 20,000 pictures, to 4 standard errors."""
    n = 20_000
    p = np.linalg.qr(np.array([[0.6, -0.7, 0.4], [0.6, 0.1, -0.8], [0.5, 0.7, 0.5]]))[0]
    values = np.array([0.22, 0.09, 0.05])
    light = PCALighting(values, p)
    x = xp.zeros((n, 3, 2, 2), dtype)
    y = host(light(x, random.key(9, xp.arange(n)))).astype(np.float64)
    assert (y == y[:, :, :1, :1]).all()  # one shift for all pixels of a picture
    shift = y[:, :, 0, 0]
    expected = 0.01 * p @ np.diag(values**2) @ p.T * white**2
    found = shift.T @ shift / n
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / n)
    assert (np.abs(found - expected) < 4.0 * error).all()
    assert (np.abs(shift.mean(axis=0)) < 4.0 * np.sqrt(variances / n)).all()


def test_F6_bytes_are_shifted_by_255_times_as_much() -> None:
    light = PCALighting((0.22, 0.02, 0.005), np.eye(3).tolist(), sigma=0.3)
    x = xp.full((200, 3, 1, 1), 128)
    exact = host(light(x / 255.0, KEYS[:200])) * 255.0
    y = host(light(x.astype("uint8"), KEYS[:200]))
    assert y.dtype == np.uint8 and np.abs(y - np.clip(exact, 0, 255)).max() < 0.501
    assert len(np.unique(y[:, 0])) > 30


def test_F6_sigma_0_is_the_identity() -> None:
    light = PCALighting.fit(pictures(20, "uint8"), sigma=0.0)
    for dtype in ("uint8", "float32", "float64"):
        x = pictures(20, dtype)
        assert equal(light(x, KEYS[:20]), x)
        assert light(x) is x


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda: ColorJitter(brightness=-0.1), "brightness must be a number, 0 or more.* got -0.1"),
    (lambda: ColorJitter(brightness="low"), "brightness must be a number, .* got 'low'"),
    (lambda: PCALighting.fit(pictures(2)), "vary by more than floats from 0 .* to 1 .* can: fit"),
    (lambda: ColorJitter(contrast=(2.0, 1.0)), r"contrast must be .* got \(2.0, 1.0\)"),
    (lambda: ColorJitter(saturation=(-1.0, 1.0)), r"saturation must be .* got \(-1.0, 1.0\)"),
    (lambda: PCALighting((1.0, 2.0), ((1.0, 0.0),)), "eigenvectors must be a 2x2 matrix"),
    (lambda: PCALighting((1.0,), ((1.0,),), sigma=-1.0), "sigma must be 0 or more, got -1.0"),
    (lambda: PCALighting((1.0,), ((1.0,),))(pictures(2), KEYS[:2]),
     r"images must have 1 channels.* got shape \(2, 3, 12, 16\)"),
])
def test_mistakes_are_named(mistake: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
