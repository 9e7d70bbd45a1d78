r"""The gradient of a batch: at once, or in chunks that are small enough; alone or of many ranks.

    g = sum_c (n_c / n) g_c        of a loss that is the mean over the samples
    g = sum_c g_c                  of one that is their sum (reduction="sum")

A chunk of n_c samples passes through the net and back before the next one does, so memory
holds one chunk's graph, and its arrays stay in the cache; the gradients add up. To rounding
it is the gradient of the whole batch: noise layers cut each chunk's masks from those of
the whole batch. Batch norm alone sees the chunks one by one: statistics are those of a
chunk ("ghost" batches; Hoffer et al. 2017, "Train longer, generalize better"), and the
running ones move once for each.

Read next: `train/modes.py`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..backend import Array
from ..nn.module import Module
from ..nn.noise import noise_state, set_noise_state
from ..random import Share, current_share, share_of_batch
from ..tensor import Tensor
from .distributed import World
from .given import most_right

Count = Callable[[Array, Array], "Array | None"]


class Learner(Protocol):
    """What a gradient is computed with; `Trainer` has it."""

    model: Module
    loss: Any
    world: World
    chunk: int | None


class Judged(NamedTuple):
    """What is known of a batch when its gradient is there; the arrays are on the device."""

    loss: Tensor  # of the whole batch, as the loss function means it
    mean: Any  # the same for one sample
    correct: Any  # None: nothing is counted
    most: int  # what `correct` can be; 0: it need not be whole
    size: int
    outputs: Array  # of the first chunk


def sums_up(loss: Any) -> bool:
    """Whether `loss` says that it adds up its samples: a module of losses, or a partial.

    >>> from tinynet import nn
    >>> sums_up(nn.CrossEntropyLoss(reduction="sum"))
    True
    """
    if isinstance(loss, functools.partial):
        if "reduction" in loss.keywords:
            return bool(loss.keywords["reduction"] == "sum")
        return sums_up(loss.func)
    return getattr(loss, "reduction", "mean") == "sum"


def pieces(rows: int, chunk: int | None, share: Any = None) -> list[tuple[int, int]]:
    """(start, stop) of each chunk: of at most `chunk` rows, and as equal as can be.

    Of several ranks each cuts its rows into as many, so that they can ask one another.

    >>> pieces(10, 4)
    [(0, 3), (3, 6), (6, 10)]
    """
    if chunk is None:
        return [(0, rows)]
    most = rows
    least = rows
    if share is not None and share.over is not None:
        least = max(1, share.total // share.over.size)
        most = -(-share.total // share.over.size)
    count = max(1, min(-(-most // chunk), least))
    return [(rows * i // count, rows * (i + 1) // count) for i in range(count)]


def compute_gradient(of: Learner, images: Tensor, labels: Any, count: Count | None) -> Judged:
    """Let every parameter's ``.grad`` grow by the gradient of the loss of this batch.

    With several ranks it is then the same on each, and so are the numbers. `count` says
    how many outputs are right, if that is asked.
    """
    share = current_share()
    size = len(images)
    parts = pieces(size, of.chunk, share)
    summed = sums_up(of.loss)
    scale = 1.0  # of a sum: ranks are averaged by n_r / N afterwards
    if summed and share is not None and of.world.size > 1:
        scale = share.total / share.rows
    drawn = noise_state(of.model) if len(parts) > 1 else {}
    loss: Any = None
    correct: Any = None
    first: Any = None
    for start, stop in parts:
        if start:
            set_noise_state(of.model, drawn)  # it draws what the first chunk drew
        factor = scale
        if not summed and len(parts) > 1:
            factor = (stop - start) / size
        rows = labels[start:stop]
        with _chunk(share, start, stop, size):
            outputs = of.model(images if len(parts) == 1 else images[start:stop])
            own = of.loss(outputs, rows)
            (own if factor == 1.0 else own * factor).backward()
        if first is None:
            first = outputs.data
        if len(parts) > 1:
            part = own.data if summed else own.data * factor
            own = Tensor(part if loss is None else loss.data + part, dtype=own.dtype)
        loss = own
        right = None if count is None else count(outputs.data, rows)
        if right is not None:
            correct = right if correct is None else correct + right
    mean = loss.data / size if summed else loss.data
    most = most_right(labels)
    if of.world.size > 1:  # then these are numbers of the whole batch
        mean, correct, most, size = of.world.of_batch(of.model, mean, correct, most, size)
        loss = Tensor(mean * size if summed else mean, dtype=loss.dtype)
    return Judged(loss, mean, correct, most, size, first)


def _chunk(share: Share | None, start: int, stop: int, size: int
           ) -> contextlib.AbstractContextManager[None]:
    """In force while rows start .. stop of the `size` in hand pass through the net."""
    if stop - start == size:
        return contextlib.nullcontext()
    if share is None:
        return share_of_batch(start, stop - start, size, chunk_of=size)
    return share_of_batch(share.offset + start, stop - start, share.total, share.over, size)
