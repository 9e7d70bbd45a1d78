"""What goes into a net: each module in its own mode, each loader left where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import pytest

import tinynet as tn
from tests.train import toy
from tinynet import data, nn, optim, to_numpy, train
from tinynet.nn.module import modes_of

RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((21, 2)).astype("float32")
LABELS = np.arange(21) % 3


def modes(model: nn.Module) -> list[bool]:
    return [training for _, training in modes_of(model)]


def deep_net() -> nn.Sequential:
    """A frozen-able part with noise and statistics, and a head with the same."""
    def part(n: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(n, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))

    return nn.Sequential(part(2), part(6), nn.Linear(6, 3))


def fit(model: nn.Module, epochs: int = 2, **options: Any) -> train.Trainer:
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    trainer = train.Trainer(model, optim.SGD(trained, lr=0.1), progress=False, **options)
    trainer.fit(toy.batches(), toy.batches(32, seed=1), epochs=epochs)
    return trainer


class Watch(train.Callback):
    """The modes at each step."""

    def __init__(self) -> None:
        self.seen: list[list[bool]] = []

    def before_update(self, trainer: Any) -> None:
        self.seen.append(modes(trainer.model))


# Modes while a net is trained

def test_a_frozen_norm_keeps_its_statistics_and_a_dropout_in_evaluation_does_not_drop() -> None:
    model, watch = deep_net(), Watch()
    model[0][1].eval()
    model[0].requires_grad_(False)
    model[1][2].eval()
    model[0][1].running_mean.copy_(5.0)
    before = modes(model)
    trainer = fit(model, callbacks=[watch], keep_best=False)
    trainer.fit(toy.batches(), toy.batches(), epochs=1)  # a second fit as well
    assert len(watch.seen) == 18 and all(seen == before for seen in watch.seen)
    assert (model[0][1].running_mean.numpy() == 5.0).all()
    assert not (model[1][1].running_mean.numpy() == 0.0).all()
    assert modes(model) == before


def test_a_net_in_evaluation_as_a_whole_is_trained_but_for_its_frozen_part() -> None:
    model, watch = deep_net().eval(), Watch()
    model[0].requires_grad_(False)
    statistics = model[0][1].running_var.numpy().copy()
    fit(model, callbacks=[watch])
    frozen, rest = watch.seen[-1][1:5], watch.seen[-1][5:]
    assert frozen == [False] * 4 and all(rest)
    assert (model[0][1].running_var.numpy() == statistics).all()
    assert not any(modes(model))  # as before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("disk on fire")],
                         ids=["interrupt", "error"])
def test_modes_come_back_whatever_ends_the_run(error: BaseException) -> None:
    class Fail(train.Callback):
        def on_step(self, trainer: Any) -> None:
            raise error

    model = deep_net()
    model[1].eval()
    before = modes(model)
    try:
        fit(model, callbacks=[Fail()])
    except RuntimeError as raised:
        assert raised is error
    assert modes(model) == before


def test_a_callback_that_forgets_the_net_in_evaluation_does_not_end_the_training_of_norms() -> None:
    class Judge(train.Callback):
        def on_epoch(self, trainer: Any) -> None:
            trainer.model.eval()

    model, watch = deep_net(), Watch()
    model[0][2].eval()
    before = modes(model)
    fit(model, callbacks=[Judge(), watch])
    assert watch.seen[-1] == before


def test_weight_averaging_measures_no_frozen_norm_anew() -> None:
    model = deep_net()
    model[0].eval()
    model[0].requires_grad_(False)
    model[0][1].running_mean.copy_(5.0)
    fit(model, callbacks=[train.WeightAveraging(optim.EMA(model.named_parameters()),
                                                batches=toy.batches())])
    assert (model[0][1].running_mean.numpy() == 5.0).all()
    assert not (model[1][1].running_mean.numpy() == 0.0).all()


@pytest.mark.parametrize("judge", [
    lambda t: t.evaluate(toy.batches()), lambda t: t.predict(POINTS),
    lambda t: train.predict_views(t.model, POINTS, lambda x: [x, -x]),
    lambda t: train.Ensemble([t.model]).predict(POINTS),
    lambda t: nn.marginalize(t.model, tn.tensor(POINTS), how="sample", n=2),
    lambda t: train.recompute_batch_norm(t.model, toy.batches()),
], ids=["evaluate", "predict", "predict_views", "ensemble", "marginalize", "recompute"])
def test_judging_a_net_restores_the_mode_of_each_module(judge: Callable[[Any], Any]) -> None:
    model = deep_net()
    model[0][1].eval()
    model[1].eval()
    model[1][2].train()
    before = modes(model)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress=False)
    judge(trainer)
    assert modes(model) == before
    model[2].weight = nn.Parameter(np.zeros((3, 5), "float32"))  # too narrow: a pass fails
    with pytest.raises(ValueError, match="shape"):
        judge(trainer)
    assert modes(model) == before


class Stubborn(nn.BatchNorm1d):
    """Frozen in its class, as those of detection nets are."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


