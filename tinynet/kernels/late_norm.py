r"""Batch norm, ReLU and 2x2 pooling that are computed by whoever reads them, in blocks.

    y = max(a z + b, 0)          `Normed`; for a > 0 written as a max(z + b / a, 0)
    g                            `Collected`: the gradient of y, 0 where y is, and its sums
    dz = a (g + p z + q)         `NormGradient`: the gradient of z

To compute y takes three operations for each number. To write it to memory, which the
convolution behind it then reads twice, takes longer, and without it a network of such
layers is half as large. So batch norm behind a convolution only measures z; the next
convolution has y filled into its work memory, and takes the factor a into its weights.
On the way back that convolution has each block of g finished while it is in the cache
(`NormCollector`), and the one before reads dz, which is not stored either.

For a > 0 the largest y of a window is that of the largest z: of 2x2 windows only these
are kept, again as a `Normed`. Their g is that of y, spread (`Spread`), with the same
sums.

Sums are kept for each block and added in the order of the blocks, so results do not
depend on who computed what. With v, m and n as in `norm.py`, whose centre is 0 here (a
norm whose mean is large against its deviation is computed there): p = -dw / (n sqrt(v +
eps)), q = -db / n - p m.

Cost for n numbers of z: 2 n operations and n numbers read to measure, 2 n and n for
each reader of y, 4 n and n for the sums of g, 3 n and 2 n for each reader of dz.
(`norm.py`: 6 n and 4 n forward, 9 n and 7 n backward; n for each reader.)

Read next: `kernels/layer_norm.py`.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..backend import Array
from .channels import Statistics, far_centre, sum_products, sum_rows
from .elementwise import keep_positive
from .memory import as_nchw, as_nhwc, empty, scratch
from .norm import of_whole_batch, scale_and_shift_of
from .pending import Pending
from .pool import spread
from .threads import pmap


class Normed(Pending):
    """Batch norm of z, y = z factor + shift, with `relu` max(., 0).

    `of_pool` is what z are the largest values of. Weight and bias are not kept: somebody
    may write to them before y is read.
    """

    def __init__(self, z: Array, factor: Array, shift: Array, of: Statistics, relu: bool,
                 of_pool: Normed | None = None) -> None:
        super().__init__(z.shape, z.dtype)
        self.factor = factor
        self.shift = shift
        self.of = of
        self.relu = relu
        self.of_pool = of_pool
        self.z = as_nhwc(z)
        self.grows = bool((factor > 0).all())  # y with z, in all channels
        if self.grows:
            self.scale = factor
            shift = shift / factor
        self.a = self.tile(factor)
        self.b = self.tile(shift)
        self.zeros = np.zeros_like(self.a)  # with the number 0 NumPy takes three times as long

    def fill(self, i: int, j: int, out: Array) -> None:
        z = self.rows(self.z[i:j])
        out = self.rows(out)
        if self.scale is None:
            np.multiply(z, self.a, out=out)
            out += self.b
        else:
            np.add(z, self.b, out=out)
        if self.relu:
            np.maximum(out, self.zeros, out=out)

    def collector(self, step: int) -> NormCollector | None:
        asked = self.exact or (self.of_pool is not None and self.of_pool.exact)
        return None if asked else NormCollector(self, step)

    def collected(self, g: Array) -> Collected:
        """A gradient of y that is an array, finished."""
        collector = NormCollector(self, self.images())
        rows = as_nhwc(g)
        out = rows
        if self.relu:
            out = empty(rows.shape, self.dtype)

        def block(i: int, j: int) -> None:
            y = scratch("normed", out[i:j].shape, self.dtype)
            if self.relu:
                np.copyto(out[i:j], rows[i:j])
                self.fill(i, j, y)
            collector.take(i, j, out[i:j], y)

        pmap(block, len(out), collector.step)
        return collector.found(as_nchw(out))

    def pooled(self) -> Normed:
        """The largest of each 2x2 window, if y `grows` with z and H and W are even."""
        n, h, w, c = self.z.shape
        top = empty((n, h // 2, w // 2, c), self.dtype)

        def block(i: int, j: int) -> None:
            pairs = self.z[i:j].reshape(j - i, h // 2, 2, w * c)
            rows = scratch("larger rows", (j - i, h // 2, w, c), self.dtype)
            np.maximum(pairs[:, :, 0], pairs[:, :, 1], out=rows.reshape(j - i, h // 2, w * c))
            np.maximum(rows[:, :, 0::2], rows[:, :, 1::2], out=top[i:j])

        pmap(block, n, self.images())
        return Normed(as_nchw(top), self.factor, self.shift, self.of, self.relu, self)


class NormCollector:
    """Finishes the gradient g of y where it is made, block by block."""

    def __init__(self, y: Normed, step: int) -> None:
        self.y = y
        self.step = step
        self.parts = np.empty((2, -(-len(y.z) // step), len(y.a)), y.dtype)  # rounded up

    def take(self, i: int, j: int, g: Array, y: Array) -> None:
        width = self.parts.shape[-1]
        g = g.reshape(-1, width)
        if self.y.relu:
            keep_positive(g, y.reshape(-1, width), out=g)
        sum_rows(g, self.parts[0, i // self.step])
        sum_products(g, self.y.z[i:j].reshape(-1, width), self.parts[1, i // self.step])

    def found(self, g: Array) -> Collected:
        pixels = self.parts.sum(axis=1).reshape(2, self.y.repeats, -1)
        return Collected(g, pixels.sum(axis=1, dtype=np.float64))


class Finished(Pending):
    """A gradient of y, 0 where y is 0, with the sums over all pixels of it and of it times z."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], sums: Array) -> None:
        super().__init__(shape, dtype)
        self.sums = sums  # (2, C)

    @abstractmethod
    def add(self, i: int, j: int, out: Array) -> None:
        """Add images i to j to `out`, (j - i, H, W, C)."""

    def fill(self, i: int, j: int, out: Array) -> None:
        out[...] = 0
        self.add(i, j, out)


