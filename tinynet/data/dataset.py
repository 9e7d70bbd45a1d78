"""What every loader returns: pictures, labels, the names of the classes, and a name.

`from_arrays` takes your own arrays (or memory maps). All data stays on the host, as it came (uint8
is a quarter of float32); `DataLoader` uploads it batch by batch. Read next: `folder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import check_range, to_numpy
from ..random import key, permutation
from .checks import check_images

_STREAM = 0x4453  # part of the key of `Dataset.split`


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """`images` (N, C, H, W), `labels` (N,) int64, `classes`: a name for each label.

    >>> pictures = np.zeros((4, 3, 32, 32), np.uint8)
    >>> Dataset(pictures, np.array([0, 1, 1, 0]), ("cat", "dog"), "pets")
    Dataset('pets': 4 pictures 3x32x32 uint8, 2 classes)
    """

    images: Any
    labels: Any
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        check_images(self.images)
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError("labels must be one number for each picture, shape "
                             f"{self.images.shape[:1]}, got {self.labels.shape}")
        check_range("labels", self.labels, len(self.classes),
                    f"There are {len(self.classes)} classes.")
        object.__setattr__(self, "labels", self.labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        return (f"Dataset({self.name!r}: {len(self)} pictures {size} {self.images.dtype}, "
                f"{len(self.classes)} classes)")

    def take(self, indices: Any) -> Dataset:
        """The pictures at `indices`: a slice (a view), or an array of numbers (a copy)."""
        return Dataset(self.images[indices], self.labels[indices], self.classes, self.name)

    def split(self, n: int, seed: int = 0) -> tuple[Dataset, Dataset]:
        """(all but n, n) pictures, chosen by `seed`: to hold some out for validation.

        >>> pictures = np.zeros((10, 1, 8, 8), np.uint8)
        >>> train, val = from_arrays(pictures, np.arange(10) % 2).split(3)
        >>> len(train), len(val)
        (7, 3)
        """
        if not 0 < n < len(self):
            raise ValueError(f"n must be less than the {len(self)} pictures there are, and not 0, "
                             f"got {n}")
        order = to_numpy(permutation(key(seed, _STREAM), len(self)))
        return self.take(np.sort(order[n:])), self.take(np.sort(order[:n]))


def from_arrays(images: Any, labels: Any, classes: Sequence[str] | None = None,
                name: str = "arrays") -> Dataset:
    """Your own data: images (N, C, H, W) of any dtype, labels (N,) integers from 0 on.

    Arrays and memory maps are kept, not copied. Without `classes`, a class is called by its
    number, and there are as many as the largest label says.

    >>> from_arrays(np.zeros((6, 1, 28, 28), np.float32), [0, 1, 2, 0, 1, 2], name="digits")
    Dataset('digits': 6 pictures 1x28x28 float32, 3 classes)
    """
    images, labels = np.asanyarray(images), np.asanyarray(labels)
    if labels.dtype.kind not in "ui":
        raise TypeError(f"labels must be integers, got {labels.dtype}: class numbers 0, 1, 2 ...; "
                        "for one-hot rows use labels.argmax(1)")
    if classes is None:
        classes = [str(i) for i in range(int(labels.max(initial=-1)) + 1)]
    return Dataset(images, labels, tuple(classes), name)