class Merging(nn.Linear):
    """Another form of weights in evaluation, switched by `train`."""

    merged = False

    def train(self, mode: bool = True) -> Self:
        self.merged = not mode
        return super().train(mode)

    def forward(self, x: Any) -> Any:
        assert self.merged != self.training
        return super().forward(x)


def test_a_layers_own_train_is_asked() -> None:
    model = nn.Sequential(nn.Linear(2, 4), Stubborn(4), nn.Sequential(Merging(4, 3)))
    fit(model)
    assert (model[1].running_mean.numpy() == 0.0).all()
    assert model[2][0].training and not model[2][0].merged
    model[2].eval()
    fit(model)
    assert not model[2][0].training and model[2][0].merged


# Loaders that are read for a test

def augmented(images: Any, keys: Any) -> Any:
    return images if keys is None else images + 100.0


def mixed(images: Any, labels: Any, key: int) -> Any:
    return images - 100.0, labels


def loader(**options: Any) -> data.DataLoader:
    return data.DataLoader(POINTS, LABELS, 8, **{
        "seed": 3, "transform": augmented, "batch_transform": mixed, **options})


def judged() -> train.Trainer:
    return toy.trainer(toy.net(norm=True))


@pytest.mark.parametrize("options", [
    {}, {"prefetch": 2}, {"drop_last": True}, {"shuffle": False}, {"augment": False}],
    ids=["default", "prefetch", "drop_last", "unshuffled", "not augmented"])
def test_predictions_over_a_loader_are_those_of_its_pictures_in_their_order(options: Any) -> None:
    trainer, batches = judged(), loader(**options)
    next(iter(batches))  # a pass was begun and left
    before = batches.get_state()
    expected = trainer.predict(tn.xp.asarray(POINTS), batch_size=8)
    np.testing.assert_array_equal(trainer.predict(batches), expected)
    np.testing.assert_array_equal(
        train.predict_views(trainer.model, batches, lambda x: [x], average="score"), expected)
    ensemble = train.Ensemble([trainer.model, toy.net(seed=4)])
    np.testing.assert_allclose(ensemble.predict(batches), ensemble.predict(POINTS), rtol=1e-6)
    found = trainer.evaluate(batches)
    assert found.accuracy == (expected.argmax(1) == LABELS).mean()
    assert ensemble.evaluate(batches).accuracy == (
        ensemble.predict(POINTS).argmax(1) == LABELS).mean()
    assert batches.get_state() == before


@pytest.mark.parametrize("wrap", [lambda batch: batch, tn.tensor, lambda batch: [batch],
                                  lambda batch: (batch, None)],
                         ids=["array", "tensor", "list", "tuple"])
def test_a_loader_without_labels_gives_its_pictures_and_not_the_first_of_each_batch(
        wrap: Callable[[Any], Any]) -> None:
    model = nn.Linear(2, 3)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress=False)
    batches = [wrap(POINTS[i:i + 8]) for i in range(0, len(POINTS), 8)]
    assert np.allclose(trainer.predict(batches), trainer.predict(POINTS))
    assert np.allclose(train.predict_views(model, batches, lambda x: [x], average="score"),
                       train.predict_views(model, POINTS, lambda x: [x], average="score"))


