"""Groups, names, penalties, clipping, write-back and state: what all optimizers share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, leaf
from tinynet import Tensor, nn
from tinynet.backend import asarray, xp
from tinynet.kernels import update
from tinynet.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Nesterov,
    Optimizer,
    RMSprop,
    param_groups,
)
from tinynet.optim.schedule import constant, cosine


class Named(Tensor):
    """A tensor with a name, as a model's parameters have."""

    __slots__ = ("name",)


# Names and groups

def test_names_come_from_pairs_then_from_the_tensor_then_from_the_place() -> None:
    own = Named([1.0])
    own.name = "layer.weight"
    optimizer = SGD([("w", leaf([1.0])), own, leaf([2.0])], 0.1)
    assert optimizer.param_groups[0]["names"] == ["w", "layer.weight", "param2"]


def test_a_generator_of_pairs_will_do() -> None:
    optimizer = SGD(((n, leaf([1.0])) for n in "ab"), 0.1)
    assert optimizer.param_groups[0]["names"] == ["a", "b"]


def test_groups_have_settings_of_their_own() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = SGD([{"params": [a], "lr": 0.5}, {"params": [b], "momentum": 0.9}], 0.1)
    for _ in range(2):
        a.grad, b.grad = Tensor([1.0], dtype=np.float64), Tensor([1.0], dtype=np.float64)
        optimizer.step()
    assert a.item() == pytest.approx(1 - 2 * 0.5)
    assert b.item() == pytest.approx(1 - 0.1 - 0.1 * 1.9)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: SGD([], 0.1), ValueError, "params is empty"),
    (lambda: SGD(leaf([1.0]), 0.1), TypeError, "put it in a list"),
    (lambda: SGD([np.ones(3)], 0.1), TypeError, r"params\[0\] is ndarray"),
    (lambda: SGD([leaf([1.0]) * 2], 0.1), ValueError, "computed by an operation"),
    (lambda: SGD([("w", leaf([1.0])), ("w", leaf([1.0]))], 0.1), ValueError, "called 'w'"),
    (lambda: SGD([w := leaf([1.0]), w], 0.1), ValueError, "given twice"),
    (lambda: SGD([leaf([1.0]), Tensor([1.0])], 0.1), ValueError,
     "'param1' does not require a gradient.* requires_grad=True"),
    (lambda: SGD(nn.Linear(2, 2).requires_grad_(False).parameters(), 0.1), ValueError,
     "none of the parameters requires a gradient"),
    (lambda: SGD([{"params": [leaf([1.0])], "momentun": 1}], 0.1), ValueError, "momentun"),
    (lambda: SGD([{"lr": 0.1}], 0.1), ValueError, "has no 'params'"),
    (lambda: SGD([leaf([1.0])], -0.1), ValueError, "lr must be a number >= 0"),
    (lambda: SGD([leaf([1.0])], "fast"), ValueError, "lr must be a number"),
    (lambda: SGD([leaf([1.0])], 0.1, momentum=1.0), ValueError,
     r"momentum must be a number in \[0, 1\), got 1.0"),
    (lambda: SGD([leaf([1.0])], 0.1, weight_decay=-1), ValueError, "weight_decay must be a number"),
    (lambda: SGD([leaf([1.0])], 0.1, weight_decay="x"), ValueError, ">= 0, got 'x'"),
    (lambda: SGD([leaf([1.0])], 0.1, clip_norm=0.0), ValueError, "clip_norm must be a number > 0"),
    (lambda: SGD([leaf([1.0])], 0.1, max_norm=0.0), ValueError, "max_norm must be a number > 0"),
    (lambda: Adam([leaf([1.0])], betas=(0.9, 1.0)), ValueError, "betas must be two numbers"),
    (lambda: Adam([leaf([1.0])], betas=0.9), ValueError, "betas must be two numbers"),
    (lambda: AdamW([leaf([1.0])], decoupled=False), ValueError, "AdamW is the decoupled one"),
    (lambda: SGD([leaf([1.0])], constant(math.inf)), ValueError,
     "lr must be a finite number >= 0, got inf"),
    (lambda: SGD(None, 0.1), TypeError, "params is None: pass a list of tensors"),
    (lambda: SGD([{"params": [leaf([1.0])]}, leaf([1.0])], 0.1), TypeError, "side by side"),
    (lambda: Adam([leaf([1.0])]).momentum, AttributeError, "has no attribute 'momentum'"),
    (lambda: Optimizer([leaf([1.0])], 0.1).rule(None, 1, 2), TypeError, "has no rule"),
])
def test_mistakes_are_named(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_model_in_place_of_its_parameters_is_refused() -> None:
    class Model:
        def named_parameters(self) -> Any:
            yield "w", leaf([1.0])

    with pytest.raises(TypeError, match=r"pass its \.named_parameters\(\)"):
        SGD(Model(), 0.1)  # type: ignore[arg-type]
    groups = param_groups(Model(), weight_decay=0.1)
    assert [(g["weight_decay"], [n for n, _ in g["params"]]) for g in groups] == [(0.0, ["w"])]


def test_param_groups_spares_biases_and_norms() -> None:
    shapes = {"conv.weight": (4, 3, 3, 3), "bn.weight": (4,), "bn.bias": (4,), "fc.weight": (2, 4),
              "fc.bias": (2,), "scale": ()}
    pairs = [(name, leaf(np.ones(shape))) for name, shape in shapes.items()]
    decayed, spared = SGD(param_groups(pairs, 1e-2), 0.1).param_groups
    assert decayed["names"] == ["conv.weight", "fc.weight"] and decayed["weight_decay"] == 1e-2
    assert spared["names"] == ["bn.weight", "bn.bias", "fc.bias", "scale"]
    assert spared["weight_decay"] == 0.0


# One step

def test_step_skips_parameters_without_gradient() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = Adam([a, b], 0.1)
    optimizer.step(lambda: (a * a).sum())
    assert b.item() == 1.0 and "param1" not in optimizer.state
    optimizer.step(lambda: (a * b).sum())  # b's first update is corrected as a first one
    assert b.item() == pytest.approx(0.9)


def test_frozen_parameters_may_stand_beside_others_and_thaw_later() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net[0].requires_grad_(False)
    optimizer = SGD(net.named_parameters(), 0.1)
    frozen, x = net[0].weight.numpy().copy(), Tensor(np.ones((3, 2), np.float32))
    optimizer.step(lambda: net(x).square().mean())
    assert (net[0].weight.numpy() == frozen).all()
    net[0].requires_grad_(True)
    optimizer.step(lambda: net(x).square().mean())
    assert (net[0].weight.numpy() != frozen).any()


def test_closure_may_or_may_not_call_backward() -> None:
    def run(call_backward: bool) -> float:
        x = leaf([1.0, 2.0])
        optimizer = SGD([x], 0.1, momentum=0.9)

        def closure() -> Tensor:
            loss = (x * x).sum()
            if call_backward:
                optimizer.zero_grad()
                loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(5)]
        return losses[-1]

    assert run(True) == run(False) < 5.0


