"""What every random transform of a batch shares: keys of its own, chains, and a repr.

    y_i = transform(x_i; draws(key_i)),    key_i = key(seed, epoch, index of picture i)

Each transform maps images (N, C, H, W) and one 64-bit key for each picture to new
images; labels are untouched (CS231n lecture 8, "transforms keep the label, enlarge the
set"). A transform hashes the keys with the name of its class before it draws, so adding
one to a `Compose` changes nothing about the others, and a picture is treated alike in
any batch, order or thread. Called without keys, as on a test set, the random ones leave
the picture alone (a crop takes the middle). Read next: `pixels.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..backend import Array
from ..checks import check_call, check_images
from ..random import key

Call = Callable[[Array, Array | None], Array]


class Transform:
    """What all transforms share: keys of its own, checks, a repr of the settings.

    To write your own, derive from this class and give it `__call__(images, keys=None)`,
    or `change(images, keys)` if pictures without keys are to stay as they are; any
    function of (images, keys) will do, too.
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
        """The keys of this transform, one for each picture, apart from all others'."""
        if getattr(keys, "shape", None) != images.shape[:1]:
            found = getattr(keys, "shape", keys)
            raise ValueError(f"keys must be one for each of the {len(images)} pictures, as an "
                             f"array, got {found!r}: use random.key(seed, epoch, indices)")
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
            own = keys
            if keys is not None and seen[name] > 0:
                own = key("again", seen[name], keys)
            images = t(images, own)
            seen[name] += 1
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"
