r"""What every random transform of a batch shares; flips, chances, chains, and normalisation.

    y_i = transform(x_i; draws(key_i)),    key_i = key(seed, epoch, index of picture i)

Each transform maps images (N, C, H, W) and one 64-bit key for each picture to new images; labels
are untouched (CS231n lecture 8, "transforms keep the label, enlarge the set"). A transform hashes
the keys with the name of its class before it draws, so adding one to a `Compose` changes nothing
about the others, and a picture is treated alike in any batch, order or thread. Called without
keys, as on a test set, the random ones leave the picture alone (a crop takes the middle).
Integers stay integers: they are rounded, and held to the range of their dtype.
Read next: `crops.py`, `erase.py`, `colour.py`, `geometry.py`, `mix.py`; `loader.py` calls them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..backend import Array, DType, asarray, get_default_dtype, to_numpy, xp
from ..checks import check_call, check_images, check_probability
from ..kernels import memory
from ..kernels.threads import BLOCK_BYTES, pmap
from ..random import key, mask

Numbers = float | Sequence[float]
Call = Callable[[Array, Array | None], Array]
_BLOCK = 32  # pictures summed at a time


class Transform:
    """What the transforms below share: keys of its own, checks, and a repr of the settings.

    To write your own, derive from this class and give it `__call__(images, keys=None)`, or
    `change(images, keys)` if pictures without keys are to stay as they are; any function of
    (images, keys) will do, too.
    """

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        if type(self).change is Transform.change:
            raise TypeError(f"{type(self).__name__} must define __call__(images, keys=None)")
        check_images(images)
        return images if keys is None else self.change(images, keys)

    def change(self, images: Array, keys: Array) -> Array:
        """The new pictures, drawn by `keys`."""
        return images

    def draws(self, images: Array, keys: Array) -> Array:
        """The keys of this transform: one for each picture, apart from all other transforms'."""
        if getattr(keys, "shape", None) != images.shape[:1]:
            raise ValueError(f"keys must be one for each of the {len(images)} pictures, as an "
                             f"array, got {getattr(keys, 'shape', keys)!r}: use "
                             "random.key(seed, epoch, indices)")
        return key(type(self).__name__, keys)

    def __repr__(self) -> str:
        return show(self)


def show(transform: object) -> str:
    """The settings of a transform, as they are written to make it."""
    settings = (f"{k}={v!r}" for k, v in vars(transform).items() if not k.startswith("_"))
    return f"{type(transform).__name__}({', '.join(settings)})"


class Compose(Transform):
    """One transform after the other. One that occurs twice draws twice.

    >>> Compose([RandomHorizontalFlip(), Normalize(125.0, 60.0)])
    Compose([RandomHorizontalFlip(p=0.5), Normalize(mean=125.0, std=60.0)])
    """

    def __init__(self, transforms: Sequence[Call]) -> None:
        self.transforms: list[Call] = []
        for t in transforms:
            check_call("each of the transforms", t, "images", "keys")
            self.transforms += t.transforms if isinstance(t, Compose) else [t]

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        seen: Counter[str] = Counter()
        for t in self.transforms:
            name = type(t).__name__
            again = keys is not None and seen[name] > 0
            images = t(images, key("again", seen[name], keys) if again else keys)
            seen[name] += 1
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


class RandomApply(Transform):
    """`transform` with probability `p` for each picture, which must keep its shape and dtype.

    All pictures are transformed and then chosen from: choosing first would make a GPU wait.

    >>> invert = RandomApply(lambda images, keys: 255 - images, p=1.0)
    >>> invert(xp.full((1, 1, 1, 1), 5, xp.uint8), xp.zeros(1, xp.uint64)).item()
    250
    """

    def __init__(self, transform: Call, p: float = 0.5) -> None:
        check_call("transform", transform, "images", "keys")
        self.transform, self.p = transform, check_probability("p", p)

    def change(self, images: Array, keys: Array) -> Array:
        draws = self.draws(images, keys)
        changed = self.transform(images, key("inside", draws))
        if (changed.shape, changed.dtype) != (images.shape, images.dtype):
            raise ValueError(f"transform must keep shape and dtype, or pictures with and without "
                             f"it make no batch: {images.shape} {images.dtype} became "
                             f"{changed.shape} {changed.dtype}")
        return choose(mask(key("applied at all", draws), self.p, ()), images, changed)


def choose(second: Array, images: Array, others: Array) -> Array:
    """others[i] where second[i], else images[i]: whole pictures, in half the time of `where`."""
    out = memory.empty(images.shape, images.dtype)

    def work(i: int, j: int) -> None:
        both = xp.concatenate([images[i:j], others[i:j]])
        out[i:j] = both[xp.arange(j - i) + (j - i) * second[i:j]]

    in_blocks(work, images)
    return out


