"""What a `Trainer` is given: habit often gives it something else, which would run, too.

A loss that is a class, a hook of another library that nobody calls, a metric that is a
share where a count is wanted, a schedule in epochs: each is said by name, before the
first step where that can be, else at the first reading of the numbers.

Read next: `train/settings.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import types
from collections.abc import Iterable
from typing import Any

from ..backend import on_gpu, to_numpy, xp
from ..foreign import closest
from ..functional import loss as losses
from ..nn.layers import Sequential, Sigmoid
from ..nn.losses import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from ..nn.module import Module
from ..optim.schedule import Plateau, Schedule
from .callbacks import Callback

_HOOKS = [name for name in vars(Callback) if name.startswith(("on_", "before_", "at_"))]
_FOREIGN_HOOKS = ("on_", "before_", "after_", "at_", "begin_")
_MEANT = {  # of Keras, Lightning and fastai
    "on_epoch_end": "on_epoch", "on_train_epoch_end": "on_epoch",
    "on_validation_end": "on_epoch", "after_epoch": "on_epoch",
    "on_batch_end": "on_step", "on_train_batch_end": "on_step",
    "after_batch": "on_step",
    "on_train_begin": "on_start", "on_fit_start": "on_start", "before_fit": "on_start",
    "on_train_start": "on_start", "on_train_end": "on_end", "on_fit_end": "on_end",
    "after_fit": "on_end", "on_before_optimizer_step": "before_update",
    "on_after_backward": "before_update",
}


# Before the first step

def spoilt(model: Module) -> list[str]:
    """The trained weights that are not finite, and the buffers with a nan, by name.

    A buffer may hold infinities on purpose, as a mask does; nan is what running
    statistics become. Reads one array.
    """
    found = {name: ~xp.isfinite(p.data).all() for name, p in model.named_parameters()
             if p.requires_grad}
    found |= {name: xp.isnan(b.data).any() for name, b in model.named_buffers()
              if b.data.dtype.kind == "f"}
    if not found:
        return []
    answers = to_numpy(xp.stack(list(found.values())))
    return list(itertools.compress(found, answers.tolist()))


def check_parts(model: Any, optimizer: Any, loss: Any, metric: Any) -> None:
    """TypeError for a class in place of an object, a text in place of a function."""
    if not isinstance(model, Module):
        fix = "a network, such as models.mlp([8, 4])"
        if isinstance(model, type) and issubclass(model, Module):
            fix = f"an object: write {model.__name__}(...)"
        raise TypeError(f"model must be {fix}, got {_shown(model)}")
    if optimizer is not None:  # it takes none to evaluate
        check_optimizer(optimizer)
    if isinstance(loss, type):
        raise TypeError(f"loss must be a function of (outputs, targets), and "
                        f"{loss.__name__} is a class: write {loss.__name__}()")
    if not callable(loss):
        raise TypeError("loss must be a function of (outputs, targets), such as "
                        f"F.cross_entropy, got {_shown(loss)}")
    if metric is not None and (isinstance(metric, type) or not callable(metric)):
        raise TypeError("metric must be a function that counts right answers, or None; "
                        f"got {_shown(metric)}: the accuracy is measured without it")


def check_optimizer(optimizer: Any) -> None:
    """TypeError for what can take no step."""
    if isinstance(optimizer, type) or not hasattr(optimizer, "zero_grad"):
        raise TypeError("optimizer must be an object such as "
                        "optim.Adam(model.named_parameters(), lr=1e-3), got "
                        f"{_shown(optimizer)}")


def _shown(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__name__} {value!r:.60}"


def with_own(defaults: list[Callback], given: Any) -> list[Callback]:
    """The default callbacks but those of a kind that is `given`, then the given ones.

    Two of a kind would record, report or remember everything twice.
    """
    if isinstance(given, Callback) or not isinstance(given, Iterable):
        raise TypeError(f"callbacks must be a list: callbacks=[{_shown(given)}]")
    own = list(given)
    for callback in own:
        check_callback(callback)
    kinds = {type(callback) for callback in own}
    return [each for each in defaults if type(each) not in kinds] + own


def check_callback(callback: Any) -> None:
    """TypeError for what is no callback, or has a hook that nobody would call."""
    if not isinstance(callback, Callback):
        raise TypeError("callbacks must be objects such as NanGuard(), got "
                        f"{callback!r}")
    kind = type(callback).__name__
    for name in sorted({*dir(type(callback)), *vars(callback)}):
        if name in _HOOKS or not name.startswith(_FOREIGN_HOOKS):
            continue
        if callable(getattr(callback, name, None)):
            meant = _MEANT.get(name) or closest(name, _HOOKS)
            fix = f"the hook is called {meant}; " if meant else ""
            raise TypeError(f"{kind}.{name} would never be called: {fix}the hooks are "
                            f"{', '.join(_HOOKS)}")


def rate_note(optimizer: Any, steps: int) -> str:
    """A line if every schedule comes to 0, or to its end, long before `steps` are done.

    Where one goes on, another that ends early does so on purpose.
    """
    groups = getattr(optimizer, "param_groups", [])
    notes = []
    for schedule in {id(group["lr"]): group["lr"] for group in groups}.values():
        if isinstance(schedule, types.FunctionType):
            schedule = Schedule(schedule, "a function of the step", steps)
        pure = isinstance(schedule, Schedule) and not any(
            isinstance(leaf, Plateau) for leaf in schedule.leaves())
        note = ""
        if pure and steps > 1:
            with contextlib.suppress(Exception):  # of a function that needs a run around it
                note = _end_of(schedule, optimizer.t, optimizer.t + steps)
        if note:
            notes.append(f"{note}: schedules count steps, not epochs")
        elif pure:
            return ""
    return next(iter(notes), "")


def _end_of(schedule: Schedule, start: int, stop: int) -> str:
    steps = stop - start
    rates = [schedule(start + steps * i // 64) for i in range(64)]
    peak = max(rates)
    if not math.isfinite(sum(rates)):  # the step itself will say so
        return ""

    def idle(t: int) -> bool:
        return schedule(t) <= 1e-9 * peak

    if idle(stop - 1):
        low = start  # the first step from which on it is idle lies in low .. high
        high = stop - 1
        while low < high:
            middle = (low + high) // 2
            if idle(middle):
                high = middle
            else:
                low = middle + 1
        if stop - low > max(1, steps // 100):
            return (f"lr is {schedule(low):.2g} from step {low} of {stop} on "
                    f"({schedule.text})")
    elif schedule.length is not None and schedule.length - start <= steps // 4:
        return (f"lr stays {schedule(stop - 1):.2g} from step {schedule.length} of "
                f"{stop} on, where its schedule ends ({schedule.text})")
    return ""


# At the first batches

def has_accuracy(outputs: Any, labels: Any) -> bool:
    """Whether the largest output of a row can be right: labels are classes, or shares.

    Of floats and bools it reads the numbers: they are shares if each row adds up to 1.
    """
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        return False
    if labels.dtype.kind not in "fb":
        return bool(labels.ndim < outputs.ndim)
    return labels.shape == outputs.shape and are_shares(labels)


def check_columns(outputs: Any) -> None:
    """ValueError for one column of scores, whose largest is always the first."""
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ValueError(f"outputs of shape {tuple(outputs.shape)} have one score for each "
                         "sample, and none is the largest: count as (outputs > 0) == labels")


def listed(names: list[Any], most: int) -> str:
    """The first of the names, and dots for the others."""
    dots = " ..." * (len(names) > most)
    return ", ".join(map(str, names[:most])) + dots


def are_shares(rows: Any) -> bool:
    """Whether the numbers of each row are not negative and add up to 1."""
    if rows.shape[-1] < 2 or not rows.size:
        return False
    return bool((rows >= 0).all() and (abs(rows.sum(axis=-1) - 1) < 1e-3).all())


def score_note(model: Module, loss: Any, outputs: Any) -> str:
    """A line if the loss takes scores and the net ends in probabilities, or so."""
    if on_gpu or outputs.ndim < 2:  # there the numbers are not read inside a step
        return ""
    name = getattr(loss, "__name__", type(loss).__name__)
    if loss is losses.cross_entropy or isinstance(loss, CrossEntropyLoss):
        if are_shares(outputs):
            return (f"the outputs are probabilities already, and {name} takes scores: "
                    "leave the Softmax at the end of the net out")
    elif loss is losses.nll_loss or isinstance(loss, NLLLoss):
        if outputs.max() > 0:
            return (f"the outputs are no log-probabilities, which {name} takes: end the "
                    "net with nn.LogSoftmax(), or use cross_entropy, which takes scores")
    elif isinstance(_last_layer(model), Sigmoid) and (
            loss is losses.binary_cross_entropy_with_logits
            or isinstance(loss, BCEWithLogitsLoss)):
        return f"{name} takes scores: leave the Sigmoid at the end of the net out"
    return ""


def _last_layer(model: Module) -> Module:
    while isinstance(model, Sequential) and len(model):
        model = model[-1]
    return model


# When the numbers are read

def most_right(labels: Any) -> int:
    """How many of `labels` a metric can find right; 0: they are shares, not whole ones.

    Below 0 stands the number of float targets in one column: what counts there is free,
    as long as it is no share.
    """
    if labels.dtype.kind != "f":
        return int(labels.size)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        return 0
    return -int(labels.size)


class Counting:
    """The metric of a run: how many outputs are right, where that means something.

    `own` is the user's: it must count. The usual one (`own` False) is left out where
    the targets have no classes; of float targets the first batch of a shape tells.
    """

    def __init__(self, metric: Any, own: bool) -> None:
        self.metric = metric
        self.own = own
        self._means: dict[Any, bool] = {}

    def __call__(self, outputs: Any, labels: Any) -> Any:
        """The count on the device, or None."""
        if self.metric is None:
            return None
        if not self.own:
            kind = (outputs.shape[1:], labels.dtype.kind, labels.shape[1:])
            if kind not in self._means:
                self._means[kind] = has_accuracy(outputs, labels)
            if not self._means[kind]:
                return None
        return self.metric(outputs, labels)

    def check(self, right: float, most: int) -> None:
        """ValueError for a metric that returned a share, or more than all labels."""
        if not self.own or math.isnan(right):
            return
        wrong = most < 0 and 0 < right < 1
        if most > 0:
            wrong = not (math.isfinite(right) and right == round(right))
            wrong = wrong or not 0 <= right <= most
        if wrong:
            name = getattr(self.metric, "__name__", type(self.metric).__name__)
            raise ValueError(
                f"the metric {name} returned {right:.4g} for {abs(most)} labels: it must "
                "count the right ones, as .sum() does where .mean() is a share")
