"""Several optimizers as one: each with its rule, one step for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close, host, leaf
from tinynet import Tensor, functional as F, manual_seed, nn
from tinynet.optim import (
    LBFGS,
    SGD,
    Adam,
    Muon,
    Nesterov,
    Optimizer,
    Together,
    matrices_and_rest,
)
from tinynet.optim.schedule import linear


def pair(**options: Any) -> tuple[Tensor, Tensor, Together]:
    a, b = leaf([1.0, 2.0]), leaf([[3.0]])
    both = Together(SGD([("a", a)], linear(0.1, T=10), momentum=0.9), Adam([("b", b)], 0.01),
                    **options)
    return a, b, both


def loss_of(a: Tensor, b: Tensor) -> Tensor:
    return (a * a).sum() + (b * b).sum()


def test_each_moves_as_it_would_alone() -> None:
    a, b, both = pair()
    c, d = leaf([1.0, 2.0]), leaf([[3.0]])
    alone = [SGD([c], linear(0.1, T=10), momentum=0.9), Adam([d], 0.01)]
    for _ in range(5):
        both.step(lambda: loss_of(a, b))
        loss_of(c, d).backward()
        for optimizer in alone:
            optimizer.step()
            optimizer.zero_grad()
        both.zero_grad()
    assert host(a).tolist() == host(c).tolist() and host(b).tolist() == host(d).tolist()
    assert both.t == 5 and [m.t for m in both.optimizers] == [5, 5]
    assert set(both.state) == {"a", "b"}


def test_a_member_without_gradients_waits_and_its_schedule_goes_on() -> None:
    a, b, both = pair()
    for _ in range(3):
        both.step(lambda: (b * b).sum())
        both.zero_grad()
    assert host(a).tolist() == [1.0, 2.0]
    assert both.t == 3 and both.lr == pytest.approx(0.07)
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        both.step()


def test_a_setting_is_set_in_every_group() -> None:
    _, _, both = pair()
    both.lr = 0.5
    both.weight_decay = 0.25
    assert [group["lr"] for group in both.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in both.param_groups] == [0.25, 0.25]
    with pytest.raises(ValueError, match="lr must be"):
        both.lr = -1.0
    assert both.lr == 0.5


def test_the_gradients_of_all_are_clipped_together() -> None:
    a, b = leaf([0.0]), leaf([0.0])
    both = Together(SGD([("a", a)], 1.0), SGD([("b", b)], 1.0), clip_norm=1.0)
    both.step(lambda: (3.0 * a + 4.0 * b).sum())
    assert close(a, [-0.6]) and close(b, [-0.8])


def test_an_error_in_the_last_member_leaves_the_first_alone() -> None:
    class Failing(Optimizer):
        def rule(self, h: Any, x: Any, g: Any) -> Any:
            raise ArithmeticError("odd")

    a, b = leaf([1.0]), leaf([1.0])
    both = Together(SGD([("a", a)], 0.1, momentum=0.9), Failing([("b", b)], 0.1))
    with pytest.raises(ArithmeticError, match="odd"):
        both.step(lambda: loss_of(a, b))
    assert host(a).tolist() == [1.0] and both.t == 0 and not both.state


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    a, b, both = pair()
    both.step(lambda: loss_of(a, b))
    before = repr(both.state_dict())
    other = both.state_dict()
    other["members"][1]["state"]["b"]["m"] = np.zeros((2, 2))
    with pytest.raises(ValueError, match="m of 'b' has shape"):
        both.load_state_dict(other)
    assert repr(both.state_dict()) == before
    with pytest.raises(ValueError, match="saved by Adam, this optimizer is SGD, Adam together"):
        both.load_state_dict(Adam([("b", b)]).state_dict())
    with pytest.raises(ValueError, match="is SGD: make the one that saved it"):
        SGD([("b", b)], 0.1).load_state_dict(both.state_dict())


def test_what_cannot_go_together_is_refused() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    first = SGD([("a", a)], 0.1)
    cases: list[tuple[Any, str]] = [
        ((), "Together needs optimizers"),
        ((first, b), r"optimizers\[1\] is Tensor"),
        (([first],), r"optimizers\[0\] is list"),
        ((first, Nesterov([("b", b)], 0.1)), r"optimizers\[1\], Nesterov, evaluates the loss"),
        ((first, LBFGS([("b", b)])), r"optimizers\[1\], LBFGS, evaluates the loss"),
        ((first, SGD([("b", b)], 0.1, clip_norm=1.0)), "clips gradients for itself"),
        ((first, SGD([("a", b)], 0.1)), "'a' is given to two"),
        ((first, SGD([("b", a)], 0.1)), "'b' is given to two"),
    ]
    for members, message in cases:
        with pytest.raises((TypeError, ValueError), match=message):
            Together(*members)
    late = SGD([("b", b)], 0.1)
    late.step(lambda: (b * b).sum())
    with pytest.raises(ValueError, match=r"have made \[0, 1\] steps"):
        Together(first, late)


def test_muon_beside_sgd_learns_more_than_sgd_alone_in_as_many_steps() -> None:
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(256, 16)).astype("float32"))
    labels = (host(x)[:, 0] * host(x)[:, 1] > 0).astype(int) + 2 * (host(x)[:, 2] > 0)

    def trained(muon: bool) -> float:
        manual_seed(0)
        net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                            nn.Linear(32, 4))
        hidden, rest = matrices_and_rest(net)
        if muon:
            optimizer: Optimizer = Together(Muon(hidden, 0.05), SGD(rest, 0.05, momentum=0.9))
        else:
            optimizer = SGD(net.named_parameters(), 0.05, momentum=0.9)
        for _ in range(30):
            loss = optimizer.step(lambda: F.cross_entropy(net(x), labels))
        return float(loss)

    assert trained(muon=True) < 0.8 * trained(muon=False)
