r"""The training loop, with what one wants around it: curves, validation, best weights, a way out.

    for images, labels in loader:            # one epoch
        loss = loss_function(model(images), labels)
        model.zero_grad(); loss.backward(); optimizer.step()

That is all that `Trainer.fit` does; `examples/plain_loop.py` is the loop alone. The rest keeps
account. No number is read from the device inside a step: losses and counts stay there until
`log_every` steps are done, and are then read in one go. Everything that reacts to the numbers is a
callback. Read next: `resume.py`.
"""

from __future__ import annotations

import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, to_numpy, xp
from ..checks import check_whole
from ..functional.loss import cross_entropy
from ..nn.module import Modes, Module, modes_kept, modes_of, set_modes
from ..nn.noise import noise_state, set_noise_state
from ..optim import Optimizer
from ..tensor import Tensor
from .callbacks import BestWeights, Callback, EarlyStopping, ReportToSchedule, UpdateRatio
from .history import History
from .inputs import (
    as_labels,
    as_tensor,
    batch_count,
    evaluating,
    evaluation_batches,
    picture_batches,
    start_training,
)
from .progress import Progress
from .resume import read_newest
from .settings import Settings, differences, settings_of
from .state import check_settings, check_state

Batches = Iterable[tuple[Any, Any]]
Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Array, Array], Array]


_CAUSES = ("Usual causes: a learning rate that is too high (try {:.1g}), or inputs that are not "
           "normalised or hold nan. The callback NanGuard finds the operation that made it")


class Evaluation(NamedTuple):
    """Means over a data set; the accuracy is a fraction."""

    loss: float
    accuracy: float


class _Step(NamedTuple):
    """What is kept of a step until it is read; the arrays are on the device."""

    step: int
    lr: float
    size: int
    loss: Array
    correct: Array | None


def count_correct(outputs: Array, labels: Array) -> Array:
    """How many rows of `outputs` (n, classes) are largest at their label.

    Labels are class numbers (n,), or probabilities (n, classes): then a row counts as much as the
    probability of its largest output, of two mixed pictures lam or 1 - lam (lecture id G5).

    >>> int(count_correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])))
    1
    """
    answers = outputs.argmax(axis=-1)
    if labels.ndim > 1:
        return xp.take_along_axis(labels, answers[..., None], -1).sum()
    return (answers == labels).sum()


