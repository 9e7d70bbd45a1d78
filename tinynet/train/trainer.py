r"""The training loop, with what one wants around it: curves, validation, best weights, a way out.

    for images, labels in loader:            # one epoch
        loss = loss_function(model(images), labels)
        model.zero_grad(); loss.backward(); optimizer.step()

That is all that `Trainer.fit` does; `examples/plain_loop.py` is the loop alone. The rest keeps
account. No number is read from the device inside a step: losses and counts stay there until
`log_every` steps are done, and are then read in one go. Everything that reacts to the numbers is a
callback. Read next: `checkpoint.py`.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, asarray, is_array, to_numpy, xp
from ..functional.loss import cross_entropy
from ..nn.module import Module
from ..optim import Optimizer
from ..tensor import Tensor, no_grad
from .callbacks import BestWeights, Callback, EarlyStopping, ReportToSchedule, UpdateRatio
from .history import History
from .progress import Progress

Batches = Iterable[tuple[Any, Any]]
Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Array, Array], Array]


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

    Labels are class numbers (n,), or probabilities (n, classes), of which the largest counts.

    >>> int(count_correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])))
    1
    """
    if labels.ndim > 1:
        labels = labels.argmax(axis=-1)
    return (outputs.argmax(axis=-1) == labels).sum()


class Trainer:
    """Trains `model` with `optimizer` on ``loss(model(images), labels)``.

    metric:    counts the right answers of a batch on the device; None where there are none
               (regression): then `val_loss` decides which weights are the best
    monitor:   the epochs column that decides: the largest, or of a loss the smallest
    patience:  stop after so many epochs without a better one (default: never)
    keep_best: give the model back with the weights of the best validation, whatever ended the run
    log_every: steps between two readings of the metrics
    progress:  False prints nothing

    `step` and `epoch` count what is done; `history` holds the curves.
    """

    def __init__(self, model: Module, optimizer: Optimizer, loss: Loss = cross_entropy, *,
                 metric: Metric | None = count_correct, monitor: str | None = None,
                 patience: int | None = None, keep_best: bool = True,
                 callbacks: Iterable[Callback] = (), log_every: int = 10,
                 progress: bool = True) -> None:
        if log_every < 1:
            raise ValueError(f"log_every must be at least 1 step, got {log_every}")
        self.model, self.optimizer, self.loss, self.metric = model, optimizer, loss, metric
        self.log_every = log_every
        self.history = History()
        self.step = self.epoch = self.planned_steps = self.planned_epochs = 0
        monitor = monitor or ("val_accuracy" if metric else "val_loss")
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

    def fit(self, train_loader: Batches, val_loader: Batches | None = None,
            epochs: int = 1) -> History:
        """Train for `epochs` more epochs and return the history.

        Ctrl-C ends the run cleanly and returns as well; ``history.stopped`` tells how it ended.
        In every case the model has the best weights and is in evaluation mode. A loss that is not
        finite raises FloatingPointError with its step and learning rate.
        """
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        if not isinstance(train_loader, Sized) or len(train_loader) == 0:
            raise ValueError("the train_loader has no batches, or no len(): give it at least one "
                             "batch of data (drop_last=True drops a short one)")
        self.planned_epochs, self.planned_steps = epochs, epochs * len(train_loader)
        self._stop, why, self._pending = "", "error", []
        try:
            self._call("on_start")
            for _ in range(epochs):
                self._fit_epoch(train_loader, val_loader)
                if self._stop:
                    break
            why = self._stop or "finished"
        except KeyboardInterrupt:
            why = "interrupted"
            self._read_metrics()
            self.say(f"interrupted at step {self.step}")
        finally:
            self.history.stopped = why
            self.model.eval()
            self._call("on_end")
        return self.history

    def stop(self, why: str) -> None:
        """End the run after this epoch; callbacks call it."""
        self._stop = why

    def say(self, text: str) -> None:
        """Print a line, unless the trainer is silent (progress=False)."""
        if self.progress:
            self.progress.say(text)

    def evaluate(self, loader: Batches) -> Evaluation:
        """Mean loss and accuracy over a loader, in evaluation mode.

        The sums stay on the device until the last batch.
        """
        loss: Any = 0.0
        correct: Any = 0.0
        seen = 0
        with _evaluation(self.model):
            for images, labels in loader:
                images, labels = _as_tensor(images), _as_labels(labels)
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
        are; class numbers are ``predict(images).argmax(axis=1)``.
        """
        if isinstance(images, Tensor) or is_array(images) or isinstance(images, np.ndarray):
            batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
        else:
            batches = (batch[0] for batch in images)
        with _evaluation(self.model):
            outputs = [to_numpy(self.model(_as_tensor(batch)).data) for batch in batches]
        if not outputs:
            raise ValueError("predict() got no images")
        return np.concatenate(outputs)

    def _fit_epoch(self, train_loader: Batches, val_loader: Batches | None) -> None:
        start, first = time.perf_counter(), len(self.history.steps.get("step", []))
        sizes: list[int] = []
        self.model.train()
        for images, labels in train_loader:
            sizes.append(len(images))
            self._pending.append(self._fit_batch(_as_tensor(images), _as_labels(labels)))
            self.step = self._pending[-1].step + 1
            self._call("on_step")
            if self.step % self.log_every == 0:
                self._read_metrics()
        self._read_metrics()
        row: dict[str, float] = {}
        for name in ("loss", "accuracy") if self.metric else ("loss",):
            values = self.history.steps[name][first:]
            total = sum(v * n for v, n in zip(values, sizes, strict=True))
            row[f"train_{name}"] = total / sum(sizes)
        if val_loader is not None:
            found = self.evaluate(val_loader)
            row["val_loss"] = found.loss
            if self.metric:
                row["val_accuracy"] = found.accuracy
        self.epoch += 1
        self.history.add("epochs", epoch=self.epoch, step=self.step, **row,
                         lr=self.history.steps["lr"][-1], seconds=time.perf_counter() - start)
        self._call("on_epoch")

    def _fit_batch(self, images: Tensor, labels: Any) -> _Step:
        """One step. Its graph dies here: what is returned is one number, or two, on the device."""
        seen: list[Array | None] = []

        def closure() -> Tensor:
            outputs = self.model(images)
            loss = self.loss(outputs, labels)
            self.optimizer.zero_grad()
            loss.backward()
            if not seen:  # a line search calls again: the first loss is that of the step
                seen.append(loss.data)
                seen.append(self.metric(outputs.data, labels) if self.metric else None)
                self._call("before_update")
            return loss

        lr = self.optimizer.lr
        self.optimizer.step(closure)
        return _Step(self.step, lr, len(images), *seen)

    def _read_metrics(self) -> None:
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
            if not math.isfinite(numbers[i]):
                raise FloatingPointError(
                    f"the loss became {numbers[i]} at step {s.step} (epoch {self.epoch + 1}) with "
                    f"lr {s.lr:.4g}. Usual causes: a learning rate that is too high (try "
                    f"{s.lr / 10:.1g}), or inputs that are not normalised or hold nan")
        self._call("on_log")

    def _call(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self)


@contextlib.contextmanager
def _evaluation(model: Module) -> Iterator[None]:
    """Evaluation mode, nothing recorded; the mode before comes back, also after an error."""
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        model.train(was_training)


def _as_tensor(images: Any) -> Tensor:
    return images if isinstance(images, Tensor) else Tensor(images)


def _as_labels(labels: Any) -> Array:
    return labels.data if isinstance(labels, Tensor) else asarray(labels)
