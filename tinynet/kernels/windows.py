"""Windows that slide over an image: its border, and all of them as one view.

Convolution and pooling share this arithmetic, for windows of one `kernel` size, moved
by `stride`, over an image with `padding` around it; a convolution's `dilation` spreads
the pixels of a window. All of them are (rows, columns).

Read next: `kernels/pending.py`.
"""

from __future__ import annotations

from ..backend import Array, xp
from ..checks import Pair
from .memory import as_nchw, scratch


def bordered(x: Array, padding: Pair, value: float = 0.0) -> Array:
    """Images (N, C, H, W) with a border, in scratch memory as x lies; x itself without padding."""
    if padding == (0, 0):
        return x
    ph, pw = padding
    n, c, h, w = x.shape
    size = (h + 2 * ph, w + 2 * pw)
    if x.flags.c_contiguous:
        y = scratch("border", (n, c, *size), x.dtype)
    else:
        y = as_nchw(scratch("border", (n, *size, c), x.dtype))
    y[:, :, :ph] = value  # above
    y[:, :, ph + h :] = value  # below
    y[..., :pw] = value  # left
    y[..., pw + w :] = value  # right
    y[:, :, ph : ph + h, pw : pw + w] = x
    return y


def inside(x: Array, padding: Pair) -> Array:
    """A view of images (N, C, H, W) without their border."""
    ph, pw = padding
    h, w = x.shape[2:]
    return x[:, :, ph : h - ph, pw : w - pw]


def view(x: Array, kernel: Pair, stride: Pair, out: Pair, dilation: Pair = (1, 1)) -> Array:
    """All windows of padded images (N, C, H, W), nothing copied: (N, C, H', W', kH, kW)."""
    *outer, row, column = x.strides  # bytes from one image, channel, row, column to the next
    windows = (stride[0] * row, stride[1] * column)  # from one window to the next
    places = (dilation[0] * row, dilation[1] * column)  # from one place in it to the next
    shape = (*x.shape[:2], *out, *kernel)
    return xp.lib.stride_tricks.as_strided(x, shape, (*outer, *windows, *places))
