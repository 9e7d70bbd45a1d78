r"""Small objects that watch a training run: best weights, early stopping and others.

    on_start(t)        before the first step of a fit
    before_update(t)   gradients are there, weights not yet changed
    on_step(t)         weights are changed: t.step now counts this step as well
    on_log(t)          every t.log_every steps, at an epoch's end: new rows of t.history
    on_epoch(t)        after validation, t.epoch is done; t.stop(why) ends the run
    at_rest(t)         after all on_step or on_epoch: t.state_dict() is the whole run
    on_end(t)          always, whatever ended the run: t.history.stopped says what

`t` is the `Trainer`; what a callback may read of it, and do to it, says `Run`. A hook
that runs inside a step (`before_update`, `on_step`) should not read an array's value on
the host: a GPU would have to stop for it. Collect there, and read in `on_log`. What a
callback remembers from step to step, `state_dict` must return, or a resumed run differs
from one that was not interrupted; what it can compute from ``t.history`` it need not.

Read next: `train/progress.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from numbers import Real
from statistics import median
from typing import Any, Protocol

from ..backend import Array, to_numpy, xp
from ..checks import answer_init, check_whole
from ..foreign import closest
from ..nn.module import Module
from ..optim import Optimizer
from ..optim.clip import clip_grad_norm_, clip_grad_value_
from ..text import counted
from .history import History
from .state import is_saved

# Outside this band of update ratios the learning rate deserves a look.
RATIO_LOW = 1e-4
RATIO_HIGH = 1e-2


class Run(Protocol):
    """What a callback may read of a run, and do to it; `Trainer` is one.

    `step` and `epoch` count what is done, `planned_epochs` is the epoch to end with.
    `batch` is the (images, labels) in hand, `batch_loss` its loss on the device.
    `monitor` names the column of ``history.epochs`` that tells the best epoch.
    """

    model: Module
    optimizer: Optimizer
    loss: Any
    history: History
    monitor: str
    log_every: int
    step: int
    epoch: int
    planned_steps: int
    planned_epochs: int
    batch: Any
    batch_loss: Any

    def stop(self, why: str) -> None:
        """End the run after this epoch."""

    def say(self, text: str) -> None:
        """Print a line, unless the run is silent."""

    def tell(self, text: str) -> None:
        """Print a line that must not be missed: a silent run warns."""

    def read_metrics(self) -> None:
        """Bring the numbers of the last steps into the history now."""

    def check_weights(self) -> None:
        """FloatingPointError if a weight that is trained is not finite."""

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on; `at_rest` only."""


class Callback:
    """The hooks, doing nothing: override those you need.

    >>> class StopAfter(Callback):
    ...     def on_epoch(self, trainer):
    ...         if trainer.epoch == 3: trainer.stop("three is enough")
    """

    only_watches = False  # True: no setting of it changes what the run computes
    writes_files = False  # True: of several ranks only the first calls its hooks

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        answer_init(cls)

    def on_start(self, trainer: Run) -> None:
        """Before the first step of a `fit`."""

    def before_update(self, trainer: Run) -> None:
        """After backward(), before the optimizer changes the weights."""

    def on_step(self, trainer: Run) -> None:
        """After the optimizer has changed the weights."""

    def on_log(self, trainer: Run) -> None:
        """After the metrics of the last steps were read and added to the history."""

    def on_epoch(self, trainer: Run) -> None:
        """After an epoch and its validation."""

    def at_rest(self, trainer: Run) -> None:
        """After `on_step` or `on_epoch` of all callbacks: nothing is half done."""

    def on_end(self, trainer: Run) -> None:
        """After the last step, also after an error or Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: arrays, numbers, texts, lists and dicts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, before `on_start` of a resumed run."""


def watched(monitor: str, run: Run) -> str:
    """The epochs column called `monitor`; where no accuracy is measured, the run's own.

    ValueError if it is not measured.
    """
    columns = run.history.epochs
    if monitor == "val_accuracy" and monitor not in columns and run.monitor in columns:
        monitor = run.monitor
    if monitor in columns:
        return monitor
    known = [name for name in columns if name not in ("epoch", "step", "lr", "seconds")]
    fix = ""
    if monitor.startswith("val_") and "val_loss" not in columns:
        fix = "give fit() a val_loader, or "
    elif meant := closest(monitor, known):
        fix = f"did you mean {meant!r}? Or "
    raise ValueError(f"monitor={monitor!r} is not measured: {fix}choose one of "
                     f"{', '.join(known)}")


