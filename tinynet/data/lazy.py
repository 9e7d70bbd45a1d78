"""Pictures that stay files until a batch asks for them: a folder larger than memory.

    images[4:9], images[[3, 1]]    other such pictures: nothing is read
    images[7], np.asarray(images)  the pixels, (C, H, W) and (N, C, H, W)

`from_folder(path, lazy=True)` puts them in the place of an array, so splits, statistics
and batches are those of the pictures in memory, bit for bit. `DataLoader` decodes them
on its threads, ahead of the step: Pillow's decoders run beside one another.

Read next: `data/folder.py`.
"""

from __future__ import annotations

import hashlib
import math
import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import HostArray

_MOST_WORKERS = 8


class LazyImages:
    """Pictures of one shape (C, H, W) in files: read(name) gives one of them.

    Of arrays it has `shape`, `dtype`, `ndim`, `size`, `nbytes`, len() and indices along
    the first axis; whatever else is wanted, ``np.asarray`` reads them all.
    """

    ndim = 4

    def __init__(self, names: HostArray, read: Callable[[str], HostArray]) -> None:
        self.names = names
        self.read = read
        first = read(names[0])
        self.dtype = first.dtype
        self.shape = (len(names), *first.shape)

    @property
    def size(self) -> int:
        """How many numbers they hold."""
        return int(math.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return int(self.size * self.dtype.itemsize)

    @property
    def text(self) -> str:
        """What they are, for the settings of a run: shape, and the files' names."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        return f"files {self.dtype} {self.shape} {digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"LazyImages({self.dtype} {self.shape} in files)"

    def __getitem__(self, index: Any) -> Any:
        """One picture, read; or those of a slice, of numbers or of a mask, unread."""
        try:
            number = operator.index(index)
        except TypeError:
            return self._some(self.names[index])
        return self.read(self.names[number])

    def _some(self, names: HostArray) -> LazyImages:
        some = object.__new__(LazyImages)
        some.names = names
        some.read = self.read
        some.dtype = self.dtype
        some.shape = (len(names), *self.shape[1:])
        return some

    def pixels(self, workers: int = _MOST_WORKERS) -> HostArray:
        """All of them, by at most so many threads, and no more than there are cores."""
        images = np.empty(self.shape, self.dtype)

        def fill(i: int) -> None:
            images[i] = self.read(self.names[i])

        workers = min(workers, os.cpu_count() or 1)
        if workers == 1:
            for i in range(len(self)):
                fill(i)
        else:
            with ThreadPoolExecutor(workers) as pool:
                for _ in pool.map(fill, range(len(self))):
                    pass  # raises what the thread did
        return images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if copy is False:
            raise ValueError("pictures in files are an array only when they are read: "
                             "np.asarray(images)")
        images = self.pixels()
        if dtype is not None:
            images = images.astype(dtype, copy=False)
        return images
