r"""Layer normalisation in one pass over memory each way, a block of rows at a time.

    d = x - c,   m = mean(x),   s = 1 / sqrt(mean(d^2) - (m - c)^2 + eps)      (a row each)
    z = s (d - (m - c)),   y = z w + b = d A + B,   A = s w,   B = b - (m - c) A
    db = sum of g over rows,  dw = sum of g z,  h = g w
    dx = s (h - mean(h) - z mean(h z)) = g A + P d + Q

Means along the rows and sums over rows are products with vectors, for which BLAS needs
half the time of `sum`; so are A and B, each a product of two columns with two rows: a
broadcast along rows of a few hundred numbers takes twice as long. Sums over rows leave
partial sums, added in order.

The centre c is 0 for rows whose mean is not large against their deviation; of others it
is the mean, rounded, so that no digits are lost (`precision.py`).

Cost for n numbers: forward 8 n operations, backward 15 n; 2 n and 3 n numbers read or
written. Source: Ba, Kiros and Hinton 2016.

Read next: `kernels/group_norm.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..backend import Array, DType, xp
from .kernel import kernel
from .memory import empty, scratch
from .precision import NEAR, centred, variance
from .sums import sum_if
from .threads import BLOCK_BYTES, pmap


class Moments(NamedTuple):
    """Of each row, (rows, 1): a centre c, the rest m - c of its mean, and 1 / deviation."""

    centre: Array
    rest: Array
    inverse: Array


def plain_layer_norm(x: Array, weight: Array | None, bias: Array | None, eps: float
                     ) -> tuple[Array, Moments]:
    d, mean = centred(x, 1)
    centre = mean.astype(x.dtype)
    inverse = (1 / xp.sqrt(variance(d, 1) + eps)).astype(x.dtype)
    y = d * inverse
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, Moments(centre, (mean - centre).astype(x.dtype), inverse)


@kernel(plain=plain_layer_norm, wide=True)
def layer_norm(x: Array, weight: Array | None, bias: Array | None, eps: float
               ) -> tuple[Array, Moments]:
    """Each row of x (rows, n) normalised, scaled and shifted by weight and bias (n,) or None."""
    x = np.ascontiguousarray(x)
    rows, n = x.shape
    y = empty(x.shape, x.dtype)
    of = Moments(*(np.zeros((rows, 1), x.dtype) for _ in Moments._fields))
    means = np.full((n, 1), 1 / n, x.dtype)
    pair = _pair(weight, bias, n, x.dtype)

    def block(i: int, j: int) -> None:
        centre, rest, inverse = (v[i:j] for v in of)
        d = x[i:j]
        np.matmul(d, means, out=rest)
        with np.errstate(over="ignore", invalid="ignore"):  # squares of a mean far from zero
            var = _variance(d, rest)
            far = ~(rest * rest <= NEAR * NEAR * var)
        if far.any():
            np.copyto(centre, rest, where=far)
            d = _from_centre(d, centre)
            np.matmul(d, means, out=rest)
            var = _variance(d, rest)
        np.divide(1, np.sqrt(np.maximum(var, 0) + eps), out=inverse)
        a = _of_two(inverse, np.zeros_like(rest), pair, scratch("factor", d.shape, d.dtype))
        _of_two(-rest * inverse, np.ones_like(rest), pair, y[i:j])
        a *= d
        y[i:j] += a

    pmap(block, rows, _step(x))
    return y, of


def _pair(first: Array | None, second: Array | None, n: int, dtype: DType) -> Array:
    """Two rows of n numbers: the weight, or 1; and the bias, or 0."""
    pair = np.empty((2, n), dtype)
    pair[0] = 1 if first is None else first
    pair[1] = 0 if second is None else second
    return pair


def _of_two(first: Array, second: Array, pair: Array, out: Array) -> Array:
    """first pair[0] + second pair[1]: columns (rows, 1) times rows (n,)."""
    return np.matmul(np.concatenate((first, second), axis=1), pair, out=out)


def _from_centre(x: Array, centre: Array) -> Array:
    return np.subtract(x, centre, out=scratch("centred", x.shape, x.dtype))


def _variance(d: Array, mean: Array) -> Array:
    return np.vecdot(d, d)[:, None] / d.dtype.type(d.shape[1]) - mean * mean


def _step(x: Array) -> int:
    """Rows of a block."""
    row: int = x.shape[1] * x.itemsize
    return max(1, BLOCK_BYTES // row)


def plain_layer_norm_backward(g: Array, x: Array, weight: Array | None, of: Moments,
                              want_sums: bool = True
                              ) -> tuple[Array, Array | None, Array | None]:
    z = (x - of.centre - of.rest) * of.inverse
    dw = db = None
    if want_sums:
        dw = (g * z).sum(0, dtype=np.float64).astype(x.dtype)
        db = g.sum(0, dtype=np.float64).astype(x.dtype)
    h = g if weight is None else g * weight
    dx = h - h.mean(1, keepdims=True) - z * (h * z).mean(1, keepdims=True)
    return dx * of.inverse, dw, db


@kernel(plain=plain_layer_norm_backward, wide=True)
def layer_norm_backward(g: Array, x: Array, weight: Array | None, of: Moments,
                        want_sums: bool = True) -> tuple[Array, Array | None, Array | None]:
    """(dx, dweight, dbias) from the gradient g of y; the last two are None unless `want_sums`."""
    x = np.ascontiguousarray(x)
    g = np.ascontiguousarray(g)
    rows, n = x.shape
    dx = empty(x.shape, x.dtype)
    pair = _pair(weight, None, n, x.dtype)
    means = pair[0, :, None] / x.dtype.type(n)  # of a row times the weight

    def block(i: int, j: int, sums: Array | None = None) -> None:
        centre, rest, inverse = (v[i:j] for v in of)
        dy = g[i:j]
        d = x[i:j]
        if centre.any():
            d = _from_centre(d, centre)
        product = np.multiply(dy, d, out=scratch("product", d.shape, d.dtype))
        if sums is not None:
            both = np.concatenate((rest * inverse, np.ones_like(rest)), axis=1)
            np.matmul(both.T, dy, out=sums)
            np.subtract(inverse[:, 0] @ product, sums[0], out=sums[0])
        mean = dy @ means  # of h
        mean_z = inverse * (product @ means - rest * mean)  # of h z
        slope = -inverse * inverse * mean_z  # P
        shift = -inverse * mean - slope * rest  # Q
        a = _of_two(inverse, np.zeros_like(rest), pair, dx[i:j])
        a *= dy
        np.multiply(d, slope, out=product)
        product += shift
        a += product

    found = sum_if(want_sums, block, rows, _step(x), (2, n), x.dtype)
    if found is None:
        return dx, None, None
    return dx, found[0], found[1]
