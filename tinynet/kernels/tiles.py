r"""Winograd's transforms of images as lists of matrix products.

B^T slides down the rows of an image, then along its columns (`slide`). Zeros around the
image and a last tile that hangs over cost nothing: there a few columns or rows of the
matrix are left out. So a block of images is a list of products, with no padded copy, and
its adjoint is one with the matrices transposed. All views of arrays are made before the
first block: a thread that handles views keeps the others from the interpreter.

A tile of 4x4 outputs is made of a window of 6x6 inputs; between pixels and tiles lie
pixels of which the rows are transformed, and the columns not ("half-way").

Read next: `kernels/winograd.py`.
"""

from __future__ import annotations

import functools
from itertools import groupby

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..backend import Array, DType
from ..checks import Pair
from .memory import scratch
from .pending import Pending

TILE = 4  # outputs of a tile, each way
WINDOW = 6  # inputs of a tile, each way
ALL = slice(0, WINDOW)  # rows of taps
TAPS_BYTES = 6 << 20  # of V and M, up to which a block does all taps at once
TILES = 210  # of a block: fewer make calls too short for threads, more leave the cache

Product = tuple[Array, Array, Array]  # matrix, source, target: their first axis are images
Steps = tuple[list[Product], list[list[Product]]]  # of the rows; of the columns by taps


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


class Cut:
    """How a convolution is cut: tiles each way, images of a block, groups of taps."""

    def __init__(self, x: Array | Pending, o: int, padding: Pair,
                 each: int | None = None) -> None:
        """`each`: every image has weights of its own, of which so many are there at once."""
        shape: tuple[int, ...] = x.shape
        self.n, self.c, *pixels = shape
        self.pixels = pixels
        self.o = o
        self.dtype = x.dtype
        self.padding = padding
        self.out = [size + 2 * p - 2 for size, p in zip(pixels, padding, strict=True)]
        self.tiles = [-(-size // TILE) for size in self.out]
        tiles = self.tiles[0] * self.tiles[1]  # of an image
        if each is None:
            # An even number of blocks, four at least if they keep 64 tiles.
            blocks = max(4, 2 * -(-self.n * tiles // (2 * TILES)))
            self.images = max(1, min(TILES // tiles, max(64 // tiles, -(-self.n // blocks))))
        else:
            self.images = max(1, min(each, TILES // tiles))
        # With many channels V and M leave the cache: then the six rows of taps take turns.
        nbytes = 36 * self.images * tiles * (self.c + self.o) * np.dtype(x.dtype).itemsize
        self.split = each is None and nbytes > TAPS_BYTES
        self.groups = [slice(i, i + 1) for i in range(WINDOW)] if self.split else [ALL]

    def half(self, name: str, width: int, channels: int) -> Array:
        """For pixels of which the rows are transformed, in the order of `_down`."""
        rows = (self.tiles[0], WINDOW)
        if self.split:
            return scratch(name, (self.images, *rows, width * channels), self.dtype)
        # All taps at once are through with it before the next: one memory, still in the cache.
        return scratch("half", (self.images, width, *rows, channels), self.dtype)

    def tiles_of(self, name: str, channels: int) -> Array:
        """For a group of taps: (images, rows, columns, j, i, channels)."""
        i = 1 if self.split else WINDOW
        return scratch(name, (self.images, *self.tiles, WINDOW, i, channels), self.dtype)


def _lines(x: Array, split: bool) -> Array:
    """Pixels (n, H, W, C) to slide down their rows: column by column as (n, W, H, C), or,
    for the taps in turns, all columns at once as (n, H, W * C)."""
    return x.reshape(*x.shape[:2], -1) if split else x.swapaxes(1, 2)


def _down(half: Array) -> Array:
    """Half-way (n, W, rows, i, C) as (n, W, rows * i, C), or (n, rows, i, W C) as (n, rows * i,
    W C): what `_lines` become."""
    *first, rows, i, length = half.shape
    return half.reshape(*first, rows * i, length)


def _across(half: Array, width: int, taps: slice) -> Array:
    """The same as (n, rows, W, i * C) for some i: all that shares a column is one long row."""
    if half.ndim == 4:
        return half[:, :, taps.start].reshape(*half.shape[:2], width, -1)
    return half.reshape(*half.shape[:3], -1).swapaxes(1, 2)


def _columns(v: Array) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (n, rows, columns * j, i * C)."""
    n, rows, columns, j, i, c = v.shape
    return v.reshape(n, rows, columns * j, i * c)


def to_tiles(matrix: Array, x: Array, half: Array, v: Array, padding: Pair, cut: Cut) -> Steps:
    """The products that transform pixels x (N, H, W, C), first their rows, then their columns
    for each group of taps, which become the tiles v.
    """
    return (slide(matrix, _lines(x, cut.split), _down(half), TILE, -padding[0]),
            [slide(matrix, _across(half, x.shape[2], taps), _columns(v), TILE, -padding[1])
             for taps in cut.groups])


def to_pixels(matrix: Array, v: Array, half: Array, x: Array, start: int, padding: Pair,
              cut: Cut) -> Steps:
    """The other way, written in the same order: the rows, which come last, then the columns."""
    top, left = padding
    return (slide(matrix, _down(half), _lines(x, cut.split), WINDOW, start, -top),
            [slide(matrix, _columns(v), _across(half, x.shape[2], taps), WINDOW, start, -left)
             for taps in cut.groups])


def compute(products: list[Product], source: slice, target: slice) -> None:
    """The images of `source` become those of `target`."""
    for matrix, x, out in products:
        np.matmul(matrix, x[source], out=out[target])


