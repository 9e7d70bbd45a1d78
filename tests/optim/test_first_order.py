"""The rules of first_order.py against the lecture's numbers."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tests.optim.problems import BY_HAND, RULES, kinds, walk
from tinynet import Tensor, grad, tanh
from tinynet.backend import asarray, xp
from tinynet.optim import SGD, Adagrad, Adam, AdamW, Nesterov, Optimizer, RMSprop

constant = lambda x: np.ones_like(x)  # noqa: E731  # gradient 1 everywhere


def moves(make: Any, n: int, gradient: Any = constant) -> np.ndarray:
    """The lengths of the first n steps down a slope."""
    return -np.diff(walk(make, [0.0], gradient, n)[:, 0])


def one_step(optimizer: Optimizer, g: np.ndarray, count: int = 1, **slots: np.ndarray) -> None:
    """One update with slots and the number of the update given, as in CS231n's assignment 2."""
    p = optimizer.param_groups[0]["params"][0]
    optimizer.state["param0"] = {"count": count - 1,
                                 **{slot: asarray(value) for slot, value in slots.items()}}
    p.grad = Tensor(g)
    optimizer.step()


def grid(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20).reshape(4, 5)


# SGD and momentum

def test_A1_plain_steps_follow_the_negative_gradient() -> None:
    path = walk(lambda p: SGD(p, 0.1), [1.0, -2.0], lambda x: 2 * x, 3)
    assert np.abs(path[-1] - 0.8**3 * np.array([1.0, -2.0])).max() < 1e-15


