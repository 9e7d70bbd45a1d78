r"""The lecture's recipe for choosing hyper-parameters: seven steps, alone or as one run.

    1  check_initial_loss   log C before training            `sanity.py`
    2  overfit_small        a few minibatches to 100 %
    3  find_lr              a rate that works within 100 steps
    4  coarse_grid          4 learning rates x 3 weight decays, 1 to 5 epochs each
    5  refine               random points around the best one, 10 to 20 epochs, constant rate
    6  read_curves          what the best curves say           `diagnose.py`
    7  run                  back to step 5, until rounds or time are used up

    found = run(model, optimizer, train_loader, val_loader, rounds=3, budget=1800,
                journal="recipe.jsonl",
                report=lambda found: viz.write_report(found, "report.html"))

Every step returns a `Step`; a fault ends the run, since later steps would build on it.
Nothing that is tried changes the model or the optimizer: trials train copies, all from
the same initial weights. What is finished is in the journal; the same call goes on
where it was cut off and finds the same as if it had not been. Lecture ids H1 to H7.

Read next: `viz/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..checks import check_whole
from ..functional.loss import cross_entropy
from ..names import lister as _lister
from ..nn.module import Module
from ..optim import Optimizer
from ..text import counted
from ..train.history import History, finite_or_none
from ..train.predict import as_labels, as_tensor, batch_count, class_numbers
from ..train.settings import describe
from ..train.trainer import Batches, Loss, Metric, count_correct
from .diagnose import diagnose
from .journal import Journal, opened
from .sanity import check_initial_loss, find_lr, overfit_small
from .search import Options, Search, Trial, by_name, grid_search, random_search
from .space import Config, LogUniform, Space
from .workbench import Setup, Step, fit, fresh, own_random

__all__ = [
    "FAULTS", "Found", "Plan", "Setup", "Step", "Training", "WHY", "check_initial_loss",
    "coarse_grid", "find_lr", "overfit_small", "read_curves", "refine", "refined", "run",
]

__dir__ = _lister(__name__)

FAULTS = {  # name: the step that finds it
    "initial loss too high": 1, "initial loss too low": 1, "weight decay without effect": 1,
    "unshuffled data": 2, "same order in every epoch": 2, "lr too high": 2, "lr too low": 2,
    "cannot overfit": 2, "labels do not follow from the pictures": 3, "nothing learned": 4,
}
WHY = {  # in one sentence: what a step is for
    1: "Before training, with weight decay off, the loss has a value that theory knows.",
    2: "A few minibatches must be learned by heart, to 100 %: else something is broken.",
    3: "On all the data, with a little weight decay, find a rate that lowers the loss.",
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

    The score is the best validation accuracy (without a metric: minus the lowest loss);
    the history comes along.
    """

    setup: Setup
    epochs: int

    def __call__(self, config: Config) -> dict[str, Any]:
        setup = self.setup
        trainer = setup.trainer(config["lr"], config["weight_decay"])
        history = fit(trainer, fresh(setup.train_loader), fresh(setup.val_loader),
                      self.epochs)
        if history.stopped == "error" or not history.epochs:
            score = math.nan
        elif setup.metric:
            score = history.best("val_accuracy")[1]
        else:
            score = -history.best("val_loss")[1]
        kept = ("step", "update_ratio")  # not those of every parameter
        history.ratios = {name: x for name, x in history.ratios.items() if name in kept}
        return {"score": score, "history": history.to_dict()}


@dataclass
class Found:
    """What the recipe found so far: its steps, and the best of the longest trials."""

    steps: list[Step] = field(default_factory=list)
    best: Trial | None = None
    stopped: str = ""

    @property
    def seconds(self) -> float:
        """Spent on all steps, also before an interruption."""
        return sum(step.seconds for step in self.steps)

    @property
    def first_rate(self) -> float | None:
        """The best learning rate of step 3, or None before it."""
        rates = [step.numbers.get("lr") for step in self.steps if step.number == 3]
        return rates[-1] if rates else None

    @property
    def fault(self) -> str:
        """The fault that ended the run, or ""."""
        return next((step.fault for step in self.steps if step.status == "fault"), "")

    def __str__(self) -> str:
        lines = [str(step) for step in self.steps]
        if self.best is not None:
            chosen = ", ".join(f"{n}={value:.3g}" for n, value in self.best.config.items())
            lines.append(f"Chosen: {chosen} (score {self.best.score:.4g})")
        lines.append(f"Stopped: {self.stopped}; {self.seconds:.0f} s of training")
        return "\n".join(lines)