class Collected(Finished):
    """One that is an array."""

    def __init__(self, g: Array, sums: Array) -> None:
        super().__init__(g.shape, g.dtype, sums)
        self.stored = g
        self.g = as_nhwc(g)

    def add(self, i: int, j: int, out: Array) -> None:
        rows = self.rows(out)
        rows += self.rows(self.g[i:j])


class Spread(Finished):
    """The gradient g of the largest values of 2x2 windows, each at the first place that has it."""

    def __init__(self, y: Normed, top: Normed, g: Finished) -> None:
        super().__init__(y.shape, y.dtype, g.sums)
        self.z = y.z
        self.top = top.z
        self.g = as_nhwc(g.array())

    def add(self, i: int, j: int, out: Array) -> None:
        share = scratch("share", out.shape, self.dtype)
        spread(self.g[i:j], self.z[i:j], self.top[i:j], share)
        out += share


class NormGradient(Pending):
    """The gradient of z, from that of y; and those of weight and bias, which are there."""

    def __init__(self, y: Normed, g: Finished) -> None:
        super().__init__(y.shape, y.dtype)
        self.z = y.z
        self.g = g
        self.scale = y.factor
        db, dw = g.sums
        dw = (dw - y.of.mean * db) / y.of.deviation
        self.dw = dw.astype(y.dtype)
        self.db = db.astype(y.dtype)
        dw, db, n = of_whole_batch(dw, db, y.of, y.z.size // y.shape[1])
        p = -dw / (n * y.of.deviation)
        self.p = self.tile(p)
        self.q = self.tile(-db / n - p * y.of.mean)

    def fill(self, i: int, j: int, out: Array) -> None:
        rows = self.rows(out)
        np.multiply(self.rows(self.z[i:j]), self.p, out=rows)
        rows += self.q
        self.g.add(i, j, out)


def normed(z: Array, weight: Array | None, bias: Array | None, of: Statistics,
           relu: bool) -> Normed | None:
    """Batch norm that waits for its readers; None where it needs a centre."""
    if far_centre(of.mean, of.deviation, z.dtype) is not None:
        return None
    factor, shift = scale_and_shift_of(weight, bias, of, None)
    return Normed(z, factor, shift, of, relu)
