"""The trainer: what it records, what it restores, and how it ends."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.toy import batches, net, trainer
from tinynet import Tensor, functional as F, nn, to_numpy, xp
from tinynet.backend import on_gpu
from tinynet.data import load_shapes
from tinynet.optim import EMA, SGD, Adam, Nesterov, param_groups
from tinynet.optim.schedule import Plateau, cosine
from tinynet.text import counted
from tinynet.train import (
    Callback,
    Checkpoints,
    ClipGradients,
    LogFile,
    NanGuard,
    Trainer,
    WeightAveraging,
    count_correct,
)

State = dict[str, np.ndarray[Any, Any]]


def state_of(model: nn.Module) -> State:
    return {name: to_numpy(x).copy() for name, x in model.state_dict().items()}


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Snapshots(Callback):
    """Weights after every epoch."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def on_epoch(self, trainer: Trainer) -> None:
        self.states.append(state_of(trainer.model))


class Fail(Callback):
    """Raise `error` after step number `step`."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise self.error


def test_D1_records_train_and_validation_curves() -> None:
    t = trainer(lr=cosine(0.1, 18))
    train, val = batches(), batches(32, seed=1)
    history = t.fit(train, val, epochs=3)
    assert history["step"] == list(range(18))
    assert history.steps["lr"] == [cosine(0.1, 18)(i) for i in range(18)]
    assert history.epochs["epoch"] == [1, 2, 3] and history.epochs["step"] == [6, 12, 18]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"):
        assert len(history[name]) == 3 and all(math.isfinite(v) for v in history[name])
    assert history["train_loss"][0] == pytest.approx(np.mean(history["loss"][:6]), rel=1e-12)
    assert history["val_accuracy"][-1] > 0.8 > history["train_accuracy"][0]
    assert history.stopped == "finished" and t.model.training  # as before


def test_one_step_equals_the_plain_loop() -> None:
    t = trainer(lr=0.1)
    plain = net()
    optimizer = SGD(plain.named_parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(2):
        for images, labels in batches():
            loss = F.cross_entropy(plain(Tensor(images)), labels)
            plain.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    history = t.fit(batches(), epochs=2)
    assert equal(state_of(t.model), state_of(plain))
    assert history["loss"] == losses
    assert t.step == 12 and t.epoch == 2


def test_epoch_means_weight_a_short_last_batch_by_its_size() -> None:
    t = trainer(lr=0.0)
    data = batches(40)  # 16, 16, 8
    history = t.fit(data, data)
    assert history["train_loss"][0] == pytest.approx(history["val_loss"][0], rel=1e-6)
    assert history["train_accuracy"][0] == pytest.approx(history["val_accuracy"][0], rel=1e-12)
    points = xp.concatenate([x for x, _ in data])
    labels = xp.concatenate([y for _, y in data])
    whole = F.cross_entropy(t.model(Tensor(points)), labels).item()
    assert history["val_loss"][0] == pytest.approx(whole, rel=1e-6)
    predicted = t.predict(points, batch_size=7)
    assert predicted.shape == (40, 3)
    assert np.mean(predicted.argmax(1) == to_numpy(labels)) == history["val_accuracy"][0]
    assert np.array_equal(t.predict(data), np.concatenate([t.predict(x) for x, _ in data]))


@pytest.mark.parametrize("norm", [False, True])
def test_D2_restores_the_weights_of_the_best_epoch_without_a_trigger(norm: bool) -> None:
    shots = Snapshots()
    t = trainer(net(norm=norm), lr=1.0, callbacks=[shots])  # a rough ride: the last is not the best
    history = t.fit(batches(), batches(48, seed=1), epochs=8)
    best = int(np.argmax(history["val_accuracy"]))
    assert best < 7, "the last epoch is the best: this shows nothing"
    assert equal(state_of(t.model), shots.states[best])
    assert not equal(state_of(t.model), shots.states[-1])
    assert t.evaluate(batches(48, seed=1)).accuracy == history["val_accuracy"][best]
    assert history.best() == (best + 1, history["val_accuracy"][best])


@pytest.mark.parametrize("patience", [1, 3])
def test_D2_patience_p_stops_at_best_plus_p(patience: int) -> None:
    t = trainer(lr=0.0, patience=patience)  # nothing moves: the first epoch stays the best
    history = t.fit(batches(), batches(32, seed=1), epochs=20)
    assert len(history["val_loss"]) == 1 + patience
    assert history.stopped == (f"no better val_accuracy than {history['val_accuracy'][0]:.4g} "
                               f"(epoch 1) in {counted(patience, 'epoch')}")


def test_D2_patience_counts_from_the_best_epoch() -> None:
    shots = Snapshots()
    t = trainer(lr=1.0, patience=2, callbacks=[shots])
    history = t.fit(batches(), batches(48, seed=1), epochs=50)
    best = int(np.argmax(history["val_accuracy"]))
    assert len(history["val_accuracy"]) == best + 1 + 2 < 50
    assert equal(state_of(t.model), shots.states[best])


def test_D2_ctrl_c_ends_cleanly_with_the_best_weights() -> None:
    shots = Snapshots()
    t = trainer(lr=1.0, callbacks=[shots, Fail(6 * 6 + 3, KeyboardInterrupt())])
    history = t.fit(batches(), batches(48, seed=1), epochs=50)
    assert history.stopped == "interrupted" and len(shots.states) == 6
    best = int(np.argmax(history["val_accuracy"]))
    assert equal(state_of(t.model), shots.states[best])
    assert t.model.training  # as before


def test_D2_an_error_passes_on_and_leaves_the_best_weights() -> None:
    shots = Snapshots()
    t = trainer(lr=1.0, callbacks=[shots, Fail(6 * 6 + 3, RuntimeError("disk on fire"))])
    with pytest.raises(RuntimeError, match="disk on fire"):
        t.fit(batches(), batches(48, seed=1), epochs=50)
    assert t.history.stopped == "error"
    assert equal(state_of(t.model), shots.states[int(np.argmax(t.history["val_accuracy"]))])


def test_ctrl_c_in_the_first_epoch_keeps_the_weights_so_far() -> None:
    t = trainer(callbacks=[Fail(3, KeyboardInterrupt())])
    before = state_of(t.model)
    t.fit(batches(), batches(48, seed=1))
    assert t.history.stopped == "interrupted" and not t.history.epochs
    assert t.history["step"] == [0.0, 1.0, 2.0]  # the steps that were not read yet, too
    assert not equal(state_of(t.model), before)


def test_without_keep_best_or_validation_the_last_weights_stay() -> None:
    for options, val in (({"keep_best": False}, batches(48, seed=1)), ({}, None)):
        shots = Snapshots()
        t = trainer(lr=1.0, callbacks=[shots], **options)
        t.fit(batches(), val, epochs=4)
        assert equal(state_of(t.model), shots.states[-1])


def test_monitoring_a_loss_takes_the_smallest() -> None:
    shots = Snapshots()
    t = trainer(lr=1.0, monitor="val_loss", callbacks=[shots])
    history = t.fit(batches(), batches(48, seed=1), epochs=6)
    assert equal(state_of(t.model), shots.states[int(np.argmin(history["val_loss"]))])


def test_a_loss_that_is_not_finite_names_step_and_lr() -> None:
    data = batches()
    data[4] = (xp.full_like(data[4][0], xp.nan), data[4][1])
    t = trainer(lr=0.25)
    with pytest.raises(FloatingPointError) as error:
        t.fit(data, epochs=2)
    assert "the loss became nan at step 4 (epoch 1) with lr 0.25" in str(error.value)
    assert "try 0.03" in str(error.value)
    assert t.history["loss"][:4] == [v for v in t.history["loss"] if math.isfinite(v)]


def test_fit_again_goes_on() -> None:
    once, twice = trainer(lr=cosine(0.1, 24)), trainer(lr=cosine(0.1, 24))
    once.fit(batches(), epochs=4)
    twice.fit(batches(), epochs=1)
    twice.fit(batches(), epochs=3)
    assert equal(state_of(once.model), state_of(twice.model))
    assert twice.history.epochs["epoch"] == [1, 2, 3, 4]
    assert once.history["loss"] == twice.history["loss"]


def test_regression_has_no_accuracy_and_watches_the_loss() -> None:
    data = [(x, x.sum(axis=1, keepdims=True)) for x, _ in batches()]
    model = nn.Sequential(nn.Linear(2, 1))
    shots = Snapshots()
    t = Trainer(model, Adam(model.named_parameters(), lr=0.05), F.mse_loss, metric=None,
                progress=False, callbacks=[shots])
    history = t.fit(data, data, epochs=20)
    assert "accuracy" not in history and "val_accuracy" not in history
    assert t.evaluate(data).loss < 0.05 and math.isnan(t.evaluate(data).accuracy)
    assert equal(state_of(model), shots.states[int(np.argmin(history["val_loss"]))])


def test_an_optimizer_that_needs_a_closure_works() -> None:
    model = net()
    t = Trainer(model, Nesterov(model.named_parameters(), lr=0.05), progress=False)
    assert t.fit(batches(), epochs=5)["train_accuracy"][-1] > 0.8


def test_a_plateau_schedule_hears_the_validation_loss() -> None:
    schedule = Plateau(0.5, factor=0.1, patience=1)
    model = net()
    groups = param_groups(model, weight_decay=1e-4)  # both groups share the schedule
    t = Trainer(model, SGD(groups, schedule), progress=False)
    heard: list[float] = []
    observe = schedule.observe
    schedule.observe = lambda loss: (heard.append(loss), observe(loss))  # type: ignore[method-assign]
    history = t.fit(batches(), batches(32, seed=1), epochs=3)
    assert heard == history["val_loss"]
    t.fit(batches(), epochs=1)
    assert heard[3] == history["train_loss"][3]


@pytest.mark.parametrize("options, fused", [({"norm": 0.01}, {"clip_norm": 0.01}),
                                            ({"value": 1e-3}, {"clip_value": 1e-3})])
def test_clipping_gradients_is_what_the_optimizer_does(options: Any, fused: Any) -> None:
    clipped = trainer(callbacks=[ClipGradients(**options)])
    model = net()
    own = Trainer(model, SGD(model.named_parameters(), lr=0.1, momentum=0.9, **fused),
                  progress=False)
    plain = trainer()
    for t in (clipped, own, plain):
        t.fit(batches(), epochs=1)
    assert equal(state_of(clipped.model), state_of(own.model))
    assert not equal(state_of(clipped.model), state_of(plain.model))
    with pytest.raises(ValueError, match="give norm or value, one of the two; got norm=None"):
        ClipGradients()


def test_hooks_come_in_order_with_counts() -> None:
    calls: list[tuple[str, int, int]] = []

    class Watch(Callback):
        pass

    for hook in ("on_start", "before_update", "on_step", "on_log", "on_epoch", "at_rest", "on_end"):
        setattr(Watch, hook, lambda self, t, hook=hook: calls.append((hook, t.step, t.epoch)))
    trainer(callbacks=[Watch()], log_every=2).fit(batches(48))
    step = ("before_update", "on_step")
    assert [name for name, _, _ in calls] == [
        "on_start", *step, "at_rest", *step, "on_log", "at_rest", *step, "at_rest", "on_log",
        "on_epoch", "at_rest", "on_end"]
    assert calls[1:4] == [("before_update", 0, 0), ("on_step", 1, 0), ("at_rest", 1, 0)]
    assert calls[-1] == ("on_end", 3, 1)


def test_nothing_is_read_from_the_device_inside_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    t = trainer(log_every=3)
    monkeypatch.setattr("tinynet.train.trainer.to_numpy",
                        lambda x: reads.append(t.step) or to_numpy(x))
    monkeypatch.setattr("tinynet.train.callbacks.to_numpy",
                        lambda x: reads.append(t.step) or to_numpy(x))

    def refuse(self: Tensor) -> None:
        raise AssertionError("a step read a value")

    for name in ("item", "__float__", "__int__", "__bool__", "numpy"):
        monkeypatch.setattr(Tensor, name, refuse)
    t.fit(batches(112), epochs=2)  # 7 batches: 3, 6, end of epoch, 9, 12, end
    assert sorted(set(reads)) == [3, 6, 7, 9, 12, 14]


def test_memory_is_flat_over_1000_steps_without_the_garbage_collector(tmp_path: Path) -> None:
    model = net(norm=True)
    optimizer = SGD(model.named_parameters(), lr=0.01, momentum=0.9)
    t = Trainer(model, optimizer, progress=False, log_every=5, callbacks=[
        ClipGradients(norm=1.0), NanGuard(), WeightAveraging(EMA(model.named_parameters())),
        LogFile(tmp_path / "log.jsonl"), Checkpoints(tmp_path, every=100)])
    data = batches()
    t.fit(data)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        t.fit(data, epochs=167)
        grown = len(gc.get_objects()) - before
    finally:
        gc.enable()
    assert t.step > 1000
    # CuPy itself keeps some objects (pinned memory) for each reading of the metrics
    most = 200 if not on_gpu else 2000
    assert grown < most, f"{grown} more objects after 1,002 steps"


def test_evaluate_and_predict_leave_the_mode_and_count_right() -> None:
    t = trainer()
    t.model.train()
    t.evaluate(batches())
    t.predict(batches())
    assert t.model.training
    with pytest.raises(ZeroDivisionError):
        t.evaluate((1 / 0, None) for _ in range(1))
    assert t.model.training
    assert int(count_correct(xp.eye(3), xp.array([0, 1, 0]))) == 2
    assert int(count_correct(xp.eye(3), xp.eye(3))) == 3


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="log_every must be an integer of at least 1, got 0"):
        trainer(log_every=0)
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got 0"):
        trainer().fit(batches(), epochs=0)
    with pytest.raises(ValueError, match=r"epochs must be an integer of at least 1, got -1.5"):
        trainer().fit(batches(), epochs=-1.5)
    with pytest.raises(ValueError, match="patience must be an integer of at least 1, got 0"):
        trainer(patience=0)
    with pytest.raises(ValueError, match="train_loader has no batches"):
        trainer().fit([])
    with pytest.raises(TypeError, match=r"got the data set Dataset: .* DataLoader\(dataset"):
        trainer().fit(load_shapes(train=10, test=0)[0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"objects such as NanGuard\(\), got <class"):
        trainer(callbacks=[NanGuard])
    with pytest.raises(ValueError, match="norm must be positive, got -1"):
        ClipGradients(norm=-1)
    with pytest.raises(ValueError, match="evaluate\\(\\) got a loader without batches"):
        trainer().evaluate([])
    with pytest.raises(ValueError, match="monitor='val_accuracy' is not measured: give fit"):
        trainer(patience=2).fit(batches())


def test_progress_prints_a_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    t = trainer(lr=0.002, progress=True)
    t.fit(batches(), batches(32, seed=1), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch   1/2   train loss ")
    assert "val loss" in lines[0] and "lr 0.002" in lines[0] and lines[0].endswith("best so far")
    trainer().fit(batches())
    assert capsys.readouterr().out == ""
