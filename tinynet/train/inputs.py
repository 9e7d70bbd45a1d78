"""What goes into a net while it is trained or judged: pictures, labels, and in which mode.

A batch comes as (images, labels), of arrays or tensors; where only pictures are wanted, an array of
them or a loader. Read next: `trainer.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..backend import Array, asarray, is_array, to_numpy
from ..nn.module import Module, modes_kept
from ..tensor import Tensor, no_grad


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode, nothing recorded; the mode before comes back, also after an error."""
    with modes_kept(model), no_grad():
        model.eval()
        yield


def batch_count(name: str, loader: Any) -> int:
    """How many batches the loader called `name` has; ValueError if it is none, or has none."""
    if not isinstance(loader, Sized) or not isinstance(loader, Iterable) or len(loader) == 0:
        raise ValueError(f"{name} has no batches, or no len(), got {type(loader).__name__}: give "
                         "it at least one batch, by a DataLoader or a list of (images, labels) "
                         "(drop_last=True drops a short one)")
    return len(loader)


def as_tensor(images: Any) -> Tensor:
    """The pictures of a batch as the net takes them."""
    return images if isinstance(images, Tensor) else Tensor(images)


def as_labels(labels: Any) -> Array:
    """The labels of a batch as an array on the device."""
    return labels.data if isinstance(labels, Tensor) else asarray(labels)


def class_numbers(labels: Any) -> np.ndarray[Any, Any]:
    """Labels on the host as class numbers: of probabilities (n, classes) the most likely one."""
    found: np.ndarray[Any, Any] = to_numpy(as_labels(labels))
    return found.argmax(axis=-1) if found.ndim > 1 else found


def is_pictures(images: Any) -> bool:
    """Whether these are pictures themselves, and no loader of them."""
    return isinstance(images, Tensor | np.ndarray) or is_array(images)


def picture_batches(images: Any, batch_size: int) -> Iterator[Any]:
    """The pictures of an array or a loader, batch by batch, without labels."""
    if is_pictures(images):
        return (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return (batch[0] for batch in images)
