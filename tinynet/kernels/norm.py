r"""Batch normalisation in two passes over memory forward, and two backward.

    m, v = mean and variance of each channel
    y = (x - c) A + B,   A = w / sqrt(v + eps),   B = b - (m - c) A
    db = sum(g),  dw = (sum(g (x - c)) - (m - c) db) / sqrt(v + eps)
    dx = A g + P (x - c) + Q,   P = -A dw / (n sqrt(v + eps)),   Q = -A db / n - P (m - c)

The first pass takes sums, the second applies one multiplication and addition, each
block by block while it is in the cache (written as single NumPy calls these are about
15 passes). With `relu=True` the ReLU after it joins the second pass, and its gradient
the first one back.

The centre c is any number near the mean: the formulas hold for all c, but digits are
lost where m is large against the deviation and c is not near it. So c is 0, which saves
an operation, where all channels lie near zero; else it is m rounded to x's dtype
(`channels.far_centre`; and see `precision.py`), and the statistics are taken a second
time, about a rough mean, that of 16 rows from all over the batch.

Cost for n numbers: forward 5 n operations and 3 n numbers read or written, backward 7 n
and 5 n; with ReLU 6 n and 3 n, 9 n and 7 n (g behind the ReLU is kept between the
passes). Source: Ioffe and Szegedy 2015, algorithm 1; lecture id E10.

Read next: `kernels/late_norm.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, accumulator, xp
from . import gpu_norm
from .channels import (
    Rows,
    Running,
    Statistics,
    far_centre,
    per_channel,
    scale_and_shift,
    sum_products,
    sum_rows,
)
from .elementwise import keep_positive
from .kernel import kernel
from .memory import empty
from .precision import NEAR, moments
from .ranks import Ranks
from .threads import pmap


def plain_statistics(x: Array) -> tuple[Array, Array]:
    mean, var = moments(x, (0, *range(2, x.ndim)))
    return mean.reshape(-1), var.reshape(-1)


@kernel(plain=plain_statistics, wide=True)
def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance of each channel, axis 1 of x, in float64."""
    r = Rows(x)
    rows = r.matrix(x)
    mean, var = _moments(r, rows, None)
    near = (np.abs(mean) <= NEAR * np.sqrt(var)) & (var < np.inf)  # else digits are lost
    if bool(near.all()):
        return mean, var
    sample = rows[:: max(1, r.rows // 16)]  # 16 rows or so, from all over the batch
    rough = (r.total(sample) / (len(sample) * r.repeats)).astype(r.dtype)
    first, var = _moments(r, rows, r.tile(rough))
    return rough + first, var


def _moments(r: Rows, rows: Array, shift: Array | None) -> tuple[Array, Array]:
    """Mean and variance from the sums of d = rows - shift and of d^2."""
    parts = r.parts(2)

    def block(i: int, j: int) -> None:
        d = rows[i:j]
        if shift is not None:
            d = np.subtract(d, shift, out=r.work(j - i))
        sum_rows(d, parts[0, i // r.step])
        sum_products(d, d, parts[1, i // r.step])

    pmap(block, r.rows, r.step)
    first, second = r.total(parts) / (r.rows * r.repeats)
    return first, np.maximum(second - first * first, 0)


@kernel(gpu=gpu_norm.batch_norm, wide=True)
def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float,
               relu: bool = False, running: Running | None = None
               ) -> tuple[Array, Statistics]:
    """y and the batch's statistics, for x (N, C), (N, C, L) or (N, C, H, W).

    weight and bias (C,), or None for 1 and 0; with `relu` y is max(y, 0). `running` is
    left to the caller, unless moving it costs nothing here (on a GPU).
    """
    of = measure(x, eps)
    return normalised(x, weight, bias, of, relu), of


def measure(x: Array, eps: float, ranks: Ranks | None = None) -> Statistics:
    """The statistics of x, or of all ranks' x."""
    mean, var = statistics(x)
    if ranks is not None:
        mean, var, ranks = ranks.merged(mean, var, x.size // x.shape[1])
    return Statistics(mean, var, xp.sqrt(var + eps), ranks)


def normalised(x: Array, weight: Array | None, bias: Array | None, of: Statistics,
               relu: bool) -> Array:
    """`batch_norm`'s y, from statistics that are known."""
    centre = far_centre(of.mean, of.deviation, accumulator(x.dtype))
    scale, shift = scale_and_shift_of(weight, bias, of, centre)
    return scale_and_shift(x, scale, shift, relu, centre)


def scale_and_shift_of(weight: Array | None, bias: Array | None, of: Statistics,
                       centre: Array | None) -> tuple[Array, Array]:
    """A and B of y = (x - c) A + B."""
    scale = _or_one(weight) / of.deviation
    shift = -_rest(of.mean, centre) * scale
    if bias is not None:
        shift += bias
    return scale, shift


def _rest(mean: Array, centre: Array | None) -> Array:
    """What is left of the mean when the centre is subtracted first: m - c."""
    return mean if centre is None else mean - centre


def _or_one(weight: Array | None) -> Any:
    return 1.0 if weight is None else weight


def of_whole_batch(dw: Array, db: Array, of: Statistics, n: int) -> tuple[Array, Array, int]:
    """Both sums and how many they are of: of all ranks, if several share the batch.

    All of them must come here, or none: they meet.
    """
    if of.ranks is None:
        return dw, db, n
    return (*of.ranks.gradients(dw, db), of.ranks.count)


def coefficients(dw: Array, db: Array, weight: Array | None, of: Statistics, n: int,
                 rest: Array) -> tuple[Array, Array, Array]:
    """A, P and Q of dx = A g + P (x - c) + Q, for `rest` = m - c, and dw, db of n values here."""
    dw, db, n = of_whole_batch(dw, db, of, n)
    a = _or_one(weight) / of.deviation
    p = -a * dw / (n * of.deviation)
    q = -a * db / n - p * rest
    return a, p, q


def plain_batch_norm_backward(g: Array, x: Array, weight: Array | None, of: Statistics,
                              want_x: bool = True, y: Array | None = None
                              ) -> tuple[Array | None, Array, Array]:
    if y is not None:
        g = keep_positive(g, y)
    axes = (0, *range(2, x.ndim))
    centre = of.mean.astype(x.dtype)
    rest = of.mean - centre
    d = x - per_channel(centre, x)
    db = g.sum(axes, dtype=np.float64)
    dw = ((g * d).sum(axes, dtype=np.float64) - rest * db) / of.deviation
    factors = coefficients(dw, db, weight, of, x.size // x.shape[1], rest)
    dx = None
    if want_x:
        a, p, q = (per_channel(v, x) for v in factors)
        dx = g * a + d * p + q
    return dx, dw.astype(x.dtype), db.astype(x.dtype)


@kernel(plain=plain_batch_norm_backward, gpu=gpu_norm.batch_norm_backward, wide=True)
def batch_norm_backward(g: Array, x: Array, weight: Array | None, of: Statistics,
                        want_x: bool = True, y: Array | None = None
                        ) -> tuple[Array | None, Array, Array]:
    """(dx, dweight, dbias) from the gradient g of `batch_norm`'s y and its statistics.

    Give `y` if ReLU was part of it: then g counts where y > 0, and waits between the
    two passes in the memory of dx. dx is None unless `want_x`.
    """
    r = Rows(x)
    rows = r.matrix(x)
    dy = r.matrix(g)
    dx = empty(rows.shape, x.dtype)
    dz = dy  # the gradient in front of the ReLU
    if y is not None:
        gate = r.matrix(y)
        dz = dx  # each place is read before dx is written there
    parts = r.parts(2)  # of sums of dz, and of dz (x - c)
    centre = far_centre(of.mean, of.deviation, x.dtype)
    c = None if centre is None else r.tile(centre)

    def sums(i: int, j: int) -> None:
        if y is not None:
            keep_positive(dy[i:j], gate[i:j], out=dz[i:j])
        sum_rows(dz[i:j], parts[0, i // r.step])
        d = rows[i:j]
        if c is not None:
            d = np.subtract(d, c, out=r.work(j - i))
        sum_products(dz[i:j], d, parts[1, i // r.step])

    pmap(sums, r.rows, r.step)
    db, dw = r.total(parts)
    rest = _rest(of.mean, centre)
    dw = (dw - rest * db) / of.deviation
    factors = coefficients(dw, db, weight, of, x.size // r.channels, rest)
    a, p, q = (r.tile(v) for v in factors)

    def apply(i: int, j: int) -> None:
        out = np.multiply(dz[i:j], a, out=dx[i:j])
        d = r.work(j - i)
        if c is None:
            np.multiply(rows[i:j], p, out=d)
        else:
            np.subtract(rows[i:j], c, out=d)
            d *= p
        d += q
        out += d

    dw = dw.astype(x.dtype)
    db = db.astype(x.dtype)
    if not want_x:
        return None, dw, db
    pmap(apply, r.rows, r.step)
    return r.shaped(dx), dw, db
