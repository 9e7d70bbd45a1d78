r"""A 3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

    Y = A^T [ (B^T d B) * (G w G^T) ] A        summed over the input channels

Cut the output into tiles of 4x4 pixels. A tile d of 6x6 input pixels, transformed to V
= B^T d B, times the transformed weights U = G w G^T, place by place, gives 36 numbers
M; A^T M A are the 16 outputs. 36 multiplications replace 16 * 9 = 144, and with many
channels each of the 36 places ("taps") is one matrix product, (tiles x C) by (C x O).

The transforms are matrix products, too: B^T slides down the rows of the image, then
along the columns (`slide`). Zeros around the image and a last tile that hangs over cost
nothing: there a few columns or rows of the matrix are left out. So a block of images is
a list of products, with no padded copy, and its adjoint is one with the matrices
transposed. All views of arrays are made before the first block: a thread that handles
views keeps the others from the interpreter.

Cost per tile: 72 C O operations for the taps (a direct convolution takes 288 C O),
about 740 C and 480 O for the transforms; once in all, 324 C O for the weights'. V and M
of a block of T tiles are 144 T (C + O) bytes (float32), U is 144 C O, written and read
in or near the cache. Backward has twice the products and transforms of g, x, dx, dw.
Errors in float32: about 1e-5 of the largest output, against 1e-6 for the direct sum,
since B^T and A^T hold numbers up to 8.

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016,
"Fast algorithms for convolutional neural networks", section 4.3 (these matrices).

Read next: `kernels/conv.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..backend import Array, DType
from ..checks import Pair
from .memory import as_nchw, empty, per_thread, scratch
from .pending import Pending, filler
from .sums import sum_if
from .threads import pmap

TILE = 4  # outputs of a tile, each way
WINDOW = 6  # inputs of a tile, each way
SMALL_PRODUCT = 100**3  # m n k up to which OpenBLAS multiplies without copying its operands
CHANNELS = 32  # of a block of weights
TILES = 210  # of a block: fewer make calls too short for threads, more leave the cache

Product = tuple[Array, Array, Array]  # matrix, source, target: their first axis are images
Steps = tuple[list[Product], list[Product]]
# For images i to j: which of them, counted from i, and their weights U, (36, C, O) for
# all or (n, 36, C, O) for each; then the next ones, for which U may be overwritten.
Weights = Callable[[int, int], Iterable[tuple[slice, Array]]]


@functools.cache
def matrices(dtype: DType) -> tuple[Array, ...]:
    """The matrices of F(4x4, 3x3), in this order:

    bt (6, 6)    a window of inputs, transformed
    at (4, 6)    36 products to a tile of outputs
    a (6, 4)     its transpose
    b (4, 12)    the transpose of sliding bt: two windows meet in each block of 4 inputs
    g (6, 3)     a row or column of weights
    """
    bt = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                   [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], float)
    at = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0],
                   [0, 1, -1, 8, -8, 1]], float)
    g = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
    # The last two inputs of the window before are the first two of this one.
    b = np.hstack([np.pad(bt.T[TILE:], ((0, 2), (0, 0))), bt.T[:TILE]])
    return tuple(np.ascontiguousarray(m, dtype) for m in (bt, at, at.T, b, g))


def slide(matrix: Array, x: Array, out: Array, step: int, start: int = 0, first: int = 0
          ) -> list[Product]:
    """out[.., block r + first + i, :] = sum over j of matrix[i, j] x[.., step r + start + j, :]

    for all windows r, block being the number of the matrix's rows: the products that
    compute it. What lies outside x counts as zero, what lies outside out is not
    computed: windows at the ends use a part of the matrix, all others are one batched
    product.
    """
    block, taps = matrix.shape  # rows of out that a window makes of so many rows of x
    *batch, n_in, length = x.shape
    n_out = out.shape[-2]

    def part(r: int) -> tuple[slice, slice]:
        """The rows and columns of the matrix that window r uses."""
        return (slice(max(0, -block * r - first), min(block, n_out - block * r - first)),
                slice(max(0, -step * r - start), min(taps, n_in - step * r - start)))

    products = []
    for (rows, columns), run in groupby(range(-(-(n_out - first) // block)), part):
        r, *more = run
        n = 1 + len(more)  # windows in a row that use the same part
        used = matrix[rows, columns]
        m, k = used.shape
        begin = step * r + start + columns.start  # the first row of x that window r sees
        # From window to window `step` rows further: they overlap, so this is a view.
        strides = (*x.strides[:-2], step * x.strides[-2], *x.strides[-2:])
        source = as_strided(x[..., begin:, :], (*batch, n, k, length), strides)
        to = block * r + first + rows.start  # the first row of out that it makes
        target = out[..., to : to + n * m, :].reshape(*out.shape[:-2], n, m, length)
        products.append((used, source, target))
    return products


def _by_tap(v: Array, each: bool) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (36, tiles, C); `each` image: (n, 36, tiles, C)."""
    images = (len(v),) if each else ()
    return v.reshape(*images, -1, 36, v.shape[-1]).swapaxes(-3, -2)


