r"""Random transforms of a whole batch: flip, crop, cutout; and normalisation.

    y_i = transform(x_i; draws(key_i)),    key_i = key(seed, epoch, index of picture i)

Each transform maps images (N, C, H, W) and one 64-bit key for each picture to new images; labels
are untouched (CS231n lecture 8, "transforms keep the label, enlarge the set"). A transform hashes
the keys with a number of its own before it draws, so adding one to a `Compose` changes nothing
about the others, and a picture is treated alike in any batch, order or thread. Called without
keys, as on a test set, the random ones leave the picture alone (a crop takes the middle).
Read next: `loader.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ..backend import Array, DType, asarray, get_default_dtype, on_gpu, to_numpy, xp
from ..kernels import memory
from ..random import integers, key, mask

Numbers = float | Sequence[float]
_AGAIN = 0x4147  # part of the keys of a transform's second occurrence
_BLOCK = 32  # pictures normalised at a time: 400 KB in float32 stay in the cache


class Transform:
    """What the transforms below share: a stream number, checks, and a repr of the settings.

    To write your own, derive from this class, take a `stream` that no other has (yours from 1000
    on) and give it `__call__(images, keys=None)`; any function of (images, keys) will do, too.
    """

    stream: ClassVar[int] = 0

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        raise TypeError(f"{type(self).__name__} must define __call__(images, keys=None)")

    def draws(self, images: Array, keys: Array) -> Array:
        """The keys of this transform: one for each picture, apart from all other transforms'."""
        if keys.shape != images.shape[:1]:
            raise ValueError(f"keys must be one for each of the {len(images)} pictures, got shape "
                             f"{keys.shape}")
        return key(self.stream, keys)

    def __repr__(self) -> str:
        settings = (f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({', '.join(settings)})"


def _check_images(images: Array) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {images.shape}")


class Compose(Transform):
    """One transform after the other. One that occurs twice draws twice.

    >>> Compose([RandomHorizontalFlip(), RandomCrop(32, padding=4)])
    Compose([RandomHorizontalFlip(p=0.5), RandomCrop(size=(32, 32), padding=4)])
    """

    def __init__(self, transforms: Sequence[Callable[[Array, Array | None], Array]]) -> None:
        self.transforms: list[Callable[[Array, Array | None], Array]] = []
        for t in transforms:
            if not callable(t):
                raise TypeError(f"transforms must be functions of (images, keys), got {t!r}")
            self.transforms += t.transforms if isinstance(t, Compose) else [t]

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        seen: Counter[int] = Counter()
        for t in self.transforms:
            stream = getattr(t, "stream", 0)
            again = keys is not None and seen[stream] > 0
            images = t(images, key(_AGAIN, seen[stream], keys) if again else keys)
            seen[stream] += 1
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


class RandomHorizontalFlip(Transform):
    """Mirror left and right with probability `p` (F2).

    >>> x = xp.arange(4).reshape(1, 1, 1, 4)
    >>> RandomHorizontalFlip(p=1.0)(x, xp.zeros(1, xp.uint64)).ravel().tolist()
    [3, 2, 1, 0]
    """

    stream = 1

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p must be a probability between 0 and 1, got {p}")
        self.p = p

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        _check_images(images)
        if keys is None:
            return images
        n = len(images)
        flip = mask(self.draws(images, keys), self.p, ())
        both = xp.concatenate([images, images[..., ::-1]])
        return both[xp.arange(n) + n * flip]  # whole pictures: half the time of `where`


class RandomCrop(Transform):
    """A patch of `size` (side, or (height, width)) at a random place.

    `padding` pixels of 0 are added on every side first: on uint8 pictures, before `Normalize`,
    they are black. All (H + 2 padding - height + 1)(W + 2 padding - width + 1) places are equally
    likely. Without keys: the patch in the middle.
    """

    stream = 2

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size must be a side or (height, width) in pixels, got {size}")
        if padding < 0:
            raise ValueError(f"padding must be 0 pixels or more, got {padding}")
        self.padding = padding

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        _check_images(images)
        (n, c, h, w), (height, width), p = images.shape, self.size, self.padding
        rows, columns = h + 2 * p - height + 1, w + 2 * p - width + 1  # places
        if rows < 1 or columns < 1:
            raise ValueError(f"size={self.size} exceeds the pictures of {h}x{w} with padding={p}: "
                             "lower size or raise padding")
        if p:
            padded = xp.zeros((n, c, h + 2 * p, w + 2 * p), images.dtype)
            padded[:, :, p : p + h, p : p + w] = images
            images = padded
        if keys is None:
            top, left = (rows - 1) // 2, (columns - 1) // 2
            return images[:, :, top : top + height, left : left + width]
        draws = self.draws(images, keys)
        y, x = integers(key(0, draws), 0, rows), integers(key(1, draws), 0, columns)
        sn, sc, sh, sw = images.strides
        patches = xp.lib.stride_tricks.as_strided(  # a view: all patches of all pictures
            images, (n, rows, columns, c, height, width), (sn, sh, sw, sc, sh, sw))
        return patches[xp.arange(n), y, x]


class Cutout(Transform):
    """Cover a square of `size` pixels with `fill` (G4; DeVries and Taylor 2017).

    Its centre is uniform over the pixels and it may hang over the edge, as in the paper: in a
    32x32 picture size 16 (CIFAR-10) covers 19.14 % on average, size 8 (CIFAR-100) 5.49 %. `fill`
    is a number, or one for each channel. Without it, pictures must be normalised: 0 is their mean.
    """

    stream = 3

    def __init__(self, size: int, fill: Numbers | None = None) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.size, self.fill = size, fill

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        _check_images(images)
        if keys is None:
            return images
        if self.fill is None and images.dtype.kind != "f":
            raise ValueError(f"Cutout on {images.dtype} pictures needs fill=, such as the training "
                             "mean: a hole of 0 would be black. Or put it after Normalize")
        draws = self.draws(images, keys)
        rows = self._covered(key(0, draws), images.shape[2])
        columns = self._covered(key(1, draws), images.shape[3])
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).astype(images.dtype)
        covered = images * (1 - hole)
        if self.fill is None or self.fill == 0:
            return covered
        return covered + hole * _per_channel("fill", self.fill, images, images.dtype)

    def _covered(self, draws: Array, length: int) -> Array:
        """(N, length) booleans: the rows or columns within the square."""
        start = integers(draws, 0, length)[:, None] - self.size // 2
        place = xp.arange(length)
        return (place >= start) & (place < start + self.size)


