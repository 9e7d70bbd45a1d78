"""What every random transform shares: keys of its own, chains; and the three simplest.

    y_i = transform(x_i; draws(key_i)),    key_i = key(seed, epoch, index of picture i)

Each transform maps images (N, C, H, W) and one 64-bit key for each picture to new
images; labels are untouched (CS231n lecture 8, "transforms keep the label, enlarge the
set"). A transform hashes the keys with the name of its class before it draws, so adding
one to a `Compose` changes nothing about the others, and a picture is treated alike in
any batch, order or thread. Called without keys, as on a test set, the random ones leave
the picture alone (a crop takes the middle).

Read next: `data/pixels.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, float_dtype, xp
from ..checks import answer_init, check_call, check_images, check_probability
from ..random import key, mask
from .pixels import Numbers, choose, in_blocks, per_channel

Call = Callable[[Array, Array | None], Array]


class Place(NamedTuple):
    """Where in a run a batch stands; `pictures` are keys that no epoch changes."""

    epoch: int
    pictures: Array


class Transform:
    """What all transforms share: keys of its own, checks, a repr of the settings.

    To write your own, derive from this class and give it `__call__(images, keys=None)`,
    or `change(images, keys)` if pictures without keys are to stay as they are; any
    function of (images, keys) will do, too.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        answer_init(cls)

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        if type(self).change is Transform.change:
            raise TypeError(f"{type(self).__name__} must define __call__(images, "
                            "keys=None)")
        check_images(images)
        return images if keys is None else self.change(images, keys)

    def change(self, images: Array, keys: Array) -> Array:
        """The new pictures, drawn by `keys`."""
        return images

    def at(self, place: Place, images: Array, keys: Array) -> Array:
        """What the loader calls: for a transform that also asks which epoch it is."""
        return self(images, keys)

    def draws(self, images: Array, keys: Array) -> Array:
        """The keys of this transform, one for each picture, apart from all others'."""
        if getattr(keys, "shape", None) != images.shape[:1]:
            found = getattr(keys, "shape", keys)
            raise ValueError(f"keys must be one for each of the {len(images)} "
                             f"pictures, as an array, got {found!r}: use "
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

    >>> from tinynet.data import Normalize, RandomHorizontalFlip
    >>> Compose([RandomHorizontalFlip(), Normalize(125.0, 60.0)])
    Compose([RandomHorizontalFlip(p=0.5, alternate=False), Normalize(mean=125.0, std=60.0)])
    """

    def __init__(self, transforms: Sequence[Call]) -> None:
        if callable(transforms):
            raise TypeError("Compose takes a list: Compose([transform])")
        self.transforms: list[Call] = []
        for t in transforms:
            check_call("each of the transforms", t, "images", "keys")
            self.transforms += t.transforms if isinstance(t, Compose) else [t]

    def __call__(self, images: Array, keys: Array | None = None) -> Array:
        for t, own in self._with_keys(keys):
            images = t(images, own)
        return images

    def at(self, place: Place, images: Array, keys: Array) -> Array:
        """One after the other, each told the place."""
        for t, own in self._with_keys(keys):
            images = t.at(place, images, own) if isinstance(t, Transform) else t(images, own)
        return images

    def _with_keys(self, keys: Array | None) -> Iterator[tuple[Call, Any]]:
        """Each transform with the keys that it draws from."""
        seen: Counter[str] = Counter()
        for t in self.transforms:
            name = type(t).__name__
            own = keys
            if keys is not None and seen[name] > 0:
                own = key("again", seen[name], keys)
            yield t, own
            seen[name] += 1

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


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
    """Mirror left and right with probability `p`.

    ``alternate=True`` draws once for each picture, and shows it the other way round in
    every odd epoch: two epochs show both views of a picture, where independent draws
    repeat the first in half of the cases. (Jordan 2024, "94 % on CIFAR-10 in 3.29
    seconds on a single GPU", section 3.6.) The loader says which epoch it is; called by
    hand it is epoch 0.

    >>> x = xp.arange(4).reshape(1, 1, 1, 4)
    >>> RandomHorizontalFlip(p=1.0)(x, xp.zeros(1, xp.uint64)).ravel().tolist()
    [3, 2, 1, 0]
    """

    def __init__(self, p: float = 0.5, alternate: bool = False) -> None:
        self.p = check_probability("p", p)
        self.alternate = alternate

    def change(self, images: Array, keys: Array) -> Array:
        mirrored = mask(self.draws(images, keys), self.p, ())
        return choose(mirrored, images, images[..., ::-1])

    def at(self, place: Place, images: Array, keys: Array) -> Array:
        if not self.alternate:
            return self(images, keys)
        other_way = images[..., ::-1] if place.epoch % 2 else images
        return self(other_way, place.pictures)


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
            raise ValueError(f"mean={self.mean} and std={self.std} look like parts of "
                             f"1, but the pictures are {images.dtype}: multiply both "
                             "by 255")
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
