r"""A 3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

    Y = A^T [ (B^T d B) * (G w G^T) ] A        summed over the input channels

Cut the output into tiles of 4x4 pixels. A tile d of 6x6 input pixels, transformed to V = B^T d B,
times the transformed weights U = G w G^T, place by place, gives 36 numbers M; A^T M A are the 16
outputs. 36 multiplications replace 16 * 9 = 144, and with many channels each of the 36 places
("taps") is one matrix product, (tiles x C) by (C x O).

The transforms are matrix products, too: B^T slides down the rows of the image, then along the
columns (`Slide`). Zeros around the image and a last tile that hangs over cost nothing: there a few
columns or rows of the matrix are left out. So a block of images takes five lines, with no padded
copy, and its adjoint is five lines again with the matrices transposed.

Cost per tile: 72 (C + O) operations a pixel row or column for the transforms, 72 C O for the taps
(a direct convolution takes 288 C O); a block of T tiles moves about 144 T (C + O) bytes, and is cut
so that most of it stays in the cache. Errors in float32: about 1e-5 of the largest output, against
1e-6 for the direct sum, since B^T and A^T hold numbers up to 8.

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016, "Fast
algorithms for convolutional neural networks", section 4.3 (these matrices).
Read next: `im2col.py`, or `conv.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..backend import Array, DType
from .blocks import pmap
from .memory import as_nchw, as_nhwc, empty, scratch
from .sums import sum_blocks

TILE, WINDOW = 4, 6  # outputs and inputs of a tile, each way
SMALL_PRODUCT = 100**3  # m n k up to which OpenBLAS multiplies without copying its operands
CHUNK_BYTES = 5 << 20  # of V and M in a block


class Matrices(NamedTuple):
    """The matrices of F(4x4, 3x3) in one dtype."""

    bt: Array  # (6, 6) window of inputs -> transformed
    at: Array  # (4, 6) products -> tile of outputs
    a: Array  # (6, 4) its transpose
    b: Array  # (4, 12) the transpose of sliding bt: two windows meet at each block of 4 inputs
    gg: Array  # (36, 9) w -> G w G^T; taps are numbered column first, weights row first


@functools.cache
def matrices(dtype: DType) -> Matrices:
    bt = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                   [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], float)
    at = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0],
                   [0, 1, -1, 8, -8, 1]], float)
    g = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
    b = np.zeros((TILE, 2 * WINDOW))
    b[:2, :WINDOW] = bt.T[TILE:]  # the last two inputs of the window before ...
    b[:, WINDOW:] = bt.T[:TILE]  # ... are the first two of this one
    gg = np.einsum("ip,jq->jipq", g, g).reshape(36, 9)
    return Matrices(*(np.ascontiguousarray(m, dtype) for m in (bt, at, at.T, b, gg)))


class Slide:
    """out[.., block r + first + i, :] = sum over j of matrix[i, j] x[.., step r + start + j, :]

    for all windows r, block being the number of the matrix's rows; n_in and n_out are the lengths
    of the two axes. What lies outside x counts as zero, what lies outside out is not computed:
    windows at the ends use a part of the matrix, all others are one batched product.
    """

    def __init__(self, matrix: Array, n_in: int, n_out: int, step: int, start: int = 0,
                 first: int = 0) -> None:
        self.step, (block, taps) = step, matrix.shape
        self.runs: list[list[Any]] = []  # windows that use the same part of the matrix
        before = None
        for r in range(-(-(n_out - first) // block)):
            lo, to = step * r + start, block * r + first
            part = (slice(max(0, -to), min(block, n_out - to)), slice(max(0, -lo),
                                                                      min(taps, n_in - lo)))
            if part != before:
                self.runs.append([matrix[part], lo + part[1].start, to + part[0].start, 0])
            self.runs[-1][-1] += 1
            before = part

    def __call__(self, x: Array, out: Array) -> None:
        *batch, _, length = x.shape
        *outer, row, item = x.strides
        for matrix, lo, to, n in self.runs:
            rows, columns = matrix.shape
            if n == 1 or self.step == columns:
                source = x[..., lo : lo + n * columns, :].reshape(*batch, n, columns, length)
            else:  # windows overlap
                source = as_strided(x[..., lo:, :], (*batch, n, columns, length),
                                    (*outer, self.step * row, row, item))
            target = out[..., to : to + n * rows, :].reshape(*batch, n, rows, length)
            np.matmul(matrix, source, out=target)


class Plan:
    """Sizes of one convolution, and its transforms and their adjoints: one `Slide` along the rows
    of pixels [0] and one along the columns [1]."""

    def __init__(self, x: Array, w: Array, padding: tuple[int, int]) -> None:
        self.n, self.c, *pixels = x.shape
        self.o, self.dtype = w.shape[0], x.dtype
        self.out = [size + 2 * p - 2 for size, p in zip(pixels, padding, strict=True)]
        self.tiles = [-(-size // TILE) for size in self.out]
        bt, at, a, b, self.gg = matrices(self.dtype)
        axes = list(zip(pixels, padding, self.out, [WINDOW * t for t in self.tiles], strict=True))
        self.input = [Slide(bt, size, taps, TILE, -p) for size, p, _, taps in axes]
        self.output = [Slide(at, taps, out, WINDOW) for _, _, out, taps in axes]
        self.output_adjoint = [Slide(a, out, taps, TILE) for _, _, out, taps in axes]
        self.input_adjoint = [Slide(b, taps, size, WINDOW, -WINDOW, -p)
                              for size, p, _, taps in axes]

    def images(self) -> int:
        """Images of a block: some cachefuls of V and M, but not more than a quarter of all."""
        each = self.tiles[0] * self.tiles[1]
        tiles = max(256, CHUNK_BYTES // (36 * self.dtype.itemsize * (self.c + self.o)))
        return int(max(1, min(tiles, max(64, each * self.n // 4)) // each))

    def work(self, name: str, images: int, channels: int) -> Array:
        """Scratch for transformed tiles: (images, rows, columns, j, i, channels)."""
        return scratch(name, (images, *self.tiles, WINDOW, WINDOW, channels), self.dtype)


def _by_row(x: Array) -> Array:
    """Pixels (n, [rows, i,] columns, C) as (n, rows, the rest): to slide along the rows."""
    return x.reshape(len(x), -1, x.shape[-2] * x.shape[-1])


def _by_column(v: Array) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (n, rows, i, columns * j, C): to slide along these."""
    n, th, tw, _, _, c = v.shape
    return v.reshape(n, th, tw * WINDOW, WINDOW, c).transpose(0, 1, 3, 2, 4)


