"""A data set of yours, read sample by sample: `len(d)` and `d[i] = (input, target)`.

    images = stack(d[i][0] for i in indices)     targets = stack(d[i][1] for i in indices)

This is PyTorch's map style, and its data sets do as well. An input may be an array of
any shape or dtype, a tensor, numbers in lists, or a picture of Pillow's, which becomes
(3, H, W) uint8 as in `from_folder`; a target an integer or a float, or an array of
them. `DataLoader` calls ``d[i]`` from several threads ahead of the step.

Read next: `data/transform.py`.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np

from ..backend import HostArray, get_default_dtype, is_array, to_numpy
from ..checks import check_not_masked
from .folder import upright

_DIGESTED = 16  # samples that a digest reads


class Samples:
    """The samples of `source`, stacked: what `DataLoader` reads batches from."""

    def __init__(self, source: Any) -> None:
        try:
            count = len(source)
        except TypeError as error:
            raise TypeError(f"{type(source).__name__} has no len(): give it a method "
                            "__len__ that returns how many samples it has") from error
        if count == 0:
            raise ValueError(f"{type(source).__name__} must hold at least one sample, "
                             "got none")
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: HostArray) -> tuple[HostArray, HostArray]:
        """(images, targets) of these samples; every error names the sample."""
        images = []
        targets = []
        for i in indices.tolist():
            image, target = self._sample(i)
            images.append(image)
            targets.append(target)
        return (self._stacked("input", images, indices),
                self._stacked("target", targets, indices))

    def digest(self) -> str:
        """32 digits of the number of samples, and of 16 of them at even distances."""
        found = hashlib.blake2b(f"{len(self)} samples".encode(), digest_size=16)
        places = np.linspace(0, len(self) - 1, min(_DIGESTED, len(self))).round()
        for i in places.astype(np.int64).tolist():
            for array in self._sample(i):
                found.update(f"{array.shape} {array.dtype.name} ".encode())
                little = array.dtype.newbyteorder("<")
                found.update(array.astype(little, order="C").tobytes())
        return found.hexdigest()

    def _sample(self, i: int) -> tuple[HostArray, HostArray]:
        name = f"sample {i} of {type(self.source).__name__}"
        try:
            sample = self.source[i]
            if not isinstance(sample, tuple | list) or len(sample) != 2:
                raise TypeError(f"{name} must be (input, target), got {_short(sample)}")
            image = as_host(sample[0])
            target = as_host(sample[1])
        except Exception as error:
            if name not in str(error):
                error.add_note(f"it came from {name}")
            raise
        if image.dtype.kind not in "buif":
            raise TypeError(f"the input of {name} must hold numbers, got "
                            f"{_short(sample[0])}")
        if target.dtype.kind in "ui":
            target = target.astype(np.int64)
        elif target.dtype.kind not in "bf":
            raise TypeError(f"the target of {name} must be numbers, got "
                            f"{_short(sample[1])}: number the classes, "
                            "classes.index(name)")
        return image, target

    def _stacked(self, what: str, arrays: list[HostArray],
                 indices: HostArray) -> HostArray:
        """One array of all; they must be of one shape and dtype."""
        first = arrays[0]
        for i, array in zip(indices.tolist(), arrays, strict=True):
            if array.shape != first.shape or array.dtype != first.dtype:
                raise ValueError(
                    f"the {what} of sample {i} is {array.dtype} of shape "
                    f"{array.shape}, that of sample {indices[0]} {first.dtype} of shape "
                    f"{first.shape}: __getitem__ must bring all to one shape and type, pictures by "
                    "picture.resize((width, height))")
        return np.stack(arrays)


def is_map_style(source: Any) -> bool:
    """Whether samples are read from it one by one: it is no array, and has d[i]."""
    return (not hasattr(source, "shape") and not isinstance(source, str | bytes | dict)
            and hasattr(source, "__getitem__") and hasattr(source, "__len__"))


def as_host(value: Any) -> HostArray:
    """A part of a sample as an array: Python's floats take the default dtype."""
    if isinstance(value, np.ndarray):
        check_not_masked(value)
        return np.asarray(value)
    if is_array(value):
        return to_numpy(value)
    pillow = sys.modules.get("PIL.Image")  # else it is none of Pillow's
    if pillow is not None and isinstance(value, pillow.Image):
        return np.asarray(upright(value)).transpose(2, 0, 1)
    if hasattr(value, "requires_grad"):  # a tensor, of tinynet or of PyTorch
        return np.asarray(value.detach().numpy())
    array = np.asarray(value)
    if array.dtype.kind == "f" and not isinstance(value, np.generic):
        return array.astype(get_default_dtype())
    return array


def _short(value: Any) -> str:
    """What was given in place of a sample, or of a part of it."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str | bytes | int | float | None):
        return repr(value)
    return f"{type(value).__name__}"
