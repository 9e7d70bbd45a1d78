"""How long a call of `Trainer.fit` will be: epochs, the last of them perhaps in part.

    5.5 epochs of 20 batches      6 epochs, of which the last has 10 batches

Read next: `train/gradient.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..checks import check_whole
from .predict import planned_batches


class Plan(NamedTuple):
    """`epochs` of `batches` each (0: the loader does not tell), but `last` in the last one."""

    epochs: int
    batches: int
    last: int

    def steps(self, epoch: int, batches_done: int) -> int:
        """How many are left after so many epochs, and batches of the next; 0: not known.

        >>> Plan(6, 20, 10).steps(epoch=5, batches_done=4)
        6
        """
        if epoch >= self.epochs:
            return 0
        return (self.epochs - epoch - 1) * self.batches + self.last - batches_done

    def rest(self, loader: Any, epoch: int, batches_done: int) -> Iterator[Any]:
        """The batches still to come in this epoch (the first is 0): mostly all of them."""
        knows_its_place = hasattr(loader, "set_state")
        start = 0 if knows_its_place else batches_done
        if epoch + 1 < self.epochs or self.last == self.batches:
            return itertools.islice(loader, start, None)
        return _cut(loader, start, self.last - batches_done + start)


def _cut(loader: Any, start: int, stop: int) -> Iterator[Any]:
    """Batches start .. stop - 1; the loader's next pass is another epoch all the same."""
    yield from itertools.islice(loader, start, stop)
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(loader.epoch + 1)


def planned(loader: Any, epochs: Any) -> Plan:
    """The plan of ``fit(loader, epochs=epochs)``, and the errors of what cannot be.

    >>> planned([("x", "y")] * 20, 5.5)
    Plan(epochs=6, batches=20, last=10)
    """
    if not isinstance(epochs, float) or not math.isfinite(epochs) or epochs <= 0:
        epochs = check_whole("epochs", epochs)
    whole = math.ceil(epochs)
    batches = planned_batches("train_loader", loader, whole)
    if epochs == whole:
        return Plan(whole, batches, batches)
    if not batches:
        raise ValueError(f"epochs={epochs} of a {type(loader).__name__} without a length: how "
                         f"many batches are a part of an epoch? Give a whole number")
    last = round((epochs - whole + 1) * batches)
    if last == 0 and whole > 1:  # less than half a batch
        return Plan(whole - 1, batches, batches)
    return Plan(whole, batches, max(1, last))
