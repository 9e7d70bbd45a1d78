r"""Fractional max pooling: random regions, one or two pixels a side, shrink by any ratio below 2.

Along each axis a_0 < a_1 < ... cut the pixels into regions; steps a_i - a_{i-1} are 1
or 2.

    disjoint      region i is a_{i-1} .. a_i - 1,  a runs from 0 to n:      n - parts steps are 2
    overlapping   region i is a_{i-1} .. a_i,      a runs from 0 to n - 1:  n - 1 - parts are 2

(The paper counts from 1 to n for both; so it leaves the last row of disjoint regions
out.)

    random        the steps in random order
    pseudo        a_i = ceil(alpha (i + u)) - ceil(alpha u), alpha = a_parts / parts, u in [0, 1)

A region is a rectangle, so the largest value is found first along the columns, then
along the rows. An axis has *taps*: where the first, second (and third) pixel of each
region lies; in a shorter region the first appears twice. A tap is one gather, and
backward one scatter without duplicates. Kept for the backward pass is who won: a byte
for each output of both steps and each tap but one. Forward and backward take about 2
times as long as a plain 2x2 max pool of the same images, with overlap 3 times (``python
-m bench.noise``). Source: Graham 2014, "Fractional max-pooling"; CS231n lecture 8 (G2).

Read next: `calculus.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from .. import random
from ..backend import Array, xp
from ..checks import Pair, float_of_one_dtype, images, pair
from ..kernels.elementwise import keep
from ..kernels.memory import as_nchw, as_nhwc, empty
from ..kernels.threads import BLOCK_BYTES, pmap
from ..operation import fused
from ..ops.shape import reshape
from ..random import default_generator, place_in_batch
from ..rules import operands
from ..tensor import Tensor
from .pool import first_largest

_SPLIT = 1 << 24  # u is a multiple of 1 / _SPLIT, so that a_i is exact in integers


def fractional_regions(n: int, parts: int, *, pseudo: bool = True, overlapping: bool = True,
                       samples: int = 1, first: int = 0, key: int) -> Array:
    """The cuts a_0 .. a_parts of `n` pixels into `parts` regions, (samples, parts + 1) integers.

    `key` and the number of the sample, from `first` on, decide alone: the same on every
    backend. See the module's text for the formulas.

    >>> fractional_regions(7, 5, pseudo=False, overlapping=False, samples=2, key=1).tolist()
    [[0, 1, 2, 3, 5, 7], [0, 2, 4, 5, 6, 7]]
    """
    span = n - 1 if overlapping else n
    if not 1 <= parts <= span <= 2 * parts:
        raise ValueError(f"fractional_max_pool2d: {n} pixels cannot be cut into "
                         f"{parts} regions of {'2 or 3' if overlapping else '1 or 2'} "
                         f"pixels: the output size must be {max(1, -(-span // 2))} to "
                         f"{span}")
    keys = random.key(key, "cuts", xp.arange(first, first + samples))
    if pseudo:
        u = random.integers(keys, 0, _SPLIT, 1)
        whole = (xp.arange(parts + 1) * _SPLIT + u) * span  # alpha (i + u), times parts * _SPLIT
        cuts = -(-whole // (parts * _SPLIT))
        return cuts - cuts[:, :1]
    rank = xp.argsort(xp.argsort(random.bits(keys, parts), axis=1), axis=1)
    cuts = xp.zeros((samples, parts + 1), int)
    xp.cumsum(1 + (rank < span - parts), axis=1, out=cuts[:, 1:])
    return cuts


def _taps(cuts: Array, overlapping: bool) -> Array:
    """The places of the first, second ... pixel of each region: (taps, samples, parts)."""
    first = cuts[:, :-1]
    last = cuts[:, 1:]
    if not overlapping:
        return xp.stack([first, last - 1])
    return xp.stack([first, xp.maximum(first, last - 1), last])


def _flat(taps: Array, n: int, length: int) -> list[Array]:
    """The places of the taps in `n` rows of `length` that lie one after the other."""
    rows = taps[:, :, None].repeat(n // taps.shape[1], axis=2).reshape(len(taps), n, -1)
    return list(rows + xp.arange(n)[:, None] * length)


def _largest(x: Array, places: list[Array]) -> tuple[Array, list[Array]]:
    """The largest of each region along axis 1 of x (m, n, k), and for each tap whether it won.

    The last tap wins where no other does; of several that are equal, or nan, the first.
    """
    rows = x.reshape(-1, x.shape[2])
    first, *others = (rows.take(p, axis=0) for p in places)
    y = xp.maximum(first, others[0])
    for other in others[1:]:
        xp.maximum(y, other, out=y)
    return y, [(tap == y) | (tap != tap) for tap in (first, *others[:-1])]


def _share(g: Array, places: list[Array], won: list[Array], length: int) -> Array:
    """The opposite way: each gradient to the first tap that won, the last gets what is left."""
    dx = xp.zeros((len(g) * length, g.shape[2]), g.dtype)
    free = xp.ones(g.shape, bool)
    for place, wins in zip(places, won, strict=False):
        first = wins & free
        free ^= first
        dx[place] += keep(g, first)  # no place twice in a tap, so nothing is lost
    dx[places[-1]] += keep(g, free)
    return dx.reshape(-1, length, dx.shape[1])


def fractional_reference(x: Any, *, rows: Array, columns: Array) -> Tensor:
    """Copy out every region, short ones padded with their first pixel, and take the largest."""
    n, c = x.shape[:2]
    p = rows.transpose(1, 2, 0)[:, None, :, None, :, None]  # (samples, 1, H', 1, taps, 1)
    q = columns.transpose(1, 2, 0)[:, None, None, :, None, :]
    each = xp.arange(n).reshape(-1, 1, 1, 1, 1, 1), xp.arange(c).reshape(-1, 1, 1, 1, 1)
    regions = x[(*each, p, q)]  # (N, C, H', W', taps, taps)
    return first_largest(reshape(regions, (*regions.shape[:4], -1)), 4)


@fused(reference=fractional_reference)
def _fractional_max_pool2d(x: Array, *, rows: Array, columns: Array, needs: Sequence[bool]) -> Any:
    n, c, h, w = x.shape
    out = (rows.shape[2], columns.shape[2])
    x = as_nhwc(x)
    y = empty((n, *out, c), x.dtype)
    keep = [xp.empty((n, h, out[1], c), bool) for _ in columns[1:]] if needs[0] else []
    keep += [xp.empty(y.shape, bool) for _ in rows[1:]] if needs[0] else []
    step = max(1, BLOCK_BYTES // (h * w * c * x.itemsize))

    def places(i: int, j: int) -> tuple[list[Array], list[Array]]:
        """The taps of images i to j: of the columns of each row, of the rows of each image."""
        p, q = (t[:, i:j] if t.shape[1] > 1 else t for t in (rows, columns))
        return _flat(q, (j - i) * h, w), _flat(p, j - i, h)

    def forward(i: int, j: int) -> None:
        q, p = places(i, j)
        narrow, won = _largest(x[i:j].reshape(-1, w, c), q)
        low, won_rows = _largest(narrow.reshape(j - i, h, -1), p)
        y[i:j] = low.reshape(y[i:j].shape)
        for kept, found in zip(keep, won + won_rows, strict=False):
            kept[i:j] = found.reshape(kept[i:j].shape)

    pmap(forward, n, step)

    def backward(g: Array, wanted: Sequence[bool]) -> tuple[Array]:
        g = as_nhwc(g)
        dx = empty((n, h, w, c), g.dtype)
        taps = len(columns) - 1  # of the columns; those of the rows come after them

        def block(i: int, j: int) -> None:
            q, p = places(i, j)
            won = [kept[i:j].reshape((j - i) * h, out[1], c) for kept in keep[:taps]]
            won_rows = [kept[i:j].reshape(j - i, out[0], -1) for kept in keep[taps:]]
            tall = _share(g[i:j].reshape(j - i, out[0], -1), p, won_rows, h)
            dx[i:j] = _share(tall.reshape(-1, out[1], c), q, won, w).reshape(j - i, h, w, c)

        pmap(block, n, step)
        return (as_nchw(dx),)

    return as_nchw(y), backward


@operands("x")
def fractional_max_pool2d(x: Any, output_size: int | Pair | None = None, *,
                          ratio: float | tuple[float, float] | None = None, pseudo: bool = True,
                          overlapping: bool = True, per_sample: bool = False,
                          key: int | None = None) -> Tensor:
    """The largest value of each of random regions, 1 or 2 pixels a side (2 or 3 overlapping).

    Give the `output_size` or the `ratio` (input / output, between 1 and 2; the size is
    rounded), a number or (height, width). `pseudo` and `overlapping` choose the
    regions, see the module's text; `per_sample` cuts every picture in its own way. The
    cuts come from `key` (None: the next one of the default generator). Shapes: x (N, C,
    H, W), result (N, C, *output_size). Of equal values the first gets the gradient.

    >>> from tinynet import xp
    >>> x = xp.arange(25.0).reshape(1, 1, 5, 5)
    >>> fractional_max_pool2d(x, 3, overlapping=False, pseudo=False, key=0)[0, 0].tolist()
    [[6.0, 8.0, 9.0], [11.0, 13.0, 14.0], [21.0, 23.0, 24.0]]
    """
    n, _, h, w = images("fractional_max_pool2d", x)
    float_of_one_dtype("fractional_max_pool2d", x=x)
    size = fractional_size((h, w), output_size, ratio)
    if key is None:
        key = default_generator.key()
    samples = n if per_sample else 1
    first = place_in_batch(n)[0] if per_sample else 0

    def taps(axis: str, pixels: int, parts: int) -> Array:
        cuts = fractional_regions(pixels, parts, pseudo=pseudo, overlapping=overlapping,
                                  samples=samples, first=first, key=random.key(key, axis))
        return _taps(cuts, overlapping)

    rows = taps("rows", h, size[0])
    columns = taps("columns", w, size[1])
    return _fractional_max_pool2d(x, rows=rows, columns=columns)


def fractional_size(size: Pair, output_size: int | Pair | None, ratio: Any) -> Pair:
    """The output size: given, or the input's `size` divided by `ratio` and rounded."""
    if (output_size is None) == (ratio is None):
        raise ValueError("fractional_max_pool2d: give output_size or ratio, one of "
                         f"them; got output_size={output_size}, ratio={ratio}")
    if output_size is not None:
        return pair("output_size", output_size, 1)
    ratios = ratio if isinstance(ratio, tuple | list) else (ratio, ratio)
    if len(ratios) != 2 or not all(
            isinstance(r, Real) and 1.0 <= float(r) <= 2.0 for r in ratios):
        raise ValueError("ratio (input / output) must be a number from 1 to 2 or two "
                         f"of them (height, width), got {ratio!r}")
    return round(size[0] / ratios[0]), round(size[1] / ratios[1])