def coarse_grid(setup: Setup, lrs: Sequence[float], decays: Sequence[float] = DECAYS, *,
                epochs: int = 2, **options: Any) -> tuple[Step, Search]:
    """Step 4: every pair of learning rate and weight decay, for 1 to 5 epochs.

    `options` as in `run_trials`. A best learning rate at the border of the grid is a
    warning: the optimum may lie outside.
    """
    axes = {"lr": list(lrs), "weight_decay": list(decays)}
    options["seed"] = setup.seed
    found = grid_search(Training(setup, epochs), axes, **options)
    step = _searched(4, "coarse grid", found, epochs, f"{len(lrs)} x {len(decays)} grid")
    chance = -math.inf
    advice = "No trial ended with a loss: lower the rates."
    if setup.metric:
        chance = 1.2 * _chance(setup)
        advice = ("No trial is better than always answering the most frequent class "
                  f"({chance / 1.2:.1%}): train for longer, or go back to steps 1-3.")
    if found.trials and not found.best.rank > chance:
        step.status = "warning"
        step.fault = "nothing learned"
        step.advice = advice
    return step, found


def refined(found: Search, shift: float = 1.0) -> dict[str, LogUniform]:
    """The ranges for step 5: half-way from the best value to its neighbours, in logarithm.

    A grid with neighbours a factor f apart gives best / sqrt(f) .. best * sqrt(f); a
    range that was drawn from gives one of half its width around the best. Where no
    decay at all was best, the range lies below the smallest positive one. `shift`
    multiplies the range of the decay.

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
        centre = value or [*positive, 1e-5][0] / factor**0.5
        if name == "weight_decay":
            centre *= shift
        ends = (centre / factor**0.5, centre * factor**0.5)
        # 12 digits: the same range, whichever way its ends were rounded
        space[name] = LogUniform(*(float(f"{end:.12g}") for end in ends))
    return space


def refine(setup: Setup, space: Space, *, trials: int = 4, epochs: int = 10, round: int = 1,
           **options: Any) -> tuple[Step, Search]:
    """Step 5: random points of a narrow space, for 10 to 20 epochs, at a constant learning rate.

    Without decay of the learning rate, so that its effect is seen alone. `options` as
    in `run_trials`.
    """
    options["seed"] = setup.seed + round
    found = random_search(Training(setup, epochs), space, trials, **options)
    ranges = ", ".join(f"{name} {axis.low:.3g} to {axis.high:.3g}"
                       for name, axis in space.items() if isinstance(axis, LogUniform))
    step = _searched(5, f"refine, round {round}", found, epochs,
                     f"{trials} random points of {ranges}")
    return step, found


def read_curves(history: History, **thresholds: float) -> Step:
    """Step 6: plot the curves, look at their averages, and say what they mean."""
    found = diagnose(history, **thresholds)
    also = "".join(f" Also {name}: {why}." for name, why in found.findings.items()
                   if name != found.verdict)
    return Step(6, "read the curves", f"{found.verdict.capitalize()}: {found.why}.{also}",
                status="ok" if found.verdict == "healthy" else "warning",
                fault=found.verdict, advice=found.advice, numbers=dict(found.numbers),
                data={"history": history.to_dict(), "findings": found.findings})


@dataclass(frozen=True)
class Plan:
    """How much the recipe tries; it stands in the journal.

    lrs            of step 3
    decays         weight decays of step 4
    coarse_epochs  of each training of step 4
    fine_epochs    of each training of step 5, at first
    fine_trials    of each round of step 5
    rounds         how often step 5 is done, within the budget
    expected       the initial loss of a model that knows nothing, if no theory tells it
    seed           of everything random
    """

    lrs: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4)
    decays: Sequence[float] = DECAYS
    coarse_epochs: int = 2
    fine_epochs: int = 10
    fine_trials: int = 4
    rounds: int = 2
    expected: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("coarse_epochs", "fine_epochs", "fine_trials", "rounds"):
            check_whole(name, getattr(self, name))
        for name in ("lrs", "decays"):
            if len(getattr(self, name)) == 0:
                raise ValueError(f"{name} must hold at least one value to try, got "
                                 "none")

    def head(self, setup: Setup) -> dict[str, Any]:
        """What must be the same when the run goes on; more rounds may be asked for."""
        batches = batch_count("train_loader", setup.train_loader)
        batch_count("val_loader", setup.val_loader)
        if self.fine_epochs * batches < 10:
            raise ValueError(f"fine_epochs={self.fine_epochs} of {batches} batches are "
                             "fewer than 10 steps, too few for a curve: take more "
                             "epochs or smaller batches")
        head = {name: value for name, value in asdict(self).items() if name != "rounds"}
        return head | {
            "optimizer": repr(setup.optimizer), "batches": batches,
            "loss": describe(setup.loss), "weights": describe(setup.model.state_dict()),
            "data": describe([*_first(setup.train_loader), *_first(setup.val_loader)])}


def run(model: Module, optimizer: Optimizer, train_loader: Batches, val_loader: Batches, *,
        loss: Loss = cross_entropy, metric: Metric | None = count_correct,
        report: Callable[[Found], object] = lambda found: None, **options: Any) -> Found:
    """All seven steps; a fault ends the run, and the last step says what to do.

    `options` are the fields of `Plan` and of `tune.search.Options`, by name. The
    journal holds what is finished: the same call goes on from there; the budget is for
    all training and checking, earlier calls included. `report` is called with what is
    found so far after every step, such as ``viz.write_report``.

    The grid of step 4 lies around the best rate of step 3, half decades apart. Step 6
    steers the next round of step 5: a rising accuracy doubles its epochs,
    overfitting triples the weight decay, and every round halves the ranges.
    """
    plan, how = by_name(options, Plan, Options)
    setup = Setup(model, optimizer, train_loader, val_loader, loss, metric, plan.seed)
    with opened(how.journal, plan.head(setup)) as journal:
        book = _Book(journal, replace(how, journal=journal), report)
        if _is_sound(setup, plan, book):
            book.end(_look_closer(setup, plan, book, _look_around(setup, plan, book)))
    return book.found


@dataclass
class _Book:
    """What a run has found so far, and what of it the journal holds."""

    journal: Journal
    how: Options
    report: Callable[[Found], object]
    found: Found = field(default_factory=Found)

    def add(self, step: Step) -> bool:
        """Whether to go on after this step."""
        self.found.steps.append(step)
        if step.status == "fault":
            self.found.stopped = f"step {step.number} found a fault: {step.fault}"
        self.report(self.found)
        return step.status != "fault"

    def check(self, number: int, check: Callable[[], Step]) -> bool:
        """Do a step, unless the journal holds it; whether to go on."""
        name = f"step {number}"
        if name not in self.journal:
            self.journal.add(name, check().to_dict())
        return self.add(Step(**self.journal[name]))

    def options(self, name: str, seconds: float = 0.0) -> dict[str, Any]:
        """How a search is run now, whose trials take about so many `seconds`."""
        how = {**vars(self.how), "name": name, "seconds": seconds}
        if self.how.budget is not None:
            how["budget"] = max(0.0, self.how.budget - self.found.seconds)
        return how

    def end(self, stopped: str) -> None:
        """Step 7: what was chosen, and why the run ends."""
        self.found.stopped = stopped
        said = f"The run ends: {stopped}."
        if (best := self.found.best) is not None:
            said = f"The best so far is {_chosen(best)} (score {best.score:.4g}). {said}"
        elif rate := self.found.first_rate:
            said = f"No trial shows more than step 3, whose best lr is {rate:.3g}. {said}"
        step = Step(7, "back to step 5", said, advice="With more time, call again "
                    "with a larger budget or more rounds: it goes on from its "
                    "journal. For the final training, decay the learning rate to 0 "
                    "at the end.")
        if not any(done.number == 5 for done in self.found.steps):
            step.status = "warning"  # there is no step 5 to go back to yet
            step.fault = "step 5 was not reached"
        self.add(step)


def _is_sound(setup: Setup, plan: Plan, book: _Book) -> bool:
    """Steps 1 to 3: whether they found no fault."""
    the_task = (setup.model, setup.optimizer, setup.train_loader, setup.loss)
    options: dict[str, Any] = {"metric": setup.metric, "seed": setup.seed}
    checks = {
        1: lambda: check_initial_loss(setup.model, setup.train_loader, setup.loss,
                                      expected=plan.expected, seed=setup.seed),
        2: lambda: overfit_small(*the_task, **options),
        3: lambda: find_lr(*the_task, lrs=plan.lrs, val_loader=setup.val_loader, **options)}
    if setup.metric is None:
        del checks[2]  # there are no right answers to learn by heart
    return all(book.check(number, check) for number, check in checks.items())


def _look_around(setup: Setup, plan: Plan, book: _Book) -> Search:
    """Step 4, around the best rate of step 3."""
    best = book.found.steps[-1].numbers["lr"]
    # from the best rate outwards: where time ends early, the likely ones have been tried
    around = [float(f"{best * 10**power:.3g}") for power in (0.0, 0.5, -0.5, -1.0)]
    step, searched = coarse_grid(setup, around, plan.decays, epochs=plan.coarse_epochs,
                                 **book.options("step 4"))
    if searched.trials and step.fault != "nothing learned":
        book.found.best = searched.best
    book.add(step)
    return searched


def _look_closer(setup: Setup, plan: Plan, book: _Book, searched: Search) -> str:
    """Steps 5 and 6, round by round, and why they end."""
    found = book.found
    epochs = plan.fine_epochs
    shift = 1.0
    slowest = max((trial.seconds for trial in searched.trials), default=0.0)
    for number in range(1, plan.rounds + 1):
        if searched.stopped:
            break
        seconds = epochs * slowest / plan.coarse_epochs
        step, searched = refine(setup, refined(searched, shift), trials=plan.fine_trials,
                                epochs=epochs, round=number,
                                **book.options(f"step 5, round {number}, trial", seconds))
        if not searched.trials:
            break
        if number == 1 or found.best is None or searched.best.rank > found.best.rank:
            found.best = searched.best
        book.add(step)
        curves = read_curves(History.from_dict(searched.best.extra["history"]))
        book.add(curves)
        findings = curves.data["findings"]
        if "still rising" in findings:
            epochs = min(LONGEST, 2 * epochs)
        shift = 3.0 if "overfitting" in findings else 1.0
    rounds = "1 round is" if plan.rounds == 1 else f"{plan.rounds} rounds are"
    return searched.stopped or f"{rounds} done"


def _chosen(trial: Trial) -> str:
    return " and ".join(f"{name} {value:.3g}" for name, value in trial.config.items())


def _searched(number: int, title: str, found: Search, epochs: int, what: str) -> Step:
    rows = [t.config | {"score": finite_or_none(t.score), "history": t.extra["history"]}
            for t in found.trials]
    step = Step(number, title, f"No trial has finished: {found.stopped}.", "warning",
                numbers={"epochs": epochs, "trials": len(rows)}, data={"trials": rows},
                seconds=found.seconds)
    if not found.trials:
        return step
    best = found.best
    step.status = "ok"
    step.numbers |= best.config | {"score": finite_or_none(best.score)}
    step.said = (f"{what}, {counted(epochs, 'epoch')} each: best is {_chosen(best)} with "
                 f"{best.score:.4g}.")
    if warned := found.warnings():
        step.status = "warning"
        step.fault = "best on the border"
        step.advice = "; ".join(warned).capitalize() + "."
    if found.stopped:
        step.status = "warning"
        step.said += f" Not all trials ran: {found.stopped}."
    return step


def _chance(setup: Setup) -> float:
    """The validation accuracy of always answering the most frequent class."""
    counts: dict[int, int] = {}
    for _, labels in fresh(setup.val_loader):
        for label in class_numbers(labels).tolist():
            counts[label] = counts.get(label, 0) + 1
    return max(counts.values()) / sum(counts.values())


def _first(loader: Any) -> tuple[Any, Any]:
    """The first batch of epoch 0: which data, in which order, how prepared."""
    with own_random(0, 0):
        images, labels = next(iter(fresh(loader)))
    return as_tensor(images).data, as_labels(labels)