def test_A1_mean_of_an_epochs_minibatch_gradients_is_the_full_gradient(float64: None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    w = Tensor(rng.normal(size=4), requires_grad=True)

    def gradient(rows: slice) -> np.ndarray:
        loss = (tanh(Tensor(x[rows]) @ w) - Tensor(y[rows])).square().mean()
        return host(grad(loss, w))

    parts = [gradient(slice(i, i + 10)) for i in range(0, 60, 10)]
    assert np.abs(np.mean(parts, axis=0) - gradient(slice(None))).max() < 1e-12


def test_A7_momentum_golden_steps() -> None:
    """f = x^2/2 from 1, lr .1, rho .9:  v = 1, 1.8, 2.34 - so x = .9, .72, .486."""
    path = walk(lambda p: SGD(p, 0.1, momentum=0.9), [1.0], lambda x: x, 3)
    v1 = 1.0
    v2 = 0.9 * v1 + 0.9
    v3 = 0.9 * v2 + 0.72
    assert path[:, 0] == pytest.approx([1.0, 0.9, 0.9 - 0.1 * v2, 0.72 - 0.1 * v3], abs=1e-15)
    assert path[3, 0] == pytest.approx(0.486, abs=1e-15)


@pytest.mark.parametrize(("rho", "gain"), [(0.9, 10), (0.99, 100)])
def test_A7_velocity_tends_to_g_over_one_minus_rho(rho: float, gain: float) -> None:
    steps = moves(lambda p: SGD(p, 0.01, momentum=rho), 3000)
    assert steps[0] == pytest.approx(0.01) and steps[-1] == pytest.approx(gain * 0.01, rel=1e-9)


def test_A8_lr_inside_moves_alike_until_lr_changes() -> None:
    lr = lambda t: 0.03 if t < 20 else 0.003  # noqa: E731
    paths = [walk(lambda p, i=i: SGD(p, lr, momentum=0.9, lr_inside=i), [1.0], lambda x: x, 21)
             for i in (False, True)]
    assert np.abs(paths[0][:21] - paths[1][:21]).max() < 1e-15
    outside, inside = (abs(path[21, 0] - path[20, 0]) for path in paths)
    assert inside > 6 * outside  # the old velocity is as fast as before


def test_A8_after_a_drop_of_lr_the_forms_part() -> None:
    """One gradient of size 1, then none, and lr .03 -> .003: .9 * .003 against .9 * .03."""
    lr = lambda t: 0.03 if t < 1 else 0.003  # noqa: E731
    for inside, move in ((False, 0.0027), (True, 0.027)):
        pulse = iter([1.0, 0.0])
        steps = moves(lambda p, i=inside: SGD(p, lr, momentum=0.9, lr_inside=i), 2,
                      lambda x: np.array([next(pulse)]))  # noqa: B023
        assert steps == pytest.approx([0.03, move])


def test_A8_assignment_2_vector() -> None:
    w = Tensor(grid(-0.4, 0.6), requires_grad=True)
    optimizer = SGD([w], 1e-3, momentum=0.9, lr_inside=True)
    one_step(optimizer, grid(-0.6, 0.4), v=grid(0.6, 0.9))
    assert w[0, 0].item() == pytest.approx(0.1406, abs=1e-9)
    assert w[3, 4].item() == pytest.approx(1.4096, abs=1e-9)
    v = host(optimizer.state["param0"]["v"])
    assert (v[0, 0], v[3, 4]) == (pytest.approx(0.5406, abs=1e-9), pytest.approx(0.8096, abs=1e-9))


def test_A10_look_ahead_golden_trajectory() -> None:
    """f = x^2/2 from 1, lr .1, rho .9: v = -.1; then -.09 - .1 (.9 - .09) = -.171; ..."""
    x = Tensor(np.array([1.0]), requires_grad=True)
    optimizer = Nesterov([x], 0.1, momentum=0.9)
    seen = []
    for _ in range(3):
        optimizer.step(lambda: (x * x).sum() / 2)
        seen.append(x.item())
    v3 = 0.9 * -0.171 - 0.1 * (0.729 + 0.9 * -0.171)
    assert seen == pytest.approx([0.9, 0.729, 0.729 + v3], abs=1e-15)
    assert seen[2] == pytest.approx(0.51759, abs=1e-12)


def test_A10_needs_a_closure_and_restores_the_weights_if_it_fails() -> None:
    x = Tensor([1.0], requires_grad=True)
    optimizer = Nesterov([x], 0.1)
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()
    optimizer.step(lambda: (x * x).sum())
    before = x.data.copy()
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    assert (x.data == before).all()


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("inside", [False, True])
def test_A11_change_of_variables_is_the_look_ahead_form(rho: float, inside: bool) -> None:
    """max |x~_t - (x_t + rho v_t)| < 1e-12 over 200 steps of a curved function."""
    curvature = np.array([1.0, 3.0, 0.1])
    x = Tensor(np.array([1.0, -1.0, 2.0]), requires_grad=True)
    ahead = Nesterov([x], 0.05, momentum=rho)
    tilde = walk(lambda p: SGD(p, 0.05, momentum=rho, nesterov=True, lr_inside=inside), host(x),
                 lambda x: curvature * x + np.cos(x), 200)
    for t in range(200):
        ahead.step(lambda: (Tensor(curvature) * x * x / 2 + x.sin()).sum())
        look = host(x.data + rho * ahead.state["param0"]["v"])
        assert np.abs(tilde[t + 1] - look).max() < 1e-12


def test_A11_catches_the_new_velocity_in_place_of_the_old() -> None:
    """Some code has x~ += rho^2 v_new - (1+rho) lr g: the first step is (1+rho+rho^2) lr g... """
    first = moves(lambda p: SGD(p, 1.0, momentum=0.5, nesterov=True), 1)[0]
    assert first == pytest.approx(1 + 0.5) and first != pytest.approx(1 + 0.5 + 0.25)


# Adaptive rates

def test_A14_adagrad_steps_fade_like_one_over_root_t() -> None:
    steps = moves(lambda p: Adagrad(p, 1.0), 10_000)
    at = np.array([1, 4, 100, 10_000])
    assert steps[at - 1] == pytest.approx(1 / np.sqrt(at), rel=1e-6)
    assert steps.sum() == pytest.approx(198.5, abs=0.1)


@pytest.mark.parametrize("optimizer", [Adagrad, RMSprop, Adam])
@pytest.mark.lecture("A14", "A17", "A19")
def test_zero_gradient_moves_nothing(optimizer: Any) -> None:
    assert (moves(lambda p: optimizer(p, 1.0), 3, lambda x: 0 * x) == 0).all()


def test_A14_eps_stands_outside_the_root() -> None:
    step = moves(lambda p: Adagrad(p, 1.0), 1, lambda x: np.array([1e-7]))[0]
    assert step == pytest.approx(0.5)  # 1e-7 / (1e-7 + 1e-7); inside the root: 3e-4


def test_A16_eps_hardly_matters_on_a_net(float64: None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 1))

    def final_loss(make: Any, eps: float) -> float:
        w1 = Tensor(np.random.default_rng(1).normal(size=(4, 16)) / 2, requires_grad=True)
        w2 = Tensor(np.random.default_rng(2).normal(size=(16, 1)) / 4, requires_grad=True)
        optimizer = make([w1, w2], 0.01, eps=eps)
        inputs, target, loss = Tensor(x), Tensor(y), 0.0
        for _ in range(100):
            loss = optimizer.step(lambda: (tanh(inputs @ w1) @ w2 - target).square().mean()).item()
        return loss

    for make in (Adagrad, RMSprop, Adam):
        losses = [final_loss(make, eps) for eps in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)]
        assert max(losses) / min(losses) < 1.01
        assert max(losses) < 0.95 * np.square(y).mean()  # and it did learn