def _by_tap(v: Array) -> Array:
    """Tiles (n, rows, columns, j, i, C) as (36, tiles, C)."""
    return v.reshape(-1, 36, v.shape[-1]).transpose(1, 0, 2)


def _half(x: Array, v: Array) -> Array:
    """Scratch between pixels x and tiles v: (n, rows, i, columns of pixels, C)."""
    return scratch("half", (len(x), v.shape[1], WINDOW, *x.shape[2:]), x.dtype)


def _to_tiles(slides: list[Slide], x: Array, v: Array) -> None:
    """Transform pixels (n, H, W, C) to tiles: the rows, then the columns."""
    half = _half(x, v)
    slides[0](_by_row(x), _by_row(half))
    slides[1](half, _by_column(v))


def _to_pixels(slides: list[Slide], v: Array, x: Array) -> None:
    """The other way: the columns, then the rows."""
    half = _half(x, v)
    slides[1](_by_column(v), half)
    slides[0](_by_row(half), _by_row(x))


def _multiply(a: Array, b: Array, out: Array) -> None:
    """out[tap] = a[tap] @ b[tap], in groups of columns so narrow that BLAS takes its short way.

    OpenBLAS copies ("packs") the operands of a product of m n k > 100^3 into blocks first; below
    that it computes on the spot, which is up to 40 % faster for these shapes.
    """
    _, m, k = a.shape
    groups, n = 1, b.shape[2]
    while m * n * k > SMALL_PRODUCT and n % 64 == 0:
        groups, n = 2 * groups, n // 2
    np.matmul(a[:, None], b.reshape(36, k, groups, n).transpose(0, 2, 1, 3),
              out=out.reshape(36, m, groups, n).transpose(0, 2, 1, 3))


def _transformed_weights(w: Array) -> Array:
    """U (36, C, O): one matrix for each tap."""
    o, c = w.shape[:2]
    u = np.empty((36, c, o), w.dtype)
    np.matmul(matrices(w.dtype).gg, w.reshape(o, c, 9).transpose(1, 2, 0), out=u.transpose(1, 0, 2))
    return u


def conv2d(x: Array, w: Array, padding: tuple[int, int]) -> Array:
    """x (N, C, H, W) with weights (O, C, 3, 3), stride 1, padding 0 to 2 each way."""
    plan = Plan(x, w, padding)
    x, u = as_nhwc(x), _transformed_weights(w)
    y = empty((plan.n, *plan.out, plan.o), plan.dtype)

    def block(i: int, j: int) -> None:
        v, m = plan.work("v", j - i, plan.c), plan.work("m", j - i, plan.o)
        _to_tiles(plan.input, x[i:j], v)
        _multiply(_by_tap(v), u, _by_tap(m))
        _to_pixels(plan.output, m, y[i:j])

    pmap(block, plan.n, plan.images())
    return as_nchw(y)


def conv2d_backward(g: Array, x: Array, w: Array, padding: tuple[int, int],
                    wanted: Sequence[bool] = (True, True)) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dw) of `conv2d`; one that is not `wanted` is None.

    By the adjoint of each step, last first; both share the transformed gradient dM = A g A^T:
    dU[tap] = V[tap]^T dM[tap] and dw = G^T dU G; dV[tap] = dM[tap] U[tap]^T and dx = B dV B^T.
    """
    plan = Plan(x, w, padding)
    x, g, dw = as_nhwc(x), as_nhwc(g), None
    dx = empty(x.shape, plan.dtype) if wanted[0] else None
    ut = _transformed_weights(w).transpose(0, 2, 1).copy() if wanted[0] else None

    def block(i: int, j: int, du: Array | None = None) -> None:
        v, dm = plan.work("v", j - i, plan.c), plan.work("m", j - i, plan.o)
        _to_tiles(plan.output_adjoint, g[i:j], dm)
        if du is not None:
            _to_tiles(plan.input, x[i:j], v)
            _multiply(_by_tap(v).transpose(0, 2, 1), _by_tap(dm), du)
        if dx is not None:
            _multiply(_by_tap(dm), ut, _by_tap(v))
            _to_pixels(plan.input_adjoint, v, dx[i:j])

    if wanted[1]:
        du = sum_blocks(block, plan.n, plan.images(), (36, plan.c, plan.o), plan.dtype)
        dw = np.empty((plan.o, plan.c, 3, 3), plan.dtype)
        np.matmul(du.transpose(1, 2, 0), plan.gg,
                  out=dw.reshape(plan.o, plan.c, 9).swapaxes(0, 1))
    elif wanted[0]:
        pmap(block, plan.n, plan.images())
    return None if dx is None else as_nchw(dx), dw