def test_update_is_in_place_and_marks_the_graph_stale() -> None:
    x = leaf([1.0])
    memory, y = x.data, (x * x).sum()
    optimizer = SGD([x], 0.1)
    x.grad = Tensor([1.0], dtype=np.float64)
    optimizer.step()
    assert x.data is memory and x.item() == pytest.approx(0.9)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_zero_grad_forgets() -> None:
    x = leaf([1.0])
    (x * x).sum().backward()
    optimizer = SGD([x], 0.1)
    optimizer.zero_grad()
    assert x.grad is None
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        optimizer.step()
    assert x.item() == 1.0 and optimizer.t == 0


def test_a_misspelled_option_is_refused() -> None:
    with pytest.raises(TypeError, match="SGD has no option 'momentun': it has lr, momentum"):
        SGD([leaf([1.0])], 0.1, momentun=0.9)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)])
@pytest.mark.parametrize("make", [SGD, Nesterov, Adagrad, RMSprop, Adam, AdamW])
def test_any_shape_will_do(make: Any, shape: tuple[int, ...]) -> None:
    x = leaf(np.ones(shape))
    optimizer = make([x], 0.1, weight_decay=0.1, l1=0.1, clip_value=1.0)
    for _ in range(2):
        optimizer.step(lambda: (x * x).sum())
    assert x.shape == shape and (x.data < 1).all()


