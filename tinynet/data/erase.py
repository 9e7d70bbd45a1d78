r"""Hiding a part of the picture: cutout, and random erasing.

    y = fill where there is a hole, else x;    the hole is a rectangle

The net must not rely on any one part of an object. At test time the picture stays
whole.

Read next: `data/mix.py`.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, xp
from ..checks import check_probability, check_range_of, check_whole
from ..random import bits, integers, key, mask, normal
from .crops import random_box
from .pixels import Numbers, in_blocks, per_channel
from .transform import Transform


class Cutout(Transform):
    """Cover a square of `size` pixels with `fill` (DeVries and Taylor 2017).

    Its centre is uniform over the pixels and it may hang over the edge, as in the
    paper: in a 32x32 picture size 16 (CIFAR-10) covers 19.14 % on average, size 8
    (CIFAR-100) 5.49 %. `fill` is a number, or one for each channel, held to the range
    of the pictures' dtype. Without it, pictures must be normalised: 0 is their mean.

    >>> Cutout(16)(xp.ones((1, 3, 8, 8)), xp.zeros(1, xp.uint64)).max().item()
    0.0
    """

    def __init__(self, size: int, fill: Numbers | None = None) -> None:
        if isinstance(fill, str):
            raise ValueError(f"fill must be numbers or None, got {fill!r}")
        self.size = check_whole("size", size)
        self.fill = fill

    def change(self, images: Array, keys: Array) -> Array:
        _check_fill(self, self.fill, images)
        draws = self.draws(images, keys)
        top, left = (integers(key("centre of the hole", i, draws), 0, length) - self.size // 2
                     for i, length in enumerate(images.shape[2:]))
        side = xp.full(len(images), self.size)
        return _cover(images, (top, left, side, side), self.fill, draws)


class RandomErasing(Transform):
    """Cover a rectangle that lies inside the picture, sometimes (Zhong et al. 2017).

    p       the probability that a picture has one
    scale   its area as a part of the picture's, uniform in this range
    ratio   its width by its height, log-uniform in this range
    fill    a number, or one for each channel, held to the range of the pictures' dtype; "random"
            is noise: any byte for integers (the paper's choice), standard normal for floats.
            Without it, pictures must be normalised

    A rectangle that does not fit is drawn again, 10 times at most; then the picture
    stays whole.
    """

    def __init__(self, p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33),
                 ratio: tuple[float, float] = (0.3, 3.3),
                 fill: Numbers | str | None = None) -> None:
        self.p = check_probability("p", p)
        self.scale = check_range_of("scale", scale, 0.0, 1.0)
        self.ratio = check_range_of("ratio", ratio, 0.0)
        if isinstance(fill, str) and fill != "random":
            raise ValueError(f"fill must be numbers, 'random' or None, got {fill!r}")
        self.fill = fill

    def change(self, images: Array, keys: Array) -> Array:
        _check_fill(self, self.fill, images)
        draws = self.draws(images, keys)
        box, fits = random_box(draws, images.shape[2:], self.scale, self.ratio)
        top, left, height, width = box
        erased = fits & mask(key("erased at all", draws), self.p, ())
        height = height * erased  # 0: the picture stays whole
        return _cover(images, (top, left, height, width), self.fill, key("noise", draws))


Box = tuple[Array, Array, Array, Array]  # top, left, height, width: (N,) each


def _cover(images: Array, box: Box, fill: Numbers | str | None, draws: Array) -> Array:
    """The pictures with `fill` in their boxes; `draws` are the keys of the noise."""
    colour = None  # each hole has its own noise
    if fill is None:
        fill = 0.0
    if not isinstance(fill, str):
        colour = per_channel("fill", fill, images, images.dtype)

    def work(block: Array, i: int, j: int) -> None:
        block[...] = images[i:j]
        inside = colour
        if colour is None:
            inside = _noise(draws[i:j], block)
        xp.copyto(block, inside, where=_holes(block, *(side[i:j] for side in box)))

    return in_blocks(work, images)


def _holes(images: Array, top: Array, left: Array, height: Array, width: Array) -> Array:
    """(N, 1, H, W): True within the box of each picture."""
    def covered(start: Array, length: Array, total: int) -> Array:
        place = xp.arange(total) - start[:, None]
        return (place >= 0) & (place < length[:, None])

    rows = covered(top, height, images.shape[2])[:, None, :, None]
    return rows & covered(left, width, images.shape[3])[:, None, None, :]


def _check_fill(transform: Transform, fill: Numbers | str | None, images: Array) -> None:
    if fill is None and images.dtype.kind != "f":
        raise ValueError(f"{type(transform).__name__} on {images.dtype} pictures needs "
                         "fill=, such as the training mean: a hole of 0 would be "
                         "black. Or put it after Normalize")


def _noise(keys: Array, images: Array) -> Array:
    """Random pictures of the shape and dtype of `images`; int8 is -128 .. 127."""
    shape = images.shape[1:]
    if images.dtype.kind == "f":
        return normal(keys, shape, dtype=images.dtype)
    count = int(np.prod(shape))
    words = bits(keys, -(-count // 8)).view(xp.uint8)  # 8 values a word
    return words[:, :count].reshape(images.shape).astype(images.dtype, copy=False)
