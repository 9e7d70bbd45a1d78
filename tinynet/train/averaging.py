r"""Averaged weights in nets with BatchNorm: what becomes of its statistics (D5).

`optim.EMA` and `optim.SWA` average weights. BatchNorm's running mean and variance are
no weights: they describe what the weights of the last steps made of the data. Three
treatments:

    keep       EMA(model.named_parameters())        the run's own statistics
    average    EMA(model.named_parameters() + model.named_buffers())    as the weights
    recompute  EMA(model.named_parameters()), and `recompute_batch_norm` before the test

Only the third is right. Take the weights 1 and -1 of one unit: the outputs of each have
variance 1, so the average of the variances is 1, and that of the last weights is 1,
too; but the average weight is 0, and so is its variance. How much it matters depends on
how far the weights moved: a net of four hidden layers had losses of .140, .036 and .034
with SWA over 20 epochs, and of .037, .032 and .030 with an EMA (means of 5 seeds,
`tests/train/test_averaging.py`).

Read next: `train/ensemble.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from ..checks import check_choice, check_whole
from ..graph import no_grad
from ..nn.layers import BatchNorm1d, BatchNorm2d
from ..nn.module import Call, Modes, Module, modes_kept, modes_of, observe, set_modes
from ..optim.averaging import Average
from .callbacks import Callback, Run
from .predict import as_tensor, pictures_of, undisturbed

BatchNorm = BatchNorm1d | BatchNorm2d


def recompute_batch_norm(model: Module, batches: Iterable[Any]) -> None:
    """Measure every running mean and variance anew, with the weights as they are now.

        running = sum_b n_b statistics(batch b) / sum_b n_b      n_b pictures in batch b

    `batches` are images, or tuples that begin with them, of the training set, prepared
    as in training; a few thousand pictures do. A `DataLoader` is left where it is. All
    but the batch norms is in evaluation mode meanwhile (no dropout: there is none at
    test time). A norm that is in evaluation mode while other modules are not keeps its
    statistics, as it does in training, and so does one that no batch reaches. Nothing
    else of the model changes; after an error nothing at all. As PyTorch's
    ``swa_utils.update_bn``, but that weighs all batches alike and leaves dropout on.

    >>> from tinynet import nn
    >>> norm = nn.BatchNorm1d(1)
    >>> batches = [tn.tensor([[1.0], [3.0]]), tn.tensor([[5.0], [9.0]])]
    >>> recompute_batch_norm(norm, batches)
    >>> norm.running_mean, norm.running_var               # (2 + 7) / 2 and (2 + 8) / 2
    (Buffer([4.5]), Buffer([5.]))
    """
    norms: list[BatchNorm] = [module for _, module in model.named_modules()
                              if isinstance(module, BatchNorm)]
    if not norms:
        return
    if any(training for _, training in modes_of(model)):
        norms = [norm for norm in norms if norm.training]
    momenta = [norm.momentum for norm in norms]
    old = [(norm.running_mean.data.copy(), norm.running_var.data.copy())
           for norm in norms]
    reached: set[int] = set()
    try:
        _measure(model, norms, batches, reached)
    except BaseException:
        reached.clear()
        raise
    finally:
        for norm, momentum, (mean, var) in zip(norms, momenta, old, strict=True):
            norm.momentum = momentum
            if id(norm) not in reached:
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(var)


def _measure(model: Module, norms: list[BatchNorm], batches: Iterable[Any],
             reached: set[int]) -> None:
    """One pass over the batches; `reached` gets the ids of the modules called."""

    def note(call: Call) -> None:
        reached.add(id(call.module))

    seen = 0
    for norm in norms:
        norm.reset_running_stats()  # a nan of the past would stay: 0 * nan is nan
    with modes_kept(model), no_grad(), observe(note):
        model.eval()
        for norm in norms:
            norm.training = True
        for batch in undisturbed(batches):
            images = pictures_of(batch)
            seen += len(images)
            # a running mean with these weights is the mean of all so far
            for norm in norms:
                norm.momentum = len(images) / seen
            model(as_tensor(images))
    if seen == 0:
        raise ValueError("recompute_batch_norm() got no batches "
                         "(was a generator used up before?)")


@contextlib.contextmanager
def averaged(model: Module, average: Average, batches: Iterable[Any] | None = None
             ) -> Iterator[None]:
    """Inside, `model` has the averaged weights; afterwards its own, bit for bit.

    With `batches` its batch norms are measured anew with the averaged weights.

        with averaged(model, ema, train_loader):
            print(trainer.evaluate(val_loader))
    """
    own = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
    with average.applied():
        try:
            if batches is not None:
                recompute_batch_norm(model, batches)
            yield
        finally:
            for buffer, value in own:
                buffer.copy_(value)


class WeightAveraging(Callback):
    """Average the weights during `fit`; afterwards the model has the average.

    average: an `optim.EMA` or `optim.SWA` of the model's parameters
    every:   "step" (EMA) or "epoch" (SWA)
    start:   the first epoch that counts, from 1; before it the average stays as made
    batches: the training loader: batch norms are measured anew at the end (None: kept)

    It acts after `BestWeights`, so the average is what remains, unless an error ended
    the run.
    """

    def __init__(self, average: Average, *, every: Literal["step", "epoch"] = "step",
                 start: int = 1, batches: Iterable[Any] | None = None) -> None:
        self.average = average
        self.every = check_choice("every", every, ("step", "epoch"))
        self.start = check_whole("start", start)
        self.batches = batches
        self._modes: Modes = []  # of the model's modules in this run

    def on_start(self, trainer: Run) -> None:
        """Note which modules are trained: frozen norms are not measured anew."""
        self._modes = modes_of(trainer.model)

    def on_step(self, trainer: Run) -> None:
        """Take the weights after a step into the average."""
        if self.every == "step" and trainer.epoch + 1 >= self.start:
            self.average.update()

    def on_epoch(self, trainer: Run) -> None:
        """Take the weights at the end of an epoch into the average."""
        if self.every == "epoch" and trainer.epoch >= self.start:
            self.average.update()

    def on_end(self, trainer: Run) -> None:
        """Write the average into the model."""
        if self.average.n and trainer.history.stopped != "error":
            self.average.copy_to()
            if self.batches is not None:
                with modes_kept(trainer.model):
                    set_modes(self._modes)
                    recompute_batch_norm(trainer.model, self.batches)

    def state_dict(self) -> dict[str, Any]:
        """The averages and how many updates they are made of."""
        return self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.average.load_state_dict(state)