class BestWeights(Callback):
    """Keep a copy of the weights of the best validation, and put it back in the end.

    The copy holds the buffers too (BatchNorm's running statistics). It is made on the
    device when an epoch is better than all before it (of equal accuracies the smaller
    loss is), and one whose losses are not finite never counts (`History.best`); it is
    put back bit for bit whatever ended the run: the last epoch, early stopping, Ctrl-C
    or an error. Without validation there is nothing to choose, and the last weights
    stay.
    """

    def __init__(self, monitor: str = "val_accuracy") -> None:
        self.monitor = monitor
        self.epoch = 0  # 0: nothing kept yet
        self.weights: dict[str, Array] = {}

    def on_start(self, trainer: Run) -> None:
        """Find out now whether a checkpoint's weights can be put back in the end."""
        kept = {name: x.shape for name, x in self.weights.items()}
        own = {name: x.shape for name, x in trainer.model.state_dict().items()}
        if kept and kept != own:
            self.weights = {}
            raise ValueError(
                "the best weights of the checkpoint are not those of this model")

    def on_epoch(self, trainer: Run) -> None:
        """Copy the weights if this epoch is the best one."""
        if "val_loss" not in trainer.history.epochs:
            return
        if trainer.history.is_best(watched(self.monitor, trainer), trainer.epoch):
            # a copy; Ctrl-C leaves the old one whole
            self.weights = trainer.model.state_dict()
            self.epoch = trainer.epoch

    def on_end(self, trainer: Run) -> None:
        """Put the best weights back."""
        if self.weights:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """The best weights and their epoch; nothing before the first validation."""
        return {"epoch": self.epoch, "weights": self.weights} if self.weights else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        weights = state.get("weights", {})
        if not isinstance(weights, Mapping) or not all(map(is_saved, weights.values())):
            raise ValueError(
                f"the best weights must be arrays by name: {weights!r:.60}")
        epoch = state.get("epoch", 0)
        self.epoch = check_whole("the epoch of the best weights", epoch, least=0)
        self.weights = dict(weights)


class EarlyStopping(Callback):
    """Stop when `patience` epochs in a row were no better: at epoch best + patience.

    It only stops; `BestWeights` (on by default) brings the best weights back.
    """

    def __init__(self, patience: int, monitor: str = "val_accuracy") -> None:
        self.patience = check_whole("patience", patience)
        self.monitor = monitor

    def on_epoch(self, trainer: Run) -> None:
        """Compare the epoch with the best one."""
        monitor = watched(self.monitor, trainer)
        epoch, value = trainer.history.best(monitor)
        if trainer.epoch - epoch >= self.patience:
            wanted = f"better {monitor} than {value:.4g} (epoch {epoch})"
            if epoch == 0:
                wanted = f"{monitor} that counts"
            trainer.stop(f"no {wanted} in {counted(self.patience, 'epoch')}")


class ReportToSchedule(Callback):
    """Tell schedules the loss of each epoch: what `schedule.Plateau` waits for.

    It is the validation loss, or without validation the training loss. Other schedules
    are pure functions of the step and do not listen.
    """

    def on_epoch(self, trainer: Run) -> None:
        """Report to each schedule once, also if several parameter groups share it."""
        epochs = trainer.history.epochs
        loss = epochs.get("val_loss", [math.nan])[-1]
        if math.isnan(loss):
            loss = epochs["train_loss"][-1]
        rates = [group["lr"] for group in trainer.optimizer.param_groups]
        for schedule in {id(rate): rate for rate in rates}.values():
            if hasattr(schedule, "observe"):
                schedule.observe(loss)


