r"""Patches at random places, and in random sizes: what the nets of the lecture were trained on.

    RandomCrop          pad, then a patch of the same size anywhere      CIFAR nets
    ResNetCrop          short side to L in 256 .. 480, a patch of 224    He et al. 2016 (F3)
    RandomResizedCrop   8 % .. 100 % of the area, any shape, to 224      Szegedy et al. 2015

Scaling and cropping are one step (`resample.window`): only the pixels of the patch are
computed, and each picture of a batch has a scale of its own.

Read next: `data/geometry.py`.
"""

from __future__ import annotations

import math
from typing import Literal

from ..backend import Array, xp
from ..checks import check_choice, check_images, check_range_of, check_whole, pair
from ..random import integers, key, uniform
from .pixels import in_blocks
from .resample import resize, window
from .transform import Transform

Size = int | tuple[int, int]
_TRIES = 10  # boxes drawn for each picture, of which the first that fits is taken


def crop(images: Array, top: int, left: int, size: tuple[int, int]) -> Array:
    """The same patch of every picture: a view."""
    return images[:, :, top : top + size[0], left : left + size[1]]


class RandomCrop(Transform):
    """A patch of `size` (side, or (height, width)) at a random place.

    `padding` pixels are added on every side first: of 0 (on uint8 pictures, before
    `Normalize`, they are black), or with ``mode="reflect"`` the picture mirrored at its
    outermost pixels, which are not repeated. All (H + 2 padding - height + 1)(W + 2 padding - width
    + 1) places are equally likely. Without keys: the patch in the middle.

    >>> RandomCrop(24)(xp.zeros((5, 3, 32, 32)), xp.arange(5)).shape
    (5, 3, 24, 24)
    """

    def __init__(self, size: Size, padding: int = 0,
                 mode: Literal["zeros", "reflect"] = "zeros") -> None:
        self.size = pair("size", size, 1)
        self.padding = check_whole("padding", padding, 0)
        self.mode = check_choice("mode", mode, ("zeros", "reflect"))

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        n, c, h, w = images.shape
        height, width = self.size
        p = self.padding
        rows = h + 2 * p - height + 1  # how many places
        columns = w + 2 * p - width + 1
        if self.mode == "reflect" and p >= min(h, w):
            raise ValueError(f"padding={p} exceeds what pictures of {h}x{w} can mirror, "
                             f"{min(h, w) - 1} pixels: lower it")
        if rows < 1 or columns < 1:
            raise ValueError(f"size={self.size} exceeds the pictures of {h}x{w} with "
                             f"padding={p}: lower size or raise padding")
        if keys is None:
            return crop(_pad(images, p, self.mode), (rows - 1) // 2, (columns - 1) // 2, self.size)
        draws = self.draws(images, keys)
        y = integers(key("row", draws), 0, rows)
        x = integers(key("column", draws), 0, columns)

        def work(block: Array, i: int, j: int) -> None:
            padded = _pad(images[i:j], p, self.mode)
            sn, sc, sh, sw = padded.strides
            patches = xp.lib.stride_tricks.as_strided(  # a view: all patches of all pictures
                padded, (j - i, rows, columns, c, height, width), (sn, sh, sw, sc, sh, sw))
            block[...] = patches[xp.arange(j - i), y[i:j], x[i:j]]

        return in_blocks(work, images, (n, c, height, width))


def _pad(images: Array, p: int, mode: str) -> Array:
    """`p` pixels of 0, or of the picture mirrored, on every side."""
    if not p:
        return images
    n, c, h, w = images.shape
    padded = xp.zeros((n, c, h + 2 * p, w + 2 * p), images.dtype)
    padded[:, :, p : p + h, p : p + w] = images
    if mode == "reflect":
        _reflect(padded, p)
        _reflect(padded.swapaxes(2, 3), p)  # the corners: rows that are whole by now
    return padded


def _reflect(padded: Array, p: int) -> None:
    """Fill `p` rows above and below: row p - i is row p + i, and so at the other end."""
    last = padded.shape[2] - 1 - p
    for i in range(1, p + 1):
        padded[:, :, p - i] = padded[:, :, p + i]
        padded[:, :, last + i] = padded[:, :, last - i]


class ResNetCrop(Transform):
    """Short side to L, then a patch of `size` anywhere: how ResNet was trained.

    L is a whole number of pixels, uniform in `short_side` (both ends included: 225
    sizes), drawn for each picture; the long side keeps the shape, rounded to a pixel.
    Without keys: L is the smallest, and the patch is in the middle. He et al. 2016,
    section 3.4.

    >>> ResNetCrop(8, short_side=(10, 20))(xp.zeros((5, 3, 12, 16)), xp.arange(5)).shape
    (5, 3, 8, 8)
    """

    def __init__(self, size: int = 224, short_side: tuple[int, int] = (256, 480)) -> None:
        low, high = check_range_of("short_side", short_side, 0)
        self.short_side = (check_whole("short_side", low), check_whole("short_side", high))
        self.size = check_whole("size", size)
        if size > low:
            raise ValueError(f"size must be 1 .. {low} pixels, what the smallest "
                             f"short_side holds, got {size}")

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        if keys is None:
            scaled = resize(images, self.short_side[0])
            h, w = scaled.shape[2:]
            return crop(scaled, (h - self.size) // 2, (w - self.size) // 2,
                        (self.size, self.size))
        return window(images, *self.windows(images, keys), (self.size, self.size))

    def windows(self, images: Array, keys: Array) -> tuple[Array, Array, Array, Array]:
        """(top, left, height, width) of the patches in pixels of the originals."""
        draws = self.draws(images, keys)
        short = integers(key("short side", draws), self.short_side[0], self.short_side[1] + 1)
        sides = images.shape[2:]
        starts = []
        lengths = []
        for i, side in enumerate(sides):
            scaled = xp.rint(short * (side / min(sides)))
            place = _pick(key("corner of the patch", i, draws), scaled - self.size + 1)
            starts.append(place * side / scaled)
            lengths.append(self.size * side / scaled)
        return starts[0], starts[1], lengths[0], lengths[1]


class RandomResizedCrop(Transform):
    """A part of the picture in any size and shape, brought to `size`, as for Inception.

    scale   its area as a part of the picture's, uniform in this range
    ratio   its width by its height, log-uniform in this range

    A box that does not fit is drawn again, 10 times at most; then, and without keys, it
    is the largest one in the middle with a shape within `ratio`. Szegedy et al. 2015,
    section 6.

    >>> RandomResizedCrop(8)(xp.zeros((5, 3, 12, 16)), xp.arange(5)).shape
    (5, 3, 8, 8)
    """

    def __init__(self, size: Size = 224, scale: tuple[float, float] = (0.08, 1.0),
                 ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> None:
        self.size = pair("size", size, 1)
        self.scale = check_range_of("scale", scale, 0.0, 1.0)
        self.ratio = check_range_of("ratio", ratio, 0.0)

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        n, _, h, w = images.shape
        shape = min(max(w / h, self.ratio[0]), self.ratio[1])
        height = min(h, round(w / shape))
        width = min(w, round(h * shape))
        middle = ((h - height) // 2, (w - width) // 2, height, width)
        if keys is None:
            top, left, height, width = (xp.full(n, v) for v in middle)
        else:
            box, fits = random_box(self.draws(images, keys), (h, w), self.scale, self.ratio)
            top, left, height, width = (xp.where(fits, v, m)
                                        for v, m in zip(box, middle, strict=True))
        return window(images, top, left, height, width, self.size)


def random_box(draws: Array, shape: tuple[int, int], scale: tuple[float, float],
               ratio: tuple[float, float]) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """((top, left, height, width), fits): a random box in a picture for each key.

    area = H W a,  a ~ U(scale);  width / height = exp(U(log ratio));  any place inside.
    All are (N,) integers; where none of 10 tries fits, `fits` is False and the box is
    nonsense.
    """
    h, w = shape
    area = h * w * uniform(key("area", draws), _TRIES, scale[0], scale[1], "float64")
    stretch = xp.exp(0.5 * uniform(key("ratio", draws), _TRIES, math.log(ratio[0]),
                                   math.log(ratio[1]), "float64"))
    heights = xp.rint(xp.sqrt(area) / stretch)
    widths = xp.rint(xp.sqrt(area) * stretch)
    fits = (heights <= h) & (widths <= w) & (heights > 0) & (widths > 0)
    first = fits.argmax(axis=1)[:, None]
    height, width = (xp.take_along_axis(side, first, 1)[:, 0] for side in (heights, widths))
    top, left = (_pick(key("corner of the box", i, draws), xp.maximum(total - length + 1, 1))
                 for i, (total, length) in enumerate(((h, height), (w, width))))
    whole = tuple(side.astype(xp.int64) for side in (top, left, height, width))
    return (whole[0], whole[1], whole[2], whole[3]), fits.any(axis=1)


def _pick(draws: Array, places: Array) -> Array:
    """A whole number in 0 .. places - 1 for each key, all equally likely (float64)."""
    return xp.floor(uniform(draws, dtype="float64") * places)
