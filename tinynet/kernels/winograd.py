r"""A 3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

    Y = A^T [ (B^T d B) * (G w G^T) ] A        summed over the input channels

Cut the output into tiles of 4x4 pixels. A tile d of 6x6 input pixels, transformed to V
= B^T d B, times the transformed weights U = G w G^T, place by place, gives 36 numbers
M; A^T M A are the 16 outputs. 36 multiplications replace 16 * 9 = 144, and with many
channels each of the 36 places ("taps") is one matrix product, (tiles x C) by (C x O).

The transforms are matrix products, too (`kernels/tiles.py`).

Cost per tile: 72 C O operations for the taps (a direct convolution takes 288 C O),
about 740 C and 480 O for the transforms; once in all, 324 C O for the weights'. V and M
of a block of T tiles are 144 T (C + O) bytes (float32), U is 144 C O, written and read
in or near the cache: where they would not fit, the six rows of taps take turns, and the
same sixth of the memory serves them all. Backward has twice the products and transforms
of g, x, dx, dw.
Errors in float32: about 1e-5 of the largest output, against 1e-6 for the direct sum,
since B^T and A^T hold numbers up to 8.

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016,
"Fast algorithms for convolutional neural networks", section 4.3 (these matrices).

Read next: `kernels/conv.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from ..checks import Pair
from .memory import as_nchw, as_nhwc, empty, per_thread, scratch
from .pending import Pending
from .sums import sum_if
from .threads import pmap
from .tiles import ALL, WINDOW, Cut, Steps, compute, matrices, to_pixels, to_tiles

SMALL_PRODUCT = 100**3  # m n k up to which OpenBLAS multiplies without copying its operands
CHANNELS = 32  # of a block of weights

# For images i to j: which of them, counted from i, and their weights U, (36, C, O) for
# all or (n, 36, C, O) for each; then the next ones, for which U may be overwritten.
Weights = Callable[[int, int], Iterable[tuple[slice, Array]]]


def _by_tap(v: Array, each: bool) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (j i, tiles, C); `each` image's with n first."""
    images = (len(v),) if each else ()
    j, i, c = v.shape[3:]
    return v.reshape(*images, -1, j * i, c).swapaxes(-3, -2)


def _multiply(a: Array, b: Array, out: Array) -> None:
    """out[.., tap] = a[.., tap] @ b[.., tap], in groups of columns for BLAS's short way.

    OpenBLAS copies ("packs") the operands of a product of m n k > 100^3 into blocks
    first; below that it computes on the spot, which is up to 40 % faster for these
    shapes.
    """
    m, k = a.shape[-2:]
    width = b.shape[-1]
    groups = next((n for n in (1, 2, 4) if m * k * width <= n * SMALL_PRODUCT
                   and width % (32 * n) == 0), 1)
    b, out = (x.reshape(*x.shape[:-1], groups, -1).swapaxes(-3, -2) for x in (b, out))
    np.matmul(a[..., None, :, :], b, out=out)


def _products(a: Array, weights: Iterable[tuple[slice, Array]], taps: slice,
              out: Array) -> None:
    """out = a U for some rows of taps, and the images that each U is for."""
    for images, u in weights:
        each = u.ndim == 4
        _multiply(_by_tap(a[images], each), _taps(u, taps), _by_tap(out[images], each))


def _taps(u: Array, rows: slice) -> Array:
    """Some rows of the taps (.., 36, C, O): a view of one row, or of all."""
    if rows == ALL:
        return u
    return u.reshape(WINDOW, WINDOW, *u.shape[1:])[:, rows.start]


def transform_weights(w: Array, u: Array, back: bool = False) -> None:
    """u = G w G^T of weights w (.., rows 3, columns 3, C O), as u (.., columns 6, rows 6, C O).

    `back` is the adjoint, u = G^T w G of w (.., columns 6, rows 6, C O): the same with
    G^T.
    """
    g = matrices(w.dtype)[-1].T if back else matrices(w.dtype)[-1]
    half = scratch("half weights", (*w.shape[:-3], w.shape[-2], len(g), w.shape[-1]), w.dtype)
    np.matmul(g, w.swapaxes(-3, -2), out=half)
    np.matmul(g, half.swapaxes(-3, -2), out=u.swapaxes(-3, -2))