@pytest.mark.parametrize("read", [
    lambda t, batches: t.evaluate(batches), lambda t, batches: t.predict(batches),
    lambda t, batches: train.recompute_batch_norm(t.model, batches),
    lambda t, batches: train.Ensemble([t.model]).table(batches),
], ids=["evaluate", "predict", "recompute", "table"])
def test_reading_the_training_loader_does_not_shift_the_next_epoch(read: Any) -> None:
    class Read(train.Callback):
        def on_epoch(self, trainer: Any) -> None:
            read(trainer, batches)

        def on_step(self, trainer: Any) -> None:
            if trainer.step == 4:  # in the middle of a pass
                read(trainer, batches)

    orders = []
    for callbacks in ([], [Read()]):
        batches, trainer = loader(), toy.trainer(callbacks=callbacks)
        trainer.fit(batches, epochs=3)
        assert batches.epoch == 3
        orders.append(trainer.history["loss"])
    assert orders[0] == orders[1]


def test_another_loader_that_knows_its_state_is_put_back() -> None:
    class Counting:
        passes = 0

        def __iter__(self) -> Iterator[Any]:
            self.passes += 1
            yield from toy.batches()

        def get_state(self) -> int:
            return self.passes

        def set_state(self, state: int) -> None:
            self.passes = state

    batches, trainer = Counting(), judged()
    trainer.evaluate(batches)
    trainer.predict(batches)
    assert batches.passes == 0
    with pytest.raises(RuntimeError, match="no more"):
        train.recompute_batch_norm(Failing(), batches)
    assert batches.passes == 0


class Failing(nn.Module):
    def __init__(self) -> None:
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: Any) -> Any:
        raise RuntimeError("no more")


def test_a_transform_that_needs_keys_is_told_what_a_test_gives_it() -> None:
    with pytest.raises(TypeError) as error:
        judged().predict(loader(transform=lambda images, keys: images * (keys + 0)))
    assert "called with keys=None, as in every test" in error.value.__notes__[0]


# Statistics that are measured anew

@pytest.mark.parametrize("past", [np.nan, np.inf, 7.0])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_statistics_measured_anew_forget_a_past_that_is_not_finite(past: float, training: bool
                                                                   ) -> None:
    norm = nn.BatchNorm1d(2).train(training)
    norm.running_mean.copy_(past)
    norm.running_var.copy_(past)
    train.recompute_batch_norm(norm, [POINTS[:10], POINTS[10:20]])
    halves = POINTS[:20].reshape(2, 10, 2)
    assert norm.running_mean.numpy() == pytest.approx(halves.mean((0, 1)), abs=1e-6)
    assert norm.running_var.numpy() == pytest.approx(halves.var(1, ddof=1).mean(0), abs=1e-6)


def test_statistics_stay_after_an_error_and_where_no_batch_comes_by() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            self.used = nn.BatchNorm1d(2)
            self.idle = nn.BatchNorm1d(2)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    model = Idle()
    for norm in (model.used, model.idle):
        norm.running_mean.copy_(7.0)
    with pytest.raises(ValueError, match="shape"):
        train.recompute_batch_norm(model, [POINTS, POINTS[:, :1]])
    assert (to_numpy(model.used.running_mean.data) == 7.0).all()
    train.recompute_batch_norm(model, [POINTS])
    assert model.used.running_mean.numpy() == pytest.approx(POINTS.mean(0), abs=1e-6)
    assert (model.idle.running_mean.numpy() == 7.0).all()
    assert (model.idle.running_var.numpy() == 1.0).all()


# What a loader may be

class RandomSampler:
    """As PyTorch's loader has one when it shuffles."""


class OfPyTorch(list[Any]):
    """Looks as PyTorch's loader does."""

    def __init__(self, batches: Any, sampler: Any) -> None:
        super().__init__(batches)
        self.sampler = sampler


