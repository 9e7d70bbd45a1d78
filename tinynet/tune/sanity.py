r"""Steps 1 to 3 of the lecture's recipe: three checks that cost seconds and find most mistakes.

    1  check_initial_loss   the loss before training is log C (softmax) or C - 1 (hinge)
    2  overfit_small        a few minibatches are learned by heart, to 100 %
    3  find_lr              on all data, some learning rate lowers the loss within 100 steps

Each works on copies (`workbench.py`), can be called alone, and returns a `Step`: what
was seen, the name of the fault if there is one, and what to do. Lecture ids H1, H2, H3.

Read next: `tune/diagnose.py`.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..functional.loss import cross_entropy, hinge_loss
from ..graph import no_grad
from ..nn.module import Module, set_modes
from ..optim import Optimizer
from ..train.callbacks import Callback, Run
from ..train.history import finite_or_none, smooth
from ..train.modes import start_training
from ..train.predict import as_labels, as_tensor, class_numbers
from ..train.trainer import Batches, Loss
from .workbench import Finding, Setup, Step, fit, fresh, own_random, peak_lr

TOLERANCE = 0.05  # of the initial loss
_BROKEN = 1.25  # times the expected loss: below, a fault is no more than a warning
_NORM_ALLOWS = 2.0  # times the expected loss, in training mode with batch norm
_LARGE = ("Init too large, or wrong normalisation: draw smaller initial weights, above "
          "all in the last layer; give the pictures mean 0 and variance 1.")


def check_initial_loss(model: Module, loader: Batches, loss: Loss = cross_entropy, *,
                       expected: float | None = None, weight_decay: float = 1e-3,
                       pictures: int = 512, seed: int = 0) -> Step:
    r"""Step 1: with C classes and no weight decay, an untrained model has the loss

        softmax   -log(1/C) = log C              hinge   C - 1           (within 5 %)

    because its scores are about equal. Larger: it is surely wrong, and the first
    hundreds of steps go into unlearning that; up to 25 % more is a warning, since
    scores of variance s^2 bring s^2 / 2, which is a lot of log 2. `expected` is for
    other losses.

    Measured in evaluation mode, where batch norm is the identity at first. In training
    mode batch norm brings the scores' variance up to about 1 whatever the weights are:
    there twice the expected value is allowed. The penalty weight_decay / 2 |W|^2 must
    raise the loss. `pictures` are looked at, from all over the data: a loader that can
    shuffle does so here.
    """
    start = time.perf_counter()
    model = copy.deepcopy(model)
    with own_random(seed, 1), no_grad():
        loader = fresh(loader)
        if hasattr(loader, "shuffle"):
            loader.shuffle = True
        pairs = list(itertools.islice(loader, 1))
        pairs += itertools.islice(loader, 1, max(1, pictures // len(pairs[0][1])))
        modes = start_training(model)  # what is frozen stays so, as in a run
        outputs = model.eval()(as_tensor(pairs[0][0]))
        classes = outputs.shape[-1]
        if expected is None:
            expected = _expected(loss, classes)
        quiet = _mean_loss(model, loss, pairs)
        set_modes(modes)
        noisy = _mean_loss(model, loss, pairs)
    weights = [p.data.astype("float64") for p in model.parameters() if p.ndim > 1]
    squares = sum(float((w**2).sum()) for w in weights)
    with_decay = quiet + 0.5 * weight_decay * squares
    numbers = {"classes": classes, "expected": expected, "loss": quiet, "training loss": noisy,
               "loss with weight decay": with_decay}
    step = Step(1, "initial loss", f"The loss is {quiet:.4g} before training, {expected:.4g} "
                f"is expected of {classes} classes; weight decay raises it to "
                f"{with_decay:.4g}.", numbers=numbers, seconds=time.perf_counter() - start)
    agitated = not noisy <= _NORM_ALLOWS * expected
    no_number = not math.isfinite(quiet + noisy)
    too_high = f"{step.said} In training mode it is {noisy:.4g}."
    return step.judge(
        Finding(no_number, "initial loss too high",
                "The loss is no number: are there nan or inf in the pictures or in the "
                "weights? `find_nonfinite` names the operation that makes them.", too_high),
        Finding(agitated or quiet > _BROKEN * expected, "initial loss too high", _LARGE,
                too_high),
        Finding(quiet > (1 + TOLERANCE) * expected, "initial loss too high", _LARGE,
                too_high, "warning"),
        Finding(quiet < (1 - TOLERANCE) * expected, "initial loss too low",
                "An untrained model cannot know this: it is trained already, or its "
                "inputs hold the answer."),
        Finding(not with_decay > quiet, "weight decay without effect",
                "All weights are zero: draw them at random, so that units differ."))


def overfit_small(model: Module, optimizer: Optimizer, loader: Batches,
                  loss: Loss = cross_entropy, *, lr: float | None = None, batches: int = 5,
                  epochs: int = 60, **options: Any) -> Step:
    """Step 2: learn the first `batches` minibatches by heart; a model that cannot has a mistake.

    The same minibatches, with the pictures they hold now, are trained on and checked,
    without weight decay and at a constant `lr` (default: the optimizer's own, of a
    schedule its highest), until all answers are right or `epochs` passes are over. If
    not: a loss that hardly falls means a learning rate that is too low; nan, inf or a
    loss that jumps up one that is too high. Before that, the labels tell whether the
    loader shuffles at all. `options`: metric and seed, as in `Setup`.
    """
    start = time.perf_counter()
    setup = Setup(model, optimizer, loader, loss=loss, **options)
    if lr is None:
        lr = peak_lr(optimizer)
    with own_random(setup.seed, 2):
        order = _order(loader, batches)
        pairs = list(itertools.islice(fresh(loader), batches))
        trainer = setup.trainer(lr, 0.0, [_StopAtAllRight()])
        history = fit(trainer, pairs, pairs, epochs)
    losses = [v for v in history.steps["loss"] if math.isfinite(v)]
    exploded = len(losses) < len(history.steps["loss"]) or history.stopped == "error"
    right = max(history.epochs.get("val_accuracy", [0.0]))
    first = losses[0] if losses else math.nan
    last = [math.nan, *smooth(losses, 0.8)][-1]
    top = max(losses, default=math.inf)
    passes = len(history.epochs.get("epoch", []))
    numbers = {"lr": lr, "batches": len(pairs), "epochs": passes, "accuracy": right,
               "first loss": first, "last loss": last, "highest loss": top}
    step = Step(2, "overfit a few minibatches", f"{right:.1%} of {len(pairs)} minibatches "
                f"learned in {passes} passes at lr {lr:.3g}; the loss went from {first:.3g} "
                f"to {last:.3g}.", numbers=numbers, data={"history": history.to_dict()},
                seconds=time.perf_counter() - start)
    lower = f"The loss explodes: lower the learning rate, to {lr / 10:.1g} or less."
    return step.judge(
        Finding(order == "sorted", "unshuffled data",
                "The data come in the order of their classes: shuffle them, "
                "DataLoader(..., shuffle=True). Learning them like this proves "
                "nothing.",
                "The minibatches hold far fewer classes than the data as a whole. " + step.said),
        Finding(exploded, "lr too high", lower,
                step.said + " The loss became nan or inf."),
        Finding(top > (10.0 if right == 1.0 else 3.0) * first, "lr too high", lower,
                step.said + f" The loss jumped up to {top:.3g}."),
        Finding(right < 1.0 and last > 0.5 * first, "lr too low",
                f"The loss hardly falls: raise the learning rate, to {lr * 10:.1g} or "
                "more. If no rate helps, a part of the model gets no gradient."),
        Finding(right < 1.0, "cannot overfit",
                "The loss falls, but not to the end: allow more passes, or try a "
                "bigger model, another initialisation, less dropout."),
        Finding(order == "fixed", "same order in every epoch",
                "The loader gives the same order in every epoch: shuffle anew each time, "
                "DataLoader(..., shuffle=True).", status="warning"))


def find_lr(model: Module, optimizer: Optimizer, loader: Batches,
            loss: Loss = cross_entropy, *,
            lrs: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4), iterations: int = 100,
            weight_decay: float = 1e-4, **options: Any) -> Step:
    """Step 3: which learning rates make the loss fall within about 100 steps on all the data.

    For each of `lrs`, from the same weights: the ratio of the loss (mean of the last
    tenth of the steps) to that of the untrained model (mean of as many minibatches);
    ``numbers["ranked"]`` lists {lr, ratio, loss, new} from the best. `new` is the loss
    on pictures that the model has not seen: of the `val_loader`, and in a first epoch
    of the last minibatches (the larger of the two).

    A model that counts labels and looks at no picture has the entropy H of the labels
    for a loss. If no rate gets `new` below 95 % of it, there is a second look, five
    times as long; if that does not help either, though step 2 has passed, the labels do
    not belong to the pictures.
    """
    if len(lrs) == 0:
        raise ValueError("lrs must hold at least one learning rate to try, got none")
    start = time.perf_counter()
    setup = Setup(model, optimizer, loader, loss=loss, **options)
    val_loader = setup.val_loader
    tenth = max(1, iterations // 10)
    epoch: int = len(loader)  # type: ignore[arg-type]

    def attempt(lr: float, steps: int) -> tuple[list[float], float, float]:
        """All losses; the mean of the last ones; the loss on new pictures."""
        with own_random(setup.seed, 3):
            trainer = setup.trainer(lr, weight_decay)
            losses = fit(trainer, _First(fresh(loader), steps), None, 1).steps["loss"]
            if not math.isfinite(sum(losses)):
                return losses, math.inf, math.inf
            last = sum(losses[-tenth:]) / tenth
            if val_loader is None:
                return losses, last, last
            new = trainer.evaluate(list(itertools.islice(fresh(val_loader), 10))).loss
            return losses, last, max(new, last) if steps <= epoch else new

    begin = attempt(0.0, tenth)[1]
    entropy = _entropy(loader) if loss is cross_entropy else math.nan
    curves = []
    ranked = []
    for lr in lrs:
        losses, last, new = attempt(lr, iterations)
        ranked.append({"lr": lr, "ratio": last / begin, "loss": last, "new": new})
        curves.append({"lr": lr, "loss": [*map(finite_or_none, losses)]})
    ranked.sort(key=lambda row: row["ratio"])
    best = ranked[0]
    finite = [row for row in ranked if math.isfinite(row["new"])]
    seen = min((row["new"] for row in finite), default=math.inf)
    numbers = {"lr": best["lr"], "ratio": best["ratio"], "loss at the start": begin,
               "label entropy": entropy, "loss on new pictures": seen,
               "ranked": [{n: finite_or_none(v) for n, v in row.items()} for row in ranked]}
    step = Step(3, "find a learning rate", f"Of {len(lrs)} rates, {best['lr']:g} "
                f"lowers the loss most in {iterations} steps: to {best['ratio']:.0%} "
                "of where it began.",
                numbers=numbers, data={"curves": curves})
    too_low = best["ratio"] > 0.95 and max(lrs) < peak_lr(optimizer)
    is_new = val_loader is not None or iterations <= epoch  # also what it trains on
    doubtful = bool(finite) and not too_low and seen > 0.95 * entropy and is_new
    longer = 5 * iterations if val_loader is not None else min(5 * iterations, epoch)
    learns = doubtful and any(attempt(row["lr"], longer)[2] < 0.95 * entropy
                              for row in finite)
    step.judge(
        Finding(not finite, "lr too high",
                "Try much smaller ones; check that the inputs are normalised and finite.",
                "The loss became nan or inf at every learning rate down to "
                f"{min(lrs):g}."),
        Finding(too_low, "lr too low",
                f"The loss hardly falls at any: try rates above {max(lrs):g}."),
        Finding(learns, "", f"The task is hard at first: in {iterations} steps no rate did "
                "better than answering without a look at the pictures, in "
                f"{longer} one did.", status="warning"),
        Finding(doubtful, "labels do not follow from the pictures",
                "It learned minibatches by heart and cannot go beyond: are the labels "
                "shuffled, or shifted against the pictures? Look at twenty of them.",
                f"{step.said} On pictures it has not seen, the loss is {seen:.4g} at "
                "best: hardly better than answering without a look at them "
                f"({entropy:.4g})."))
    step.seconds = time.perf_counter() - start
    return step


class _StopAtAllRight(Callback):
    def on_epoch(self, trainer: Run) -> None:
        if trainer.history.epochs["val_accuracy"][-1] == 1.0:
            trainer.stop("all right")


class _First:
    """The first `n` batches of a loader, in several epochs if need be."""

    def __init__(self, loader: Any, n: int) -> None:
        self.loader = loader
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Any:
        endless = itertools.chain.from_iterable(itertools.repeat(self.loader))
        return itertools.islice(endless, self.n)


def _mean_loss(model: Module, loss: Loss, pairs: Sequence[tuple[Any, Any]]) -> float:
    losses = [loss(model(as_tensor(x)), as_labels(y)).item() for x, y in pairs]
    return float(np.mean(losses))


def _expected(loss: Loss, classes: int) -> float:
    if loss is cross_entropy:
        return math.log(classes)
    if loss is hinge_loss:
        return classes - 1.0
    raise ValueError("only the initial losses of cross_entropy and hinge_loss are "
                     "known here: pass expected=, the loss of a model that knows "
                     "nothing")


def _all_labels(loader: Any, limit: int = 500) -> Any:
    """The labels of the data set, or of as many batches."""
    labels = getattr(loader, "labels", None)
    if labels is None:
        pairs = itertools.islice(fresh(loader), limit)
        labels = np.concatenate([class_numbers(labels) for _, labels in pairs])
    return to_numpy(labels)


def _entropy(loader: Any) -> float:
    """H = -sum p log p of the labels, in nats: the loss of the best constant answer."""
    counts = np.bincount(_all_labels(loader))
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _order(loader: Any, batches: int) -> str:
    """How a loader shuffles: "sorted" by class, "fixed" (same order in each epoch), or "random".

    Sorted: the statistic X^2 = sum over batches and classes of (n - B p)^2 / (B p) is
    far above its mean under shuffling, which is its degrees of freedom (Pearson's test,
    8 standard deviations).
    """
    everything = _all_labels(loader)
    counts = np.bincount(everything)
    used = np.flatnonzero(counts)
    p = counts[used] / len(everything)
    one = fresh(loader)
    first = [class_numbers(labels) for _, labels in itertools.islice(one, batches)]
    if len(used) < 2:
        return "random"
    observed = np.array([[np.count_nonzero(y == c) for c in used] for y in first])
    sizes = np.array([[len(y)] for y in first])
    statistic = float(((observed - sizes * p) ** 2 / (sizes * p)).sum())
    freedom = len(first) * (len(used) - 1)
    if statistic > freedom + 8.0 * math.sqrt(2.0 * freedom):
        return "sorted"
    if hasattr(one, "set_epoch"):
        one.set_epoch(1)
    again = [class_numbers(labels) for _, labels in itertools.islice(one, batches)]
    by_chance = float((p**2).sum()) ** int(sizes.sum())
    same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    return "fixed" if same and by_chance < 1e-6 else "random"