class ClipGradients(Callback):
    """Limit the gradient before each update: by its norm as a whole, or value by value.

    norm:  g * min(1, norm / |g|), |g| over all parameters; keeps the direction
    value: every element into [-value, value]

    As ``Optimizer(..., clip_norm=, clip_value=)``, for optimizers made elsewhere.
    """

    def __init__(self, norm: float | None = None, value: float | None = None) -> None:
        if (norm is None) == (value is None):
            raise ValueError("give norm or value, one of the two; "
                             f"got norm={norm}, value={value}")
        for name, limit in (("norm", norm), ("value", value)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be positive, got {limit}")
        self.norm = norm
        self.value = value

    def before_update(self, trainer: Run) -> None:
        """Replace the gradients by clipped ones, on the device."""
        if self.norm is not None:
            clip_grad_norm_(trainer.model.parameters(), self.norm)
        if self.value is not None:
            clip_grad_value_(trainer.model.parameters(), self.value)


class UpdateRatio(Callback):
    r"""How far one step moves the weights: for each parameter W, once per log interval,

        ratio = || W_after - W_before ||_2 / || W_before ||_2        (want about 1e-3)

    The snippet of the CS231n notes (neural-networks-3). The history's
    table `ratios` gets one column per parameter and `update_ratio`, the median over the
    weights (parameters of two or more axes: biases and norm scales start at 0 or 1 and
    say little). The ratio of a parameter that is all zeros is nan.
    """

    def __init__(self) -> None:
        self._before: dict[str, Array] = {}
        self._measured: tuple[int, list[str], Array] | None = None
        self._warned: set[str] = set()
        self._highest_lr = 0.0
        self._steps = 0  # rows of the history's steps that it is the highest of

    def before_update(self, trainer: Run) -> None:
        """Copy the weights at the first step of each log interval."""
        if trainer.step % trainer.log_every == 0:
            parameters = trainer.model.named_parameters()
            self._before = {name: xp.array(p.data) for name, p in parameters
                            if p.grad is not None}

    def on_step(self, trainer: Run) -> None:
        """Compare; the norms stay on the device until `on_log`."""
        if not self._before:
            return
        norms = []
        for name, p in trainer.model.named_parameters():
            if name in self._before:
                before = self._before[name]
                norms += [xp.linalg.norm((p.data - before).ravel()),
                          xp.linalg.norm(before.ravel())]
        self._measured = (trainer.step - 1, list(self._before), xp.stack(norms))
        self._before = {}

    def on_log(self, trainer: Run) -> None:
        """Read the norms and add the ratios to the history."""
        if self._measured is None:
            return
        step, names, norms = self._measured
        self._measured = None
        pairs = to_numpy(norms).reshape(-1, 2).tolist()
        ratios = dict.fromkeys(names, math.nan)
        for name, (update, weight) in zip(names, pairs, strict=True):
            if weight > 0:
                ratios[name] = update / weight
        matrices = {name for name, p in trainer.model.named_parameters() if p.ndim > 1}
        typical = _median(ratios[name] for name in (matrices & ratios.keys() or names))
        trainer.history.add("ratios", step=step, update_ratio=typical, **ratios)

    def on_epoch(self, trainer: Run) -> None:
        """Say so, once, if the epoch's typical ratio is outside the band."""
        history = trainer.history
        if "update_ratio" not in history:
            return
        start = [0, *history.epochs["step"][-2:-1]][-1]  # the epoch's first step
        first = bisect_left(history.ratios["step"], start)
        typical = _median(history.ratios["update_ratio"][first:])
        lrs = history.steps["lr"]
        self._highest_lr = max([self._highest_lr, *lrs[self._steps:]])
        self._steps = len(lrs)
        advice = ratio_advice(typical)
        decayed = lrs[-1] < 0.1 * self._highest_lr  # low by the schedule's wish
        if typical < RATIO_LOW and decayed:
            return
        if advice and advice not in self._warned:
            self._warned.add(advice)
            trainer.say(f"update ratio {typical:.1e}, {advice}")


def end(callbacks: Iterable[Callback], run: Run, failed: BaseException | None) -> None:
    """`on_end` of every callback, also behind one that fails: the first error, that of the
    run if it `failed`, is raised when all have let go of files and folders."""
    errors = [failed] if failed else []
    for callback in callbacks:
        try:
            callback.on_end(run)
        except BaseException as error:
            errors.append(error)
    for other in errors[1:]:
        errors[0].add_note(f"a callback's end failed, too: {other!r}")
    if errors and not failed:
        raise errors[0]


def _median(values: Iterable[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return median(finite) if finite else math.nan


def ratio_advice(ratio: float | History) -> str:
    """What the lecture says about an update ratio; empty if all is well.

    Of a history, it is the median of its column `update_ratio`.

    >>> ratio_advice(1e-3), ratio_advice(3e-5)
    ('', 'below 1e-04: if the loss hardly falls, raise the learning rate')
    """
    if isinstance(ratio, History):
        ratio = median(ratio["update_ratio"])
    if not isinstance(ratio, Real):
        raise TypeError(f"ratio must be a number or a History, got {type(ratio).__name__}")
    if ratio < RATIO_LOW:
        return f"below {RATIO_LOW:.0e}: if the loss hardly falls, raise the learning rate"
    if ratio > RATIO_HIGH:
        return f"above {RATIO_HIGH:.0e}: if the loss jumps about, lower the learning rate"
    return ""


def ratio_warnings(ratios: Mapping[str, list[float]]) -> dict[str, str]:
    """Advice for each parameter of `ratios` whose median is outside the band.

    >>> ratio_warnings({"step": [0, 9], "weight": [2e-3, 1e-3], "bias": [0.5, 0.2]})
    {'bias': 'above 1e-02: if the loss jumps about, lower the learning rate'}
    """
    found = {name: ratio_advice(_median(column)) for name, column in ratios.items()
             if name != "step"}
    return {name: advice for name, advice in found.items() if advice}
