"""Steps 1 to 3 of the recipe, each alone: what passes, what is named, and nothing is changed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.tune.problem import images, problem
from tinynet import functional as F, models, nn, random, to_numpy, xp
from tinynet.optim import SGD, Adam
from tinynet.optim.schedule import cosine, warmup
from tinynet.tune import sanity
from tinynet.tune.recipe import FAULTS, check_initial_loss, find_lr, overfit_small


def pairs(classes: int, n: int = 1024, scale: float = 1.0) -> list[tuple[Any, Any]]:
    return [(scale * images(n, (20,)), xp.arange(n) % classes)]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_H1_log_C_passes_within_5_percent(classes: int) -> None:
    for seed in range(5):
        random.manual_seed(seed)
        model = models.mlp([20, 64, classes])
        assert check_initial_loss(model, pairs(classes)).status in ("ok", "warning")  # by default
        model[-1].weight.copy_(0.3 * model[-1].weight.data)  # scores nearer to 0
        step = check_initial_loss(model, pairs(classes))
        assert step.status == "ok", str(step)
        assert step.numbers["expected"] == math.log(classes) and step.numbers["classes"] == classes
        assert step.numbers["loss"] == pytest.approx(math.log(classes), rel=0.05)


@pytest.mark.parametrize("share, status, fault", [
    (0.949, "fault", "initial loss too low"), (0.951, "ok", ""), (1.0, "ok", ""),
    (1.049, "ok", ""), (1.051, "warning", "initial loss too high"),
    (1.249, "warning", "initial loss too high"), (1.251, "fault", "initial loss too high")])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_H1_the_edges_are_5_percent_and_of_a_mere_warning_25(
        classes: int, share: float, status: str, fault: str) -> None:
    """All pictures are of class 0, and the bias of its score b: p = e^b / (C - 1 + e^b)."""
    model = models.mlp([20, 8, classes])
    p = math.exp(-share * math.log(classes))
    model[-1].weight.copy_(0.0 * model[-1].weight.data)
    model[-1].bias.copy_(xp.where(xp.arange(classes) == 0,
                                  math.log((classes - 1) * p / (1 - p)), 0.0))
    step = check_initial_loss(model, [(images(64, (20,)), xp.zeros(64, int))])
    assert step.numbers["loss"] == pytest.approx(share * math.log(classes), rel=1e-5)
    assert (step.status, step.fault) == (status, fault)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_H1_hinge_expects_C_minus_1(classes: int) -> None:
    random.manual_seed(1)
    model = models.mlp([20, 64, classes])
    for parameter in model.parameters():  # hinge is not flat: exact for equal scores
        parameter.copy_(0.1 * parameter.data)
    step = check_initial_loss(model, pairs(classes), F.hinge_loss)
    assert step.status == "ok" and step.numbers["expected"] == classes - 1
    assert step.numbers["loss"] == pytest.approx(classes - 1, rel=0.05)
    with pytest.raises(ValueError, match="pass expected="):
        check_initial_loss(model, pairs(classes), F.mse_loss)
    assert check_initial_loss(model, pairs(classes), lambda s, y: F.hinge_loss(s, y),
                              expected=classes - 1.0).status == "ok"


@pytest.mark.parametrize("make", [models.small_conv_net, models.resnet_small,
                                  lambda: models.net_s(widths=(8, 16, 32)),
                                  lambda: models.net_r(width=8),
                                  lambda: models.mlp([3072, 50, 10])])
def test_H1_the_reference_nets_pass(make: Any) -> None:
    random.manual_seed(0)
    loader = [(images(32, (3, 32, 32)), xp.arange(32) % 10)]
    assert check_initial_loss(make(), loader).status == "ok"


def test_H1_a_broken_net_gets_the_hint() -> None:
    hint = "Init too large, or wrong normalisation"
    for seed in range(5):
        random.manual_seed(seed)
        large = models.mlp([20, 64, 10])
        large[-1].weight.copy_(30 * large[-1].weight.data)
        fine = models.mlp([20, 64, 10])
        normed = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        normed[-1].weight.copy_(30 * normed[-1].weight.data)
        for model, loader in ((large, pairs(10)), (fine, pairs(10, scale=128.0)),
                              (normed, pairs(10))):
            step = check_initial_loss(model, loader)
            assert step.fault == "initial loss too high" and step.advice.startswith(hint)
            assert step.status == "fault"
    known = models.mlp([20, 10])
    known[-1].bias.copy_(xp.where(xp.arange(10) == 3, 2.0, 0.0))
    step = check_initial_loss(known, [(images(64, (20,)), xp.full(64, 3))])
    assert step.fault == "initial loss too low"


def test_H1_weight_decay_raises_the_loss() -> None:
    model = models.mlp([20, 64, 10])
    step = check_initial_loss(model, pairs(10), weight_decay=0.1)
    squares = sum(float((p.data**2).sum()) for p in model.parameters() if p.ndim > 1)
    assert step.numbers["loss with weight decay"] - step.numbers["loss"] == \
        pytest.approx(0.05 * squares, rel=1e-5)
    for parameter in model.parameters():
        parameter.copy_(0.0 * parameter.data)
    assert check_initial_loss(model, pairs(10)).fault == "weight decay without effect"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["", "batch norm"])
def test_H2_five_minibatches_are_learned_by_heart(seed: int, kind: str) -> None:
    p = problem(seed, kind)
    step = overfit_small(p["model"], p["optimizer"], p["train_loader"])
    assert step.status == "ok" and step.numbers["accuracy"] == 1.0 and step.numbers["batches"] == 5
    history = step.data["history"]
    assert set(history["steps"]["lr"]) == {0.05} and history["stopped"] == "all right"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["", "batch norm"])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_H2_two_faults_give_their_two_diagnoses(seed: int, kind: str, optimizer: Any) -> None:
    p = problem(seed, kind)
    good = 0.1 if optimizer is SGD else 0.005
    for factor, fault in ((1.0, ""), (1000.0, "lr too high"), (0.001, "lr too low")):
        chosen = optimizer(p["model"].named_parameters(), lr=factor * good)
        step = overfit_small(p["model"], chosen, p["train_loader"])
        assert (step.fault, step.status) == (fault, "fault" if fault else "ok"), str(step)


def test_H2_a_model_that_is_too_small_cannot_overfit() -> None:
    p = problem()
    model = nn.Sequential(nn.Linear(30, 1), nn.Linear(1, 5))
    step = overfit_small(model, SGD(model.named_parameters(), 0.05, momentum=0.9),
                         p["train_loader"])
    assert step.fault == "cannot overfit" and "bigger model" in step.advice


def test_H2_the_same_order_in_every_epoch_is_a_warning() -> None:
    p = problem(bug="same order")
    step = overfit_small(p["model"], p["optimizer"], p["train_loader"])
    assert (step.status, step.fault) == ("warning", "same order in every epoch")


def test_H2_of_a_schedule_takes_the_highest_rate() -> None:
    p = problem()
    optimizer = SGD(p["model"].named_parameters(), warmup(cosine(0.04, 500), 50), momentum=0.9)
    step = overfit_small(p["model"], optimizer, p["train_loader"])
    assert step.numbers["lr"] == pytest.approx(0.04) and step.status == "ok"


@pytest.mark.parametrize("seed", range(3))
def test_H3_ranks_the_rates_with_their_loss_ratio(seed: int) -> None:
    p = problem(seed)
    step = find_lr(p["model"], p["optimizer"], p["train_loader"], val_loader=p["val_loader"])
    ranked = step.numbers["ranked"]
    ratios = [row["ratio"] for row in ranked]
    assert step.status == "ok" and ratios == sorted(ratios) and ratios[0] < 0.7
    assert {row["lr"] for row in ranked} == {1e-1, 1e-2, 1e-3, 1e-4}
    assert step.numbers["lr"] == ranked[0]["lr"] in (1e-1, 1e-2)
    for row, curve in zip(sorted(ranked, key=lambda r: -r["lr"]), step.data["curves"], strict=True):
        assert curve["lr"] == row["lr"] and len(curve["loss"]) == 100
        ratio = np.mean(curve["loss"][-10:]) / step.numbers["loss at the start"]
        assert ratio == pytest.approx(row["ratio"])
    assert step.numbers["loss at the start"] == pytest.approx(math.log(5), rel=0.07)


def test_H3_a_little_weight_decay_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer's own is none: what the trainings have comes from the step."""
    p = problem()
    optimizer = SGD(p["model"].named_parameters(), 0.05, momentum=0.9)
    decays: list[float] = []
    fit = sanity.fit

    def watched(trainer: Any, *arguments: Any) -> Any:
        decays.extend(group["weight_decay"] for group in trainer.optimizer.param_groups)
        return fit(trainer, *arguments)

    monkeypatch.setattr(sanity, "fit", watched)

    def losses(**options: Any) -> list[Any]:
        decays.clear()
        step = find_lr(p["model"], optimizer, p["train_loader"], lrs=(1e-2,), **options)
        return step.data["curves"][0]["loss"]

    by_default = losses()
    assert set(decays) == {1e-4}
    without = losses(weight_decay=0.0)
    assert set(decays) == {0.0}
    assert by_default == losses(weight_decay=1e-4) != without
    assert by_default[0] == without[0] and by_default[1:] != without[1:]
    # v = 0.9 v + g + decay w: after the first step the weights differ by lr decay w
    assert losses(weight_decay=1.0)[-1] > 1.02 * without[-1]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_H3_labels_that_belong_to_nothing_are_named(seed: int) -> None:
    p = problem(seed, "shuffled labels")
    for val in (p["val_loader"], None):
        step = find_lr(p["model"], p["optimizer"], p["train_loader"], val_loader=val)
        assert step.fault == "labels do not follow from the pictures", str(step)


