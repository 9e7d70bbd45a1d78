"""The table of a network's layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import nn


def net() -> nn.Sequential:
    return nn.Sequential(nn.conv_bn_relu(3, 8), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
                         nn.Linear(8 * 16, 10))


def test_rows_and_totals() -> None:
    found = nn.summary(net(), (3, 8, 8))
    assert found.rows == [
        nn.Row("0.0", "Conv2d", (8, 8, 8), 216, 8 * 8 * 8 * 27),
        nn.Row("0.1", "BatchNorm2d", (8, 8, 8), 16, 0),
        nn.Row("1", "MaxPool2d", (8, 4, 4), 0, 0),
        nn.Row("2", "Dropout", (8, 4, 4), 0, 0),
        nn.Row("3", "Flatten", (128,), 0, 0),
        nn.Row("4", "Linear", (10,), 1290, 1280),
    ]
    assert (found.parameters, found.trainable, found.multiply_adds) == (1522, 1522, 15104)


def test_the_printed_table() -> None:
    model = net()
    model[0].requires_grad_(False)
    assert str(nn.summary(model, (3, 8, 8))) == """\
     layer        output  parameters  multiply-adds
---------------------------------------------------
0.0  Conv2d       8x8x8          216         13,824
0.1  BatchNorm2d  8x8x8           16              0
1    MaxPool2d    8x4x4            0              0
2    Dropout      8x4x4            0              0
3    Flatten      128              0              0
4    Linear       10           1,290          1,280
---------------------------------------------------
     total                     1,522         15,104
trainable parameters: 1,290"""


def test_grouped_strided_convolutions_and_shared_layers() -> None:
    conv = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, bias=False)
    found = nn.summary(nn.Sequential(conv, conv), (4, 8, 8))
    assert [(row.path, row.parameters, row.multiply_adds) for row in found.rows] == [
        ("0", 72, 4 * 16 * 18), ("0", 0, 4 * 4 * 18)]
    assert found.parameters == 72 and found.multiply_adds == 4 * 20 * 18


def test_a_module_with_own_parameters_and_children_has_a_row() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.ones(4, "float32"))
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.inner(x * self.scale)

        def multiply_adds(self, inputs: Any, output: Any) -> int:
            return int(output.size)

    found = nn.summary(nn.Sequential(Gate()), (4,))
    assert [(row.path, row.layer, row.parameters, row.multiply_adds) for row in found.rows] == [
        ("0", "Gate", 4, 4), ("0.inner", "Linear", 20, 16)]


def test_nothing_is_changed() -> None:
    class Noise(nn.Module):  # random in evaluation, too
        def forward(self, x: Any) -> Any:
            return x + tn.rand(*x.shape)

    model = nn.Sequential(Noise(), *net())
    model[1].eval()
    before, random_state = model.state_dict(), tn.get_state()
    modes = [module.training for _, module in model.named_modules()]
    nn.summary(model, (3, 8, 8))
    assert [module.training for _, module in model.named_modules()] == modes
    assert tn.get_state() == random_state and tn.is_grad_enabled()
    for name, value in model.state_dict().items():
        assert equal(value, before[name])
    with pytest.raises(ValueError):
        nn.summary(model, (3, 4, 4))
    assert [module.training for _, module in model.named_modules()] == modes


def test_dtype_follows_the_network() -> None:
    assert nn.summary(net().double(), (3, 8, 8)).parameters == 1522


def test_input_shape_is_checked() -> None:
    with pytest.raises(ValueError, match=r"input_shape must hold positive integers.*\(0, 3\)"):
        nn.summary(net(), (0, 3))
