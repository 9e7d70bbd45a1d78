r"""What a net makes of pictures: in the order of the data, or over several views.

    p = (1 / V) sum_v softmax(net(view_v))        average="probability"
    s = (1 / V) sum_v net(view_v)                 average="score"

A batch comes as (images, labels), of arrays or tensors; where only pictures are wanted,
an array of them or a loader. The mean over views is like an ensemble of V nets with
shared weights: noise of the training is averaged out at test time (CS231n lecture 8:
F4, E11).

Read next: `train/facts.py`.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..backend import Array, HostArray, asarray, is_array, to_numpy
from ..checks import check_choice, check_probability
from ..data.loader import DataLoader
from ..data.samples import is_map_style
from ..data.views import flips
from ..functional.activation import softmax
from ..graph import no_grad
from ..nn.module import Module, modes_kept
from ..tensor import Tensor

Views = Callable[[Array], Iterable[Array]]


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode, nothing recorded; the modes before come back."""
    with modes_kept(model), no_grad():
        model.eval()
        yield


def evaluation_batches(loader: Any, rank: int = 0, size: int = 1) -> Iterable[Any]:
    """The batches of a loader as a test wants them; the loader stays where it is.

    A `DataLoader` gives all its data, in their order, without augmentation; of several
    ranks each gets its rows. Of another
    loader that can tell its state (`get_state`, `set_state`) it is put back.
    """
    if isinstance(loader, DataLoader):
        return loader.in_order(rank, size)
    return undisturbed(loader)


def undisturbed(loader: Any) -> Iterable[Any]:
    """The batches of a loader's next pass, which does not move the loader on.

    Of a loader that was shared out among ranks they are whole: each rank that asks gets
    what one process gets, and waits for no other.
    """
    if isinstance(loader, DataLoader):
        own = copy.copy(loader)  # it shares the arrays, and counts for itself
        own.part = None
        own.set_epoch(loader.epoch)  # from the first batch, also in mid-pass
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
    """How many batches the loader called `name` has; ValueError if none."""
    batches = 0
    if isinstance(loader, Sized) and isinstance(loader, Iterable):
        batches = len(loader)
    if batches == 0:
        raise ValueError(
            f"{name} has no batches, or no len(), got {type(loader).__name__}: give it "
            "at least one batch, by a DataLoader or a list of (images, labels) "
            "(drop_last=True drops a short one)")
    return batches


def planned_batches(name: str, loader: Any, epochs: int) -> int:
    """Batches of an epoch, 0 where the loader does not tell; errors of what is none.

    TypeError for data in place of batches, ValueError for a loader without batches, and
    for one that can be read once only where more epochs are wanted.
    """
    check_batches(name, loader)
    if isinstance(loader, Sized):
        return batch_count(name, loader)
    if isinstance(loader, Iterator) and epochs > 1:
        raise ValueError(
            f"{name} is a {type(loader).__name__}, which can be read once, and "
            f"epochs={epochs}: make a list of it, or a class whose __iter__ begins anew")
    return 0


def check_batches(name: str, loader: Any, *others: Any) -> None:
    """TypeError for what is no loader: the data themselves, or a data set; and for more."""
    fix = "batches are made by DataLoader({}, batch_size=64)"
    if is_pictures(loader) or _is_arrays(loader):
        shape = ""
        if is_pictures(loader):
            shape = f" of shape {tuple(loader.shape)}"
        raise TypeError(f"{name} must be batches of (inputs, targets), got "
                        f"{type(loader).__name__}{shape}: {fix.format('X, y')}")
    if others:
        raise TypeError(f"evaluate() takes one loader, got {1 + len(others)} things: "
                        + fix.format("X, y"))
    if isinstance(loader, Iterable):
        return
    if is_map_style(loader):
        raise TypeError(f"{name} must be batches, got the data set "
                        f"{type(loader).__name__}: {fix.format('dataset')}")
    raise TypeError(f"{name} must be batches of (inputs, targets), got "
                    f"{type(loader).__name__}: give a DataLoader, or a list or another "
                    "iterable of pairs")


def _is_arrays(loader: Any) -> bool:
    """Whether it is (X, y), or a list of arrays, in place of batches."""
    return isinstance(loader, tuple | list) and len(loader) > 0 and is_pictures(loader[0])


