"""The lecture's last table (H10): which module lowers the training error, which the test error."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from tinynet import nn, optim, train, tune

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
