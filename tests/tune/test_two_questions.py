"""The lecture's last table (H10): which module lowers the training error, which the test error."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import data, functional as F, nn, optim, train, tune

# What makes a thing stand on its side of the table: its kind, where it has one, and its name.

def _optimizers(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, optim.Optimizer)


def _layers(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, nn.Module)


def _noise(thing: Any) -> bool:
    return _layers(thing) or thing is nn.marginalize


def _callbacks(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, train.Callback)


def _transforms(thing: Any) -> bool:
    return isinstance(thing, type) and any("__call__" in vars(base) for base in thing.__mro__)


KINDS: dict[str, tuple[Callable[[Any], bool] | None, set[str]]] = {
    "functional.activation": (None, {"relu", "leaky_relu", "elu", "gelu"}),
    "functional.norm": (None, {"batch_norm", "layer_norm", "group_norm"}),
    "optim.first_order": (_optimizers, {"SGD", "Nesterov", "Adagrad", "RMSprop", "Adam"}),
    "optim.second_order": (_optimizers, {"Newton", "NewtonCG"}),
    "optim.quasi_newton": (_optimizers, {"BFGS", "LBFGS"}),
    "train.callbacks": (_callbacks, {"EarlyStopping", "ReportToSchedule", "ClipGradients"}),
    "tune.sanity": (None, {"check_initial_loss", "overfit_small", "find_lr"}),
    "nn.init": (None, {"xavier_normal_", "kaiming_normal_", "orthogonal_"}),
    "nn.layers": (_layers, {"BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm"}),
    "optim.schedule": (None, {"cosine", "linear", "step_decay", "warmup"}),
    "optim.clip": (None, {"clip_grad_norm_", "clip_grad_value_"}),
    "tune.rates": (None, {"label_rates"}),
    "train.detective": (None, {"find_nonfinite", "NanGuard"}),
    "tune.diagnose": (None, {"diagnose"}),
    "data.transform": (_transforms, {"RandomHorizontalFlip", "RandomApply"}),
    "data.colour": (_transforms, {"ColorJitter", "PCALighting"}),
    "data.crops": (_transforms, {"RandomCrop", "ResNetCrop", "RandomResizedCrop"}),
    "data.geometry": (_transforms, {"RandomAffine", "LensDistortion"}),
    "data.mix": (_transforms, {"Mixup", "CutMix"}),
    "data.erase": (_transforms, {"Cutout", "RandomErasing"}),
    "functional.regularize": (None, {"dropout", "drop_path", "l1_penalty", "l2_penalty"}),
    "functional.dropconnect": (None, {"dropconnect_linear", "dropconnect_conv2d"}),
    "functional.fractional": (None, {"fractional_max_pool2d"}),
    "nn.noise": (_noise, {"Dropout", "Dropout2d", "DropConnectLinear", "DropConnectConv2d",
                          "FractionalMaxPool2d", "marginalize"}),
    "nn.blocks": (_layers, {"Residual", "ResidualBlock"}),
    "train.averaging": (None, {"WeightAveraging", "recompute_batch_norm"}),
    "train.ensemble": (None, {"Ensemble", "Snapshots"}),
    "optim.averaging": (None, {"EMA", "SWA"}),
    "data.views": (None, {"ten_crops", "resnet_crops"}),
    "tune.space": (None, {"LogUniform", "Uniform", "sample"}),
    "tune.search": (None, {"random_search", "grid_search"}),
    "tune.recipe": (None, {"run"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_H10_a_module_of_the_table_holds_what_its_side_says(name: str) -> None:
    """The things are there, public (from the module's package), documented, and of their kind."""
    is_one, things = KINDS[name]
    module = importlib.import_module(f"tinynet.{name}")
    package = importlib.import_module(f"tinynet.{name.partition('.')[0]}")
    for thing in things:
        found = getattr(module, thing)
        public = [getattr(package, thing, None),
                  getattr(getattr(package, name.partition(".")[2], None), thing, None)]
        assert found in public, f"{name}.{thing} is not public"
        assert callable(found) and found.__doc__, f"{name}.{thing} is not documented"
        assert is_one is None or is_one(found), f"{name}.{thing} is of another kind"


def test_H10_every_module_of_the_table_exists() -> None:
    table = (tune.__doc__ or "").split("(H10):")[1].split("On the left")[0]
    rows = [line for line in table.splitlines() if "." in line and "?" not in line]
    left = [name for row in rows for name in re.findall(r"\w+\.\w+", row[:46])]
    right = [name for row in rows for name in re.findall(r"\w+\.\w+", row[46:])]
    assert len(left) > 10 and len(right) > 10 and not set(left) & set(right)
    assert {*left, *right} == set(KINDS)
    for name in left + right:
        module = importlib.import_module(f"tinynet.{name}")
        assert module.__doc__, f"{name} is named in the table, but says nothing"
    assert {"optim.first_order", "optim.schedule"} <= set(left)
    assert {"functional.regularize", "data.transform", "tune.search"} <= set(right)


# What the sides do: four patterns of 6 x 6 pixels, half of them mirrored, under noise.

PATTERNS = np.random.default_rng(0).normal(size=(4, 1, 6, 6))


def _pictures(seed: int, n: int, wrong: float = 0.0) -> tuple[Any, Any]:
    """Pictures, and their classes, of which a share `wrong` is drawn by chance."""
    numbers = np.random.default_rng(seed)
    classes = numbers.integers(0, 4, n)
    x = PATTERNS[classes]
    x = np.where(numbers.random((n, 1, 1, 1)) < 0.5, x, x[..., ::-1])
    x = x + numbers.normal(size=x.shape)
    by_chance = numbers.random(n) < wrong
    return x.astype(np.float32), np.where(by_chance, numbers.integers(0, 4, n), classes)


def _net(depth: int, activation: Callable[[], Any] = nn.ReLU, *, norm: bool = False,
         dropout: float = 0.0) -> Any:
    layers: list[Any] = [nn.Flatten()]
    width = 36
    for _ in range(depth - 1):
        layers.append(nn.Linear(width, 64))
        width = 64
        if norm:
            layers.append(nn.BatchNorm1d(64))
        layers += [activation(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def _matrices(net: Any) -> list[Any]:
    return [p for p in net.parameters() if p.ndim == 2]


def _train(net: Any, optimizer: Any, x: Any, y: Any, steps: int,
           change: Callable[[Any, Any, int], tuple[Any, Any]] | None = None,
           penalty: Callable[[Any], Any] | None = None) -> None:
    for step in range(steps):
        places = np.random.default_rng(step).integers(0, len(x), 32)
        images = x[places]
        target = y[places]
        if change is not None:
            images, target = change(images, target, step)
        loss = F.cross_entropy(net(tn.tensor(images)), target)
        if penalty is not None:
            loss = loss + penalty(_matrices(net))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _error(net: Any, x: Any, y: Any) -> float:
    """The cross-entropy, which is how much the outputs are wrong."""
    net.eval()
    with tn.no_grad():
        return float(F.cross_entropy(net(tn.tensor(x)), y))


SIGMOIDS = {"activation": nn.Sigmoid}
LEFT: dict[str, tuple[dict[str, Any], Callable[[Any], Any] | None, Callable[[Any], Any]]] = {
    "functional.activation": ({}, None, lambda p: optim.SGD(p, lr=0.1)),
    "nn.init": (SIGMOIDS, lambda w: nn.init.xavier_normal_(w, gain=4.0),
                lambda p: optim.SGD(p, lr=0.1)),
    "nn.layers, batch norm": ({"norm": True, **SIGMOIDS}, None, lambda p: optim.SGD(p, lr=0.1)),
    "optim.first_order, momentum": (SIGMOIDS, None, lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "optim.first_order, Adam": (SIGMOIDS, None, lambda p: optim.Adam(p, lr=0.01)),
}


@pytest.mark.parametrize("name", LEFT)
def test_H10_the_left_side_lowers_the_training_error(name: str) -> None:
    """Four layers of sigmoids under plain SGD do not learn in 200 steps; with a change they do."""
    options, init, make = LEFT[name]
    x, y = _pictures(1, 200)

    def trained(net: Any, optimizer: Any) -> float:
        _train(net, optimizer, x, y, 200)
        return _error(net, x, y)

    tn.manual_seed(0)
    plain = _net(4, nn.Sigmoid)
    before = trained(plain, optim.SGD(plain.parameters(), lr=0.1))
    tn.manual_seed(0)
    net = _net(4, **options)
    if init is not None:
        for w in _matrices(net):
            init(w)
    after = trained(net, make(net.parameters()))
    assert before > 1.3 > 0.7 > after, (before, after)


def test_H10_a_schedule_lowers_the_training_error_that_long_steps_leave() -> None:
    x, y = _pictures(1, 200, wrong=0.5)
    errors = []
    for lr in (0.4, optim.schedule.cosine(0.4, 300)):
        tn.manual_seed(0)
        net = _net(2)
        _train(net, optim.SGD(net.parameters(), lr=lr, momentum=0.8), x, y, 300)
        errors.append(_error(net, x, y))
    constant, decayed = errors
    assert decayed < 0.7 * constant, errors


def _flipped(images: Any, target: Any, step: int) -> tuple[Any, Any]:
    keys = np.arange(len(images), dtype=np.uint64) + np.uint64(1000 * step)
    return data.RandomHorizontalFlip()(images, keys), target


RIGHT: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "functional.regularize, squares": ({}, None, lambda ws: 0.1 * F.l2_penalty(ws)),
    "functional.regularize, sizes": ({}, None, lambda ws: 0.003 * F.l1_penalty(ws)),
    "nn.noise": ({"dropout": 0.7}, None, None),
    "data.transform": ({}, _flipped, None),
    "data.mix": ({}, data.Mixup(4, alpha=0.4), None),
}


@pytest.mark.parametrize("name", RIGHT)
def test_H10_the_right_side_lowers_the_test_error_and_not_the_training_error(name: str) -> None:
    """A hundred pictures, half of whose classes are drawn by chance, are learned by heart."""
    options, change, penalty = RIGHT[name]
    others = _pictures(99, 500)

    def errors(seed: int, regular: bool) -> tuple[float, float]:
        x, y = _pictures(seed, 100, wrong=0.5)
        tn.manual_seed(seed)
        net = _net(2, **options) if regular else _net(2)
        optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        _train(net, optimizer, x, y, 150, *((change, penalty) if regular else ()))
        return _error(net, x, y), _error(net, *others)

    plain = np.mean([errors(seed, False) for seed in range(3)], axis=0)
    regular = np.mean([errors(seed, True) for seed in range(3)], axis=0)
    assert plain[0] < 0.02 and plain[1] > 1.2  # much higher: the question of the right side
    assert regular[1] < 0.95 * plain[1], (plain, regular)
    assert regular[0] > plain[0], (plain, regular)
