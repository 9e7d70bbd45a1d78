"""Settings of optimizers: read and set as attributes, kept in the groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, leaf
from tinynet import Tensor
from tinynet.optim import SGD, Adam, Optimizer
from tinynet.optim.schedule import constant


def test_a_setting_is_set_in_all_groups_or_in_one() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = SGD([{"params": [a]}, {"params": [b]}], 0.1, momentum=0.9)
    optimizer.momentum = 0.5
    optimizer.param_groups[1]["momentum"] = 0.0
    assert optimizer.momentum == 0.5
    for _ in range(2):
        a.grad, b.grad = Tensor([1.0], dtype=np.float64), Tensor([1.0], dtype=np.float64)
        optimizer.step()
    assert a.item() == pytest.approx(1 - 0.1 - 0.1 * 1.5)
    assert b.item() == pytest.approx(1 - 0.1 - 0.1)
    with pytest.raises(ValueError, match=r"momentum must be a number in \[0, 1\), got 1.5"):
        optimizer.momentum = 1.5
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.0]


class Halving(Optimizer):
    """Its rule changes its own settings."""

    def rule(self, x: Any, g: Any) -> Any:
        self.rho = 0.5 * self.rho
        self.lr *= 2
        return (x - self.lr * self.rho * g,)


def test_a_rule_may_change_its_settings() -> None:
    a, b = leaf([0.0]), leaf([0.0])
    optimizer = Halving([a, b], 0.1, rho=1.0)
    a.grad, b.grad = Tensor([1.0], dtype=np.float64), Tensor([1.0], dtype=np.float64)
    optimizer.step()
    assert [a.item(), b.item()] == pytest.approx([-0.2 * 0.5, -0.4 * 0.25])
    assert (optimizer.rho, optimizer.lr) == (0.25, 0.4)


def test_a_step_leaves_attributes_alone() -> None:
    """Whatever the settings of groups are called, also after an error."""
    class Stumbling(Optimizer):
        def rule(self, x: Any, g: Any) -> Any:
            raise ArithmeticError

    w = leaf([1.0])
    optimizer = Stumbling([w], 0.1, rho=0.9)
    optimizer.param_groups[0] |= {"state": "mine", "tag": "head"}
    before = vars(optimizer).keys() - {"state"}
    w.grad = Tensor([1.0], dtype=np.float64)
    with pytest.raises(ArithmeticError):
        optimizer.step()
    assert vars(optimizer).keys() - {"state"} == before
    optimizer.param_groups[0] |= {"rho": 0.3, "tag": "tail"}
    assert (optimizer.rho, optimizer.tag) == (0.3, "tail")
    optimizer.lr = constant(0.2)
    assert optimizer.lr == 0.2


def test_attributes_of_ones_own_are_no_settings() -> None:
    """Not even if a group has something of that name."""
    class Mine(SGD):
        def __init__(self, params: Any) -> None:
            super().__init__(params, 0.1)
            self.params = [p for group in self.param_groups for p in group["params"]]
            self.names = "mine"

    a, b = leaf([1.0]), leaf([1.0])
    optimizer = Mine([{"params": [a]}, {"params": [b]}])
    assert (len(optimizer.params), optimizer.names) == (2, "mine")
    assert [group["names"] for group in optimizer.param_groups] == [["param0"], ["param1"]]
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]


@pytest.mark.parametrize("dtype", ["i8", "f4", "f2", ">f8"])
def test_gradients_of_another_dtype_are_taken_as_numbers(dtype: str) -> None:
    for make in (SGD, Adam):
        w = leaf([1.0, 2.0, 3.0])
        w.grad = Tensor(np.array([1, 2, 4], dtype))
        make([w], 0.1).step()
        assert close(w, [0.9, 1.8, 2.6] if make is SGD else [0.9, 1.9, 2.9], atol=1e-3)


def test_a_schedule_is_asked_once_in_a_step() -> None:
    asked: list[float] = []

    def rate(t: float) -> float:
        asked.append(t)
        return 0.1

    a, b = leaf([1.0]), leaf([1.0])
    a.grad, b.grad = Tensor([1.0], dtype=np.float64), Tensor([1.0], dtype=np.float64)
    SGD([a, b], rate, momentum=0.9).step()
    assert asked == [0]
