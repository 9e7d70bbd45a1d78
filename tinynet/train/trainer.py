r"""The training loop, and what one wants around it: curves, validation, best weights.

    for images, labels in loader:            # one epoch
        loss = loss_function(model(images), labels)
        model.zero_grad(); loss.backward(); optimizer.step()

That is all that `Trainer.fit` does; `examples/plain_loop.py` is the loop alone. The
rest keeps account. No number is read from the device inside a step: losses and counts
stay there until `log_every` steps are done, and are then read in one go. Everything
that reacts to the numbers is a callback.

Read next: `train/plan.py`.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..backend import Array, HostArray, to_numpy, xp
from ..checks import answering, check_whole
from ..foreign import of_class
from ..functional.loss import cross_entropy
from ..nn.module import Modes, Module, modes_kept, modes_of, set_modes
from ..optim import Optimizer
from ..tensor import Tensor
from ..text import counted
from .callbacks import (
    BestWeights,
    Callback,
    EarlyStopping,
    ReportToSchedule,
    UpdateRatio,
    end,
)
from .distributed import World, as_world, share_loader
from .given import (
    Counting,
    check_columns,
    check_optimizer,
    check_parts,
    listed,
    most_right,
    rate_note,
    score_note,
    spoilt,
    with_own,
)
from .gradient import compute_gradient, sums_up
from .history import History
from .modes import start_training
from .plan import Plan, planned
from .predict import (
    answers,
    as_labels,
    as_tensor,
    check_batches,
    evaluating,
    evaluation_batches,
    pair_of,
    planned_batches,
)
from .progress import Progress
from .resume import Fit, load_run_state, read_newest, run_facts, run_state
from .settings import frozen
from .state import SUMS

Batches = Iterable[tuple[Any, Any]]
Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Array, Array], Array]

_CAUSES = (
    "Usual causes: a learning rate that is too high (try {:.1g}), or inputs that are "
    "not normalised or hold nan. The callback NanGuard finds the operation that made it")


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
    most: int  # what `correct` can be; 0: it need not be whole


def count_correct(outputs: Array, labels: Array) -> Array:
    """How many rows of `outputs` (n, classes) are largest at their label.

    Labels are class numbers (n,), or probabilities (n, classes): then a row counts as
    much as the probability of its largest output, of two mixed pictures lam or 1 - lam.

    >>> int(count_correct(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])))
    1
    """
    check_columns(outputs)
    largest = outputs.argmax(axis=-1)
    if labels.ndim > 1:
        return xp.take_along_axis(labels, largest[..., None], -1).sum()
    return (largest == labels).sum()


class Trainer:
    """Trains `model` with `optimizer` on ``loss(model(images), labels)``.

    metric:    counts the right answers of a batch on the device; None where there are
               none (regression): then `val_loss` decides which weights are the best
    monitor:   the epochs column that decides: the largest, or of a loss the smallest
    patience:  stop after so many epochs without a better one (default: never)
    keep_best: the model ends with the best validation's weights, whatever ended the run
    log_every: steps between two readings of the metrics
    chunk:     so many samples of a batch at most pass through the net together, and the
               gradients are added up (`gradient.py`; a loss that sums says so by its
               `reduction`); None: all of them
    progress:  False prints nothing
    parallel:  True takes part in the training of all ranks that mpiexec has started
               (`distributed`), which is that of one process with a batch as large as
               theirs together; a `World` does so with settings of its own
    callbacks: more of them; `tn.viz.ReportCard(folder, test)` ends the run with a page
               of curves, mistakes and times, `Checkpoints(folder)` keeps it from loss

    `step` and `epoch` count what is done; `history` holds the curves. While `fit` runs,
    `batch` is the one in hand, (images, labels), `batch_loss` its loss on the device,
    and `planned_epochs` the epoch to end with.
    """

    if not TYPE_CHECKING:  # a type checker would take any name for right
        __getattr__ = of_class("Trainer")

    @answering
    def __init__(self, model: Module, optimizer: Optimizer,
                 loss: Loss = cross_entropy, *, metric: Metric | None = count_correct,
                 monitor: str | None = None, patience: int | None = None,
                 keep_best: bool = True, callbacks: Iterable[Callback] = (),
                 log_every: int = 10, chunk: int | None = None, progress: bool = True,
                 parallel: World | bool = False) -> None:
        check_parts(model, optimizer, loss, metric)
        self.world = as_world(parallel)
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.metric = metric
        self.monitor = monitor or ("val_accuracy" if metric else "val_loss")
        self.log_every = check_whole("log_every", log_every)
        self.chunk = chunk if chunk is None else check_whole("chunk", chunk)
        self.history = History()
        self.step = 0
        self.epoch = 0
        self.planned_steps = 0
        self.planned_epochs = 0
        self.batch: Any = None
        self.batch_loss: Any = None
        self.fitting = Fit()
        self._pending: list[_Step] = []
        self._counting = Counting(metric, metric is not count_correct)
        self._modes: Modes = []  # of the model's modules while it is trained
        defaults: list[Callback] = [UpdateRatio(), ReportToSchedule()]
        self.progress: Progress | None = None
        if progress and self.world.is_first:
            self.progress = Progress(self.monitor)
            defaults.insert(0, self.progress)
        if keep_best:
            defaults.append(BestWeights(self.monitor))
        if patience is not None:
            defaults.append(EarlyStopping(patience, self.monitor))
        self.callbacks = with_own(defaults, callbacks)

    def __repr__(self) -> str:
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        net = f"{type(self.model).__name__} of {self.model.num_parameters():,} parameters"
        return (f"Trainer({net}, {type(self.optimizer).__name__}, {loss}; "
                f"{counted(self.epoch, 'epoch')}, {counted(self.step, 'step')} done)")

    @answering
    def fit(self, train_loader: Batches, val_loader: Batches | None = None,
            epochs: float = 1, *, resume: str | os.PathLike[str] | None = None) -> History:
        """Train for `epochs` more epochs and return the history.

        Of 5.5 epochs the last has half of the loader's batches.

        A loader is anything that gives (inputs, targets), arrays or tensors, batch by
        batch, and from the first one in each epoch: a `DataLoader`, a list, or an object
        with `__iter__`; a generator does for one epoch.

        `resume` names a folder of `Checkpoints`, or one of its files: the run that
        wrote it goes on from there, bit for bit, to the end of its `epochs`. A folder
        without checkpoints starts a new run, so a script may always ask for it. Make
        model, optimizer, loaders and callbacks as that run did; ValueError if they do
        not fit (then make them anew: some of them may hold the checkpoint's state
        already).

        Ctrl-C ends the run cleanly and returns as well; ``history.stopped`` tells how
        it ended. In every case the model has the best weights, and each of its modules
        the mode it had before: ``model.eval()`` before you call it yourself. Meanwhile
        all is in training mode but the modules that you have put into evaluation mode
        (`start_training`). A loss that is not finite, or weights after an epoch that
        are not, raise FloatingPointError with step and learning rate. An epoch whose
        validation loss is not finite is never the best; there is a warning, and
        ``history.stopped`` names it.
        """
        check_optimizer(self.optimizer)
        share_loader(self.world, train_loader)
        plan = planned(train_loader, epochs)
        if val_loader is not None:
            planned_batches("val_loader", val_loader, plan.epochs)
        why = "error"
        failed: BaseException | None = None
        self._pending = []
        self.fitting = Fit([train_loader, val_loader], self.epoch, frozen=frozen(self.model))
        if resume is not None:
            found = self.world.of_first(lambda: read_newest(resume))
            if found:
                file, state = found
                self.load_state_dict(state)
                self.say(f"resumed from {file}: {self.step} steps are done")
        self.world.check_alike(lambda: run_facts(self))
        # A run of other ranks has brought the size of its batches along.
        plan = planned(train_loader, epochs)
        self.planned_epochs = self.fitting.first_epoch + plan.epochs
        self.planned_steps = 0  # not known: the loader has no len()
        if plan.batches:
            self.planned_steps = plan.steps(self.epoch - self.fitting.first_epoch,
                                            self.fitting.batches_done)
        if note := rate_note(self.optimizer, self.planned_steps):
            self.tell(note)
        with modes_kept(self.model):
            self._modes = start_training(self.model)
            try:
                self._call("on_start")
                while self.epoch < self.planned_epochs and not self.fitting.stop:
                    self._fit_epoch(plan, train_loader, val_loader)
                    self.fitting.stop = self.world.agreed(self.fitting.stop)
                why = (self.fitting.stop or "finished") + self._doubt()
            except KeyboardInterrupt:
                self.world.interrupted(self.step)
                why = "interrupted"
                self.read_metrics()
                self.say(f"interrupted at step {self.step}")
            except BaseException as error:
                failed = error
                raise
            finally:
                self.history.stopped = why
                self.batch = None
                self.batch_loss = None
                self.model.eval()
                with self.world.ending(failed):
                    end(self._called(), self, failed)
        return self.history

    @property
    def seconds(self) -> float:
        """Time of training so far: of all epochs, also those before a resume."""
        begun = 0.0
        if self.fitting.sums:  # in mid-epoch
            begun = time.perf_counter() - self.fitting.started
        return math.fsum(self.history.epochs.get("seconds", [])) + begun

    def check_weights(self) -> None:
        """FloatingPointError if a trained weight is not finite, or a buffer nan.

        A buffer may hold infinities on purpose, as a mask does; nan is what running
        statistics become. Reads one array.
        """
        if names := spoilt(self.model):
            lr = self.history.steps.get("lr", [self.optimizer.lr])[-1]
            raise FloatingPointError(
                f"weights that are not finite, {listed(names, 3)}, after {self.step} "
                f"steps (epoch {self.epoch + 1}); the last lr was {lr:.4g}. "
                + _CAUSES.format(lr / 10))

    def stop(self, why: str) -> None:
        """End the run after this epoch; callbacks call it."""
        self.fitting.stop = why

    def say(self, text: str) -> None:
        """Print a line, unless the trainer is silent (progress=False)."""
        if self.progress:
            self.progress.say(text)

    def tell(self, text: str) -> None:
        """Print a line that must not be missed: a silent trainer warns."""
        if self.progress:
            self.progress.say(text)
        else:
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def evaluate(self, loader: Batches, *others: Any) -> Evaluation:
        """Mean loss and accuracy over a loader, in evaluation mode.

        A `DataLoader` gives all its data, without augmentation. Model and loader are
        left as they were. The sums stay on the device until the last batch. Of several
        ranks each takes its rows, so all of them must call it.
        """
        check_batches("loader", loader, *others)
        loss: Any = 0.0
        correct: Any = 0.0
        most: float = 0
        seen: float = 0
        with evaluating(self.model):
            batches = evaluation_batches(loader, self.world.rank, self.world.size)
            for images, labels in map(pair_of, batches):
                if len(images) == 0:  # a small batch has no rows for this rank
                    continue
                pictures = as_tensor(images)
                wanted = as_labels(labels)
                outputs = self.model(pictures)
                found = xp.asarray(self.loss(outputs, wanted).data, "float64")
                loss = loss + (found if sums_up(self.loss) else found * len(pictures))
                right = self._count(outputs.data, wanted)
                correct = math.nan if right is None else correct + right
                most += most_right(wanted)
                seen += len(pictures)
        if self.world.size > 1:
            loss, correct, most, seen = self.world.sums([loss, correct, most, seen])
        if seen == 0:
            raise ValueError("evaluate() got a loader without batches")
        right = float(correct)
        self._counting.check(right, round(most))
        return Evaluation(float(loss) / seen, right / seen)

    def predict(self, images: Any, batch_size: int = 256) -> HostArray:
        """The model's outputs, in evaluation mode, batch by batch, on the host.

        `images` are prepared as the model expects them (normalised), or a loader whose
        pictures are: a `DataLoader` gives all its pictures in their order, without
        augmentation, whatever it does in training. Class numbers are
        ``predict(images).argmax(axis=1)``. Model and loader are left as they were.
        """
        return answers(self.model, images, batch_size,
                       lambda batch: self.model(as_tensor(batch)).data, "predict")

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as a tree (`resume.run_state`).

        Callbacks may call it `at_rest`. Code (a loss, a schedule, a transform) is not
        saved, only a text that describes it.
        """
        self.read_metrics()
        self.check_weights()  # a run that goes on from nan would never end well
        return run_state(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; ValueError if it is of another kind.

        A callback finds its state by the name of its class (of several alike, in their
        order). Where the settings of that run were others, a warning lists them.
        """
        load_run_state(self, state)

    def _fit_epoch(self, plan: Plan, train_loader: Batches, val_loader: Batches | None) -> None:
        fitting = self.fitting
        if not fitting.sums:  # a new epoch, none that is resumed
            fitting.started = time.perf_counter()
            fitting.sums = dict.fromkeys(SUMS, 0.0)
        if not any(training for _, training in modes_of(self.model)):
            set_modes(self._modes)  # a callback judged the model and left it so
        place = self.epoch - fitting.first_epoch
        for images, labels in map(pair_of, plan.rest(train_loader, place, fitting.batches_done)):
            self.batch = (as_tensor(images), as_labels(labels))
            self._fit_batch(*self.batch)
            self._call("on_step")
            if self.step % self.log_every == 0:
                self.read_metrics()
            self._call("at_rest")
        self.read_metrics()
        self.check_weights()  # the last update may have spoilt what no loss shows yet
        row = self._training_means()
        if val_loader is not None:
            row |= self._validation(val_loader)
        self.epoch += 1
        row["lr"] = self.history.steps["lr"][-1]
        row["seconds"] = time.perf_counter() - fitting.started
        self.history.add("epochs", epoch=self.epoch, step=self.step, **row)
        fitting.sums = {}
        self._call("on_epoch")
        self._call("at_rest")

    def _training_means(self) -> dict[str, float]:
        sums = self.fitting.sums
        if not sums.get("size"):
            raise ValueError("the epoch ended without a step: the loader gave no batch, or the "
                             "checkpoint's loader stands at its end. Use another checkpoint")
        row = {"train_loss": sums["loss"] / sums["size"]}
        if not math.isnan(self.history.steps.get("accuracy", [math.nan])[-1]):
            # with labels of mixup, an accuracy is no measure of fit: another name
            name = "mixed_accuracy" if sums["mixed"] else "train_accuracy"
            row[name] = sums["accuracy"] / sums["size"]
        return row

    def _validation(self, loader: Batches) -> dict[str, float]:
        found = self.evaluate(loader)
        if not math.isfinite(found.loss):
            self._doubt_epoch(found.loss)
        row = {"val_loss": found.loss}
        if not math.isnan(found.accuracy):
            row["val_accuracy"] = found.accuracy
        return row

    def _doubt_epoch(self, loss: float) -> None:
        """Say, once in a fit, that this epoch cannot be the best."""
        self.fitting.unjudged.append(self.epoch + 1)
        if len(self.fitting.unjudged) == 1:
            warnings.warn(
                f"val_loss is {loss} in epoch {self.epoch + 1}: such an epoch is never "
                "the best. Look at the validation data, and at the learning rate",
                RuntimeWarning, stacklevel=5)

    def _doubt(self) -> str:
        """What to add to why a run ended, if validation losses were not finite."""
        if not self.fitting.unjudged:
            return ""
        epochs = listed(self.fitting.unjudged, 5)
        return f", but val_loss was not finite in epoch {epochs}"

    def _fit_batch(self, images: Tensor, labels: Any) -> None:
        """One step. Its graph dies here: one number stays, or two, on the device."""
        kept: list[_Step] = []
        lr = self.optimizer.lr

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            found = compute_gradient(self, images, labels, None if kept else self._count)
            if not kept:  # a line search calls again: the first loss is the step's
                if self.step == 0 and (
                        note := score_note(self.model, self.loss, found.outputs)):
                    self.tell(note)
                kept.append(_Step(self.step, lr, found.size, found.mean, found.correct,
                                  found.most))
                self.batch_loss = found.loss.data
                self._call("before_update")
            return found.loss

        self.optimizer.step(closure)
        self._pending += kept
        self.step += 1
        self.fitting.sums["batches"] += 1
        self.fitting.sums["mixed"] += self.metric is count_correct and labels.ndim > 1

    def _count(self, outputs: Array, labels: Array) -> Array | None:
        """How many outputs are right; None where that is not asked or means nothing."""
        right = self._counting(outputs, labels)
        if right is None and self.monitor == "val_accuracy":
            self.monitor = "val_loss"
        return right

    def read_metrics(self) -> None:
        """Bring the numbers of the last steps into the history, all at once."""
        pending = self._pending
        self._pending = []
        if not pending:
            return
        values = [s.loss for s in pending]
        values += [s.correct for s in pending if s.correct is not None]
        stacked = xp.stack([xp.asarray(v, "float64").reshape(()) for v in values])
        numbers = to_numpy(stacked).tolist()
        rights = iter(numbers[len(pending):])
        for i, s in enumerate(pending):
            row = {"loss": numbers[i]}
            if s.correct is not None:
                right = next(rights)
                self._counting.check(right, s.most)
                row["accuracy"] = right / s.size
            self.history.add("steps", step=s.step, **row, lr=s.lr)
            self.fitting.sums["size"] += s.size
            for name, value in row.items():
                self.fitting.sums[name] += value * s.size
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(
                    f"the loss became {row['loss']} at step {s.step} (epoch "
                    f"{self.epoch + 1}) with lr {s.lr:.4g}. " + _CAUSES.format(s.lr / 10))
        self._call("on_log")

    def _called(self) -> list[Callback]:
        """The callbacks of this rank: only the first one writes files."""
        return [c for c in self.callbacks if self.world.is_first or not c.writes_files]

    def _call(self, hook: str) -> None:
        for callback in self._called():
            getattr(callback, hook)(self)
