r"""What keeps the digits: means far from zero cost nothing.

    d = (x - c) - (m - c),   v = sum(d^2) / n,      c = the mean m rounded to x's dtype

The two textbook ways both lose digits where the mean is large against the deviation:
E[x^2] - m^2 nearly all of them, and x - c half of the last one, since m itself does not
fit into float32. So m is taken in float64 and subtracted in two parts: x - c is exact
where x lies near c, and m - c is less than a rounding of m (Chan, Golub and LeVeque
1983, "Algorithms for computing the sample variance"). Cost for n numbers: 6 n
operations in 4 passes.

Read next: `kernels/ranks.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, wide

NEAR = 4.0  # deviations between a mean and 0 up to which sums about 0 are as good


def centred(x: Array, axes: Any) -> tuple[Array, Array]:
    """x minus its mean over `axes`, and that mean, in float64 with the reduced axes kept.

    >>> d, mean = centred(np.array([[1e5, 1e5 + 1]], np.float32), 1)
    >>> d.tolist(), mean.tolist()
    ([[-0.5, 0.5]], [[100000.5]])
    """
    x = wide(x)
    mean = x.mean(axis=axes, dtype=np.float64, keepdims=True)
    centre = mean.astype(x.dtype)
    d = x - centre
    d -= (mean - centre).astype(x.dtype)
    return d, mean


def variance(d: Array, axes: Any) -> Array:
    """The mean of d^2 over `axes`, in float64, the reduced axes kept."""
    return (d * d).mean(axis=axes, dtype=np.float64, keepdims=True)


def moments(x: Array, axes: Any) -> tuple[Array, Array]:
    """Mean and (biased) variance of x over `axes`, in float64, the reduced axes kept."""
    d, mean = centred(x, axes)
    return mean, variance(d, axes)
