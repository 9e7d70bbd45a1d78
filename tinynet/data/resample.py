r"""New pictures from old ones at other places: two ways to look between the pixels.

    window:  y = R x C^T,           R[i, j] = max(0, 1 - |j - r_i| / s) / sum,   s = max(1, scale)
    sample:  y[i] = bilinear interpolation of x at the point (row_i, column_i)

Pixel (i, j) is the point (i, j), its square reaches from i - 1/2 to i + 1/2. A `window`
(a crop brought to a size) is separable: two small matrix products, whose triangles grow
where the picture shrinks, so that nothing aliases; this is Pillow's BILINEAR and
PyTorch's bilinear interpolation with antialias. `sample` takes any points, four
neighbours each.

Read next: `data/crops.py`.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, xp
from ..checks import check_images, pair
from .pixels import as_dtype, in_blocks, per_channel, working_dtype


def window(images: Array, top: Array, left: Array, height: Array, width: Array,
           size: tuple[int, int]) -> Array:
    """The window of each picture, (N,) pixels from its corner, brought to `size`.

    Every picture may have a window of its own; the result is (N, C, *size). A window of
    whole pixels in its own size is copied exactly.

    >>> x = xp.array([[[[0.0, 10.0]]]])
    >>> start = xp.zeros(1)
    >>> length = xp.ones(1)
    >>> window(x, start, start, length, 2 * length, (1, 4)).ravel().tolist()
    [0.0, 2.5, 7.5, 10.0]
    """
    check_images(images)
    n, c, h, w = images.shape
    dtype = working_dtype(images)

    def work(block: Array, i: int, j: int) -> None:
        rows = _triangles(top[i:j], height[i:j], size[0], h).astype(dtype)[:, None]
        columns = _triangles(left[i:j], width[i:j], size[1], w).astype(dtype)[:, None]
        # order="C": BLAS adds the terms of a product in another order in another memory
        # layout
        narrow = images[i:j].astype(dtype, order="C") @ columns.transpose(0, 1, 3, 2)
        block[...] = as_dtype(rows @ narrow, images.dtype)

    return in_blocks(work, images, (n, c, *size))


def _triangles(start: Array, length: Array, size: int, total: int) -> Array:
    """(N, size, total) weights of `total` pixels in `size` new ones; rows sum to 1."""
    scale = (length.astype(xp.float64) / size)[:, None]
    centres = start[:, None] + (xp.arange(size) + 0.5) * scale - 0.5
    distance = abs(xp.arange(total) - centres[:, :, None])
    weights = xp.maximum(1.0 - distance / xp.maximum(scale, 1.0)[:, :, None], 0.0)
    return weights / weights.sum(axis=2, keepdims=True)


def resize(images: Array, size: int | tuple[int, int]) -> Array:
    """Pictures of another size: (height, width), or the length of the short side.

    A short side keeps the shape: the long one is rounded to whole pixels.

    >>> resize(xp.zeros((2, 3, 20, 30)), 10).shape
    (2, 3, 10, 15)
    """
    check_images(images)
    n, _, h, w = images.shape
    height, width = pair("size", size, 1)
    if not isinstance(size, tuple | list):  # the short side
        height = round(h * height / min(h, w))
        width = round(w * width / min(h, w))
    if (height, width) == (h, w):
        return images
    corner = xp.zeros(n)
    ones = xp.ones(n)
    return window(images, corner, corner, ones * h, ones * w, (height, width))


def sample(images: Array, rows: Array, columns: Array, fill: Any = 0.0) -> Array:
    """Bilinear interpolation at (rows, columns), each (N, h, w): (N, C, h, w).

    Beyond the edge lies `fill`, a number or one for each channel; between an outermost
    pixel and the next point outside the picture fades into it.

    >>> x = xp.array([[[[0.0, 10.0]]]])
    >>> sample(x, xp.zeros((1, 1, 3)), xp.array([[[0.25, 1.0, 1.5]]])).ravel().tolist()
    [2.5, 10.0, 5.0]
    """
    check_images(images)
    n, c, h, w = images.shape
    dtype = working_dtype(images)
    outside = per_channel("fill", fill, images, images.dtype).astype(dtype)

    def work(block: Array, i: int, j: int) -> None:
        framed = xp.empty((c, j - i, h + 2, w + 2), dtype)  # one pixel of `fill` all around
        framed[...] = outside[:, None]
        framed[:, :, 1:-1, 1:-1] = images[i:j].transpose(1, 0, 2, 3)
        y = xp.clip(rows[i:j] + 1, 0, h + 1)
        x = xp.clip(columns[i:j] + 1, 0, w + 1)
        top = xp.minimum(xp.floor(y), h)
        left = xp.minimum(xp.floor(x), w)
        down = (y - top).astype(dtype)
        right = (x - left).astype(dtype)
        first = xp.arange(j - i)[:, None, None] * (h + 2)
        at = (first + top.astype(xp.int64)) * (w + 2) + left.astype(xp.int64)
        corners = [at + step for step in (0, 1, w + 2, w + 3)]
        for k, plane in enumerate(framed.reshape(c, -1)):
            p, q, r, s = (xp.take(plane, corner) for corner in corners)
            blended = _blend(_blend(p, q, right), _blend(r, s, right), down)
            block[:, k] = as_dtype(blended, images.dtype)

    return in_blocks(work, images, (n, c, *rows.shape[1:]))


def _blend(a: Array, b: Array, part: Array) -> Array:
    """a + part (b - a), in the memory of b: exactly a where part is 0."""
    b -= a
    b *= part
    b += a
    return b
