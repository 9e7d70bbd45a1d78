"""Methods of tensors are the functions of the package."""

from __future__ import annotations

import pytest

import tinynet as tn
from tinynet import Tensor
from tinynet.backend import xp
from tinynet.ops.methods import _SAME_NAME

NAMES = [name for names in _SAME_NAME.values() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_the_function_of_its_name(name: str) -> None:
    assert getattr(Tensor, name) is getattr(tn, name)


def test_power_of_the_operators() -> None:
    x = Tensor([[1.0, -2.0], [3.0, 4.0]])
    assert (-x).tolist() == [[-1.0, 2.0], [-3.0, -4.0]] and abs(x).data.min() == 1.0
    assert (2.0 - x).tolist() == [[1.0, 4.0], [-1.0, -2.0]] and (1 / x)[1, 1].item() == 0.25
    assert (xp.eye(2, dtype="f4") @ x).tolist() == x.tolist() and sum(x).tolist() == [4.0, 2.0]
    assert max(Tensor([1.0, 3.0, 2.0])).item() == 3.0
    assert 3.0 in Tensor([1.0, 3.0]) and 2.0 not in Tensor([1.0, 3.0])