class RandomHorizontalFlip(Transform):
    """Mirror left and right with probability `p` (F2).

    >>> x = xp.arange(4).reshape(1, 1, 1, 4)
    >>> RandomHorizontalFlip(p=1.0)(x, xp.zeros(1, xp.uint64)).ravel().tolist()
    [3, 2, 1, 0]
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = check_probability("p", p)

    def change(self, images: Array, keys: Array) -> Array:
        return choose(mask(self.draws(images, keys), self.p, ()), images, images[..., ::-1])


class Normalize(Transform):
    """y = (x - mean) / std for each channel, in floating point.

    `mean` and `std` are in the units of the pictures: 0..255 for uint8, as `channel_statistics`
    returns them. uint8 becomes float32 (the default dtype), floats keep their dtype.

    >>> Normalize(mean=100.0, std=50.0)(xp.full((1, 3, 1, 1), 150, xp.uint8)).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    def __init__(self, mean: Numbers, std: Numbers) -> None:
        if not bool(np.all(np.asarray(std) > 0.0)):
            raise ValueError(f"std must be positive, got {std}: a channel that never changes "
                             "cannot be normalised")
        self.mean, self.std = mean, std

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        check_images(images)
        whole = images.dtype.kind != "f"
        if whole and np.max(self.std) <= 1.0 and np.max(np.abs(self.mean)) <= 1.0:
            raise ValueError(f"mean={self.mean} and std={self.std} look like parts of 1, but the "
                             f"pictures are {images.dtype}: multiply both by 255")
        dtype = get_default_dtype() if whole else images.dtype
        wide = np.result_type(dtype, np.float32)  # float16 is rounded once, at the end
        std = np.asarray(self.std, np.float64)
        scale = per_channel("std", 1.0 / std, images, wide)
        shift = per_channel("mean", -np.asarray(self.mean, np.float64) / std, images, wide)
        out = memory.empty(images.shape, dtype)

        def work(i: int, j: int) -> None:  # the second pass finds its block in the cache
            if dtype == wide:
                block = xp.multiply(images[i:j], scale, out=out[i:j])
                block += shift
            else:
                out[i:j] = images[i:j] * scale + shift

        in_blocks(work, images)
        return out


def per_channel(what: str, values: Any, images: Array, dtype: DType) -> Array:
    """A number, or one for each channel, as a (C, 1, 1) array on the device."""
    numbers = np.ravel(values)
    if numbers.dtype.kind not in "uif" or len(numbers) not in (1, images.shape[1]):
        found = len(numbers) if numbers.dtype.kind in "uif" else repr(values)
        raise ValueError(f"{what} must be one number, or one for each of the {images.shape[1]} "
                         f"channels, got {found}")
    if np.dtype(dtype).kind != "f" and bool(np.isnan(numbers).any()):
        raise ValueError(f"{what} must be numbers for pictures of {np.dtype(dtype)}, got {values}")
    return _upload(tuple(numbers.tolist()), np.dtype(dtype))


@lru_cache(64)
def _upload(values: tuple[float, ...], dtype: DType) -> Array:
    return asarray(_as_dtype(np, np.asarray(values, np.float64), dtype)[:, None, None])


def working_dtype(images: Array) -> DType:
    """What colours and positions are computed in: float64 for pictures of float64 and of integers
    that float32 does not hold, else float32."""
    return np.result_type(images.dtype, np.float32)


def as_dtype(values: Array, dtype: DType) -> Array:
    """Computed pictures in the dtype of the originals; integers rounded and held to its range."""
    return _as_dtype(xp, values, np.dtype(dtype))


def _as_dtype(lib: Any, values: Array, dtype: DType) -> Array:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    highest = float(limits.max)
    rounded = lib.clip(lib.rint(values), float(limits.min), highest)
    if int(highest) == limits.max:
        return rounded.astype(dtype)
    # 2^63 - 1 is no float64, and 2^63 is no int64: what was held there is set by hand
    below = np.nextafter(highest, 0.0)
    whole = lib.minimum(rounded, below).astype(dtype)
    return lib.where(rounded == highest, dtype.type(limits.max), whole)


def in_blocks(work: Callable[[int, int], None], images: Array) -> None:
    """Call work(i, j) for blocks of pictures that fit the cache, on worker threads."""
    if len(images):
        pmap(work, len(images), max(1, BLOCK_BYTES // (4 * images[0].size)))


def channel_moments(images: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean (C,) and covariance (C, C) of the channels over all pixels, float64, on the host.

    Sums in float64: exact for uint8, so the numbers are the same on every machine.
    """
    check_images(images)
    if len(images) == 0:
        raise ValueError("images must hold at least one picture, got none")
    channels = images.shape[1]
    total = products = 0.0
    for i in range(0, len(images), _BLOCK):
        block = asarray(images[i : i + _BLOCK]).astype(xp.float64)
        rows = block.transpose(1, 0, 2, 3).reshape(channels, -1)
        total = total + rows.sum(axis=1)
        products = products + rows @ rows.T
    count = images.size // channels
    mean = to_numpy(total) / count
    return mean, to_numpy(products) / count - np.outer(mean, mean)


def channel_statistics(images: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel of images (N, C, H, W), in their units: what `Normalize` takes.

    >>> channel_statistics(xp.array([0, 100], xp.uint8).reshape(2, 1, 1, 1))
    ((50.0,), (50.0,))
    """
    mean, covariance = channel_moments(images)
    std = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return tuple(mean.tolist()), tuple(std.tolist())
