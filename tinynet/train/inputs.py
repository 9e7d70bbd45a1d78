"""What goes into a net while it is trained or judged: pictures, labels, and in which mode.

A batch comes as (images, labels), of arrays or tensors; where only pictures are wanted, an array of
them or a loader. Read next: `trainer.py`.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..backend import Array, asarray, is_array, to_numpy
from ..data.loader import DataLoader
from ..graph import no_grad
from ..nn.module import Modes, Module, modes_kept, modes_of, set_modes
from ..tensor import Tensor


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode, nothing recorded; the mode before comes back, also after an error."""
    with modes_kept(model), no_grad():
        model.eval()
        yield


def start_training(model: Module) -> Modes:
    """Put `model` into training mode, but for what is kept out of it; the modes that result.

    A module in evaluation mode among others in training mode was put there on purpose, and stays.
    In a model that is in evaluation mode as a whole (judged or loaded a moment ago) only the
    frozen parts stay: those with parameters, none of which requires a gradient.
    """
    kept = {id(module) for module in _kept_in_evaluation(model)}
    model.train()
    modes = [(module, training and id(module) not in kept)
             for module, training in modes_of(model)]
    set_modes(modes)
    return modes


def _kept_in_evaluation(model: Module) -> list[Module]:
    modes = modes_of(model)
    if any(training for _, training in modes):
        return [module for module, training in modes if not training]
    frozen = [module for module, _ in modes if _is_frozen(module)]
    return [inner for module in frozen for _, inner in module.named_modules()]


def _is_frozen(module: Module) -> bool:
    parameters = module.parameters()
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def evaluation_batches(loader: Any) -> Iterable[Any]:
    """The batches of a loader as a test wants them; the loader itself stays where it is.

    A `DataLoader` gives all its data, in their order, without augmentation. Of another loader that
    can tell its state (`get_state`, `set_state`) it is put back.
    """
    return loader.in_order() if isinstance(loader, DataLoader) else undisturbed(loader)


def undisturbed(loader: Any) -> Iterable[Any]:
    """The batches of a loader's next pass, which does not move the loader on."""
    if isinstance(loader, DataLoader):
        own = copy.copy(loader)  # it shares the arrays, and counts for itself
        own.set_epoch(loader.epoch)  # from the first batch, also in the middle of a pass
        return own
    if hasattr(loader, "get_state") and hasattr(loader, "set_state"):
        return _put_back(loader)
    return loader  # type: ignore[no-any-return]


def _put_back(loader: Any) -> Iterator[Any]:
    state = loader.get_state()
    try:
        yield from loader
    finally:
        loader.set_state(state)


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
    """The pictures of an array or a loader, batch by batch, in the order of the data."""
    if is_pictures(images):
        return (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    check_keeps_order(images)
    return (batch[0] for batch in evaluation_batches(images))


def check_keeps_order(loader: Any) -> None:
    """ValueError for a loader that says it shuffles, and can do nothing else."""
    if getattr(loader, "shuffle", False) is True and not isinstance(loader, DataLoader):
        raise ValueError(f"predictions come in the order of the data, and this "
                         f"{type(loader).__name__} shuffles: make it with shuffle=False, or give "
                         "the pictures themselves")