def test_weights_in_another_memory_order_stay_there() -> None:
    x = Tensor(xp.ones((2, 3, 4, 5), np.float32).transpose(0, 3, 1, 2), requires_grad=True)
    strides = x.data.strides
    optimizer = Adam([x], 0.1, clip_norm=1.0)
    optimizer.step(lambda: (x * x).sum())
    assert x.data.strides == strides
    assert close(x, 0.9, atol=1e-6)


# Penalties

def test_l2_is_weight_decay_for_sgd_and_adds_to_the_gradient() -> None:
    x, y = leaf([3.0, -2.0]), leaf([3.0, -2.0])
    l2 = SGD([x], 0.1, weight_decay=0.5)
    decoupled = SGD([y], 0.1, weight_decay=0.5, decoupled=True)
    for _ in range(20):
        l2.step(lambda: x.sin().sum())
        decoupled.step(lambda: y.sin().sum())
    assert np.abs(x.data - y.data).max() < 1e-12
    alone = leaf([2.0])
    alone.grad = Tensor([0.0], dtype=np.float64)
    SGD([alone], 0.1, weight_decay=0.5).step()
    assert alone.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5))


def test_l1_and_elastic_net() -> None:
    x = leaf([1.0, -1.0, 0.0])
    x.grad = Tensor(np.zeros(3))
    SGD([x], 0.1, l1=0.5).step()
    assert close(x, [0.95, -0.95, 0.0])
    x.grad = Tensor(np.zeros(3))
    SGD([x], 0.1, l1=0.5, weight_decay=1.0).step()
    assert close(x, [0.95 - 0.1 * (0.95 + 0.5), -0.805, 0.0])


def test_l1_brings_useless_weights_near_zero(float64: None) -> None:
    rng = np.random.default_rng(0)
    inputs, w = rng.normal(size=(200, 6)), leaf(rng.normal(size=6))
    target = inputs @ np.array([2.0, -3.0, 0, 0, 0, 0])
    optimizer = SGD([w], cosine(0.1, T=300), l1=0.1)
    for _ in range(300):
        optimizer.step(lambda: (Tensor(inputs) @ w - Tensor(target)).square().mean() / 2)
    assert np.abs(w.data[2:]).max() < 1e-3 and np.abs(w.data[:2]).min() > 1.5


def test_max_norm_holds_every_row_and_spares_biases() -> None:
    w, b = leaf(np.full((2, 4), 3.0) * [[1.0], [0.1]]), leaf([50.0])
    w.grad, b.grad = Tensor(np.zeros((2, 4))), Tensor(np.zeros(1))
    SGD([w, b], 0.1, max_norm=3.0).step()
    assert close(np.linalg.norm(w.numpy(), axis=1), [3.0, 0.6])
    assert b.item() == 50.0


def test_clipping_inside_step_uses_one_norm_for_all_and_leaves_grad_alone() -> None:
    a, b = leaf([0.0]), leaf([0.0])
    a.grad, b.grad = Tensor([3.0], dtype=np.float64), Tensor([4.0], dtype=np.float64)
    SGD([{"params": [a]}, {"params": [b]}], 1.0, clip_norm=1.0).step()
    assert (a.item(), b.item()) == (pytest.approx(-0.6), pytest.approx(-0.8))
    assert (a.grad.item(), b.grad.item()) == (3.0, 4.0)
    SGD([a, b], 1.0, clip_value=0.5).step()
    assert (a.item(), b.item()) == (pytest.approx(-1.1), pytest.approx(-1.3))