def _half(x: Array, v: Array) -> tuple[Array, Array]:
    """Scratch between pixels x and tiles v, where the rows are transformed and the columns not.

    (n, W, rows, i, C) in memory, seen in two ways: (n, W, rows * i, C) to slide along
    the rows, and (n, rows, W, i * C) to slide along the columns: all that shares a
    column is one long row.
    """
    n, rows = v.shape[:2]
    width, c = x.shape[2:]
    half = scratch("half", (n, width, rows, WINDOW * c), x.dtype)
    return half.reshape(n, width, rows * WINDOW, c), half.transpose(0, 2, 1, 3)


def _columns(v: Array) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (n, rows, columns * j, i * C)."""
    n, rows, columns, _, _, c = v.shape
    return v.reshape(n, rows, columns * WINDOW, WINDOW * c)


def _to_tiles(matrix: Array, x: Array, v: Array, padding: Pair) -> Steps:
    """The products that transform pixels x (N, H, W, C) to the tiles v of a block, both ways.

    To slide down the rows of each column, pixels are taken as (N, W, H, C).
    """
    down, across = _half(x, v)
    return (slide(matrix, x.swapaxes(1, 2), down, TILE, -padding[0]),
            slide(matrix, across, _columns(v), TILE, -padding[1]))


def _to_pixels(matrix: Array, v: Array, x: Array, start: int, padding: Pair) -> Steps:
    """The other way: the columns, then the rows."""
    down, across = _half(x, v)
    return (slide(matrix, _columns(v), across, WINDOW, start, -padding[1]),
            slide(matrix, down, x.swapaxes(1, 2), WINDOW, start, -padding[0]))


def _compute(steps: Steps, source: slice, n: int, target: slice) -> None:
    """Both steps for `n` images, which are those of `source` and become those of `target`."""
    for products, here, there in zip(steps, (source, slice(n)), (slice(n), target), strict=True):
        for matrix, x, out in products:
            np.matmul(matrix, x[here], out=out[there])


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


def _products(a: Array, weights: Iterable[tuple[slice, Array]], out: Array) -> None:
    for images, u in weights:
        _multiply(_by_tap(a[images], u.ndim == 4), u, _by_tap(out[images], u.ndim == 4))


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


class Cut:
    """How a convolution is cut: output pixels, tiles each way, images of a block, its scratch."""

    def __init__(self, x: Array | Pending, o: int, padding: Pair, most: int = TILES) -> None:
        shape: tuple[int, ...] = x.shape
        self.n, self.c, *pixels = shape
        self.pixels = pixels
        self.o = o
        self.dtype = x.dtype
        self.padding = padding
        self.out = [size + 2 * p - 2 for size, p in zip(pixels, padding, strict=True)]
        self.tiles = [-(-size // TILE) for size in self.out]
        each = self.tiles[0] * self.tiles[1]
        # With few tiles in all, enough blocks for four workers, but of 64 tiles at
        # least.
        self.images = min(most, max(1, int(min(TILES, max(64, each * self.n // 4)) // each)))

    def inputs(self) -> Array:
        """Pixels of a block of inputs: (images, H, W, C)."""
        return scratch("inputs", (self.images, *self.pixels, self.c), self.dtype)

    def outputs(self) -> Array:
        """And of outputs, which only their gradients need."""
        return scratch("outputs", (self.images, *self.out, self.o), self.dtype)

    def scratch(self) -> tuple[Array, Array]:
        """V and M: (images, rows, columns, j, i, channels) of transformed inputs and products."""
        shape = (self.images, *self.tiles, WINDOW, WINDOW)
        v, m = ((*shape, channels) for channels in (self.c, self.o))
        return scratch("v", v, self.dtype), scratch("m", m, self.dtype)


def convolve(x: Array | Pending, cut: Cut, weights: Weights) -> Array:
    """The convolution of x (N, C, H, W) with the transformed weights of each block."""
    bt, at, *_ = matrices(x.dtype)
    fill = filler(x)
    y = empty((cut.n, *cut.out, cut.o), x.dtype)

    def prepare() -> tuple[Any, ...]:
        v, m = cut.scratch()
        pixels = cut.inputs()
        to_tiles = _to_tiles(bt, pixels, v, cut.padding)
        return pixels, to_tiles, v, m, _to_pixels(at, m, y, 0, (0, 0))

    prepared = per_thread(prepare)

    def block(i: int, j: int) -> None:
        pixels, to_tiles, v, m, to_pixels = prepared()
        n = j - i
        fill(i, j, pixels[:n])
        _compute(to_tiles, slice(n), n, slice(n))
        _products(v, weights(i, j), m)
        _compute(to_pixels, slice(n), n, slice(i, j))

    pmap(block, cut.n, cut.images)
    return as_nchw(y)


def differentiate(g: Array | Pending, x: Array | Pending, cut: Cut, weights: Weights,
                  wanted: Sequence[bool], shape: tuple[int, ...], collect: Callable[..., None]
                  ) -> tuple[Array | Pending | None, Array | None]:
    """dx from the transposed weights of each block, and the sum of what `collect` makes of it.

    By the adjoint of each step, last first; both share the transformed gradient dM = A
    g A^T: dV[tap] = dM[tap] U[tap]^T and dx = B dV B^T; collect(i, j, V, dM, out) fills
    out (of `shape`). The gradient of a pending x is finished in the block that makes it.
    """
    bt, _, a, b, _ = matrices(x.dtype)
    fill_g = filler(g)
    fill_x = filler(x)
    dx = None
    if wanted[0]:
        dx = empty((cut.n, *cut.pixels, cut.c), x.dtype)
    finish = None
    if isinstance(x, Pending) and all(wanted):
        finish = x.collector(cut.images)

    def prepare() -> tuple[Any, ...]:
        v, dm = cut.scratch()
        dy = cut.outputs()
        pixels = cut.inputs()
        return (dy, _to_tiles(a, dy, dm, (0, 0)), dm, pixels,
                _to_tiles(bt, pixels, v, cut.padding), v,
                None if dx is None else _to_pixels(b, v, dx, -WINDOW, cut.padding))

    prepared = per_thread(prepare)

    def block(i: int, j: int, out: Array | None = None) -> None:
        dy, g_to_tiles, dm, pixels, x_to_tiles, v, to_pixels = prepared()
        n = j - i
        fill_g(i, j, dy[:n])
        _compute(g_to_tiles, slice(n), n, slice(n))
        if out is not None:
            fill_x(i, j, pixels[:n])
            _compute(x_to_tiles, slice(n), n, slice(n))
            collect(i, j, v[:n], dm[:n], out)
        if dx is not None:
            _products(dm, weights(i, j), v)
            _compute(to_pixels, slice(n), n, slice(i, j))
            if finish is not None:
                finish.take(i, j, dx[i:j], pixels[:n])

    total = sum_if(wanted[1], block, cut.n, cut.images, shape, x.dtype)
    if dx is None:
        return None, total
    gradient = as_nchw(dx)
    return gradient if finish is None else finish.found(gradient), total


def weight_products(v: Array, dm: Array, du: Array) -> None:
    """dU[tap] = V[tap]^T dM[tap]: (36, C, O), or (n, 36, C, O) of each image."""
    _multiply(_by_tap(v, du.ndim == 4).swapaxes(-2, -1), _by_tap(dm, du.ndim == 4), du)


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
