r"""Other light: brightness, contrast and saturation, and AlexNet's PCA lighting.

    brightness   y = b x                              saturation   y = s x + (1 - s) grey(x)
    contrast     y = c x + (1 - c) mean(grey(x))      lighting     y = x + P (a * lambda)

An object is the same in any light, so its label stays (CS231n lecture 8: F5, F6).
Factors of 1 change nothing. Floats are not held to a range: nothing says where white
is.

Read next: `data/erase.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Array, asarray, xp
from ..checks import as_range, check_images, check_number
from ..random import key, normal, uniform
from .pixels import as_dtype, channel_moments, in_blocks, working_dtype
from .transform import Transform

# How bright red, green and blue look (ITU-R BT.601); they sum to 1.
_LUMA = (0.299, 0.587, 0.114)


class ColorJitter(Transform):
    """Random brightness, contrast and saturation, in this order, rounded at the end.

    Each is a range (low, high) of the factor, or v for (max(0, 1 - v), 1 + v); 0 leaves
    it out. Brightness multiplies the mean, contrast preserves it (of the grey picture),
    saturation 0 is grey. Pictures of other than 3 channels are grey as the mean of
    their channels.

    >>> half = ColorJitter(brightness=(0.5, 0.5))
    >>> pictures = xp.full((1, 3, 1, 1), 100, xp.uint8)
    >>> half(pictures, xp.zeros(1, xp.uint64)).ravel().tolist()
    [50, 50, 50]
    """

    def __init__(self, brightness: float | tuple[float, float] = 0.0,
                 contrast: float | tuple[float, float] = 0.0,
                 saturation: float | tuple[float, float] = 0.0) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)

    def change(self, images: Array, keys: Array) -> Array:
        draws = self.draws(images, keys)
        dtype = working_dtype(images)

        def factor(what: str, pair: tuple[float, float]) -> Array:
            drawn = uniform(key(what, draws), (), *pair, "float64")
            return drawn.astype(dtype)[:, None, None, None]

        b = factor("brightness", self.brightness)
        c = factor("contrast", self.contrast)
        s = factor("saturation", self.saturation)

        def work(block: Array, i: int, j: int) -> None:
            x = b[i:j] * images[i:j]
            if self.contrast != (1.0, 1.0):
                mean = _grey(x).reshape(j - i, -1).mean(axis=1)[:, None, None, None]
                x = c[i:j] * x + (1.0 - c[i:j]) * mean
            if self.saturation != (1.0, 1.0):
                x = s[i:j] * x + (1.0 - s[i:j]) * _grey(x)
            block[...] = as_dtype(x, images.dtype)

        return in_blocks(work, images)


class LightJitter(Transform):
    """Random contrast and brightness of pictures that are normalised: y = c x + b.

    b ~ U(-brightness, brightness), c ~ U(1 - contrast, 1 + contrast), one of each for a
    picture and all its channels. After `Normalize` the mean is 0 and a unit is a
    standard deviation, so b shifts by that much and c stretches about the mean of the
    training set. On bytes b counts levels, and c stretches about black: `ColorJitter` is
    for those.

    >>> LightJitter(brightness=0.0, contrast=0.0)(xp.ones((1, 3, 1, 1)), xp.zeros(1, "uint64"))
    array([[[[1.]],
    <BLANKLINE>
            [[1.]],
    <BLANKLINE>
            [[1.]]]])
    """

    def __init__(self, brightness: float = 0.1, contrast: float = 0.1) -> None:
        self.brightness = check_number("brightness", brightness)
        self.contrast = check_number("contrast", contrast)

    def change(self, images: Array, keys: Array) -> Array:
        draws = self.draws(images, keys)
        dtype = working_dtype(images)
        b = uniform(key("added light", draws), (), -self.brightness, self.brightness, "float64")
        c = uniform(key("spread", draws), (), 1 - self.contrast, 1 + self.contrast, "float64")
        shift = b.astype(dtype)[:, None, None, None]
        factor = c.astype(dtype)[:, None, None, None]

        def work(block: Array, i: int, j: int) -> None:
            block[...] = as_dtype(factor[i:j] * images[i:j] + shift[i:j], images.dtype)

        return in_blocks(work, images)


def _factors(what: str, value: float | tuple[float, float]) -> tuple[float, float]:
    low, high = as_range(value, lambda v: (max(0.0, 1.0 - v), 1.0 + v))
    if not 0.0 <= low <= high:
        raise ValueError(f"{what} must be a number, 0 or more, or factors (low, high) "
                         f"with 0 <= low <= high, got {value!r}")
    return low, high


def _grey(images: Array) -> Array:
    """(N, 1, H, W), contiguous."""
    channels = images.shape[1]
    weights: Sequence[float] = _LUMA
    if channels != 3:
        weights = [1.0 / channels] * channels
    grey = images[:, :1] * weights[0]
    for i in range(1, channels):
        grey = grey + images[:, i : i + 1] * weights[i]
    return xp.ascontiguousarray(grey)


class PCALighting(Transform):
    """Add P (a * lambda) to every pixel, a ~ N(0, sigma) by picture and component.

    P holds the principal components (in columns) and lambda the variances of the
    training set's pixels, as `fit` finds them: a shift along the directions in which
    the light of real pictures varies, with covariance sigma^2 P diag(lambda^2) P'. All
    in parts of white, so that sigma = 0.1 is AlexNet's: white is 255 for integers and 1
    for floats. Krizhevsky et al. 2012, section 4.1.

    >>> dark_or_bright = xp.array([0, 255], xp.uint8).reshape(2, 1, 1, 1)
    >>> PCALighting.fit(dark_or_bright)
    PCALighting(eigenvalues=(0.25,), eigenvectors=((1.0,),), sigma=0.1)
    """

    def __init__(self, eigenvalues: Sequence[float], eigenvectors: Sequence[Sequence[float]],
                 sigma: float = 0.1) -> None:
        self.eigenvalues = tuple(float(v) for v in eigenvalues)
        self.eigenvectors = tuple(tuple(float(v) for v in row) for row in eigenvectors)
        n = len(self.eigenvalues)
        if [len(row) for row in self.eigenvectors] != [n] * n:
            raise ValueError(f"eigenvectors must be a {n}x{n} matrix, one column for "
                             f"each of the {n} eigenvalues")
        if sigma < 0.0:
            raise ValueError(f"sigma must be 0 or more, got {sigma}")
        self.sigma = sigma

    @classmethod
    def fit(cls, images: Any, sigma: float = 0.1) -> PCALighting:
        """Measure the principal components of all pixels of a set (N, C, H, W).

        Each points to where its largest part is positive, so that the same data give
        the same P.
        """
        _, covariance = channel_moments(images)
        if images.dtype.kind == "f" and np.trace(covariance) > 0.25 * len(covariance):
            raise ValueError("images vary by more than floats from 0 (black) to 1 "
                             "(white) can: fit to them before Normalize, as bytes or "
                             "over 255")
        values, vectors = np.linalg.eigh(covariance / _white(images) ** 2)
        values = np.maximum(values[::-1], 0.0)  # the largest first
        vectors = vectors[:, ::-1]
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(len(values))])
        return cls(values.tolist(), vectors.tolist(), sigma)

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        n = len(self.eigenvalues)
        if images.shape[1] != n:
            raise ValueError(f"images must have {n} channels, as those that the {n} "
                             f"eigenvalues come from, got shape {images.shape}")
        if keys is None:
            return images
        amounts = normal(self.draws(images, keys), n, std=self.sigma, dtype="float64")
        columns = asarray(np.array(self.eigenvectors) * self.eigenvalues * _white(images))
        shift = sum(amounts[:, i : i + 1] * columns[:, i] for i in range(n))
        shift = shift.astype(working_dtype(images))[:, :, None, None]

        def work(block: Array, i: int, j: int) -> None:
            block[...] = as_dtype(images[i:j] + shift[i:j], images.dtype)

        return in_blocks(work, images)


def _white(images: Any) -> float:
    return 1.0 if images.dtype.kind == "f" else 255.0