class Trainer:
    """Trains `model` with `optimizer` on ``loss(model(images), labels)``.

    metric:    counts the right answers of a batch on the device; None where there are none
               (regression): then `val_loss` decides which weights are the best
    monitor:   the epochs column that decides: the largest, or of a loss the smallest
    patience:  stop after so many epochs without a better one (default: never)
    keep_best: give the model back with the weights of the best validation, whatever ended the run
    log_every: steps between two readings of the metrics
    progress:  False prints nothing

    `step` and `epoch` count what is done; `history` holds the curves. While `fit` runs, `batch` is
    the one in hand, (images, labels), `batch_loss` its loss on the device, and `planned_epochs`
    the epoch to end with.
    """

    def __init__(self, model: Module, optimizer: Optimizer, loss: Loss = cross_entropy, *,
                 metric: Metric | None = count_correct, monitor: str | None = None,
                 patience: int | None = None, keep_best: bool = True,
                 callbacks: Iterable[Callback] = (), log_every: int = 10,
                 progress: bool = True) -> None:
        callbacks = list(callbacks)
        if odd := [c for c in callbacks if not isinstance(c, Callback)]:
            raise TypeError(f"callbacks must be objects such as NanGuard(), got {odd[0]!r}")
        self.model, self.optimizer, self.loss, self.metric = model, optimizer, loss, metric
        self.log_every = check_whole("log_every", log_every)
        self.history = History()
        self.step = self.epoch = self.planned_steps = self.planned_epochs = 0
        self.monitor = monitor = monitor or ("val_accuracy" if metric else "val_loss")
        self.progress = Progress(monitor) if progress else None
        self.callbacks: list[Callback] = [
            *([self.progress] if self.progress else []),
            UpdateRatio(),
            ReportToSchedule(),
            *([BestWeights(monitor)] if keep_best else []),
            *([EarlyStopping(patience, monitor)] if patience is not None else []),
            *callbacks,
        ]
        self._stop = ""
        self._pending: list[_Step] = []
        self._loaders: list[Any] = []
        self._modes: Modes = []  # of the model's modules while it is trained
        self._first_epoch, self._started = 0, 0.0  # of the fit; of the epoch (perf_counter)
        self._sums: dict[str, float] = {}  # of the epoch: batches, pictures, sums over them
        self._settings: Settings = {}  # of the fit; none: not asked for yet
        self._unjudged: list[int] = []  # epochs whose validation loss is not finite
        self.batch = self.batch_loss = None  # type: Any

    def fit(self, train_loader: Batches, val_loader: Batches | None = None, epochs: int = 1, *,
            resume: str | os.PathLike[str] | None = None) -> History:
        """Train for `epochs` more epochs and return the history.

        `resume` names a folder of `Checkpoints`, or one of its files: the run that wrote it goes
        on from there, bit for bit, to the end of its `epochs`. A folder without checkpoints
        starts a new run, so a script may always ask for it. Make model, optimizer, loaders and
        callbacks as that run did; ValueError if they do not fit (then make them anew: some of them
        may hold the checkpoint's state already).

        Ctrl-C ends the run cleanly and returns as well; ``history.stopped`` tells how it ended.
        In every case the model has the best weights, and each of its modules the mode it had
        before: ``model.eval()`` before you call it yourself. Meanwhile all is in training mode but
        the modules that you have put into evaluation mode (`start_training`). A loss that is not
        finite, or weights after an epoch that are not, raise FloatingPointError with step and
        learning rate. An epoch whose validation loss is not finite is never the best; there is a
        warning, and ``history.stopped`` names it.
        """
        epochs, batches = check_whole("epochs", epochs), batch_count("train_loader", train_loader)
        self._stop, why, self._pending, self._sums = "", "error", [], {}
        self._unjudged = []
        self._settings = {}
        self._loaders, self._first_epoch = [train_loader, val_loader], self.epoch
        if resume is not None and (found := read_newest(resume)):
            self.load_state_dict(found[1])
            self.say(f"resumed from {found[0]}: {self.step} steps are done")
        self.planned_epochs = self._first_epoch + epochs
        self.planned_steps = ((self.planned_epochs - self.epoch) * batches
                              - int(self._sums.get("batches", 0)))
        with modes_kept(self.model):
            self._modes = start_training(self.model)
            try:
                self._call("on_start")
                while self.epoch < self.planned_epochs and not self._stop:
                    self._fit_epoch(train_loader, val_loader)
                why = (self._stop or "finished") + self._doubt()
            except KeyboardInterrupt:
                why = "interrupted"
                self.read_metrics()
                self.say(f"interrupted at step {self.step}")
            finally:
                self.history.stopped = why
                self.batch = self.batch_loss = None
                self.model.eval()
                self._call("on_end")
        return self.history

    def check_weights(self) -> None:
        """FloatingPointError if a weight that is trained is not finite; reads one array."""
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        if not trained:
            return
        finite = to_numpy(xp.stack([xp.isfinite(p.data).all() for _, p in trained]))
        odd = [name for (name, _), sound in zip(trained, finite.tolist(), strict=True) if not sound]
        if odd:
            lr = self.history.steps["lr"][-1] if self.history.steps else self.optimizer.lr
            raise FloatingPointError(
                f"weights that are not finite, {', '.join(odd[:3])}{' ...' * (len(odd) > 3)}, "
                f"after {self.step} steps (epoch {self.epoch + 1}); the last lr was {lr:.4g}. "
                + _CAUSES.format(lr / 10))

    def stop(self, why: str) -> None:
        """End the run after this epoch; callbacks call it."""
        self._stop = why

    def say(self, text: str) -> None:
        """Print a line, unless the trainer is silent (progress=False)."""
        if self.progress:
            self.progress.say(text)

    def tell(self, text: str) -> None:
        """Print a line that must not be missed: a silent trainer warns (RuntimeWarning)."""
        if self.progress:
            self.progress.say(text)
        else:
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def evaluate(self, loader: Batches) -> Evaluation:
        """Mean loss and accuracy over a loader, in evaluation mode; of a `DataLoader` over all its
        data, without augmentation. Model and loader are left as they were.

        The sums stay on the device until the last batch.
        """
        loss: Any = 0.0
        correct: Any = 0.0
        seen = 0
        with evaluating(self.model):
            for images, labels in evaluation_batches(loader):
                images, labels = as_tensor(images), as_labels(labels)
                outputs = self.model(images)
                batch_loss = self.loss(outputs, labels).data
                loss = loss + xp.asarray(batch_loss, "float64") * len(images)
                if self.metric:
                    correct = correct + self.metric(outputs.data, labels)
                seen += len(images)
        if seen == 0:
            raise ValueError("evaluate() got a loader without batches")
        return Evaluation(float(loss) / seen, float(correct) / seen if self.metric else math.nan)

    def predict(self, images: Any, batch_size: int = 256) -> np.ndarray[Any, Any]:
        """The model's outputs, in evaluation mode, batch by batch, on the host.

        `images` are prepared as the model expects them (normalised), or a loader whose pictures
        are: a `DataLoader` gives all its pictures in their order, without augmentation, whatever
        it does in training. Class numbers are ``predict(images).argmax(axis=1)``. Model and loader
        are left as they were.
        """
        with evaluating(self.model):
            outputs = [to_numpy(self.model(as_tensor(batch)).data)
                       for batch in picture_batches(images, batch_size)]
        if not outputs:
            raise ValueError("predict() got no images")
        return np.concatenate(outputs)

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on: a tree of dicts, lists, numbers and arrays.

        Callbacks may call it `at_rest`. Code (a loss, a schedule, a transform) is not saved, only a
        text that describes it.
        """
        self.read_metrics()
        self.check_weights()  # a run that goes on from nan would never end well
        return {
            "step": self.step, "epoch": self.epoch, "first_epoch": self._first_epoch,
            "stop": self._stop, "sums": self._sums, "unjudged": self._unjudged,
            "seconds": time.perf_counter() - self._started,
            "random": noise_state(self.model),
            "loaders": [loader.get_state() if hasattr(loader, "get_state") else None
                        for loader in self._loaders],
            "settings": self._settings_now(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.state_dict(),
            "callbacks": [[type(callback).__name__, callback.state_dict()]
                          for callback in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; ValueError if it is of another kind of run.

        A callback finds its state by the name of its class (of several alike, in their order).
        Where the settings of that run were others, a warning lists them.
        """
        mine = self._settings_now()
        try:
            check_state(state)
            check_settings(state["optimizer"]["groups"], self.optimizer.param_groups)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for loader, position in zip(self._loaders, state["loaders"], strict=False):
                if position is not None and hasattr(loader, "set_state"):
                    loader.set_state(position)
            waiting = list(self.callbacks)
            for name, saved in state["callbacks"]:
                match = next((c for c in waiting if type(c).__name__ == name), None)
                if match is not None:
                    waiting.remove(match)
                    match.load_state_dict(saved)
                elif saved:  # one that remembers nothing, such as a progress bar, may be missing
                    raise ValueError(f"it holds the state of a {name}, and this trainer has no "
                                     "such callback (left): give it those of the run it is from")
            set_noise_state(self.model, state["random"])
            self.history = History.from_dict(state["history"])
            self.step, self.epoch = int(state["step"]), int(state["epoch"])
            self._first_epoch, self._stop = int(state["first_epoch"]), str(state["stop"])
            self._sums = dict(state["sums"])
            self._unjudged = [int(epoch) for epoch in state.get("unjudged", [])]
            self._started = time.perf_counter() - float(state["seconds"])
            self._tell_differences(state.get("settings", {}), mine)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise ValueError(f"the checkpoint does not fit this run: {error}") from error

    def _settings_now(self) -> Settings:
        """The settings of this fit, as they were when they were first asked for."""
        if not self._settings:
            names = ("training loader", "validation loader")
            self._settings = settings_of(self, dict(zip(names, self._loaders, strict=False)))
        return self._settings

    def _tell_differences(self, saved: Mapping[str, str], mine: Settings) -> None:
        self._settings = {}
        lines = differences(saved, mine, self._settings_now())
        if lines:
            head = "resumed with other settings than those of the checkpoint:"
            self.tell("\n  ".join([head, *lines]))

    def _rest_of_epoch(self, train_loader: Batches) -> Batches:
        """The batches that are still to come, after a resume in mid-epoch; mostly all of them."""
        if hasattr(train_loader, "set_state"):  # it knows where it is
            return train_loader
        return itertools.islice(train_loader, int(self._sums.get("batches", 0)), None)

    def _fit_epoch(self, train_loader: Batches, val_loader: Batches | None) -> None:
        if not self._sums:  # a new epoch, none that is resumed
            self._started = time.perf_counter()
            self._sums = dict.fromkeys(("batches", "mixed", "size", "loss", "accuracy"), 0.0)
        if not any(training for _, training in modes_of(self.model)):
            set_modes(self._modes)  # a callback judged the model and left it in evaluation mode
        for images, labels in self._rest_of_epoch(train_loader):
            self.batch = (as_tensor(images), as_labels(labels))
            self._pending.append(self._fit_batch(*self.batch))
            self.step = self._pending[-1].step + 1
            self._sums["batches"] += 1
            self._sums["mixed"] += self.metric is count_correct and self.batch[1].ndim > 1
            self._call("on_step")
            if self.step % self.log_every == 0:
                self.read_metrics()
            self._call("at_rest")
        self.read_metrics()
        self.check_weights()  # the last update may have spoilt what the losses do not show yet
        row = {f"train_{name}": self._sums[name] / self._sums["size"]
               for name in (("loss", "accuracy") if self.metric else ("loss",))}
        if self._sums["mixed"]:  # labels of mixup: an accuracy on them is no measure of fit
            row["mixed_accuracy"] = row.pop("train_accuracy")
        if val_loader is not None:
            found = self.evaluate(val_loader)
            row["val_loss"] = found.loss
            if not math.isfinite(found.loss):
                self._doubt_epoch(found.loss)
            if self.metric:
                row["val_accuracy"] = found.accuracy
        self.epoch += 1
        self.history.add("epochs", epoch=self.epoch, step=self.step, **row,
                         lr=self.history.steps["lr"][-1],
                         seconds=time.perf_counter() - self._started)
        self._sums = {}
        self._call("on_epoch")
        self._call("at_rest")

    def _doubt_epoch(self, loss: float) -> None:
        """Say, once in a fit, that this epoch cannot be the best one, whatever its accuracy."""
        self._unjudged.append(self.epoch + 1)
        if len(self._unjudged) == 1:
            warnings.warn(f"val_loss is {loss} in epoch {self.epoch + 1}: such an epoch is never "
                          "the best. Look at the validation pictures, and at the learning rate",
                          RuntimeWarning, stacklevel=4)

    def _doubt(self) -> str:
        """What to add to why a run ended, if validation losses were not finite."""
        epochs = ", ".join(map(str, self._unjudged[:5])) + " ..." * (len(self._unjudged) > 5)
        return f", but val_loss was not finite in epoch {epochs}" if epochs else ""

    def _fit_batch(self, images: Tensor, labels: Any) -> _Step:
        """One step. Its graph dies here: what is returned is one number, or two, on the device."""
        seen: list[Array | None] = []

        def closure() -> Tensor:
            outputs = self.model(images)
            loss = self.loss(outputs, labels)
            self.optimizer.zero_grad()
            loss.backward()
            if not seen:  # a line search calls again: the first loss is that of the step
                self.batch_loss = loss.data
                seen.append(loss.data)
                seen.append(self.metric(outputs.data, labels) if self.metric else None)
                self._call("before_update")
            return loss

        lr = self.optimizer.lr
        self.optimizer.step(closure)
        return _Step(self.step, lr, len(images), *seen)

    def read_metrics(self) -> None:
        """Bring the numbers of the last steps to the host, all at once, into the history."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        values = [s.loss for s in pending] + [s.correct for s in pending if s.correct is not None]
        stacked = xp.stack([xp.asarray(v, "float64").reshape(()) for v in values])
        numbers = to_numpy(stacked).tolist()
        for i, s in enumerate(pending):
            row = {"loss": numbers[i]}
            if self.metric:
                row["accuracy"] = numbers[len(pending) + i] / s.size
            self.history.add("steps", step=s.step, **row, lr=s.lr)
            self._sums["size"] += s.size
            for name, value in row.items():
                self._sums[name] += value * s.size
            if not math.isfinite(numbers[i]):
                raise FloatingPointError(
                    f"the loss became {numbers[i]} at step {s.step} (epoch {self.epoch + 1}) with "
                    f"lr {s.lr:.4g}. " + _CAUSES.format(s.lr / 10))
        self._call("on_log")

    def _call(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)
