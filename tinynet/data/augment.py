"""Mirrored or not, done or not done, and pictures brought to mean 0 and deviation 1.

Read next: `resample.py`.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, float_dtype, xp
from ..checks import check_call, check_images, check_probability
from ..random import key, mask
from .pixels import Numbers, choose, in_blocks, per_channel
from .transform import Call, Transform


class RandomApply(Transform):
    """`transform` with probability `p` for each picture, keeping shape and dtype.

    All pictures are transformed and then chosen from: choosing first would make a GPU
    wait.

    >>> invert = RandomApply(lambda images, keys: 255 - images, p=1.0)
    >>> invert(xp.full((1, 1, 1, 1), 5, xp.uint8), xp.zeros(1, xp.uint64)).item()
    250
    """

    def __init__(self, transform: Call, p: float = 0.5) -> None:
        check_call("transform", transform, "images", "keys")
        self.transform = transform
        self.p = check_probability("p", p)

    def change(self, images: Array, keys: Array) -> Array:
        draws = self.draws(images, keys)
        changed = self.transform(images, key("inside", draws))
        if (changed.shape, changed.dtype) != (images.shape, images.dtype):
            raise ValueError("transform must keep shape and dtype, or pictures with "
                             f"and without it make no batch: {images.shape} "
                             f"{images.dtype} became {changed.shape} {changed.dtype}")
        return choose(mask(key("applied at all", draws), self.p, ()), images, changed)


class RandomHorizontalFlip(Transform):
    """Mirror left and right with probability `p` (F2).

    >>> x = xp.arange(4).reshape(1, 1, 1, 4)
    >>> RandomHorizontalFlip(p=1.0)(x, xp.zeros(1, xp.uint64)).ravel().tolist()
    [3, 2, 1, 0]
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = check_probability("p", p)

    def change(self, images: Array, keys: Array) -> Array:
        mirrored = mask(self.draws(images, keys), self.p, ())
        return choose(mirrored, images, images[..., ::-1])


class Normalize(Transform):
    """y = (x - mean) / std for each channel, in floating point.

    `mean` and `std` are in the units of the pictures: 0..255 for uint8, as
    `channel_statistics` returns them. uint8 becomes float32 (the default dtype), floats
    keep their dtype.

    >>> pictures = xp.full((1, 3, 1, 1), 150, xp.uint8)
    >>> Normalize(mean=100.0, std=50.0)(pictures).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, mean: Numbers, std: Numbers) -> None:
        if not bool(np.all(np.asarray(std) > 0.0)):
            raise ValueError(f"std must be positive, got {std}: a channel that never "
                             "changes cannot be normalised")
        self.mean = mean
        self.std = std

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        whole = images.dtype.kind != "f"
        if whole and np.max(self.std) <= 1.0 and np.max(np.abs(self.mean)) <= 1.0:
            raise ValueError(f"mean={self.mean} and std={self.std} look like parts of 1, "
                             f"but the pictures are {images.dtype}: multiply both by 255")
        dtype = float_dtype(images.dtype)
        wide = np.result_type(dtype, np.float32)  # float16 is rounded once, at the end
        std = np.asarray(self.std, np.float64)
        scale = per_channel("std", 1.0 / std, images, wide)
        mean = np.asarray(self.mean, np.float64)
        shift = per_channel("mean", -mean / std, images, wide)

        def work(block: Array, i: int, j: int) -> None:
            if dtype == wide:  # the second pass finds its block in the cache
                xp.multiply(images[i:j], scale, out=block)
                block += shift
            else:
                block[...] = images[i:j] * scale + shift

        return in_blocks(work, images, dtype=dtype)