def pair_of(batch: Any) -> tuple[Any, Any]:
    """A batch as (inputs, targets); TypeError if it is something else."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    found = type(batch).__name__
    if isinstance(batch, tuple | list):
        found += f" of {len(batch)}"
    raise TypeError(f"a batch must be (inputs, targets), got {found}: let the loader "
                    "give pairs")


def as_tensor(images: Any) -> Tensor:
    """The pictures of a batch as the net takes them."""
    return images if isinstance(images, Tensor) else Tensor(images)


def as_labels(labels: Any) -> Array:
    """The labels of a batch as an array on the device."""
    return labels.data if isinstance(labels, Tensor) else asarray(labels)


def class_numbers(labels: Any) -> HostArray:
    """Labels on the host as class numbers: of probabilities the most likely one."""
    found: HostArray = to_numpy(as_labels(labels))
    if found.ndim > 1:
        found = found.argmax(axis=-1)
    return found


def is_pictures(images: Any) -> bool:
    """Whether these are pictures themselves, and no loader of them."""
    return isinstance(images, Tensor | np.ndarray) or is_array(images)


def picture_batches(images: Any, batch_size: int) -> Iterator[Any]:
    """The pictures of an array or a loader, batch by batch, in their order."""
    if is_pictures(images):
        return (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    if not isinstance(images, Iterable):  # a data set, say
        check_batches("images", images)
    check_keeps_order(images)
    return map(pictures_of, evaluation_batches(images))


def pictures_of(batch: Any) -> Any:
    """A batch is its pictures, or a tuple or list that begins with them."""
    return batch[0] if isinstance(batch, tuple | list) else batch


def check_keeps_order(loader: Any) -> None:
    """ValueError for a loader that says it shuffles, and can do nothing else.

    PyTorch's says so by its sampler.
    """
    if isinstance(loader, DataLoader):
        return
    sampler = type(getattr(loader, "sampler", None)).__name__
    if getattr(loader, "shuffle", False) is True or "Random" in sampler:
        raise ValueError(
            "predictions come in the order of the data, and this "
            f"{type(loader).__name__} shuffles: make it with shuffle=False, or give "
            "the inputs themselves")


def answers(model: Module, images: Any, batch_size: int,
            answer: Callable[[Any], Array], who: str) -> HostArray:
    """What `answer` gives in evaluation mode for each batch; on the host."""
    with evaluating(model):
        batches = picture_batches(images, batch_size)
        found = [to_numpy(answer(batch)) for batch in batches]
    if not found:
        raise ValueError(f"{who}() got no images")
    return np.concatenate(found)


def predict_views(model: Module, images: Any, views: Views = flips,
                  batch_size: int = 64, average: str = "probability",
                  unsure: float = 1.0) -> HostArray:
    """Mean probabilities (N, classes), or scores, over all views; on the host.

    `images` are (N, C, H, W), prepared as the model expects them, or a loader whose
    pictures are; of a batch one view after the other passes through the net. The views
    are made by the functions of `data/views.py`, or by yours.

    With ``unsure=0.25`` all pictures are looked at in the first view alone, and a
    quarter of them in the others, too: those whose two best classes are nearest to one
    another. Views help there most; of the rest the first view's answer stays.

    >>> from tinynet import models
    >>> predict_views(models.mlp([12, 3]), np.zeros((2, 3, 2, 2), np.float32)).shape
    (2, 3)
    """
    check_choice("average", average, ("probability", "score"))
    check_probability("unsure", unsure)

    def mean_over(made: Iterable[Array]) -> Array:
        found = [model(Tensor(view)) for view in made]
        if not found:
            raise ValueError("views must yield at least one view of a batch, got none")
        if average == "probability":
            found = [softmax(outputs) for outputs in found]
        return sum(outputs.data for outputs in found) / len(found)

    def all_views(batch: Any) -> Array:
        return mean_over(views(as_tensor(batch).data))

    def first_view(batch: Any) -> Array:
        return mean_over(itertools.islice(views(as_tensor(batch).data), 1))

    if unsure == 1.0:
        return answers(model, images, batch_size, all_views, "predict_views")
    scores = answers(model, images, batch_size, first_view, "predict_views")
    best_two = np.sort(scores, axis=1)[:, -2:]
    again = np.argsort(best_two[:, -1] - best_two[:, 0], kind="stable")
    again = np.sort(again[: math.ceil(unsure * len(scores))])
    with evaluating(model):
        start = 0
        for batch in picture_batches(images, batch_size):
            rows = again[(again >= start) & (again < start + len(batch))]
            if len(rows):
                scores[rows] = to_numpy(all_views(as_tensor(batch).data[asarray(rows - start)]))
            start += len(batch)
    return scores