def test_predictions_of_a_shuffling_loader_of_pytorch_are_refused() -> None:
    assert small().predict(OfPyTorch(PAIRS, None)).shape == (21, 3)
    with pytest.raises(ValueError, match="this OfPyTorch shuffles: make it with shuffle=False"):
        small().predict(OfPyTorch(PAIRS, RandomSampler()))


PAIRS = [(POINTS[:10], LABELS[:10]), (POINTS[10:], LABELS[10:])]


class Anew:
    """An iterable without len(), read from the first batch each time."""

    def __iter__(self) -> Iterator[Any]:
        return iter(PAIRS)


def small() -> train.Trainer:
    tn.manual_seed(0)
    model = nn.Linear(2, 3)
    return train.Trainer(model, optim.SGD(model.named_parameters(), lr=0.1), progress=False)


def test_any_iterable_of_pairs_is_a_loader() -> None:
    first, second = small(), small()
    first.fit(PAIRS, PAIRS, epochs=2)
    second.fit(Anew(), Anew(), epochs=2)
    assert first.history["loss"] == second.history["loss"] and second.step == 4
    assert (first.planned_steps, second.planned_steps) == (4, 0)  # 0: it is not known
    assert first.evaluate(PAIRS) == second.evaluate(Anew())
    assert (first.predict(PAIRS) == second.predict(Anew())).all()
    assert small().fit(iter(PAIRS), iter(PAIRS)).epochs["val_loss"]
    assert small().predict(iter([POINTS, POINTS])).shape == (42, 3)


@pytest.mark.parametrize(("loaders", "error", "message"), [
    ((POINTS, LABELS), TypeError,
     r"train_loader must be batches .* got ndarray of shape \(21, 2\): .*DataLoader\(X, y, batch"),
    (((POINTS, LABELS),), TypeError, r"train_loader .* got tuple: .* DataLoader\(X, y, batch_s"),
    ((PAIRS, (POINTS, LABELS)), TypeError, r"val_loader .* got tuple: .* DataLoader\(X, y"),
    ((iter(PAIRS),), ValueError, "train_loader is a list_iterator, which can be read once, and ep"),
    ((PAIRS, iter(PAIRS)), ValueError, "val_loader is a list_iterator"),
    (([{"x": 1}],), TypeError, r"a batch must be \(inputs, targets\), got dict"),
    (([(POINTS, LABELS, 0)],), TypeError, r"a batch must be \(inputs, targets\), got tuple of 3"),
    ((5,), TypeError, "train_loader must be batches .* got int: give a DataLoader"),
], ids=lambda value: None)
def test_what_is_no_loader_is_named(
        loaders: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().fit(*loaders, epochs=3)


def test_data_in_place_of_a_loader_are_named_by_evaluate_and_predict() -> None:
    points, _ = data.load_shapes(train=4, test=1)
    for call in (small().evaluate, small().predict):
        with pytest.raises(TypeError, match=r"got the data set Dataset: .*DataLoader\(dataset, b"):
            call(points)
    with pytest.raises(TypeError, match=r"DataLoader\(X, y, batch_size=64\)"):
        small().evaluate((POINTS, LABELS))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must be batches .*DataLoader\(X, y, batch_size=64"):
        small().evaluate(POINTS, LABELS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"evaluate\(\) takes one loader, got 2 things"):
        small().evaluate(PAIRS, PAIRS)


@pytest.mark.parametrize("dtype", ["float32", "bool", "int64"])
def test_several_labels_of_a_sample_have_no_accuracy(dtype: str) -> None:
    several = (np.arange(63).reshape(21, 3) % 4 < 2).astype(dtype)
    trainer = small()
    trainer.loss = tn.functional.binary_cross_entropy_with_logits
    loader = data.DataLoader(POINTS, several, batch_size=7)
    history = trainer.fit(loader, loader, epochs=2)
    assert "accuracy" not in str(history.table()) and trainer.monitor == "val_loss"
    assert np.isfinite(history["val_loss"]).all()
