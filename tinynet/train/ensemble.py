r"""Ensembles: several nets, one answer, mostly better than each of them alone (D3, D4).

    p(x) = 1/M sum_m softmax(f_m(x))     -log p_y <= 1/M sum_m -log p_{m,y}  (Jensen)

The loss of the mean prediction is never above the mean of the losses; the accuracy
mostly gains 1 to 3 points. The nets are trained apart (other seeds), or they are
snapshots of one run, taken where a cyclic learning rate has come down to 0: M nets for
the price of one. Source: Huang et al. 2017, "Snapshot ensembles: train 1, get M for
free", arXiv 1704.00109.

Read next: `train/detective.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import text
from ..backend import HostArray, check_range, to_numpy
from ..checks import check_whole
from ..files import explained
from ..locks import Lock
from ..nn.module import Module
from .callbacks import Callback, Run
from .checkpoint import read_model, save_model
from .predict import (
    as_labels,
    as_tensor,
    check_keeps_order,
    evaluating,
    evaluation_batches,
    is_pictures,
    picture_batches,
)
from .trainer import Evaluation


class EnsembleRow(NamedTuple):
    """The last `m` members: their mean prediction, and the mean of what each does."""

    m: int
    loss: float
    accuracy: float
    mean_loss: float
    mean_accuracy: float


class EnsembleTable(NamedTuple):
    """One row for m = 1 .. M; print it."""

    rows: list[EnsembleRow]

    def __str__(self) -> str:
        return text.table(self._lines(), align="r", rules=(1, -1))

    def _lines(self) -> list[tuple[object, ...]]:
        head = ("last m", "loss", "mean of losses", "accuracy", "mean of accuracies")
        cells = [(r.m, f"{r.loss:.4f}", f"{r.mean_loss:.4f}", f"{r.accuracy:.2%}",
                  f"{r.mean_accuracy:.2%}") for r in self.rows]
        return [head, *cells]

    def _repr_html_(self) -> str:
        return text.html(self._lines())


class Ensemble:
    r"""The mean prediction of several nets: p = 1/M sum_m softmax(f_m(x)), in float64.

    Ensemble([net1, net2, net3])       nets trained apart
    Ensemble(snapshots.files(), net)   states of one net: files of `save_model`, or dicts;
                                       its own weights are back after each call

    >>> from tinynet import models
    >>> both = Ensemble([models.mlp([4, 3]), models.mlp([4, 3])])
    >>> both.predict(np.zeros((2, 4), np.float32)).sum(axis=1)
    array([1., 1.])
    """

    def __init__(self, members: Sequence[Any], model: Module | None = None) -> None:
        if isinstance(members, Module):
            raise TypeError("members must be a list of nets, got one "
                            f"{type(members).__name__}: its layers are no nets")
        if not members:
            raise ValueError("an ensemble needs at least one member, got none")
        self.model = model
        self.members: list[Any] = []
        for member in members:
            if model is None and not isinstance(member, Module):
                raise TypeError(f"a member is {type(member).__name__}: members are "
                                "nets, or states and files of one net: Ensemble(files, "
                                "model)")
            if not isinstance(member, Module | Mapping):
                member, _ = read_model(member)
            self.members.append(member)

    def __repr__(self) -> str:
        kinds = sorted({type(self.model or member).__name__ for member in self.members})
        return f"Ensemble({len(self.members)} members: {', '.join(kinds)})"

    def predict(self, images: Any, batch_size: int = 256) -> HostArray:
        """Mean probabilities (N, classes) for images, or a loader's, in their order."""
        if is_pictures(images):
            batches = [(batch, None) for batch in picture_batches(images, batch_size)]
        else:
            check_keeps_order(images)
            batches = images
        found: HostArray = np.exp(_mean(self._log_probabilities(batches)[0]))
        return found

    def __call__(self, images: Any) -> HostArray:
        """``predict(images)``: probabilities, where a net gives scores."""
        return self.predict(images)

    def evaluate(self, loader: Iterable[Any]) -> Evaluation:
        """Loss (mean of -log p_y) and accuracy of the mean prediction."""
        last = self.table(loader).rows[-1]
        return Evaluation(last.loss, last.accuracy)

    def table(self, loader: Iterable[Any]) -> EnsembleTable:
        """Loss and accuracy of the mean of the last m members, m = 1 .. M.

        The loader gives (images, class numbers), in the same order each time: a
        `DataLoader` those of `Trainer.predict`.
        """
        log_p, labels = self._log_probabilities(loader)
        check_range("labels", labels, log_p.shape[2], "The nets have so many outputs.")
        alone = [_judge(p, labels) for p in log_p]
        rows = []
        for m in range(1, len(log_p) + 1):
            means = [math.fsum(column) / m for column in zip(*alone[-m:], strict=True)]
            rows.append(EnsembleRow(m, *_judge(_mean(log_p[-m:]), labels), *means))
        return EnsembleTable(rows)

    def _log_probabilities(self, batches: Iterable[Any]) -> tuple[HostArray, HostArray]:
        """log softmax of every member (M, N, classes), and the labels (N,)."""
        if self.model is None:
            return self._of_each(batches)
        own = self.model.state_dict()
        try:
            return self._of_each(batches)
        finally:
            self.model.load_state_dict(own)

    def _of_each(self, batches: Iterable[Any]) -> tuple[HostArray, HostArray]:
        found: list[HostArray] = []
        first = None
        for member in self.members:
            net = member
            if self.model is not None:
                self.model.load_state_dict(member)
                net = self.model
            scores, labels = _scores(net, batches)
            if first is not None and not np.array_equal(labels, first):
                raise ValueError(
                    "the loader gave other labels the second time: make it with "
                    "shuffle=False, so that every member sees the same samples")
            if found and scores.shape != found[0].shape:
                raise ValueError(
                    "the nets must have as many outputs, one for each class: the first "
                    f"has {found[0].shape[1]}, another {scores.shape[1]}")
            first = labels
            found.append(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        assert first is not None
        return np.stack(found), first


def _scores(model: Module, batches: Iterable[Any]) -> tuple[HostArray, HostArray]:
    """Outputs of a net in float64, and the labels, over all batches; on the host."""
    outputs, labels = [], []
    with evaluating(model):
        for batch in evaluation_batches(batches):
            if not isinstance(batch, tuple | list):  # two pictures would unpack as well
                raise TypeError("an ensemble's loader gives (images, labels), got a "
                                f"batch of type {type(batch).__name__}: give predict() "
                                "the inputs themselves, in one array")
            images, wanted = batch
            outputs.append(to_numpy(model(as_tensor(images)).data).astype(np.float64))
            if wanted is None:  # predict() has no labels, and reads none
                wanted = np.zeros(len(images), np.int64)
            labels.append(to_numpy(as_labels(wanted)))
    if not outputs:
        raise ValueError("the ensemble got no batches (was a generator used up "
                         "before?)")
    return np.concatenate(outputs), np.concatenate(labels)


def _mean(log_p: HostArray) -> HostArray:
    """log(1/M sum_m p_m) of (M, N, classes); by logarithms no tiny p is 0."""
    mean: HostArray = np.logaddexp.reduce(log_p, axis=0) - math.log(len(log_p))
    return mean


def _judge(log_p: HostArray, labels: HostArray) -> tuple[float, float]:
    loss = -log_p[np.arange(len(labels)), labels].mean()
    return float(loss), float((log_p.argmax(axis=1) == labels).mean())


class Snapshots(Callback):
    """Save the model every `period` steps, when a cycle of the learning rate ends.

    For M snapshots in T steps take period = ceil(T / M), and as the schedule
    ``cyclic_cosine(lr, period)``; a last, shorter cycle counts as well. The folder gets
    snapshot-1.safetensors ... snapshot-M.safetensors (`load_model` reads them).

    A cycle must be long enough to train a net: of four cycles of three epochs the last
    snapshot alone was better than the mean of all (`tests/results/snapshots.md`);
    `Ensemble.table` tells how many to take. A folder to which another run saves its
    snapshots is refused (BlockingIOError).
    """

    writes_files = True

    def __init__(self, folder: str | os.PathLike[str], period: int) -> None:
        self.folder = Path(folder)
        self.period = check_whole("period", period)
        self._count = 0
        self._lock = Lock(self.folder / ".snapshots.lock", self.folder)

    def files(self) -> list[Path]:
        """The snapshots of the run so far, the oldest first."""
        numbers = range(1, self._count + 1)
        return [self.folder / f"snapshot-{i}.safetensors" for i in numbers]

    def on_start(self, trainer: Run) -> None:
        """A resumed run has made some already; if it is over, its last cycle's, too."""
        with explained(self.folder):
            self._lock.acquire()
        self._count = trainer.step // self.period
        if trainer.epoch >= trainer.planned_epochs:
            self._count = math.ceil(trainer.step / self.period)

    def on_end(self, trainer: Run) -> None:
        """Let other runs use the folder."""
        self._lock.release()

    def on_step(self, trainer: Run) -> None:
        """Save at the end of a cycle."""
        if trainer.step % self.period == 0:
            self._save(trainer)

    def on_epoch(self, trainer: Run) -> None:
        """Save at the end of the run, if it ends within a cycle."""
        if trainer.epoch == trainer.planned_epochs and trainer.step % self.period:
            self._save(trainer)

    def _save(self, trainer: Run) -> None:
        trainer.check_weights()
        self._count = math.ceil(trainer.step / self.period)
        save_model(trainer.model, self.files()[-1], {"step": str(trainer.step)})