# State

def test_load_brings_back_numbers_changed_by_hand_but_not_the_schedule() -> None:
    a = SGD([leaf([1.0])], 0.1, momentum=0.9)
    a.lr, a.param_groups[0]["momentum"] = 0.03, 0.5
    b = SGD([leaf([1.0])], 0.1, momentum=0.9)
    b.load_state_dict(a.state_dict())
    assert (b.lr, b.momentum) == (0.03, 0.5)
    c = SGD([leaf([1.0])], cosine(0.1, T=10), momentum=0.9)
    c.load_state_dict(a.state_dict())
    assert c.lr == 0.1


def test_momentum_that_is_switched_on_later_has_a_velocity() -> None:
    """By hand or by a loaded state: g = 1, lr .1, rho .9 moves by .1, then .19, then .271."""
    x = leaf([0.0])
    plain, momentum = SGD([x], 0.1), SGD([x], 0.1, momentum=0.9)
    plain.step(lambda: x.sum())
    plain.param_groups[0]["momentum"] = 0.9
    for move in (0.1, 0.19):
        before = x.item()
        plain.step(lambda: x.sum())
        assert before - x.item() == pytest.approx(move)
    momentum.load_state_dict(plain.state_dict())
    other = SGD([x], 0.1)
    other.load_state_dict(momentum.state_dict())
    before = x.item()
    other.step(lambda: x.sum())
    assert before - x.item() == pytest.approx(0.271)


def test_load_names_what_does_not_fit() -> None:
    def made(make: Any, **params: Tensor) -> Optimizer:
        optimizer: Optimizer = make(params.items(), 0.1)
        optimizer.step(lambda: sum((p * p).sum() for p in params.values()))
        return optimizer

    state = made(Adam, w=leaf([1.0, 2.0])).state_dict()
    with pytest.raises(ValueError, match=r"misses \['x'\] and has, unexpected, \['w'\]"):
        made(Adam, x=leaf([1.0, 2.0])).load_state_dict(state)
    with pytest.raises(ValueError, match=r"m of 'w' has shape \(2,\), the parameter \(3,\)"):
        made(Adam, w=leaf([1.0, 2.0, 3.0])).load_state_dict(state)
    with pytest.raises(ValueError, match="saved by Adam, this optimizer is Adagrad"):
        made(Adagrad, w=leaf([1.0, 2.0])).load_state_dict(state)


def test_repr_says_the_settings() -> None:
    text = repr(SGD([leaf([1.0])], cosine(0.1, T=10), momentum=0.9))
    assert text.startswith("SGD(1 parameters, momentum=0.9, lr=cosine(0.1, T=10) █")


# The fused twins

FUSED: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p, **k: SGD(p, 0.05, **k),
    "sgd-l2": lambda p, **k: SGD(p, 0.05, weight_decay=0.1, **k),
    "momentum": lambda p, **k: SGD(p, 0.05, momentum=0.9, weight_decay=0.1, **k),
    "nesterov": lambda p, **k: SGD(p, 0.05, momentum=0.9, nesterov=True, **k),
    "decoupled": lambda p, **k: SGD(p, 0.05, momentum=0.9, weight_decay=0.1, decoupled=True, **k),
    "adagrad": lambda p, **k: Adagrad(p, 0.05, weight_decay=0.1, **k),
    "adagrad-keras": lambda p, **k: Adagrad(p, 0.05, compat="keras", **k),
    "rmsprop": lambda p, **k: RMSprop(p, 0.01, weight_decay=0.1, decoupled=True, **k),
    "rmsprop-keras": lambda p, **k: RMSprop(p, 0.01, compat="keras", **k),
    "adam": lambda p, **k: Adam(p, 0.01, **k),
    "adam-l2": lambda p, **k: Adam(p, 0.01, weight_decay=0.1, **k),
    "adam-a18": lambda p, **k: Adam(p, 0.01, bias_correction=False, **k),
    "adam-keras": lambda p, **k: Adam(p, 0.01, compat="keras", eps=1e-4, **k),
    "adamw": lambda p, **k: AdamW(p, 0.01, weight_decay=0.1, l1=0.01, **k),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("f4", 1e-6), ("f8", 1e-12)])
