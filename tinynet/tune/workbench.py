r"""Trying something on a model without changing it: everything happens to a copy.

A deep copy of (model, optimizer) together keeps them linked: the copied optimizer
updates the copied weights. Loaders are copied as well (not their arrays), and start
from epoch 0. What is left is the default random generator, which comes back to the
state it had. So whatever is tried, the model, its gradients and mode, the optimizer,
the loaders and the random numbers are as before, bit for bit, also after an error.

Read next: `tune/sanity.py`.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..functional.loss import cross_entropy
from ..nn.module import Module
from ..optim import Optimizer
from ..optim.schedule import Schedule
from ..random import get_state, key, manual_seed, set_state
from ..train.callbacks import Callback
from ..train.history import History, finite_or_none
from ..train.trainer import Batches, Loss, Metric, Trainer, count_correct


class Finding(NamedTuple):
    """What a step may find, and what to do about it; `said` replaces the step's."""

    holds: bool
    fault: str
    advice: str
    said: str = ""
    status: str = "fault"


@dataclass
class Step:
    """What one step of the recipe found.

    status   "ok", "warning" (go on, but know this) or "fault" (mend this first)
    fault    the name of what is wrong, "" if nothing is: `recipe.FAULTS` lists them
    said     what was seen, with its numbers;    advice: what to do about it
    numbers  what it was judged by (None: not finite)
    data     curves and tables for the report, as JSON holds them
    """

    number: int
    title: str
    said: str
    status: str = "ok"
    fault: str = ""
    advice: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.numbers = {name: finite_or_none(value) for name, value in self.numbers.items()}

    def judge(self, *findings: Finding) -> Step:
        """Take over the first finding that holds; without one, all is well."""
        for found in findings:
            if found.holds:
                self.status = found.status
                self.fault = found.fault
                self.advice = found.advice
                self.said = found.said or self.said
                break
        return self

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"Step {self.number}, {self.title}: {self.status}. {self.said}{advice}"


@dataclass
class Setup:
    """What is to be trained: never changed by `trainer`, which works on a copy of all of it.

    Picklable if its parts are, so a search may send it to other processes.
    """

    model: Module
    optimizer: Optimizer
    train_loader: Batches
    val_loader: Batches | None = None
    loss: Loss = cross_entropy
    metric: Metric | None = count_correct
    seed: int = 0

    def trainer(self, lr: float | None = None, weight_decay: float | None = None,
                callbacks: Iterable[Callback] = ()) -> Trainer:
        """A silent trainer of copies, at a constant rate (default: `peak_lr`)."""
        model, optimizer = copy.deepcopy((self.model, self.optimizer))
        optimizer.lr = peak_lr(self.optimizer) if lr is None else lr
        if weight_decay is not None:
            set_weight_decay(optimizer, weight_decay)
        return Trainer(model, optimizer, self.loss, metric=self.metric, keep_best=False,
                       progress=False, callbacks=callbacks)


def peak_lr(optimizer: Optimizer) -> float:
    """The learning rate of the first group; of a schedule its highest value."""
    lr = optimizer.param_groups[0]["lr"]
    if not callable(lr):
        return float(lr)
    steps = int(lr.span) if isinstance(lr, Schedule) else 10_000
    return max(float(lr(t)) for t in range(0, steps + 1, max(1, steps // 1000)))


def set_weight_decay(optimizer: Optimizer, value: float) -> None:
    """Give `value` to the groups that decay; where none does, to all.

    So with ``param_groups(model, weight_decay=1e-4)`` biases and norm scales stay
    without.
    """
    groups = [g for g in optimizer.param_groups if g["weight_decay"]] or optimizer.param_groups
    for group in groups:
        group["weight_decay"] = value


def fresh(loader: Any) -> Any:
    """A copy of a loader that starts from epoch 0, with whole batches; the arrays are shared."""
    loader = copy.copy(loader)
    if hasattr(loader, "part"):  # rows of a rank: no trial averages the gradients
        loader.part = None
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(0)
    return loader


@contextlib.contextmanager
def own_random(*parts: int) -> Iterator[None]:
    """Random numbers of (parts) inside, the old ones after; overflow does not warn."""
    before = get_state()
    manual_seed(key("workbench", *parts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            yield
        finally:
            set_state(before)


def fit(trainer: Trainer, train_loader: Batches, val_loader: Batches | None,
        epochs: int) -> History:
    """Train; a loss that is no number ends it. Ctrl-C is passed on."""
    with contextlib.suppress(FloatingPointError):
        trainer.fit(train_loader, val_loader, epochs)
    if trainer.history.stopped == "interrupted":
        raise KeyboardInterrupt
    return trainer.history
