r"""The lecture's recipe for choosing hyper-parameters: seven steps, alone or as one run.

    1  check_initial_loss   log C before training            `sanity.py`
    2  overfit_small        a few minibatches to 100 %
    3  find_lr              a rate that works within 100 steps
    4  coarse_grid          4 learning rates x 3 weight decays, 1 to 5 epochs each
    5  refine               random points around the best one, 10 to 20 epochs, constant rate
    6  read_curves          what the best curves say           `diagnose.py`
    7  run                  back to step 5, until rounds or time are used up

    found = run(model, optimizer, train_loader, val_loader, journal="recipe.jsonl", budget=1800,
                report=lambda found: viz.write_report(found, "report.html"))

Every step returns a `Step`; a fault ends the run, since later steps would build on it. Nothing
that is tried changes the model or the optimizer: trials train copies, all from the same initial
weights. What is finished is in the journal; the same call goes on where it was cut off and finds
the same as if it had not been. Lecture ids H1 to H7. Read next: `search.py`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from ..backend import to_numpy
from ..checks import check_whole
from ..functional.loss import cross_entropy
from ..nn.module import Module
from ..optim import Optimizer
from ..train.history import History
from ..train.inputs import as_labels, as_tensor, batch_count, class_numbers
from ..train.trainer import Batches, Loss, Metric, count_correct
from .diagnose import diagnose
from .journal import Journal
from .sanity import check_initial_loss, find_lr, overfit_small
from .search import Search, Trial, grid_search, random_search
from .space import Config, LogUniform, Space
from .workbench import Setup, Step, fit, fresh, own_random

__all__ = [
    "FAULTS", "Found", "Setup", "Step", "Training", "WHY", "check_initial_loss", "coarse_grid",
    "find_lr", "overfit_small", "read_curves", "refine", "refined", "run",
]

FAULTS = {  # name: the step that finds it
    "initial loss too high": 1, "initial loss too low": 1, "weight decay without effect": 1,
    "unshuffled data": 2, "same order in every epoch": 2, "lr too high": 2, "lr too low": 2,
    "cannot overfit": 2, "labels do not follow from the pictures": 3, "nothing learned": 4,
}
WHY = {  # in one sentence: what a step is for
    1: "Before training, with weight decay off, the loss has a value that theory knows.",
    2: "A few minibatches must be learned by heart, to 100 %: else something is broken.",
    3: "On all the data, with a little weight decay, look for a rate that lowers the loss at once.",
    4: "Try the rates around it with a few weight decays, for a few epochs each.",
    5: "Look closer around the best, for longer, without decay of the learning rate.",
    6: "Plot every step, look at the moving average, and compare training with validation.",
    7: "Go back to step 5 as long as it pays.",
}
DECAYS = (1e-4, 1e-5, 0.0)
LONGEST = 20  # epochs of a trial in step 5


@dataclass(frozen=True)
class Training:
    """The objective of steps 4 and 5: train a copy at config's lr and weight_decay for `epochs`.

    The score is the best validation accuracy (without a metric: minus the lowest loss); the
    history comes along.
    """

    setup: Setup
    epochs: int

    def __call__(self, config: Config) -> dict[str, Any]:
        setup = self.setup
        trainer = setup.trainer(config["lr"], config["weight_decay"])
        history = fit(trainer, fresh(setup.train_loader), fresh(setup.val_loader), self.epochs)
        column, sign = ("val_accuracy", 1.0) if setup.metric else ("val_loss", -1.0)
        failed = history.stopped == "error" or not history.epochs
        score = math.nan if failed else sign * history.best(column)[1]
        keep = ("step", "update_ratio")  # not those of every parameter
        history.ratios = {name: history.ratios[name] for name in keep if name in history.ratios}
        return {"score": score, "history": history.to_dict()}


@dataclass
class Found:
    """What the recipe found so far: its steps, and the best trial that was trained longest."""

    steps: list[Step] = field(default_factory=list)
    best: Trial | None = None
    stopped: str = ""

    @property
    def seconds(self) -> float:
        """Spent on all steps, also before an interruption."""
        return sum(step.seconds for step in self.steps)

    @property
    def fault(self) -> str:
        """The fault that ended the run, or ""."""
        return next((step.fault for step in self.steps if step.status == "fault"), "")

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps]
        if self.best is not None:
            chosen = ", ".join(f"{name}={value:.3g}" for name, value in self.best.config.items())
            lines.append(f"Chosen: {chosen} (score {self.best.score:.4g})")
        return "\n".join([*lines, f"Stopped: {self.stopped}; {self.seconds:.0f} s of training"])


def coarse_grid(setup: Setup, lrs: Sequence[float], decays: Sequence[float] = DECAYS, *,
                epochs: int = 2, **options: Any) -> tuple[Step, Search]:
    """Step 4: every pair of learning rate and weight decay, for 1 to 5 epochs.

    `options` as in `run_trials`. A best learning rate at the border of the grid is a warning: the
    optimum may lie outside. (H4)
    """
    found = grid_search(Training(setup, epochs), {"lr": list(lrs), "weight_decay": list(decays)},
                        seed=setup.seed, **options)
    step = _searched(4, "coarse grid", found, epochs, f"{len(lrs)} x {len(decays)} grid")
    chance = _chance(setup) if setup.metric else -math.inf
    if found.trials and not found.best.rank > max(chance, 1.2 * chance):
        step.status, step.fault = "warning", "nothing learned"
        step.advice = ("No trial is better than always answering the most frequent class "
                       f"({chance:.1%}): train for longer, or go back to steps 1 to 3."
                       if setup.metric else "No trial ended with a loss: lower the rates.")
    return step, found


def refined(found: Search, shift: float = 1.0) -> dict[str, LogUniform]:
    """The narrower ranges for step 5: half-way from the best value to its neighbours, in logarithm.

    A grid with neighbours a factor f apart gives best / sqrt(f) .. best * sqrt(f); a range that
    was drawn from gives one of half its width around the best. Where no decay at all was best, the
    range lies below the smallest positive one. `shift` multiplies the range of the decay.

    >>> refined(Search([Trial(0, {"lr": 0.1, "weight_decay": 1e-4}, 0.5, 1.0),
    ...                 Trial(1, {"lr": 0.001, "weight_decay": 1e-4}, 0.6, 1.0)]))["lr"]
    LogUniform(low=0.0001, high=0.01)
    """
    space = {}
    for name, value in found.best.config.items():
        axis = found.space.get(name)
        positive = [v for v in found.values(name) if v > 0]
        if isinstance(axis, LogUniform):
            factor = (axis.high / axis.low) ** 0.5
        elif len(positive) > 1:
            factor = (positive[-1] / positive[0]) ** (1 / (len(positive) - 1))
        else:
            factor = 10.0
        centre = value or (positive[0] if positive else 1e-5) / factor**0.5
        if name == "weight_decay":
            centre *= shift
        # 12 digits: the same range, whichever way its ends were rounded
        space[name] = LogUniform(float(f"{centre / factor**0.5:.12g}"),
                                 float(f"{centre * factor**0.5:.12g}"))
    return space


def refine(setup: Setup, space: Space, *, trials: int = 4, epochs: int = 10, round: int = 1,
           **options: Any) -> tuple[Step, Search]:
    """Step 5: random points of a narrow space, for 10 to 20 epochs, at a constant learning rate.

    Without decay of the learning rate, so that its effect is seen alone. `options` as in
    `run_trials`. (H5)
    """
    found = random_search(Training(setup, epochs), space, trials, seed=setup.seed + round,
                          **options)
    ranges = ", ".join(f"{name} {axis.low:.3g} to {axis.high:.3g}" for name, axis in space.items()
                       if isinstance(axis, LogUniform))
    step = _searched(5, f"refine, round {round}", found, epochs,
                     f"{trials} random points of {ranges}")
    return step, found


def read_curves(history: History, **thresholds: float) -> Step:
    """Step 6: plot the curves, look at their moving averages, and say what they mean. (H6)"""
    found = diagnose(history, **thresholds)
    also = "".join(f" Also {name}: {why}." for name, why in found.findings.items()
                   if name != found.verdict)
    return Step(6, "read the curves", f"{found.verdict.capitalize()}: {found.why}.{also}",
                "ok" if found.verdict == "healthy" else "warning", found.verdict,
                found.advice, dict(found.numbers),
                {"history": history.to_dict(), "findings": found.findings})


def run(model: Module, optimizer: Optimizer, train_loader: Batches, val_loader: Batches, *,
        loss: Loss = cross_entropy, metric: Metric | None = count_correct,
        expected: float | None = None, lrs: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4),
        decays: Sequence[float] = DECAYS, coarse_epochs: int = 2, fine_epochs: int = 10,
        fine_trials: int = 4, rounds: int = 2, seed: int = 0,
        journal: str | os.PathLike[str] | None = None, budget: float | None = None,
        executor: Executor | None = None, report: Callable[[Found], object] = lambda found: None,
        on_trial: Callable[[Trial], object] = lambda trial: None) -> Found:
    """All seven steps; a fault ends the run, and the last step tells what to do about it.

    The grid of step 4 lies around the best rate of step 3, half decades apart. Step 6 steers the
    next round of step 5 (H7): a rising accuracy doubles its epochs, overfitting triples the weight
    decay, and every round halves the ranges.

    rounds    how often step 5 is done, within the budget
    journal   file of what is finished: the same call goes on from there
    budget    seconds of training and checking in all, earlier calls included: nothing is started
              that is likely to exceed it
    executor  runs the trials of steps 4 and 5, see `run_trials`
    report    called with what is found so far after every step, such as ``viz.write_report``
    on_trial  called with each training of steps 4 and 5 that has just ended
    """
    batches = batch_count("train_loader", train_loader)
    batch_count("val_loader", val_loader)
    if len(decays) == 0:
        raise ValueError("decays must hold at least one weight decay to try, got none")
    for name, count in (("coarse_epochs", coarse_epochs), ("fine_epochs", fine_epochs),
                        ("fine_trials", fine_trials), ("rounds", rounds)):
        check_whole(name, count)
    if budget is not None and not budget >= 0:
        raise ValueError(f"budget must be 0 seconds or more, or None, got {budget}")
    if fine_epochs * batches < 10:
        raise ValueError(f"fine_epochs={fine_epochs} of {batches} batches are fewer than 10 steps, "
                         "too few for a curve: take more epochs or smaller batches")
    setup = Setup(model, optimizer, train_loader, val_loader, loss, metric, seed)
    settings = {"lrs": list(lrs), "decays": list(decays), "coarse_epochs": coarse_epochs,
                "fine_epochs": fine_epochs, "fine_trials": fine_trials, "seed": seed,
                "optimizer": repr(optimizer), "batches": batches,
                "loss": getattr(loss, "__name__", type(loss).__name__),
                "weights": _digest(*sum(model.state_dict().items(), ())),
                "data": _digest(*_first(train_loader), *_first(val_loader))}
    book = Journal(journal, settings)
    found = Found()

    def add(step: Step) -> bool:
        """Whether to go on after this step."""
        found.steps.append(step)
        if step.status == "fault":
            found.stopped = f"step {step.number} found a fault: {step.fault}"
        report(found)
        return step.status != "fault"

    def checked(name: str, check: Callable[[], Step]) -> Step:
        if name not in book:
            book.add(name, check().to_dict())
        return Step(**book[name])

    def options(name: str, seconds: float = 0.0) -> dict[str, Any]:
        left = None if budget is None else max(0.0, budget - found.seconds)
        return {"journal": book, "name": name, "executor": executor, "budget": left,
                "seconds": seconds, "on_trial": on_trial}

    if not add(checked("step 1", lambda: check_initial_loss(
            model, train_loader, loss, expected=expected, seed=seed))):
        return found
    if metric and not add(checked("step 2", lambda: overfit_small(
            model, optimizer, train_loader, loss, metric=metric, seed=seed))):
        return found
    third = checked("step 3", lambda: find_lr(model, optimizer, train_loader, loss, metric=metric,
                                              val_loader=val_loader, lrs=lrs, seed=seed))
    if not add(third):
        return found
    best = third.numbers["lr"]
    around = [float(f"{best * 10**power:.3g}") for power in (-1.0, -0.5, 0.0, 0.5)]
    step, searched = coarse_grid(setup, around, decays, epochs=coarse_epochs, **options("step 4"))
    found.best = searched.best if searched.trials else None
    if not add(step) or searched.stopped:
        return _end(found, report, searched.stopped)
    epochs, shift, stopped = fine_epochs, 1.0, ""
    epoch = max(trial.seconds for trial in searched.trials) / coarse_epochs
    for number in range(1, rounds + 1):
        space = refined(searched, shift)
        step, searched = refine(setup, space, trials=fine_trials, epochs=epochs, round=number,
                                **options(f"step 5, round {number}, trial", epochs * epoch))
        if not searched.trials:
            stopped = searched.stopped
            break
        if number == 1 or found.best is None or searched.best.rank > found.best.rank:
            found.best = searched.best
        add(step)
        curves = read_curves(History.from_dict(searched.best.extra["history"]))
        add(curves)
        if searched.stopped:
            stopped = searched.stopped
            break
        findings = curves.data["findings"]
        epochs = min(LONGEST, 2 * epochs) if "still rising" in findings else epochs
        shift = 3.0 if "overfitting" in findings else 1.0
    return _end(found, report, stopped or f"{rounds} round{'s are' if rounds > 1 else ' is'} done")


def _end(found: Found, report: Callable[[Found], object], stopped: str) -> Found:
    """Step 7: what was chosen, and why the run ends."""
    if not found.fault:
        found.stopped = stopped
        said = f"The run ends: {stopped}."
        if found.best is not None:
            chosen = " and ".join(f"{n} {v:.3g}" for n, v in found.best.config.items())
            said = f"The best so far is {chosen} (score {found.best.score:.4g}). {said}"
        found.steps.append(Step(7, "back to step 5", said, advice="With more time, call again with "
                                "a larger budget or more rounds: it goes on from its journal. For "
                                "the final training, decay the learning rate to 0 at the end."))
        report(found)
    return found


def _searched(number: int, title: str, found: Search, epochs: int, what: str) -> Step:
    rows = [{**t.config, "score": t.score if math.isfinite(t.score) else None,
             "history": t.extra["history"]} for t in found.trials]
    step = Step(number, title, f"No trial has finished: {found.stopped}.", "warning",
                numbers={"epochs": epochs, "trials": len(rows)}, data={"trials": rows},
                seconds=found.seconds)
    if not found.trials:
        return step
    best = found.best
    chosen = " and ".join(f"{name} {value:.3g}" for name, value in best.config.items())
    step.status, step.numbers = "ok", step.numbers | best.config | {
        "score": best.score if math.isfinite(best.score) else None}
    step.said = f"{what}, {epochs} epochs each: best is {chosen} with {best.score:.4g}."
    if warned := found.warnings():
        step.status, step.fault = "warning", "best on the border"
        step.advice = "; ".join(warned).capitalize() + "."
    if found.stopped:
        step.status, step.said = "warning", f"{step.said} Not all trials ran: {found.stopped}."
    return step


def _chance(setup: Setup) -> float:
    """The accuracy of always answering the most frequent class, on the validation set."""
    counts: dict[int, int] = {}
    for _, labels in fresh(setup.val_loader):
        for label in class_numbers(labels).tolist():
            counts[label] = counts.get(label, 0) + 1
    return max(counts.values()) / sum(counts.values())


def _first(loader: Batches) -> tuple[Any, Any]:
    """The first batch of epoch 0: what the data are, in which order, and how they are prepared."""
    with own_random(0, 0):
        images, labels = next(iter(fresh(loader)))
    return as_tensor(images).data, as_labels(labels)


def _digest(*values: Any) -> str:
    """Arrays and names as a short text: a journal goes on with the same weights and data alone."""
    whole = hashlib.sha256()
    for value in values:
        whole.update(value.encode() if isinstance(value, str) else to_numpy(value).tobytes())
    return whole.hexdigest()[:16]