@pytest.mark.parametrize(("alpha", "first"), [(0.9, 3.162), (0.99, 10.0)])
def test_A17_rmsprop_starts_too_long_and_tends_to_lr(alpha: float, first: float) -> None:
    steps = moves(lambda p: RMSprop(p, 1.0, alpha=alpha), 3000)
    assert steps[0] == pytest.approx(first, abs=1e-3)
    assert steps[-1] == pytest.approx(1.0, rel=1e-6)


def test_A17_assignment_2_vector() -> None:
    w = Tensor(grid(-0.4, 0.6), requires_grad=True)
    optimizer = RMSprop([w], 1e-2, alpha=0.99, eps=1e-8)
    one_step(optimizer, grid(-0.6, 0.4), s=grid(0.6, 0.9))
    assert w[0, 0].item() == pytest.approx(-0.39223849, abs=1e-8)
    assert w[3, 4].item() == pytest.approx(0.59576619, abs=1e-8)
    s = host(optimizer.state["param0"]["s"])
    assert (s[0, 0], s[3, 4]) == (pytest.approx(0.5976), pytest.approx(0.8926))


def test_A18_without_correction_the_first_steps_are_too_big() -> None:
    steps = moves(lambda p: Adam(p, 1.0, bias_correction=False), 1000)
    assert steps[0] == pytest.approx(3.162, abs=1e-3)
    assert steps.argmax() + 1 == 12 and steps.max() == pytest.approx(6.569, abs=1e-3)
    assert steps[-1] == pytest.approx(1.26, abs=5e-3)


@pytest.mark.parametrize("g", [1e-3, 1.0, -1.0, 1e3])
def test_A19_first_step_is_lr_whatever_the_gradient(g: float) -> None:
    step = moves(lambda p: Adam(p, 0.01), 1, lambda x: np.array([g]))[0]
    assert step == pytest.approx(0.01 * np.sign(g), rel=2e-4)


def test_A19_eps_stands_after_the_correction() -> None:
    """g = 1e-6, eps 1e-7: the first step is lr / 1.1; in Keras's order lr / (1 + .1 / .0316)."""
    tiny = lambda x: np.array([1e-6])  # noqa: E731
    assert moves(lambda p: Adam(p, 1.0), 1, tiny)[0] == pytest.approx(1 / 1.1)
    keras = moves(lambda p: Adam(p, 1.0, compat="keras"), 1, tiny)[0]
    assert keras == pytest.approx(0.24, abs=2e-3)


def test_A19_assignment_2_vector() -> None:
    w = Tensor(grid(-0.4, 0.6), requires_grad=True)
    optimizer = Adam([w], 1e-2, eps=1e-8)
    one_step(optimizer, grid(-0.6, 0.4), count=6, m=grid(0.6, 0.9), v=grid(0.7, 0.5))
    assert w[0, 0].item() == pytest.approx(-0.40094747, abs=1e-8)
    assert w[3, 4].item() == pytest.approx(0.59801459, abs=1e-8)
    m, v = (host(optimizer.state["param0"][slot]) for slot in "mv")
    assert (m[0, 0], m[3, 4]) == (pytest.approx(0.48), pytest.approx(0.85))
    assert v[0, 0] == pytest.approx(0.69966) and v[3, 4] == pytest.approx(0.49966)


