"""What a trainer is given by habit: each silent trap is said by name (`train/given.py`)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim, train
from tinynet.train import given


def labels(n: int = 64) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 4, n)


def vectors(n: int = 64) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(2).standard_normal((n, 8))
    return (noise + labels(n)[:, None]).astype(np.float32)


def loader(targets: Any = None, **options: Any) -> data.DataLoader:
    targets = labels() if targets is None else targets
    return data.DataLoader(vectors(), targets, **{"batch_size": 16, "shuffle": False, **options})


def trainer(out: int = 4, **options: Any) -> train.Trainer:
    tn.manual_seed(0)
    model = options.pop("model", None) or models.mlp([8, 16, out])
    optimizer = options.pop("optimizer", None)
    if optimizer is None:
        optimizer = optim.Adam(model.named_parameters(), lr=1e-2)
    return train.Trainer(model, optimizer, **{"progress": False, **options})


def share(outputs: Any, target: Any) -> Any:
    return (outputs.argmax(1) == target).mean()


# Regression

@pytest.mark.parametrize("columns", [1, 3])
def test_regression_gets_no_accuracy(columns: int) -> None:
    targets = vectors()[:, :columns]
    t = trainer(columns, loss=F.mse_loss, patience=5)
    history = t.fit(loader(targets), loader(targets), epochs=2)
    assert not any("accuracy" in name for name in [*history.steps, *history.epochs])
    assert np.isnan(t.evaluate(loader(targets)).accuracy)
    assert "accuracy" not in history.table()


def test_without_accuracy_the_loss_decides_which_weights_are_the_best() -> None:
    targets = vectors()[:, :1]
    t = trainer(1, loss=F.mse_loss, optimizer=None)
    history = t.fit(loader(targets), loader(targets), epochs=3)
    assert t.monitor == "val_loss"
    best = history.best("val_loss")[1]
    assert t.evaluate(loader(targets)).loss == pytest.approx(best)


def test_a_run_without_accuracy_is_resumed_without_a_word(tmp_path: Path) -> None:
    targets = vectors()[:, :1]

    def fit(epochs: int) -> train.History:
        saves = train.Checkpoints(tmp_path, every=2)
        t = trainer(1, loss=F.mse_loss, patience=9, callbacks=[saves])
        return t.fit(loader(targets), loader(targets), epochs=epochs, resume=tmp_path)

    fit(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fit(3).epochs["val_loss"]) == 3


def test_one_column_of_scores_has_no_accuracy() -> None:
    yes = (labels() > 1).astype(np.float32)[:, None]
    t = trainer(1, loss=F.binary_cross_entropy_with_logits)
    assert "accuracy" not in t.fit(loader(yes), epochs=1).steps
    several = np.stack([labels() > 0, labels() > 1, labels() > 2], 1).astype(np.float32)
    t = trainer(3, loss=F.binary_cross_entropy_with_logits)
    assert "accuracy" not in t.fit(loader(several), epochs=1).steps


def test_mixed_labels_keep_their_accuracy() -> None:
    shares = np.eye(4)[labels()] * 0.7 + 0.075
    history = trainer().fit([(vectors(), shares.astype(np.float32))], epochs=2)
    assert "mixed_accuracy" in history.epochs


def test_has_accuracy_of_classes_and_of_shares_alone() -> None:
    scores = np.zeros((2, 3), np.float32)
    assert given.has_accuracy(scores, np.array([0, 2]))
    assert given.has_accuracy(scores, np.full((2, 3), 1 / 3, np.float32))
    assert not given.has_accuracy(scores, np.ones((2, 3), np.float32))
    assert given.has_accuracy(scores, np.eye(3, dtype=bool)[:2])
    assert not given.has_accuracy(scores, np.ones((2, 3), bool))
    assert not given.has_accuracy(scores, np.array([0.5, 1.5], np.float32))
    assert not given.has_accuracy(scores[:, :1], np.array([0, 0]))
    assert not given.has_accuracy(scores[:, 0], np.array([0, 0]))


# Metrics

def test_a_metric_that_is_a_share_is_refused() -> None:
    t = trainer(metric=share)
    with pytest.raises(ValueError, match=r"metric share returned 0\.\d+ for 16 labels: .*count"):
        t.fit(loader(), epochs=3)
    with pytest.raises(ValueError, match=r"\.sum\(\)"):
        trainer(metric=share).evaluate(loader())


def test_a_metric_in_percent_is_refused() -> None:
    t = trainer(metric=lambda o, y: 100 * share(o, y))
    with pytest.raises(ValueError, match="must count"):
        t.fit(loader(), epochs=3)


def test_a_share_of_a_column_of_floats_is_refused() -> None:
    t = trainer(1, loss=F.mse_loss, metric=lambda o, y: (abs(o - y) < 1).mean())
    with pytest.raises(ValueError, match="must count"):
        t.fit(loader(vectors()[:, :1]), epochs=3)


def test_a_metric_that_counts_passes() -> None:
    h = trainer(metric=lambda o, y: (o.argmax(1) == y).sum()).fit(loader(), loader(), epochs=1)
    usual = trainer().fit(loader(), loader(), epochs=1)
    assert h["val_accuracy"] == usual["val_accuracy"]


def test_one_column_of_scores_cannot_be_counted() -> None:
    for outputs in (np.zeros((4, 1)), np.zeros(4)):
        with pytest.raises(ValueError, match="none is the largest"):
            train.count_correct(outputs, np.zeros(4, int))


def test_an_ensemble_of_one_net_is_not_taken_for_its_layers() -> None:
    with pytest.raises(TypeError, match="must be a list of nets, got one Sequential"):
        train.Ensemble(models.mlp([8, 4]))  # type: ignore[arg-type]


# Callbacks

@pytest.mark.parametrize(("name", "ours"), [
    ("on_epoch_end", "on_epoch"), ("on_train_batch_end", "on_step"), ("on_train_begin", "on_start"),
    ("after_epoch", "on_epoch"), ("on_fit_end", "on_end"), ("on_setp", "on_step"),
    ("on_before_optimizer_step", "before_update"), ("on_something", "before_update"),
])
def test_a_hook_that_nobody_calls_is_named(name: str, ours: str) -> None:
    kind = type("Mine", (train.Callback,), {name: lambda self, trainer: None})
    with pytest.raises(TypeError, match=rf"Mine\.{name} would never be called: .*{ours}"):
        trainer(callbacks=[kind()])


def test_hooks_of_ours_and_methods_of_other_names_pass() -> None:
    class Mine(train.Callback):
        seen = 0
        once = None

        def on_step(self, trainer: Any) -> None:
            self.note()

        def note(self) -> None:
            self.seen += 1

    mine = Mine()
    trainer(callbacks=[mine]).fit(loader(), epochs=1)
    assert mine.seen == 4


@pytest.mark.parametrize("make", [
    train.UpdateRatio, train.ReportToSchedule, lambda: train.BestWeights("val_loss")])
def test_a_callback_that_is_there_by_default_is_there_once(make: Callable[[], Any]) -> None:
    mine = make()
    t = trainer(callbacks=[mine])
    assert [c for c in t.callbacks if type(c) is type(mine)] == [mine]


def test_update_ratios_asked_for_by_hand_are_recorded_once() -> None:
    a = trainer().fit(loader(), epochs=2)
    b = trainer(callbacks=[train.UpdateRatio()]).fit(loader(), epochs=2)
    assert a["update_ratio"] == b["update_ratio"]


def test_a_plateau_hears_of_an_epoch_once() -> None:
    lr = optim.schedule.Plateau(0.1, patience=2)
    model = models.mlp([8, 4])
    t = trainer(model=model, optimizer=optim.SGD(model.named_parameters(), lr),
                callbacks=[train.ReportToSchedule()])
    heard = []
    watch = lr.observe
    lr.observe = lambda loss: heard.append(watch(loss))  # type: ignore[method-assign]
    t.fit(loader(), epochs=3)
    assert len(heard) == 3


def test_one_callback_in_place_of_a_list_is_named() -> None:
    with pytest.raises(TypeError, match=r"callbacks must be a list: callbacks=\[EarlyStopping"):
        trainer(callbacks=train.EarlyStopping(3))


# Schedules

def note(lr: Any, steps: int) -> str:
    w = tn.tensor([1.0], requires_grad=True)
    return given.rate_note(optim.SGD([w], lr), steps)


def test_a_schedule_in_epochs_is_noticed() -> None:
    s = optim.schedule
    assert note(s.cosine(0.1, 5), 140) == (
        "lr is 0 from step 5 of 140 on (cosine(0.1, T=5)): schedules count steps, not epochs")
    for lr in (s.linear(0.1, 5), s.one_cycle(0.1, 5), s.step_decay(0.1, 2), s.exponential(0.1, 3),
               s.warmup(s.cosine(0.1, 5), 2), 0.5 * s.cosine(0.1, 9)):
        assert "schedules count steps" in note(lr, 140), lr
    assert "schedules count steps" in note(lambda epoch: 0.1 * 0.5 ** epoch, 140)
    with pytest.raises(ValueError, match="warmup takes the schedule, then the steps"):
        s.warmup(10, 0.1)  # type: ignore[arg-type]
    assert "lr stays 0.01 from step 5 of 140 on" in note(s.cosine(0.1, 5, end=0.01), 140)


def test_schedules_that_fit_the_run_are_not_noticed() -> None:
    s = optim.schedule
    for lr in (0.1, s.constant(0.1), s.cosine(0.1, 140), s.cosine(0.1, 139), s.cosine(0.1, 1000),
               s.warmup(0.1, 5), s.step_decay(0.1, 40), s.inverse_sqrt(0.1), s.Plateau(0.1),
               s.linear(0.2, 5, end=0.1) >> s.cosine(0.1, 135), lambda t: 0.1,
               s.cyclic_cosine(0.1, 10), s.one_cycle(0.1, 140)):
        assert note(lr, 140) == "", lr
    assert note(lambda t: {0: 0.1}[t], 140) == ""  # it fails later, or knows more by then
    assert "lr is 0 from step 0 of 140 on" in note(s.constant(0.0), 140)


def test_one_of_several_schedules_may_end_early() -> None:
    s = optim.schedule
    weights = [tn.tensor([1.0], requires_grad=True) for _ in range(2)]

    def groups(*rates: Any) -> Any:
        return optim.SGD([{"params": [(f"w{i}", w)], "lr": lr}
                          for i, (w, lr) in enumerate(zip(weights, rates, strict=True))], lr=0.1)

    assert given.rate_note(groups(s.linear(0.1, 5), s.linear(0.1, 140)), 140) == ""
    assert "from step 5 of 140 on" in given.rate_note(
        groups(s.linear(0.1, 5), s.linear(0.1, 9)), 140)


def test_fit_says_that_a_schedule_ends_early(capsys: pytest.CaptureFixture[str]) -> None:
    model = models.mlp([8, 4])
    optimizer = optim.SGD(model.named_parameters(), lr=optim.schedule.cosine(0.1, 5))
    trainer(model=model, optimizer=optimizer, progress=True).fit(loader(), epochs=5)
    assert "lr is 0 from step 5 of 20 on" in capsys.readouterr().out
    optimizer = optim.SGD(model.named_parameters(), lr=optim.schedule.cosine(0.1, 5))
    with pytest.warns(RuntimeWarning, match="lr is 0 from step 5 of 20 on"):
        trainer(model=model, optimizer=optimizer).fit(loader(), epochs=5)


# Losses and outputs

@pytest.mark.numpy_only("on a GPU outputs are not read inside a step")
def test_probabilities_for_a_loss_of_scores_are_noticed() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Softmax(axis=1))
    for loss in (F.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.warns(RuntimeWarning, match="leave the Softmax at the end of the net out"):
            trainer(model=model, loss=loss).fit(loader(), epochs=1)


@pytest.mark.numpy_only("on a GPU outputs are not read inside a step")
def test_scores_for_a_loss_of_log_probabilities_are_noticed() -> None:
    with pytest.warns(RuntimeWarning, match=r"end the net with nn\.LogSoftmax"):
        trainer(loss=F.nll_loss).fit(loader(), epochs=1)
    model = nn.Sequential(nn.Linear(8, 4), nn.LogSoftmax())
    trainer(model=model, loss=nn.NLLLoss()).fit(loader(), epochs=1)


@pytest.mark.numpy_only("on a GPU outputs are not read inside a step")
def test_a_sigmoid_before_a_loss_of_scores_is_noticed() -> None:
    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    yes = (labels() > 1).astype(np.float32)[:, None]
    with pytest.warns(RuntimeWarning, match="leave the Sigmoid"):
        trainer(model=model, loss=nn.BCEWithLogitsLoss()).fit(loader(yes), epochs=1)


# Arguments

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a loss class": (lambda: trainer(loss=nn.CrossEntropyLoss), r"write CrossEntropyLoss\(\)"),
    "a loss text": (lambda: trainer(loss="cross_entropy"), r"such as F\.cross_entropy, got str"),
    "an optimizer text": (lambda: train.Trainer(nn.Linear(2, 2), "adam"), r"optim\.Adam\("),
    "an optimizer class": (lambda: train.Trainer(nn.Linear(2, 2), optim.Adam),
                           "got the class Adam"),
    "a model class": (lambda: train.Trainer(nn.Linear, None), r"write Linear\(\.\.\.\)"),
    "a model function": (lambda: train.Trainer(models.net_s, None), "model must be a network"),
    "a metric text": (lambda: trainer(metric="accuracy"), "measured without it"),
    "metrics of Keras": (lambda: trainer(metrics=["accuracy"]), "call it metric"),
    "no optimizer": (lambda: train.Trainer(nn.Linear(8, 4), None).fit(loader()),
                     "optimizer must be an object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_trainer_cannot_use_is_named_at_once(name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(TypeError, match=message):
        make()


def test_an_evaluation_takes_no_optimizer() -> None:
    assert train.Trainer(models.mlp([8, 4]), None, progress=False).evaluate(loader()).loss > 0


def test_a_monitor_that_is_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match="'val_acc' is not measured: did you mean 'val_accuracy'"):
        trainer(callbacks=[train.EarlyStopping(3, "val_acc")]).fit(loader(), loader())
    with pytest.raises(ValueError, match=r"did you mean 'val_loss'\?"):
        trainer(monitor="validation_loss").fit(loader(), loader())
    with pytest.raises(ValueError, match=r"give fit\(\) a val_loader"):
        trainer(patience=3).fit(loader())


# Files

def test_swapped_arguments_of_save_and_load_are_named(tmp_path: Path) -> None:
    model = models.mlp([4, 2])
    path = tmp_path / "m.safetensors"
    train.save_model(model, path)
    with pytest.raises(TypeError, match=r"save_model\(model, path\), with the arguments in this"):
        train.save_model(str(path), model)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"load_model\(path, model\), with the arguments in this"):
        train.load_model(model, path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got small_conv_net: make the model first"):
        train.load_model(path, models.small_conv_net)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="must be a Module, got dict"):
        train.save_model(model.state_dict(), path)  # type: ignore[arg-type]


def test_a_file_of_pytorch_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"load_state_dict\(torch\.load\(path\)\)"):
        train.load_model(tmp_path / "x.pt", models.mlp([4, 2]))


def test_load_state_dict_of_a_path_says_load_model() -> None:
    with pytest.raises(TypeError, match=r"train\.load_model\(path, model\)"):
        models.mlp([4, 2]).load_state_dict("m.safetensors")  # type: ignore[arg-type]


def test_a_result_in_place_of_a_history_is_told(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"accuracy": 0.5, "seconds": 3}))
    with pytest.raises(ValueError, match=r"there is accuracy, seconds.*history\.json"):
        train.History.load(path)