def test_H3_rates_that_all_fail_are_named() -> None:
    p = problem()
    arguments = (p["model"], p["optimizer"], p["train_loader"])
    high = find_lr(*arguments, lrs=(1e18, 1e19), val_loader=p["val_loader"])
    assert high.fault == "lr too high" and high.numbers["ratio"] is None
    low = find_lr(*arguments, lrs=(1e-7, 1e-6))
    assert low.fault == "lr too low" and "above 1e-06" in low.advice
    assert {high.fault, low.fault} <= FAULTS.keys()


@pytest.mark.parametrize("step", ["1", "2", "3", "error"])
def test_H1_H2_H3_leave_everything_as_it_was(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(0, "batch norm", dropout=0.3)
    model, optimizer, loader = p["model"], p["optimizer"], p["train_loader"]
    for x, labels in loader:  # in the middle of an epoch, of momentum and of gradients
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
        if optimizer.t == 3:
            break
        optimizer.zero_grad()
    model.eval()

    def everything() -> list[Any]:
        state = optimizer.state_dict()
        return [{n: to_numpy(x).tobytes() for n, x in model.state_dict().items()},
                [to_numpy(q.grad.data).tobytes() for q in model.parameters()],
                {n: to_numpy(s["v"]).tobytes() for n, s in state["state"].items()},
                state["t"], state["groups"], loader.get_state(), random.get_state(),
                [m.training for _, m in model.named_modules()]]

    before = everything()
    if step == "1":
        check_initial_loss(model, loader)
    elif step == "2":
        overfit_small(model, optimizer, loader, epochs=3)
    elif step == "3":
        find_lr(model, optimizer, loader, val_loader=p["val_loader"], iterations=20)
    else:
        monkeypatch.setattr("tinynet.train.trainer.Trainer.evaluate", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            find_lr(model, optimizer, loader, val_loader=p["val_loader"], iterations=5)
    assert everything() == before