def _transformed(w: Array) -> Array:
    """G w G^T of weights (O, C, 3, 3), as (36, C, O)."""
    w = w.transpose(2, 3, 1, 0)
    u = empty((WINDOW, WINDOW, *w.shape[2:]), w.dtype)

    def block(i: int, j: int) -> None:
        transform_weights(w[:, :, i:j].reshape(3, 3, -1), u[:, :, i:j].reshape(6, 6, -1))

    pmap(block, w.shape[2], CHANNELS)
    return u.reshape(36, *w.shape[2:])


def _transformed_back(du: Array, shape: tuple[int, ...]) -> Array:
    """dw (O, C, 3, 3) of that `shape`, from dU (36, C, O)."""
    dw = np.empty(shape, du.dtype)
    du = du.reshape(6, 6, *du.shape[1:])

    def block(i: int, j: int) -> None:
        part = scratch("part of dw", (3, 3, j - i, len(dw)), dw.dtype)
        transform_weights(du[:, :, i:j].reshape(6, 6, -1), part.reshape(3, 3, -1), back=True)
        dw.transpose(2, 3, 1, 0)[:, :, i:j] = part

    pmap(block, shape[1], CHANNELS)
    return dw


class Source:
    """Where a block finds its pixels: in memory, or in scratch to be filled."""

    def __init__(self, x: Array | Pending, name: str, cut: Cut) -> None:
        _, c, h, w = x.shape
        self.pending = x if isinstance(x, Pending) else None
        self.name = name
        self.shape = (cut.images, h, w, c)  # of the scratch
        self.dtype = x.dtype
        self.rows = None if isinstance(x, Pending) else as_nhwc(x)

    def pixels(self) -> Array:
        """(images, H, W, C), of which `read` says the part that a block has."""
        if self.rows is None:
            return scratch(self.name, self.shape, self.dtype)
        return self.rows

    def read(self, i: int, j: int) -> slice:
        """Images i to j are there: where in `pixels`."""
        if self.pending is None:
            return slice(i, j)
        self.pending.fill(i, j, self.pixels()[: j - i])
        return slice(j - i)


def convolve(x: Array | Pending, cut: Cut, weights: Weights) -> Array:
    """The convolution of x (N, C, H, W) with the transformed weights of each block."""
    bt, at, *_ = matrices(x.dtype)
    source = Source(x, "x", cut)
    y = empty((cut.n, *cut.out, cut.o), x.dtype)

    def prepare() -> tuple[Any, ...]:
        v, m = cut.tiles_of("v", cut.c), cut.tiles_of("m", cut.o)
        half_x = cut.half("half x", cut.pixels[1], cut.c)
        half_y = cut.half("half y", cut.out[1], cut.o)
        return (to_tiles(bt, source.pixels(), half_x, v, cut.padding, cut), v, m,
                to_pixels(at, m, half_y, y, 0, (0, 0), cut))

    prepared = per_thread(prepare)

    def block(i: int, j: int) -> None:
        (down, across), v, m, (up, back) = prepared()
        own = slice(j - i)
        compute(down, source.read(i, j), own)
        for taps, to_v, from_m in zip(cut.groups, across, back, strict=True):
            compute(to_v, own, own)
            _products(v, weights(i, j), taps, m)
            compute(from_m, own, own)
        compute(up, own, slice(i, j))

    pmap(block, cut.n, cut.images)
    return as_nchw(y)