@pytest.mark.parametrize("name", FUSED)
def test_fused_update_equals_the_plain_rule(name: str, dtype: str, tolerance: float,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """10 steps; relative to the largest weight, and to the length of the way."""
    monkeypatch.setattr(update, "SMALL_BYTES", 0)
    shapes = [(3, 5), (70_001,), (4, 8, 3, 3)]
    ends, states = [], []
    for fused in (True, False):
        rng = np.random.default_rng(0)
        params = [Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)
                  for shape in shapes]
        params.append(Tensor(rng.normal(size=(2, 5, 5, 4)).astype(dtype).transpose(0, 3, 1, 2),
                             requires_grad=True))  # channels last in memory
        optimizer = FUSED[name](params, fused=fused)
        for _ in range(10):
            for p in params:
                p.grad = Tensor(0.3 * p.data + asarray(rng.normal(size=p.shape).astype(dtype) / 10))
            kept = [p.grad.data.copy() for p in params]
            optimizer.step()
            assert all((p.grad.data == g).all() for p, g in zip(params, kept, strict=True))
        ends.append([p.data for p in params])
        states.append([s[slot] for s in optimizer.state.values() for slot in optimizer.slots])
    for fused_x, plain_x in zip(ends[0] + states[0], ends[1] + states[1], strict=True):
        assert np.abs(fused_x - plain_x).max() <= tolerance * np.abs(plain_x).max()


@pytest.mark.numpy_only("a device updates in one launch")
@pytest.mark.parametrize("name", FUSED)
def test_small_and_large_arrays_are_updated_alike(name: str) -> None:
    """On both sides of the size below which the plain rule is quicker."""
    n = update.SMALL_BYTES // 8
    values, slope = np.linspace(-1, 1, n), np.linspace(3, -1, n)
    ends = []
    for size in (n - 1, n):
        p = Tensor(values[:size].copy(), requires_grad=True)
        optimizer = FUSED[name]([p])
        for _ in range(3):
            p.grad = Tensor(slope[:size].copy())
            optimizer.step()
        ends.append(p.numpy())
    assert np.abs(ends[0] - ends[1][:-1]).max() <= 1e-14


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_fused_update_declines_what_does_not_lie_alike(name: str) -> None:
    """A gradient in another memory order: the plain rule takes over, values are the same."""
    ends = []
    for fused in (True, False):
        p = Tensor(np.arange(6000.0).reshape(200, 30), requires_grad=True)
        optimizer = FUSED[name]([p], fused=fused)
        for _ in range(3):
            p.grad = Tensor(np.cos(np.arange(6000.0)).reshape(30, 200).T)
            optimizer.step()
        ends.append(p.data)
    assert np.abs(ends[0] - ends[1]).max() <= 1e-12 * np.abs(ends[1]).max()


def test_a_state_belongs_to_its_kind_of_optimizer() -> None:
    w = leaf([1.0, 2.0])
    adam = Adam([w])
    adam.step(lambda: (w * w).sum())
    with pytest.raises(ValueError, match="saved by Adam, this optimizer is SGD"):
        SGD([w], 0.1, momentum=0.9).load_state_dict(adam.state_dict())
    with pytest.raises(ValueError, match=r"it lacks \['groups', 'optimizer', 'state', 't'\]"):
        adam.load_state_dict({})
