"""Windows that slide over an image: how many, where they lie, and all of them as one view.

Convolution and pooling share this arithmetic, for windows of one `kernel` size, moved by `stride`,
over an image with `padding` around it; a convolution's `dilation` spreads the pixels of a window.
All of them are (rows, columns). Read next: `im2col.py` or `pool.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..backend import Array, xp
from .memory import as_nchw, scratch

Pair = tuple[int, int]


def count(size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
          ) -> Pair:
    """How many windows fit: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
    rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d
                     in zip(size, kernel, stride, padding, dilation, strict=True))
    return rows, columns


def taps(kernel: Pair, stride: Pair, out: Pair, dilation: Pair = (1, 1)
         ) -> Iterator[tuple[int, int, slice, slice]]:
    """For each place (i, j) in the window, in reading order: the rows and columns it meets."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = (slice(a * d, a * d + s * (n - 1) + 1, s)
                             for a, d, s, n in zip((i, j), dilation, stride, out, strict=True))
            yield i, j, rows, columns


def bordered(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """Images (N, C, H, W) with a border, in scratch memory as x lies; x itself without padding."""
    (ph, pw), (n, c, h, w) = padding, x.shape
    if padding == (0, 0):
        return x
    h_, w_, planes = h + 2 * ph, w + 2 * pw, x.flags.c_contiguous
    shape = (n, c, h_, w_) if planes else (n, h_, w_, c)
    y = scratch("border", shape, x.dtype)
    y = y if planes else as_nchw(y)
    y[:, :, :ph], y[:, :, ph + h :], y[..., :pw], y[..., pw + w :] = value, value, value, value
    y[:, :, ph : ph + h, pw : pw + w] = x
    return y


def inside(x: Array, padding: Pair) -> Array:
    """A view of images (N, C, H, W) without their border."""
    (ph, pw), (h, w) = padding, x.shape[2:]
    return x[:, :, ph : h - ph, pw : w - pw]


def view(x: Array, kernel: Pair, stride: Pair, out: Pair, dilation: Pair = (1, 1)) -> Array:
    """All windows of padded images (N, C, H, W), nothing copied: (N, C, H', W', kH, kW)."""
    *outer, row, column = x.strides
    steps = (stride[0] * row, stride[1] * column, dilation[0] * row, dilation[1] * column)
    return xp.lib.stride_tricks.as_strided(x, (*x.shape[:2], *out, *kernel), (*outer, *steps))
