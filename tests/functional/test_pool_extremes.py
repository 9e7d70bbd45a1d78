"""nan and infinities stay in their windows; of equal ones the first wins, the border never."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, equal, host
from tinynet import Tensor, functional as F, grad
from tinynet.backend import asarray
from tinynet.functional.fractional import (
    _fractional_max_pool2d,
    _taps,
    fractional_reference,
    fractional_regions,
)
from tinynet.functional.pool import _regions, max_pool2d_reference
from tinynet.kernels.conv import force_algorithm

Window = tuple[int, int, slice, slice]  # a place in the output; rows and columns of the input


def sliding(size: int, kernel: int, stride: int, padding: int) -> list[tuple[int, int]]:
    """Along an axis: the pixels of each window that lie in the image."""
    starts = range(-padding, size + padding - kernel + 1, stride)
    return [(max(0, a), min(size, a + kernel)) for a in starts]


def windows(rows: Any, columns: Any) -> Iterator[Window]:
    for p, (a, b) in enumerate(rows):
        for q, (c, d) in enumerate(columns):
            yield p, q, slice(a, b), slice(c, d)


def fractional(n: int, parts: int) -> list[tuple[int, int]]:
    cuts = host(fractional_regions(n, parts, key=1))[0]
    return [(int(a), int(b) + 1) for a, b in pairwise(cuts)]


def fractional_pool(x: Any) -> Any:
    return _fractional_max_pool2d(x, **fractional_options())


def fractional_options() -> dict[str, Any]:
    return {"rows": _taps(fractional_regions(7, 4, key=1), True),
            "columns": _taps(fractional_regions(7, 5, key=1), True)}


def spelled(x: np.ndarray[Any, Any], g: Any, rows: Any, columns: Any) -> list[Any]:
    """The largest of each window, and g given to the first of them in reading order."""
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    dx = np.zeros_like(x)
    for p, q, a, b in windows(rows, columns):
        for n, c in np.ndindex(*x.shape[:2]):
            window = x[n, c, a, b]
            i, j = np.unravel_index(window.argmax(), window.shape)  # the first; nan is the largest
            y[n, c, p, q] = window[i, j]
            dx[n, c, a, b][i, j] += g[n, c, p, q]
    return [y, dx]


def spelled_mean(x: np.ndarray[Any, Any], g: Any, rows: Any, columns: Any, area: int | None = None
                 ) -> list[Any]:
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    dx = np.zeros_like(x)
    for p, q, a, b in windows(rows, columns):
        window = x[..., a, b]
        n = area or window.shape[2] * window.shape[3]
        y[..., p, q] = window.sum((2, 3)) / n
        dx[..., a, b] += g[..., p, q][..., None, None] / n
    return [y, dx]


AT_THE_BORDER = sliding(7, 3, 2, 1)
MAX = {
    "max 2": (lambda x: F.max_pool2d(x, 2), sliding(7, 2, 2, 0), sliding(7, 2, 2, 0)),
    "max 3, overlapping": (lambda x: F.max_pool2d(x, 3, 1), *2 * [sliding(7, 3, 1, 0)]),
    "max 3, border": (lambda x: F.max_pool2d(x, 3, 2, 1), AT_THE_BORDER, AT_THE_BORDER),
    "max 3, border, reference": (
        lambda x: max_pool2d_reference(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
        AT_THE_BORDER, AT_THE_BORDER),
    "adaptive": (lambda x: F.adaptive_max_pool2d(x, (3, 4)), _regions(7, 3), _regions(7, 4)),
    "global": (lambda x: F.global_max_pool2d(x)[:, :, None, None], [(0, 7)], [(0, 7)]),
    "fractional": (fractional_pool, fractional(7, 4), fractional(7, 5)),
    "fractional, reference": (lambda x: fractional_reference(x, **fractional_options()),
                              fractional(7, 4), fractional(7, 5)),
}
MEAN = {
    "mean 2": (lambda x: F.avg_pool2d(x, 2), sliding(7, 2, 2, 0), sliding(7, 2, 2, 0), 4),
    "mean 3, border": (lambda x: F.avg_pool2d(x, 3, 2, 1), AT_THE_BORDER, AT_THE_BORDER, 9),
    "mean 3, border not counted": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
                                   AT_THE_BORDER, AT_THE_BORDER, None),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (3, 4)), _regions(7, 3), _regions(7, 4), None),
    "adaptive to one": (lambda x: F.adaptive_avg_pool2d(x, 1), [(0, 7)], [(0, 7)], None),
    "global": (lambda x: F.global_avg_pool2d(x)[:, :, None, None], [(0, 7)], [(0, 7)], None),
}
EXTREMES = {"nan": [math.nan], "inf": [math.inf], "-inf": [-math.inf],
            "all": [math.nan, math.inf, -math.inf]}


def sprinkled(rng: Any, shape: tuple[int, ...], values: list[float]) -> np.ndarray[Any, Any]:
    """Small whole numbers, many equal; every eighth of them replaced by one of `values`."""
    x = np.round(host(rng.normal(shape, dtype="f8")))
    places = host(rng.uniform(shape)) < 0.12
    x[places] = np.resize(values, int(places.sum()))
    return x


def check(f: Any, wanted: Any, x: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> None:
    for plain in (None, "plain"):
        for order in ((0, 1, 2, 3), (0, 2, 3, 1)):  # as the axes are, and channels last
            there = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
            leaf = Tensor(asarray(there), requires_grad=True)
            with force_algorithm(plain), np.errstate(invalid="ignore"):
                y = f(leaf)
                dx = grad(y, leaf, asarray(g))
            assert close(y, wanted[0], rtol=1e-12, equal_nan=True)
            assert close(dx, wanted[1], rtol=1e-12, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("extremes", EXTREMES)
@pytest.mark.parametrize("name", MAX)
def test_maxima_with_nan_and_infinities_in_pictures_and_gradients(name: str, extremes: str,
                                                                  rng: Any) -> None:
    f, rows, columns = MAX[name]
    x = sprinkled(rng, (2, 3, 7, 7), EXTREMES[extremes])
    x[0, 0] = -math.inf  # all windows of a picture, beside the border, too
    g = sprinkled(rng, (2, 3, len(rows), len(columns)), EXTREMES[extremes])
    with np.errstate(invalid="ignore"):
        wanted = spelled(x, g, rows, columns)
    check(f, wanted, x, g)


@pytest.mark.parametrize("extremes", EXTREMES)
@pytest.mark.parametrize("name", MEAN)
def test_means_with_nan_and_infinities_in_pictures_and_gradients(name: str, extremes: str,
                                                                 rng: Any) -> None:
    f, rows, columns, area = MEAN[name]
    x = sprinkled(rng, (2, 3, 7, 7), EXTREMES[extremes])
    g = sprinkled(rng, (2, 3, len(rows), len(columns)), EXTREMES[extremes])
    with np.errstate(invalid="ignore"):
        wanted = spelled_mean(x, g, rows, columns, area)
    check(f, wanted, x, g)


def test_one_nan_spoils_only_the_regions_it_lies_in() -> None:
    x = np.ones((1, 1, 7, 7))
    x[0, 0, 0, 0] = math.nan
    y = host(F.adaptive_avg_pool2d(asarray(x), 3))
    assert np.isnan(y).sum() == 1 and np.isnan(y[0, 0, 0, 0])


def test_a_window_of_minus_infinity_beside_the_border_keeps_its_gradient() -> None:
    x = Tensor(asarray(np.full((1, 1, 4, 4), -math.inf)), requires_grad=True)
    y = F.max_pool2d(x, 3, stride=2, padding=1)
    assert equal(grad(y, x, asarray(np.ones((1, 1, 2, 2)))),
                 [[[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]])


def test_an_infinite_gradient_does_not_pass_a_closed_relu() -> None:
    for n in (4, 100_000):  # below and above the size of a block
        x = Tensor(asarray(np.resize([-1.0, 2.0], n)), requires_grad=True)
        g = np.resize([math.inf, math.inf, math.nan, math.nan], n)
        dx = host(grad(F.relu(x), x, asarray(g)))
        assert (dx[::2] == 0).all()
        assert not np.isfinite(dx[1::2]).any()
