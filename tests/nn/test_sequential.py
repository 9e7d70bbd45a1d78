"""Sequential, ModuleList and the residual blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn


def layers() -> list[nn.Module]:
    return [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)]


def test_sequential_applies_its_layers_in_order() -> None:
    a, f, b = layers()
    x = tn.rand(5, 3)
    np.testing.assert_array_equal(nn.Sequential(a, f, b)(x).numpy(), b(f(a(x))).numpy())
    assert nn.Sequential()(x) is x


def test_sequential_indexes_slices_and_iterates() -> None:
    a, f, b = layers()
    net = nn.Sequential(a, f, b)
    assert len(net) == 3 and list(net) == [a, f, b] and net[0] is a and net[-1] is b
    part = net[1:]
    assert isinstance(part, nn.Sequential) and list(part) == [f, b]
    assert [name for name, _ in part.named_parameters()] == ["1.weight", "1.bias"]
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        net[3]
    net[1] = nn.ReLU()
    assert isinstance(net[1], nn.ReLU) and list(part) == [f, b]


def test_sequential_takes_names() -> None:
    a, f, b = layers()
    net = nn.Sequential({"first": a, "act": f, "last": b})
    assert list(net.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert repr(net).splitlines()[1].startswith("  (first): Linear(")


@pytest.mark.parametrize(("item", "text"), [
    (nn.ReLU, r"item 0 is the class ReLU: write ReLU\(\)"),
    ([nn.ReLU()], r"item 0 is a list: unpack it with a star, as in Sequential\(\*layers\)"),
    (abs, r"item 0 is <built-in function abs>, not a Module"),
])
def test_sequential_says_what_is_wrong_with_an_item(item: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        nn.Sequential(item)


def test_module_list() -> None:
    items = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    assert len(items.append(nn.Linear(2, 2))) == 4
    assert [name for name, _ in items.named_parameters()][-1] == "3.bias"
    assert isinstance(items[:2], nn.ModuleList) and len(items[:2]) == 2
    with pytest.raises(TypeError, match="ModuleList has no forward"):
        items(1)


# Blocks

def test_residual_adds_its_input() -> None:
    x = tn.rand(2, 3)
    np.testing.assert_array_equal(nn.Residual(nn.Tanh())(x).numpy(), (x + tn.tanh(x)).numpy())
    net = nn.Residual(nn.Linear(3, 2), shortcut=nn.Linear(3, 2, bias=False))
    assert net(x).shape == (2, 2)
    with pytest.raises(ValueError, match=r"turns \(2, 3\) into \(2, 2\), the shortcut into "
                                         r"\(2, 3\): they must be equal"):
        nn.Residual(nn.Linear(3, 2))(x)


def test_residual_block_keeps_or_halves_the_image() -> None:
    x = tn.randn(2, 4, 6, 6)
    same, half = nn.ResidualBlock(4, 4), nn.ResidualBlock(4, 8, stride=2)
    assert same.downsample is None and same(x).shape == (2, 4, 6, 6)
    assert half(x).shape == (2, 8, 3, 3)
    assert {name.rpartition(".")[0] for name in half.state_dict()} == {  # torchvision's
        "conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1"}
    nn.init.zeros_(same.bn2.weight)  # the body gives 0: only the shortcut is left
    np.testing.assert_array_equal(same(x).numpy(), np.maximum(x.numpy(), 0))


def test_conv_bn_relu() -> None:
    block = nn.conv_bn_relu(3, 5, stride=2)
    y = block(tn.randn(4, 3, 8, 8))
    assert y.shape == (4, 5, 4, 4) and float(y.min()) == 0.0
    assert list(block.state_dict()) == ["0.weight", "1.weight", "1.bias", "1.running_mean",
                                        "1.running_var"]
