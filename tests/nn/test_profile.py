"""Forward and backward time of each layer."""

from __future__ import annotations

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn


def net() -> nn.Sequential:
    return nn.Sequential(nn.conv_bn_relu(3, 8), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
                         nn.Linear(8 * 16, 10))


def test_rows_count_the_products_of_both_passes() -> None:
    x = tn.randn(4, 3, 8, 8)
    found = tn.profile(net(), x, repeat=2)
    assert [(row.path, row.layer) for row in found.rows] == [
        ("0.0", "Conv2d"), ("0.1", "BatchNorm2d"), ("1", "MaxPool2d"), ("2", "Dropout"),
        ("3", "Flatten"), ("4", "Linear")]
    conv, linear = found.rows[0], found.rows[-1]
    assert conv.operations == 2 * 2 * 4 * 8 * 64 * 27  # no gradient of the pictures is wanted
    assert linear.operations == 2 * 3 * 4 * 10 * 128
    assert conv.bytes == 4 * (4 * 8 * 64 + 8 * 27) and conv.output_shape == (4, 8, 8, 8)
    assert all(row.forward > 0 for row in found.rows)
    assert all(row.backward > 0 for row in found.rows)
    assert found.backward == pytest.approx(sum(row.backward for row in found.rows))
    assert "GFLOP/s" in str(found)


def test_nothing_is_left_behind() -> None:
    model, x = net(), tn.randn(2, 3, 8, 8)
    state = tn.get_state()
    tn.profile(model, x, repeat=1)
    assert tn.get_state() == state and model.training
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match="repeat must be at least 1, got 0"):
        tn.profile(model, x, repeat=0)


def test_evaluation_without_gradients_has_no_backward() -> None:
    model = net().eval().requires_grad_(False)
    found = tn.profile(model, np.zeros((2, 3, 8, 8), "f4"), repeat=1)
    assert found.backward == 0.0 and found.rows[0].operations == 2 * 2 * 8 * 64 * 27