class Normalize(Transform):
    """y = (x - mean) / std for each channel, in floating point.

    `mean` and `std` are in the units of the pictures: 0..255 for uint8, as `channel_statistics`
    returns them. uint8 becomes float32 (the default dtype), floats keep their dtype.

    >>> Normalize(mean=100.0, std=50.0)(xp.full((1, 3, 1, 1), 150, xp.uint8)).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    stream = 4

    def __init__(self, mean: Numbers, std: Numbers) -> None:
        if not bool(np.all(np.asarray(std) > 0.0)):
            raise ValueError(f"std must be positive, got {std}: a channel that never changes "
                             "cannot be normalised")
        self.mean, self.std = mean, std

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        _check_images(images)
        whole = images.dtype.kind != "f"
        if whole and np.max(self.std) <= 1.0 and np.max(np.abs(self.mean)) <= 1.0:
            raise ValueError(f"mean={self.mean} and std={self.std} look like parts of 1, but the "
                             f"pictures are {images.dtype}: multiply both by 255")
        dtype = get_default_dtype() if whole else images.dtype
        std = np.asarray(self.std, np.float64)
        scale = _per_channel("std", 1.0 / std, images, dtype)
        shift = _per_channel("mean", -np.asarray(self.mean, np.float64) / std, images, dtype)
        out = memory.empty(images.shape, dtype)
        step = max(1, len(images)) if on_gpu else _BLOCK
        for i in range(0, len(images), step):  # the second pass finds a block in the cache
            block = out[i : i + step]
            xp.multiply(images[i : i + step], scale, out=block)
            block += shift
        return out


def _per_channel(what: str, values: Any, images: Array, dtype: DType) -> Array:
    """A number, or one for each channel, as a (C, 1, 1) array on the device."""
    values = tuple(np.ravel(values).tolist())
    if len(values) not in (1, images.shape[1]):
        raise ValueError(f"{what} must be one number, or one for each of the {images.shape[1]} "
                         f"channels, got {len(values)}")
    return _upload(values, np.dtype(dtype))


@lru_cache(64)
def _upload(values: tuple[float, ...], dtype: DType) -> Array:
    array = np.asarray(values)
    if dtype.kind != "f":
        array = np.rint(array)
    return asarray(array.astype(dtype)[:, None, None])


def channel_statistics(images: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel of images (N, C, H, W), in their units: what `Normalize` takes.

    Sums in float64: exact for uint8, so the numbers are the same on every machine.

    >>> channel_statistics(xp.array([0, 100], xp.uint8).reshape(2, 1, 1, 1))
    ((50.0,), (50.0,))
    """
    _check_images(images)
    if len(images) == 0:
        raise ValueError("images must hold at least one picture, got none")
    total = squares = 0.0
    for i in range(0, len(images), _BLOCK):
        block = asarray(images[i : i + _BLOCK]).astype(xp.float64)
        total = total + block.sum(axis=(0, 2, 3))
        block *= block
        squares = squares + block.sum(axis=(0, 2, 3))
    count = images.size // images.shape[1]
    mean = to_numpy(total) / count
    std = np.sqrt(np.maximum(to_numpy(squares) / count - mean * mean, 0.0))
    return tuple(mean.tolist()), tuple(std.tolist())
