"""Schedules: closed forms, joints, pictures, and the one that takes a metric."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import Generator, Tensor, manual_seed, nn
from tinynet.optim import SGD, Adam, schedule
from tinynet.optim.schedule import (
    Plateau,
    Schedule,
    constant,
    cosine,
    cyclic_cosine,
    exponential,
    inverse_sqrt,
    linear,
    multistep,
    one_cycle,
    one_over_t,
    piecewise,
    step_decay,
    table,
    warmup,
)

# Each that there is: tests/optim/test_resume.py asks of all that a resumed run does the same.
SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "constant": lambda: constant(0.05),
    "step_decay": lambda: step_decay(0.05, every=7),
    "multistep": lambda: multistep(0.05, [8, 12]),
    "cosine": lambda: cosine(0.05, T=18),
    "linear": lambda: linear(0.05, T=18),
    "inverse_sqrt": lambda: inverse_sqrt(0.05),
    "exponential": lambda: exponential(0.05, k=0.1),
    "one_over_t": lambda: one_over_t(0.05, k=0.1),
    "cyclic_cosine": lambda: cyclic_cosine(0.05, period=6),
    "one_cycle": lambda: one_cycle(0.05, T=20),
    "piecewise": lambda: piecewise([(0, 0.01), (7, 0.05), (18, 0.0)]),
    "warmup": lambda: warmup(cosine(0.05, T=10), 9),
    "Plateau": lambda: Plateau(0.05, factor=0.5, patience=1),
    "composed": lambda: warmup(2 * Plateau(0.05, patience=2), 3).then(cosine(0.01, T=5), after=12),
}

close = lambda value: pytest.approx(value, rel=1e-12, abs=1e-15)  # noqa: E731


def test_B1_tenth_at_epochs_30_60_90() -> None:
    per_epoch = 7  # schedules count steps
    s = multistep(0.1, [30 * per_epoch, 60 * per_epoch, 90 * per_epoch])
    lrs = [s(epoch * per_epoch) for epoch in (0, 29, 30, 59, 60, 89, 90)]
    assert lrs == close([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001])
    assert s(30 * per_epoch - 1) == 0.1  # the last step of epoch 29
    same = step_decay(0.1, every=30 * per_epoch)
    assert [same(t) for t in range(120 * per_epoch)] == \
        close([s(t) for t in range(120 * per_epoch)])


def test_B2_cosine_values_clamp_and_mean() -> None:
    s = cosine(1.0, T=1000)
    assert [s(t) for t in (0, 250, 500, 750, 1000)] == \
        pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=5e-7)
    assert all(s(t) == s(1000) for t in (1001, 1500, 2000, 10**9))  # PyTorch's rises again
    mean = (sum(s(t) for t in range(1001)) - 0.5) / 1000  # trapezoids over [0, T]
    assert mean == close(0.5)
    assert cosine(1.0, T=10, end=0.2)(10) == close(0.2)


def test_B3_loss_under_cosine_falls_smoothly_in_the_last_quarter(float64: None) -> None:
    """SGD on noisy gradients: the noise ball shrinks with lr, so the smoothed loss falls."""
    rng = np.random.default_rng(0)
    w = Tensor(rng.normal(size=200), requires_grad=True)
    optimizer, losses = SGD([w], cosine(0.3, T=800)), []
    for _ in range(800):
        losses.append(float(np.square(w.data).mean()) / 2)
        w.grad = Tensor(w.numpy() + rng.normal(size=200))
        optimizer.step()
    smooth = np.convolve(losses, np.ones(40) / 40, mode="valid")
    assert (np.diff(smooth[-200::10]) < 0).all()


def test_B4_linear_is_exact_and_never_negative() -> None:
    s = linear(0.1, T=300)
    assert (s(0), s(150), s(300)) == (0.1, 0.05, 0.0)
    assert min(s(t) for t in range(1000)) == 0.0
    assert linear(0.1, T=4, end=0.02)(2) == close(0.06)


def test_B5_inverse_sqrt_starts_at_lr() -> None:
    s = inverse_sqrt(0.1)  # the lecture's t = 1, 4, 100 are steps 0, 3, 99
    assert [s(t) for t in (0, 3, 99)] == close([0.1, 0.05, 0.01])


def test_B6_warmup_rises_linearly_over_5000_steps() -> None:
    s = warmup(0.1, 5000)  # the lecture's t = 2500, 5000 are steps 2499, 4999
    assert s(2499) == close(0.05) and s(4999) == close(0.1) and s(5000) == 0.1
    assert s(0) == close(0.1 / 5000) and s(0) > 0


MAINS = [step_decay(0.1, every=50), multistep(0.1, [50, 80]), cosine(0.1, T=100),
         linear(0.1, T=100), inverse_sqrt(0.1), exponential(0.1, k=0.02), one_over_t(0.1, k=0.02),
         constant(0.1), cyclic_cosine(0.1, period=50), one_cycle(0.1, T=100),
         piecewise([(0, 0.1), (100, 0.01)]), Plateau(0.1)]


@pytest.mark.parametrize("main", MAINS, ids=lambda s: s.text.partition("(")[0])
def test_B6_warmup_joins_every_schedule_without_a_jump(main: Schedule) -> None:
    s = warmup(main, 20)
    assert s(19) == s(20) == main(0)
    assert [s(20 + t) for t in range(120)] == [main(t) for t in range(120)]
    rise = np.diff([s(t) for t in range(20)])
    assert rise == pytest.approx(main(0) / 20)


def test_B6_a_net_that_explodes_without_warmup_ends_finite_with_it() -> None:
    """A net of 1441 weights on a smooth function: lr .5 is too much at first, not later."""
    def final(lr: Schedule | float) -> float:
        manual_seed(2)
        x = Generator(1).normal((128, 10))
        y = Tensor(np.sin(2 * x[:, :1]) + x[:, 1:2])
        net = nn.Sequential(nn.Linear(10, 32), nn.LeakyReLU(0.1), nn.Linear(32, 32),
                            nn.LeakyReLU(0.1), nn.Linear(32, 1))
        optimizer = SGD(net.named_parameters(), lr, momentum=0.9)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(300):
                loss = optimizer.step(lambda: (net(Tensor(x)) - y).square().mean()).item()
        return float(loss)

    assert not math.isfinite(final(0.5))
    assert final(warmup(0.5, 200)) < 1e-3


def test_B7_closed_forms() -> None:
    ts = (0, 1, 10, 1000)
    assert [exponential(0.2, k=0.03)(t) for t in ts] == \
        close([0.2 * math.exp(-0.03 * t) for t in ts])
    assert [one_over_t(0.2, k=0.03)(t) for t in ts] == close([0.2 / (1 + 0.03 * t) for t in ts])
    halve = step_decay(1.0, every=5, factor=0.5)
    assert [halve(t) for t in (4, 5, 9, 10, 15)] == [1.0, 0.5, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_B7_plateau_fires_at_exactly_patience_plus_one(patience: int) -> None:
    s = Plateau(1.0, factor=0.5, patience=patience)
    s.observe(2.0)
    for report in range(1, 3 * (patience + 1) + 1):
        s.observe(2.0)
        assert s(0) == 0.5 ** (report // (patience + 1))
    s.observe(1.0)  # progress starts the count anew
    assert (s.best, s.bad) == (1.0, 0)


def test_B7_plateau_modes_floor_and_nan() -> None:
    up = Plateau(1.0, factor=0.1, patience=0, mode="max", min_delta=0.5, end=0.05)
    for accuracy, lr in ((1.0, 1.0), (1.4, 0.1), (2.0, 0.1), (float("nan"), 0.05), (0.0, 0.05)):
        up.observe(Tensor(accuracy))
        assert up(123) == close(lr)


def test_B7_plateau_works_inside_other_schedules_and_resumes() -> None:
    s = warmup(0.5 * Plateau(1.0, factor=0.1, patience=0), 10)
    s.observe(1.0)
    assert s(20) == close(0.5)
    s.observe(2.0)
    assert s(20) == close(0.05) and s(4) == close(0.025)
    again = warmup(0.5 * Plateau(1.0, factor=0.1, patience=0), 10)
    again.load_state_dict(s.state_dict())
    for metric in (0.5, 0.5, 0.4, 0.6):
        s.observe(metric)
        again.observe(metric)
        assert s(20) == again(20)
    assert s.state_dict() and not cosine(0.1, T=10).state_dict()


def test_D4_cyclic_cosine_of_the_snapshot_paper() -> None:
    total, snapshots = 300, 6
    s = cyclic_cosine(0.1, period=math.ceil(total / snapshots))
    at = {1: 0.1, 26: 0.05, 50: 9.866e-5, 51: 0.1}  # t from 1, as in the paper
    assert [s(t - 1) for t in at] == pytest.approx(list(at.values()), rel=1e-4)
    period = math.ceil(total / snapshots)
    paper = [0.1 / 2 * (math.cos(math.pi * ((t - 1) % period) / period) + 1)
             for t in range(1, total + 1)]
    assert [s(t) for t in range(total)] == close(paper)


def test_one_cycle_goes_up_and_down_once() -> None:
    s = one_cycle(0.1, T=100, peak=0.25)
    values = [s(t) for t in range(101)]
    assert values[0] == close(0.004) and values[25] == close(0.1) and values[100] == close(4e-7)
    assert (np.diff(values[:26]) > 0).all() and (np.diff(values[25:]) < 0).all()
    assert s(500) == values[100]


def test_then_runs_one_schedule_after_the_other() -> None:
    s = linear(1.0, T=4) >> cosine(0.5, T=2) >> constant(0.1)
    assert [s(t) for t in range(8)] == close([1, 0.75, 0.5, 0.25, 0.5, 0.25, 0.1, 0.1])
    assert constant(1.0).then(constant(0.1), after=2)(2) == 0.1
    assert repr(linear(1.0, T=4) >> 0.1) == repr(linear(1.0, T=4) >> constant(0.1))
    assert (linear(1.0, T=4) >> linear(1.0, T=3)).length == 7
    with pytest.raises(ValueError, match=r"constant\(1\) has no end"):
        constant(1.0) >> constant(0.1)


@pytest.mark.parametrize("s", MAINS, ids=lambda s: s.text.partition("(")[0])
def test_schedules_are_pure_and_give_python_floats(s: Schedule) -> None:
    values = [s(t) for t in range(100)]
    assert values == [s(t) for t in reversed(range(100))][::-1]
    assert all(type(v) is float and 0 <= v <= 0.1 for v in values)


def test_repr_draws_the_schedule() -> None:
    assert repr(linear(0.1, T=100)).startswith("linear(0.1, T=100) █")
    assert repr(linear(0.1, T=100)).endswith("▁ 0.1..0")
    assert repr(constant(0.1)) == "constant(0.1) " + "█" * 33 + " 0.1..0.1"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 5e-324, 0.0])
def test_repr_draws_a_schedule_that_is_not_finite(odd: float) -> None:
    assert repr(Schedule(lambda t: odd, "odd", span=10)).startswith("odd ")
    half = repr(Schedule(lambda t: odd if t > 4 else 0.1, "half", span=10))
    assert "█" in half and ("?" in half) == (not math.isfinite(odd))


def test_piecewise_goes_straight_from_knot_to_knot() -> None:
    s = piecewise([(10, 0.2), (30, 1.0), (31, 0.5), (100, 0.0)])
    assert s(0) == s(10) == 0.2
    assert s(20) == close(0.6) and s(30) == 1.0 and s(31) == 0.5
    assert s(65.5) == close(0.25) and s(100) == s(1000) == 0.0
    assert repr(s).startswith("piecewise([(10, 0.2), (30, 1), (31, 0.5), (100, 0)]) ")
    assert (s >> constant(0.3))(100) == 0.3
    assert [piecewise([(5, 0.1)])(t) for t in (0, 5, 9)] == [0.1] * 3


@pytest.mark.parametrize(("knots", "message"), [
    ([], r"knots must be pairs \(step, lr\).*got \[\]"),
    (0.1, "knots must be pairs .*got 0.1"),
    ([(0, 0.1, 3)], "knots must be pairs"),
    ([0.1, 0.2], "knots must be pairs"),
    ([(0, 0.1), (0, 0.2)], r"steps of the knots must rise, got \[0.0, 0.0\]"),
    ([(5, 0.1), (4, 0.2)], r"steps of the knots must rise, got \[5.0, 4.0\]"),
    ([(0, -0.1)], "lr must be a finite number >= 0, got -0.1"),
    ([(0, math.nan)], "lr must be a finite number >= 0, got nan"),
    ([(-1, 0.1)], "step must be a finite number >= 0, got -1"),
    ([("a", 0.1)], "step must be a finite number >= 0, got 'a'"),
])
def test_knots_that_make_no_schedule_are_refused(knots: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        piecewise(knots)


def test_table_in_the_modules_text_is_what_table_prints() -> None:
    rows = [constant(0.1), step_decay(0.1, every=30), multistep(0.1, [30, 60, 90]),
            cosine(0.1, T=100), linear(0.1, T=100), inverse_sqrt(0.1), exponential(0.1, k=0.05),
            one_over_t(0.1, k=0.05), cyclic_cosine(0.1, period=50), one_cycle(0.1, T=100),
            piecewise([(0, 0), (9, 0.1)]), warmup(cosine(0.1, T=90), 10)]
    for line in table(rows, steps=100).splitlines():
        assert line in (schedule.__doc__ or "")
    assert {row.text.partition("(")[0] for row in rows} == made(inspect.isfunction)


def made(kind: Callable[[object], bool]) -> set[str]:
    """The names of the schedules that the module makes, as functions or as classes."""
    return {name for name, thing in vars(schedule).items() if kind(thing)
            and thing.__module__ == schedule.__name__ and not name.startswith("_")
            } - {"Schedule", "table"}


def test_every_schedule_is_resumed() -> None:
    assert made(inspect.isfunction) | made(inspect.isclass) == SCHEDULES.keys() - {"composed"}


@pytest.mark.parametrize("wrong", [
    lambda: cosine(0.1, T=0), lambda: linear(0.1, T=-1), lambda: warmup(0.1, 0),
    lambda: step_decay(0.1, every=0), lambda: exponential(0.1, k=0), lambda: constant(0.1)(-1),
    lambda: Plateau(0.1, factor=2.0), lambda: Plateau(0.1, mode="up"),  # type: ignore[arg-type]
    lambda: one_cycle(0.1, T=10, peak=1.0), lambda: one_cycle(0.1, T=10, end=-1.0),
    lambda: cosine(-0.1, T=10), lambda: linear(0.1, T=10, end=-1.0), lambda: constant("a"),
    lambda: constant(math.nan),
    lambda: warmup(lambda t: 0.1, 10), lambda: table([], 10), lambda: constant(0.1) * -1.0,
    lambda: constant(0.1).then(constant(0.1), after=-1),
])
def test_wrong_settings_are_named(wrong: Callable[[], Schedule]) -> None:
    with pytest.raises(ValueError, match=r"must|counts|choose|peak|needs"):
        wrong()


def test_one_milestone_is_a_list_of_one() -> None:
    with pytest.raises(TypeError, match=r"milestones must be a list of steps, got 30: .* \[30\]"):
        multistep(0.1, 30)  # type: ignore[arg-type]
    assert multistep(0.1, [30])(30) == pytest.approx(0.01)


def test_optimizer_lr_is_the_one_the_next_step_uses() -> None:
    w = Tensor(np.zeros(1), requires_grad=True)
    optimizer = SGD([w], warmup(linear(1.0, T=4), 2))
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    for lr in expected:
        before = w.item()
        assert optimizer.lr == lr
        w.grad = Tensor([1.0], dtype=np.float64)
        optimizer.step()
        assert before - w.item() == close(lr)
    optimizer.lr = 0.3
    assert optimizer.lr == 0.3


def test_schedule_in_a_group_of_its_own() -> None:
    a, b = Tensor([0.0], requires_grad=True), Tensor([0.0], requires_grad=True)
    s = linear(1.0, T=2)
    optimizer = Adam([{"params": [a], "lr": 0.1 * s}, {"params": [b]}], s)
    for t in range(2):
        for p in (a, b):
            p.grad = Tensor([1.0])
        optimizer.step()
        assert b.item() / a.item() == pytest.approx(10, rel=1e-5), t
