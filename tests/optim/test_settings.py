"""Settings of optimizers: kept in the groups, read and set as attributes, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, leaf
from tests.optim.problems import OPTIMIZERS
from tinynet import Tensor
from tinynet.optim import SGD, Adagrad, Adam, AdamW, Nesterov, Optimizer, RMSprop
from tinynet.optim.schedule import Schedule, constant, linear


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


def test_a_setting_that_one_group_cannot_take_is_set_in_none() -> None:
    """The eps of a group is checked with its other settings."""
    class Picky(SGD):
        def check(self, h: Any) -> None:
            super().check(h)
            if h.nesterov and not h.momentum:
                raise ValueError("nesterov needs momentum")

    optimizer = Picky([{"params": [leaf([1.0])], "momentum": 0.9}, {"params": [leaf([1.0])]}], 0.1)
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        optimizer.nesterov = True
    assert [group["nesterov"] for group in optimizer.param_groups] == [False, False]


@pytest.mark.parametrize(("make", "name", "value", "message"), [
    (SGD, "lr", -1.0, "lr must be a number >= 0 or a schedule, got -1.0"),
    (SGD, "lr", math.nan, "lr must be a number >= 0 or a schedule, got nan"),
    (SGD, "momentum", 1.0, r"momentum must be a number in \[0, 1\), got 1.0"),
    (SGD, "weight_decay", -1, "weight_decay must be a number >= 0, got -1"),
    (SGD, "l1", "x", "l1 must be a number >= 0, got 'x'"),
    (SGD, "max_norm", 0.0, "max_norm must be a number > 0 or None, got 0.0"),
    (Nesterov, "momentum", None, r"momentum must be a number in \[0, 1\), got None"),
    (Adagrad, "eps", -1.0, "eps must be a number >= 0, got -1.0"),
    (RMSprop, "alpha", 2, r"alpha must be a number in \[0, 1\), got 2"),
    (Adam, "betas", 0.9, r"betas must be two numbers in \[0, 1\), got 0.9"),
    (AdamW, "betas", (0.9, 1.0), r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
], ids=lambda value: getattr(value, "__name__", str(value)).strip("<>"))
def test_each_class_checks_its_settings_wherever_they_come_from(
        make: Any, name: str, value: Any, message: str) -> None:
    """In a group of its own, in a step after a change by hand, from a loaded state."""
    w = leaf([1.0])
    optimizer = make([w], 0.1)
    with pytest.raises(ValueError, match=message):
        make([{"params": [w], name: value}], 0.1)
    state = optimizer.state_dict()
    state["groups"][0][name] = value
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    optimizer.param_groups[0][name] = value
    with pytest.raises(ValueError, match=message):
        optimizer.step(lambda: (w * w).sum())
    assert w.item() == 1.0 and optimizer.t == 0


class Rates(Optimizer):
    """Its rule notes what it was given."""

    seen: tuple[Any, ...] = ()

    def rule(self, h: Any, x: Any, g: Any) -> Any:
        type(self).seen += ((h.lr, h.t, h.rho),)
        return (x - h.lr * g,)


def test_a_rule_is_given_the_settings_of_its_group_at_this_step() -> None:
    """The rate that the schedule says, and the number of this parameter's update."""
    a, b = leaf([0.0]), leaf([0.0])
    optimizer = Rates([{"params": [a]}, {"params": [b], "rho": 2.0}], linear(1.0, T=4), rho=1.0)
    optimizer.step(lambda: a.sum())
    optimizer.step(lambda: (a + b).sum())
    assert Rates.seen == ((1.0, 1, 1.0), (0.75, 2, 1.0), (0.75, 1, 2.0))


def test_settings_of_groups_and_attributes_do_not_mix() -> None:
    """A group may hold more than the optimizer knows; a step leaves attributes alone."""
    w = leaf([1.0])
    optimizer = SGD([w], 0.1)
    optimizer.param_groups[0] |= {"state": "mine", "tag": "head"}
    before = vars(optimizer).keys()
    optimizer.step(lambda: (w * w).sum())
    assert vars(optimizer).keys() == before and "param0" in optimizer.state
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


@pytest.mark.parametrize("rate", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_schedule_that_is_not_finite_at_a_step_is_a_numeric_fault(name: str, rate: float) -> None:
    """Named by step and value, before anything is written; as a constant it is refused."""
    w = leaf([1.0, 2.0])
    optimizer = OPTIMIZERS[name]([w])
    optimizer.lr = Schedule(lambda t: rate if t == 1 else 0.01, "one bad step", span=3)
    optimizer.step(lambda: (w * w).sum())
    weights, state = w.tolist(), optimizer.state_dict()
    with pytest.raises(FloatingPointError, match=f"lr is {rate} at step 1, so nothing was updated"):
        optimizer.step(lambda: (w * w).sum())
    assert w.tolist() == weights and optimizer.t == 1
    assert repr(optimizer.state_dict()) == repr(state)
    with pytest.raises(ValueError, match=f"lr must be a number >= 0 or a schedule, got {rate}"):
        optimizer.lr = rate


def test_a_schedule_that_is_negative_at_a_step_is_refused() -> None:
    w = leaf([1.0])
    with pytest.raises(ValueError, match=r"lr must be a number >= 0, got -1\.0"):
        SGD([w], lambda t: -1.0).step(lambda: (w * w).sum())
    assert w.item() == 1.0


def test_a_schedule_is_asked_once_in_a_step() -> None:
    asked: list[float] = []

    def rate(t: float) -> float:
        asked.append(t)
        return 0.1

    a, b = leaf([1.0]), leaf([1.0])
    a.grad, b.grad = Tensor([1.0], dtype=np.float64), Tensor([1.0], dtype=np.float64)
    SGD([a, b], rate, momentum=0.9).step()
    assert asked == [0]
