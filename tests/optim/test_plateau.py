"""`Plateau` among other schedules: it counts what happens in its turn, and each report once."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from tests.arrays import leaf
from tinynet.optim import SGD, Adam, Optimizer
from tinynet.optim.schedule import Plateau, Schedule, constant, linear, warmup


def plateau() -> Plateau:
    """Drops at the second report without progress."""
    return Plateau(0.1, factor=0.1, patience=1)


def steps(optimizer: Optimizer, n: int) -> None:
    for _ in range(n):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = leaf([0.0])
        optimizer.step()


def train(optimizer: Optimizer, losses: Any, epoch: int = 10) -> None:
    """Each loss is reported after an epoch, to the schedule of every group."""
    for loss in losses:
        steps(optimizer, epoch)
        for group in optimizer.param_groups:
            group["lr"].observe(loss)


# What runs before a plateau's turn for 40 steps.
BEFORE = {
    "warmup": lambda p: warmup(p, 40),
    "chain": lambda p: linear(1.0, T=40) >> p,
    "after": lambda p: constant(1.0).then(p, after=40),
    "scaled": lambda p: 1.0 * warmup(1.0 * p, 40),
    "two warmups": lambda p: warmup(warmup(p, 15), 25),
    "warmup in a chain": lambda p: linear(1.0, T=20) >> warmup(p, 20),
    "chain in a warmup": lambda p: warmup(linear(1.0, T=30) >> p, 10),
}


@pytest.mark.parametrize("name", BEFORE)
def test_reports_before_its_turn_do_not_use_up_its_patience(name: str) -> None:
    p = plateau()
    optimizer = SGD([leaf([1.0])], BEFORE[name](p))
    train(optimizer, [1.0, 2.0, 3.0, 4.0])  # worse and worse, for 40 steps
    assert (p.best, p.bad, optimizer.lr) == (math.inf, 0, 0.1)
    train(optimizer, [9.0, 9.0])
    assert (p.best, p.bad, optimizer.lr) == (9.0, 1, 0.1)
    train(optimizer, [9.0])
    assert optimizer.lr == pytest.approx(0.01)


@pytest.mark.parametrize("name", BEFORE)
def test_a_report_to_the_plateau_itself_is_none_before_its_turn(name: str) -> None:
    """Whoever keeps the plateau may report to it, and not to what it stands in."""
    p = plateau()
    optimizer = SGD([leaf([1.0])], BEFORE[name](p))
    p.observe(0.5)  # before the first step
    for _ in range(4):
        steps(optimizer, 10)
        p.observe(1.0)
    assert p.best == math.inf
    steps(optimizer, 1)
    p.observe(1.0)
    assert p.best == 1.0


def test_after_its_turn_it_counts_no_more() -> None:
    p = plateau()
    lr = p.then(linear(0.05, T=20), after=20)
    optimizer = SGD([leaf([1.0])], lr)
    train(optimizer, [1.0, 1.0])
    assert (p.bad, p(0)) == (1, 0.1)
    train(optimizer, [1.0, 1.0, 1.0])
    assert (p.bad, p(0)) == (1, 0.1)


def test_of_two_in_a_row_one_counts() -> None:
    first, second = plateau(), plateau()
    optimizer = SGD([leaf([1.0])], first.then(second, after=30))
    train(optimizer, [1.0, 1.0, 1.0])
    assert (first(0), second.best) == (pytest.approx(0.01), math.inf)
    train(optimizer, [2.0, 2.0, 2.0])
    assert (first.best, second(0)) == (1.0, pytest.approx(0.01))


def test_a_drawing_or_a_look_ahead_does_not_move_its_turn() -> None:
    p = plateau()
    lr = warmup(p, 40)
    optimizer = SGD([leaf([1.0])], lr)
    for loss in (1.0, 2.0, 3.0):
        train(optimizer, [loss])
        assert repr(lr) and lr(1000) == 0.1 and optimizer.lr < 0.1
    assert p.best == math.inf


# How one plateau may serve several groups.
GROUPS = {
    "the same": lambda p: [p, p, p],
    "scaled": lambda p: [p, 0.5 * p, 2.0 * p],
    "warmed up": lambda p: [warmup(p, 10), warmup(0.5 * p, 10)],
    "twice in one": lambda p: [p.then(p, after=10), p],
    "beside others": lambda p: [p, constant(1.0), warmup(p, 10)],
}


@pytest.mark.parametrize("name", GROUPS)
def test_an_epoch_counts_once_however_many_groups_report_it(name: str) -> None:
    p = plateau()
    rates = GROUPS[name](p)
    optimizer = SGD([{"params": [leaf([1.0])], "lr": lr} for lr in rates], 0.1)
    steps(optimizer, 20)
    train(optimizer, [1.0, 1.0])
    assert (p.bad, p(0)) == (1, 0.1)
    train(optimizer, [1.0])
    assert (p.bad, p(0)) == (0, pytest.approx(0.01))
    train(optimizer, [1.0, 1.0])
    assert p(0) == pytest.approx(0.001)


def test_a_plateau_that_runs_in_one_group_is_running() -> None:
    p = plateau()
    groups = [{"params": [leaf([1.0])], "lr": p}, {"params": [leaf([1.0])], "lr": warmup(p, 1000)}]
    for order in (groups, groups[::-1]):
        p.best = math.inf
        train(SGD(order, 0.1), [5.0])
        assert p.best == 5.0


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("after", [3, 4, 5, 6], ids="{}-epochs".format)
def test_resumed_between_the_last_step_and_its_report_it_goes_on_as_it_would(
        name: str, after: int) -> None:
    """The report comes before the first step of the resumed run."""
    def start(p: Plateau) -> Optimizer:
        a, b = leaf([1.0]), leaf([1.0])
        rates = (BEFORE[name](p), 0.5 * BEFORE[name](p))
        return Adam([{"params": [x], "lr": lr} for x, lr in zip((a, b), rates, strict=True)], 0.1)

    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0]
    whole = plateau()
    train(start(whole), losses)
    first = plateau()
    killed = start(first)
    train(killed, losses[:after])
    steps(killed, 10)
    state = killed.state_dict()
    again = plateau()
    resumed = start(again)
    resumed.load_state_dict(state)
    for group in resumed.param_groups:
        group["lr"].observe(losses[after])
    train(resumed, losses[after + 1 :])
    assert again.state_dict() == whole.state_dict()


def test_a_report_that_was_saved_does_not_count_again_after_resume() -> None:
    p, q = plateau(), plateau()
    optimizer, again = SGD([leaf([1.0])], warmup(p, 5)), SGD([leaf([1.0])], warmup(q, 5))
    train(optimizer, [1.0, 1.0])
    again.load_state_dict(optimizer.state_dict())
    again.param_groups[0]["lr"].observe(1.0)
    assert (q.bad, q(0)) == (1, 0.1)


def test_a_state_of_before_there_was_a_count_of_steps_loads() -> None:
    p = plateau()
    p.load_state_dict({"lr": 0.01, "best": 2.0, "bad": 1})
    assert (p(0), p.best, p.bad) == (0.01, 2.0, 1)


def test_a_new_run_with_the_same_schedule_starts_its_reports_anew() -> None:
    for lr in (p := plateau(), warmup(q := plateau(), 5)):
        train(SGD([leaf([1.0])], lr), [1.0])
        train(SGD([leaf([1.0])], lr), [1.0])
    assert p.bad == q.bad == 1


def test_without_an_optimizer_every_report_counts() -> None:
    s: Schedule = warmup(plateau(), 10)
    for _ in range(3):
        s.observe(1.0)
    assert s(20) == pytest.approx(0.01)


def test_a_copy_of_a_schedule_has_a_plateau_of_its_own() -> None:
    """The copy of an optimizer, too."""
    p = plateau()
    optimizer = SGD([leaf([1.0])], warmup(0.5 * p, 4))
    other = copy.deepcopy(optimizer)
    train(other, [1.0, 1.0, 1.0])
    assert other.lr == pytest.approx(0.005) and p(0) == 0.1
    assert copy.deepcopy(p)(0) == 0.1
