"""What every loader returns: pictures, labels, the names of the classes, and a name.

`from_arrays` takes your own arrays (or memory maps). All data stays on the host, as it
came (uint8 is a quarter of float32); `DataLoader` uploads it batch by batch.

Read next: `data/shapes.py`.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import text
from ..backend import check_range, to_numpy
from ..checks import answering, check_images, check_labels
from ..foreign import of_class
from ..random import key, permutation

_LISTED = 20  # classes that a notebook shows
_DIGESTED = 1 << 25  # bytes of pictures that a digest reads: 32 MB


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """`images` (N, C, H, W), `labels` (N,) int64, `classes`: a name for each label.

    >>> pictures = np.zeros((4, 3, 32, 32), np.uint8)
    >>> Dataset(pictures, np.array([0, 1, 1, 0]), ("cat", "dog"), "pets")
    Dataset('pets': 4 pictures 3x32x32 uint8, 2 classes)

    ``d[i]`` is one picture and its label. A class of yours may derive from it and
    define `__len__` and `__getitem__` instead: then nothing needs to be in arrays, and
    `DataLoader` reads sample by sample (it does so of any class with these two).
    """

    if not TYPE_CHECKING:  # a type checker would take any name for right
        __getattr__ = of_class("Dataset")

    images: Any
    labels: Any
    classes: tuple[str, ...]
    name: str

    def __init_subclass__(cls) -> None:
        """A class of yours with its own ``d[i]`` may set what it likes in `__init__`."""
        super().__init_subclass__()
        if cls.__getitem__ is not Dataset.__getitem__:
            cls.__setattr__ = object.__setattr__  # type: ignore[method-assign]
            cls.__delattr__ = object.__delattr__  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        check_images(self.images)
        check_labels(self.labels, self.images)
        check_range("labels", self.labels, len(self.classes),
                    f"There are {len(self.classes)} classes.")
        object.__setattr__(self, "labels", self.labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """(picture, label) number `index`."""
        return self.images[operator.index(index)], int(self.labels[index])

    @property
    def is_arrays(self) -> bool:
        """Whether it is `images` and `labels`: False of a class with its own ``d[i]``."""
        return type(self).__getitem__ is Dataset.__getitem__

    def __repr__(self) -> str:
        if not self.is_arrays:
            return f"{type(self).__name__}({len(self)} samples)"
        size = "x".join(map(str, self.images.shape[1:]))
        return (f"Dataset({self.name!r}: {len(self)} pictures {size} "
                f"{self.images.dtype}, {len(self.classes)} classes)")

    def _repr_html_(self) -> str:
        if not self.is_arrays:
            return text.html((), repr(self))
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        rows = [("class", "pictures"), *zip(self.classes, counts, strict=True)]
        if len(rows) > 1 + _LISTED:
            rows = [*rows[:1 + _LISTED], ("...", "")]
        return text.html(rows, repr(self))

    def take(self, indices: Any) -> Dataset:
        """The pictures at `indices`: a slice (a view) or numbers (a copy)."""
        if not self.is_arrays:
            return Part(self, np.arange(len(self))[indices])
        return Dataset(self.images[indices], self.labels[indices], self.classes, self.name)

    def digest(self) -> str:
        """These pictures and labels in 32 digits: see the function `digest`."""
        if not self.is_arrays:
            raise TypeError(f"{type(self).__name__} is read sample by sample: ask "
                            "DataLoader(dataset).digest()")
        return digest(self.images, self.labels)

    @answering
    def split(self, n: int, seed: int = 0) -> tuple[Dataset, Dataset]:
        """(all but n, n) pictures, chosen by `seed`: to hold some out for validation.

        >>> pictures = np.zeros((10, 1, 8, 8), np.uint8)
        >>> train, val = from_arrays(pictures, np.arange(10) % 2).split(3)
        >>> len(train), len(val)
        (7, 3)
        """
        if isinstance(n, float | np.floating):
            raise TypeError(f"n counts pictures, got {n}: a share of them is "
                            "split(round(0.2 * len(pictures)))")
        if not 0 < n < len(self):
            raise ValueError(f"n must be less than the {len(self)} pictures there are, "
                             f"and not 0, got {n}")
        order = to_numpy(permutation(key(seed, "split"), len(self)))
        return self.take(np.sort(order[n:])), self.take(np.sort(order[:n]))


class Part(Dataset):
    """The samples at `indices` of a set that is read sample by sample."""

    def __init__(self, whole: Dataset, indices: Any) -> None:
        self.whole = whole
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.whole[int(self.indices[index])]


def digest(images: Any, labels: Any = ()) -> str:
    """BLAKE2b of shape, dtype, all labels, and the pictures: 32 hexadecimal digits.

    Of sets of more than 32 MB, only pictures at even distances are read, the first and
    the last among them: then it is a sample, and a change of few pictures may pass
    unseen. Layout and byte order do not count, so the digest is the same on every
    machine. It takes some 60 ms.
    """
    found = hashlib.blake2b(digest_size=16)
    found.update(f"{tuple(images.shape)} {np.dtype(images.dtype).name} ".encode())
    found.update(to_numpy(labels).astype("<i8").tobytes())
    if images.nbytes:
        rows = min(len(images), max(2, _DIGESTED * len(images) // images.nbytes))
        places = np.linspace(0, len(images) - 1, rows).round().astype(np.int64)
        for some in np.array_split(places, 16):  # 2 MB at a time
            pictures = to_numpy(images[some])
            little = pictures.dtype.newbyteorder("<")
            found.update(pictures.astype(little, order="C").tobytes())
    return found.hexdigest()


def from_arrays(images: Any, labels: Any, classes: Sequence[str] | None = None,
                name: str = "arrays") -> Dataset:
    """Your own data: images (N, C, H, W) of any dtype, labels (N,) integers from 0 on.

    Arrays and memory maps are kept, not copied. Without `classes`, a class is called by
    its number, and there are as many as the largest label says.

    >>> pictures = np.zeros((6, 1, 28, 28), np.float32)
    >>> from_arrays(pictures, [0, 1, 2, 0, 1, 2], name="digits")
    Dataset('digits': 6 pictures 1x28x28 float32, 3 classes)
    """
    images = np.asanyarray(images)
    labels = to_numpy(labels)
    check_images(images)
    check_labels(labels, images)
    if classes is None:
        classes = [str(i) for i in range(int(labels.max(initial=-1)) + 1)]
    return Dataset(images, labels, tuple(classes), name)
