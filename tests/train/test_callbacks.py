"""Which epoch is the best, what a run says of numbers that are not finite, what an epoch costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches, net, trainer
from tinynet import nn, optim, to_numpy
from tinynet.optim.schedule import Schedule
from tinynet.train import (
    BestWeights,
    Callback,
    Checkpoints,
    EarlyStopping,
    History,
    ReportToSchedule,
    Run,
    Snapshots,
    Trainer,
    UpdateRatio,
    load_model,
    read_newest,
)
from tinynet.train.progress import Progress

MONITORS = ["val_accuracy", "val_loss", "train_accuracy", "train_loss"]


def weights(model: nn.Module) -> Any:
    return np.concatenate([to_numpy(p.data).ravel() for p in model.parameters()])


class AfterEpoch(Callback):
    """Do something to the trainer at the last step of an epoch of six."""

    def __init__(self, epoch: int, act: Callable[[Trainer], object]) -> None:
        self.epoch, self.act = epoch, act

    def on_step(self, trainer: Any) -> None:
        if trainer.step == 6 * self.epoch:
            self.act(trainer)


def spoil(value: float) -> Callable[[Any], object]:
    """One weight becomes `value`."""
    def act(trainer: Any) -> None:
        trainer.model[0].weight.data[0, 0] = value

    return act


# The best epoch

@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("epoch", [2, 3], ids=["in between", "at the end"])
def test_weights_that_are_not_finite_are_never_the_best(monitor: str, value: float, epoch: int,
                                                        tmp_path: Path) -> None:
    first: list[Any] = []
    note = AfterEpoch(1, lambda t: first.append(weights(t.model)))
    t = trainer(lr=1e-9, monitor=monitor, callbacks=[
        note, AfterEpoch(epoch, spoil(value)), Checkpoints(tmp_path, every=6, keep=None)])
    with pytest.raises(FloatingPointError, match=r"weights that are not finite, 0.weight, after "
                                                 rf"{6 * epoch} steps .*the last lr was 1e-09"):
        t.fit(batches(), batches(32, seed=1), epochs=3)
    assert t.history.stopped == "error"
    np.testing.assert_allclose(weights(t.model), first[0], atol=1e-7)
    best = load_model(tmp_path / "best.safetensors", net(seed=5))
    assert np.isfinite(weights(best)).all()
    found = read_newest(tmp_path)  # nor is there a checkpoint that cannot go on
    assert found is not None and found[1]["step"] == 6 * (epoch - 1)


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_epoch_whose_validation_loss_is_not_finite_is_not_the_best_and_the_run_says_so(
        monitor: str, value: float, tmp_path: Path) -> None:
    kept: list[Any] = []

    class Judge(Trainer):
        def evaluate(self, loader: Any) -> Any:
            found = super().evaluate(loader)
            kept.append(weights(self.model))
            perfect = found._replace(accuracy=1.0)
            return perfect._replace(loss=value) if self.epoch + 1 in (2, 3) else found

    model = net()
    t = Judge(model, optim.SGD(model.parameters(), lr=1e-3), progress=False,
              monitor=monitor, callbacks=[Checkpoints(tmp_path)])
    with pytest.warns(RuntimeWarning, match="val_loss is .* in epoch 2: such an epoch is never"):
        history = t.fit(batches(), batches(32, seed=1), epochs=3)
    assert history.stopped == "finished, but val_loss was not finite in epoch 2, 3"
    if monitor.startswith("val"):
        assert history.best(monitor) == (1, history[monitor][0])
        np.testing.assert_array_equal(weights(model), kept[0])
        best = load_model(tmp_path / "best.safetensors", net(seed=5))
        np.testing.assert_array_equal(weights(best), kept[0])
    assert history.table().count("*") == 2 and history.table().splitlines()[1].endswith("*")


def test_a_last_update_that_spoils_the_weights_gives_back_those_of_the_best_epoch() -> None:
    labels = np.zeros(40, int)
    labels[:4] = 1
    images = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
    data = [(images[i:i + 8], labels[i:i + 8]) for i in range(0, 40, 8)]
    model = nn.Linear(8, 2)
    model.bias.copy_([-3.0, 3.0])
    lr = Schedule(lambda t: math.inf if t == 9 else 1e-4, "one bad step", span=10)
    t = Trainer(model, optim.SGD(model.parameters(), lr=lr), progress=False)
    with pytest.raises(FloatingPointError, match="lr is inf at step 9, so nothing was updated"):
        t.fit(data, data, epochs=2)
    assert np.isfinite(weights(model)).all() and t.history.epochs["epoch"] == [1]


def test_a_mask_of_minus_infinity_that_is_not_trained_is_no_fault() -> None:
    model = net()
    model.mask = nn.Buffer([-np.inf, 0.0])  # type: ignore[attr-defined]
    model.fixed = nn.Parameter([np.inf], requires_grad=False)  # type: ignore[attr-defined]
    assert trainer(model).fit(batches()).stopped == "finished"


def test_a_snapshot_is_not_taken_of_weights_that_are_not_finite(tmp_path: Path) -> None:
    t = trainer(callbacks=[AfterEpoch(1, spoil(math.nan)), Snapshots(tmp_path, 6)])
    with pytest.raises(FloatingPointError, match="weights that are not finite"):
        t.fit(batches(), epochs=2)
    assert not list(tmp_path.iterdir())


def test_early_stopping_counts_epochs_without_any_that_is_finite() -> None:
    t = trainer(patience=2, keep_best=True)
    spoilt = [(np.full((4, 2), np.nan, "float32"), np.zeros(4, int))]
    with pytest.warns(RuntimeWarning, match="val_loss is nan in epoch 1"):
        history = t.fit(batches(), spoilt, epochs=5)
    assert history.stopped == ("no val_accuracy that counts in 2 epochs, but val_loss was not "
                               "finite in epoch 1, 2")
    assert np.isfinite(weights(t.model)).all()


# What an epoch costs

class Counted(list[float]):
    """A column that counts the numbers that are read from it."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        Counted.reads += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Any:
        for value in super().__iter__():
            Counted.reads += 1
            yield value

    def index(self, *args: Any) -> int:
        raise AssertionError("a column is searched from its start")