def differentiate(g: Array | Pending, x: Array | Pending, cut: Cut, weights: Weights,
                  wanted: Sequence[bool], shape: tuple[int, ...], collect: Callable[..., None]
                  ) -> tuple[Array | Pending | None, Array | None]:
    """dx from the transposed weights of each block, and the sum of what `collect` makes of it.

    By the adjoint of each step, last first; both share the transformed gradient dM = A
    g A^T: dV[tap] = dM[tap] U[tap]^T and dx = B dV B^T; collect(i, j, taps, V, dM, out)
    fills the part of out (of `shape`) that belongs to a group of taps. The gradient of a
    pending x is finished in the block that makes it.
    """
    bt, _, a, b, _ = matrices(x.dtype)
    source_g = Source(g, "g", cut)
    source_x = Source(x, "x", cut)
    dx = None
    if wanted[0]:
        dx = empty((cut.n, *cut.pixels, cut.c), x.dtype)
    finish = None
    if isinstance(x, Pending) and all(wanted):
        finish = x.collector(cut.images)

    def prepare() -> tuple[Any, ...]:
        dm, v = cut.tiles_of("m", cut.o), cut.tiles_of("v", cut.c)
        half_g = cut.half("half y", cut.out[1], cut.o)
        # A group of taps is read before the gradient takes its place.
        half_x = cut.half("half x", cut.pixels[1], cut.c)
        none: Steps = ([], [[] for _ in cut.groups])
        return (to_tiles(a, source_g.pixels(), half_g, dm, (0, 0), cut), dm,
                to_tiles(bt, source_x.pixels(), half_x, v, cut.padding, cut), v,
                none if dx is None else to_pixels(b, v, half_x, dx, -WINDOW, cut.padding, cut))

    prepared = per_thread(prepare)

    def block(i: int, j: int, out: Array | None = None) -> None:
        (down_g, across_g), dm, (down_x, across_x), v, (up, back) = prepared()
        own = slice(j - i)
        compute(down_g, source_g.read(i, j), own)
        for taps, to_dm, to_v, from_v in zip(cut.groups, across_g, across_x, back, strict=True):
            compute(to_dm, own, own)
            if out is not None:
                if taps.start == 0:
                    compute(down_x, source_x.read(i, j), own)
                compute(to_v, own, own)
                collect(i, j, taps, v[own], dm[own], out)
            if dx is not None:
                _products(dm, weights(i, j), taps, v)
                compute(from_v, own, own)
        if dx is not None:
            compute(up, own, slice(i, j))
            if finish is not None:
                finish.take(i, j, dx[i:j], source_x.pixels()[own])

    total = sum_if(wanted[1], block, cut.n, cut.images, shape, x.dtype)
    if dx is None:
        return None, total
    gradient = as_nchw(dx)
    return gradient if finish is None else finish.found(gradient), total


def weight_products(taps: slice, v: Array, dm: Array, du: Array) -> None:
    """dU[tap] = V[tap]^T dM[tap] for some taps: (36, C, O), or (n, 36, C, O) of each image."""
    each = du.ndim == 4
    _multiply(_by_tap(v, each).swapaxes(-2, -1), _by_tap(dm, each), _taps(du, taps))


def conv2d(x: Array | Pending, w: Array, padding: Pair) -> Array:
    """x (N, C, H, W) with weights (O, C, 3, 3), stride 1, padding 0 to 2 each way."""
    u = _transformed(w)
    return convolve(x, Cut(x, len(w), padding), lambda i, j: [(slice(j - i), u)])


def conv2d_backward(g: Array | Pending, x: Array | Pending, w: Array, padding: Pair,
                    wanted: Sequence[bool] = (True, True)
                    ) -> tuple[Array | Pending | None, Array | None]:
    """Gradients (dx, dw) of `conv2d`; one that is not `wanted` is None. dw = G^T dU G."""
    ut = _transformed(w.swapaxes(0, 1)) if wanted[0] else None
    dx, du = differentiate(g, x, Cut(x, len(w), padding), lambda i, j: [(slice(j - i), ut)], wanted,
                           (36, *w.shape[1::-1]), lambda i, j, *arrays: weight_products(*arrays))
    return dx, None if du is None else _transformed_back(du, w.shape)
