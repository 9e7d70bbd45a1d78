r"""Layer normalisation in one pass over memory each way, a block of rows at a time.

    d = x - m,   s = 1 / sqrt(mean(d^2) + eps),   z = s d,   y = z w + b          (a row each)
    db = sum of g over rows,  dw = sum of g z,  h = g w
    dx = s (h - mean(h) - z mean(h z))

Means are taken along the rows, by products with a vector of ones; sums over rows leave
partial sums, added in order. The mean is subtracted in two parts, c and m - c: what the
rounding of a mean far from zero leaves is taken off as well (`precision.py`).

Cost for n numbers: forward 10 n operations, backward 16 n; 2 n and 3 n numbers read or
written. Source: Ba, Kiros and Hinton 2016.

Read next: `kernels/group_norm.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..backend import Array, xp
from .channels import sum_rows
from .kernel import kernel
from .memory import empty, scratch
from .precision import centred, variance
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
    of = Moments(*(np.empty((rows, 1), x.dtype) for _ in Moments._fields))
    ones = np.full((n, 1), 1 / n, x.dtype)

    def block(i: int, j: int) -> None:
        centre, rest, inverse = (v[i:j] for v in of)
        d = y[i:j]
        np.matmul(x[i:j], ones, out=centre)
        np.subtract(x[i:j], centre, out=d)
        np.matmul(d, ones, out=rest)
        d -= rest
        squares = np.einsum("ij,ij->i", d, d)
        inverse[:, 0] = 1 / np.sqrt(squares / n + eps)
        d *= inverse
        if weight is not None:
            d *= weight
        if bias is not None:
            d += bias

    pmap(block, rows, _step(x))
    return y, of


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
    ones = np.full((n, 1), 1 / n, x.dtype)

    def block(i: int, j: int, sums: Array | None = None) -> None:
        centre, rest, inverse = (v[i:j] for v in of)
        z = np.subtract(x[i:j], centre, out=scratch("layer norm", (j - i, n), x.dtype))
        z -= rest
        z *= inverse
        if sums is not None:
            np.einsum("ij,ij->j", g[i:j], z, out=sums[0])
            sum_rows(g[i:j], sums[1])
        h = dx[i:j]
        np.multiply(g[i:j], 1 if weight is None else weight, out=h)
        mean = h @ ones
        z *= np.einsum("ij,ij->i", h, z)[:, None] / n
        h -= mean
        h -= z
        h *= inverse

    found = sum_if(want_sums, block, rows, _step(x), (2, n), x.dtype)
    if found is None:
        return dx, None, None
    return dx, found[0], found[1]