def reads_of_an_epoch(epochs: int) -> int:
    """How many numbers of the history the callbacks read after epoch number `epochs`."""
    t = trainer(progress=True, patience=10**6)
    t.progress.say = lambda text: None  # type: ignore[union-attr, method-assign]
    history = t.history = History()
    for epoch in range(1, epochs + 1):
        for step in range(5 * epoch - 5, 5 * epoch):
            history.add("steps", step=step, loss=1.0, accuracy=0.5, lr=0.1)
        history.add("ratios", step=5 * epoch - 5, update_ratio=1e-3, weight=1e-3)
        history.add("epochs", epoch=epoch, step=5 * epoch, train_loss=1.0, train_accuracy=0.5,
                    val_loss=1.0, val_accuracy=0.5 + 1e-6 * epoch, lr=0.1, seconds=1.0)
        if epoch == epochs - 1:
            watching = [c for c in t.callbacks if isinstance(
                c, BestWeights | EarlyStopping | ReportToSchedule | UpdateRatio | Progress)]
            assert len(watching) == 5
            t.epoch = epoch
            t.planned_epochs = epochs
            t.progress._last_epoch = epochs  # type: ignore[union-attr]
            for callback in watching:
                callback.on_epoch(t)
            for table in (history.steps, history.epochs, history.ratios):
                for name in table:
                    table[name] = Counted(table[name])
            history._bests = {name: history._bests[name] for name in history._bests}
            for name, known in history._bests.items():
                known.values = history.epochs[name]
            Counted.reads = 0
    t.epoch = epochs
    for callback in watching:
        callback.on_epoch(t)
    return Counted.reads


def test_an_epoch_reads_as_much_of_the_history_however_long_the_run() -> None:
    few, many = reads_of_an_epoch(30), reads_of_an_epoch(1200)
    assert 0 < many <= few + 40, f"{few} numbers after epoch 30, {many} after epoch 1,200"


# What a callback may ask for

def test_a_run_has_all_that_its_protocol_promises() -> None:
    t: Run = trainer()
    promised = {*Run.__annotations__, *(name for name in vars(Run) if not name.startswith("_"))}
    assert {"model", "history", "step", "stop", "state_dict", "tell"} <= promised
    assert not [name for name in promised if not hasattr(t, name)]


def test_a_line_that_must_not_be_missed_is_a_warning_of_a_silent_run(
        capsys: pytest.CaptureFixture[str]) -> None:
    trainer(progress=True).tell("look")
    assert capsys.readouterr().out == "look\n"
    with pytest.warns(RuntimeWarning, match="look"):
        trainer().tell("look")


def test_running_statistics_that_became_nan_are_no_finished_run() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def spoil_statistics(t: Any) -> None:
        t.model[1].running_var.data[0] = math.nan

    t = Trainer(model, optim.SGD(model.named_parameters(), 1e-3), progress=False,
                callbacks=[AfterEpoch(1, spoil_statistics)])
    pairs = [(np.ones((8, 3), "float32"), np.array([0, 1] * 4)) for _ in range(3)]
    with pytest.raises(FloatingPointError, match=r"not finite, 1\.running_var, after"):
        t.fit(pairs, epochs=2)