def test_A20_defaults_are_the_lectures() -> None:
    optimizer = Adam([Tensor([1.0], requires_grad=True)])
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1e-3, (0.9, 0.999), 1e-7)
    assert optimizer.bias_correction and optimizer.weight_decay == 0.0


@pytest.mark.parametrize("make", [Adagrad, RMSprop, Adam, AdamW])
@pytest.mark.lecture("A14", "A16", "A17", "A19")
def test_eps_is_1e_7_in_every_adaptive_rule(make: Any) -> None:
    assert make([Tensor([1.0], requires_grad=True)]).eps == 1e-7


def test_adamw_decays_all_weights_alike_and_adam_does_not() -> None:
    """Two weights of 1 with gradients of 100 and .01: the decoupled decay takes lr wd from both."""
    gradient = lambda x: np.array([100.0, 0.01]) * (-1) ** np.arange(2)  # noqa: E731

    def decayed(make: Any) -> np.ndarray:
        with_decay = walk(lambda p: make(p, 1e-3, weight_decay=0.1), [1.0, 1.0], gradient, 10)
        without = walk(lambda p: make(p, 1e-3, weight_decay=0.0), [1.0, 1.0], gradient, 10)
        return without[-1] - with_decay[-1]

    alike, apart = decayed(AdamW), decayed(Adam)
    assert alike == pytest.approx([1e-3, 1e-3], rel=0.02)
    assert abs(apart[0]) < 1e-5 and abs(apart[1]) > 1e-3


@pytest.mark.parametrize("name", BY_HAND)
def test_two_steps_are_those_of_the_formula(name: str) -> None:
    make, first, second = BY_HAND[name]
    gradients = iter([1.0, 3.0])
    path = walk(make, [0.0], lambda x: np.full_like(x, next(gradients)), 2)
    assert path[1:, 0] == pytest.approx([first, second], rel=1e-12)


def test_every_rule_is_worked_out_by_hand() -> None:
    assert set(kinds({name: make for name, (make, _, _) in BY_HAND.items()})) == set(RULES)


@pytest.mark.parametrize("make", RULES)
def test_rules_are_short_and_pure(make: Any) -> None:
    """As on the slide: under 15 lines, and what comes in is left as it was."""
    assert len(inspect.getsource(make.rule).splitlines()) < 15
    optimizer = make([Tensor([1.0], requires_grad=True)], 0.1, **(
        {"momentum": 0.9, "nesterov": True} if make is SGD else {}))
    h = SimpleNamespace(**optimizer.param_groups[0], t=1)
    given = [xp.array([value]) for value in (1.0, 2.0, 3.0, 4.0)[: 2 + len(optimizer.slots)]]
    kept = [a.copy() for a in given]
    first, second = optimizer.rule(h, *given), optimizer.rule(h, *given)
    assert len(first) == 1 + len(optimizer.slots) and first == second
    assert given == kept and first[0] != kept[0]


def test_float32_stays_float32() -> None:
    for make in RULES:
        x = Tensor(np.ones(3, np.float32), requires_grad=True)
        optimizer = make([x], 0.1, weight_decay=0.1, max_norm=1.0, clip_norm=1.0)
        optimizer.step(lambda x=x: (x * x).sum())
        assert x.dtype == np.float32
        assert all(a.dtype == np.float32 for k, a in optimizer.state["param0"].items()
                   if k != "count")


def test_unknown_compat_lists_the_names() -> None:
    with pytest.raises(ValueError, match="choose one of lecture, torch, keras"):
        Adam([Tensor([1.0], requires_grad=True)], compat="caffe")  # type: ignore[arg-type]


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum > 0"):
        SGD([Tensor([1.0], requires_grad=True)], 0.1, nesterov=True)
