"""Every optimizer and every clip on weights of every float type: float16 is as right as it can be.

A step on float16 weights is computed in float32, and the weights are rounded once; so it may differ
from the same step in float64 by one rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, host
from tests.optim.problems import FLAT, OPTIMIZERS
from tinynet import Tensor
from tinynet.backend import asarray
from tinynet.optim import EMA, SGD, SWA, Adam, clip_grad_norm_, clip_grad_value_

FIRST_ORDER = [name for name in OPTIMIZERS if name not in FLAT]
EPS = {"float16": 2.0**-10, "float32": 2.0**-22, "float64": 2.0**-50}
DTYPES = list(EPS)


def leaf(values: Any, dtype: str) -> Tensor:
    return Tensor(asarray(np.asarray(values, dtype)), requires_grad=True)


def stepped(name: str, dtype: str, gradients: Any, **options: Any) -> tuple[Tensor, Any]:
    """The weights after a step for each row of gradients; options are set on the optimizer."""
    w = leaf([[1.0, -2.0], [0.5, 3.0]], dtype)
    optimizer = OPTIMIZERS[name]([w])
    for option, value in options.items():
        setattr(optimizer, option, value)
    for row in gradients:
        slope = asarray(np.asarray(row, dtype).reshape(2, 2))
        optimizer.step(lambda slope=slope: (w * slope).sum())
    return w, optimizer


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0], ids=["tiny", "one", "large"])
def test_steps_are_those_of_float64(name: str, dtype: str, size: float) -> None:
    """Squares of 1e-4 and 300 do not exist in float16; eps = 1e-7 hardly."""
    rng = np.random.default_rng(0)
    gradients = (size * rng.normal(size=(3, 4))).astype("float16")
    w, optimizer = stepped(name, dtype, gradients)
    right, _ = stepped(name, "float64", gradients)
    assert w.dtype == dtype and np.isfinite(host(w)).all()
    worst = np.abs(host(w) - host(right)).max()
    assert worst <= 4 * EPS[dtype] * max(3.0, np.abs(host(right)).max())
    wide = "float32" if dtype == "float16" else dtype
    for slot in optimizer.slots:
        assert optimizer.state["param0"][slot].dtype == wide


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_zero_gradient_moves_nothing(name: str, dtype: str, fused: bool) -> None:
    options = {"fused": fused, "weight_decay": 0.0, "l1": 0.0, "max_norm": None}
    w, _ = stepped(name, dtype, np.zeros((3, 4)), **options)
    assert host(w).tolist() == [[1.0, -2.0], [0.5, 3.0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_penalties_and_clipping_are_those_of_float64(name: str, dtype: str) -> None:
    """The gradient's norm is 424, its square does not exist in float16."""
    options = {"clip_norm": 1.0, "weight_decay": 0.1, "l1": 0.01, "max_norm": 2.0}
    gradients = [[300.0, -300.0, 0.0, 0.0], [0.25, 0.25, -0.5, 0.5]]
    w, right = (stepped(name, d, gradients, **options)[0] for d in (dtype, "float64"))
    assert np.abs(host(w) - host(right)).max() <= 8 * EPS[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FLAT)
def test_second_order_steps_go_to_the_minimum(name: str, dtype: str) -> None:
    """(x - 1)^2 + 10 (y + .5)^2, to the digits that the weights have."""
    x = leaf([3.0, 2.0], dtype)
    optimizer = OPTIMIZERS[name]([x])
    middle = asarray(np.array([1.0, -0.5], dtype))
    weights = asarray(np.array([1.0, 10.0], dtype))
    if name == "newton":
        optimizer.damping = 0.0  # type: ignore[attr-defined]
    for _ in range(12):
        optimizer.step(lambda: (weights * (x - middle) ** 2).sum())
    assert x.dtype == dtype
    assert close(x, [1.0, -0.5], atol={"float16": 0.02}.get(dtype, 1e-3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [EMA, lambda p: EMA(p, start="zero", debias=True), SWA],
                         ids=["ema", "ema-zero", "swa"])
def test_an_average_of_many_equal_weights_is_that_weight(make: Any, dtype: str) -> None:
    w = leaf([0.0, 1000.0], dtype)
    average = make([w])
    w.copy_(np.array([1.0, 1001.0]))
    for _ in range(3000):
        average.update()
    assert close(average.result()["param0"], [1.0, 1001.0], rtol=1e-4, atol=1e-4)
    with average.applied():
        assert w.dtype == dtype and close(w, [1.0, 1001.0], rtol=1e-3)


@pytest.mark.parametrize("make", [EMA, lambda p: EMA(p, start="zero", debias=True), SWA],
                         ids=["ema", "ema-zero", "swa"])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_counters_and_masks_are_not_averaged_but_kept_as_they_are_now(make: Any, dtype: str
                                                                      ) -> None:
    counter = Tensor(asarray(np.array([0, 0], dtype)))
    average = make([("steps", counter), ("w", leaf([1.0], "float32"))])
    for value in (1, 1, 0, 1):
        counter.copy_(asarray(np.array([value, 1], dtype)))
        average.update()
        kept = average.result()["steps"]
        assert kept.dtype == dtype and host(kept).tolist() == [value, 1]
    state = average.state_dict()
    average.update()
    average.load_state_dict(state)
    assert host(average.result()["steps"]).tolist() == [1, 1]


# Clipping

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "norm"), [(1.0, 700.0), (2.0, 500.0), (3.0, 91 ** (1 / 3) * 100),
                                            (math.inf, 400.0)], ids=["1", "2", "3", "inf"])
def test_norms_of_gradients_do_not_overflow(dtype: str, kind: float, norm: float) -> None:
    a, b = leaf([0.0], dtype), leaf([0.0], dtype)
    a.grad, b.grad = leaf([-300.0], dtype), leaf([400.0], dtype)
    assert clip_grad_norm_([a, b], 1.0, kind).item() == pytest.approx(norm, rel=1e-6)
    assert a.grad.dtype == dtype
    assert [a.grad.item(), b.grad.item()] == pytest.approx([-300 / norm, 400 / norm], rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_norm_that_the_weights_type_cannot_hold_is_right(dtype: str) -> None:
    w = leaf(np.zeros(10_000), dtype)
    w.grad = leaf(np.full(10_000, 1000.0), dtype)
    assert clip_grad_norm_([w], 1e5).item() == pytest.approx(1e5, rel=1e-6)
    w.grad = leaf(np.full(10_000, 2.0**-14), dtype)
    assert clip_grad_norm_([w], 1.0).item() == pytest.approx(100 * 2.0**-14, rel=1e-6)


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "uint8"])
def test_an_infinite_limit_leaves_the_gradient_alone(dtype: str) -> None:
    """As one writes to see the norm alone; so does a limit beyond the type's numbers."""
    for clip in (lambda w: clip_grad_norm_([w], math.inf), lambda w: clip_grad_norm_([w], 1e6),
                 lambda w: clip_grad_value_([w], math.inf), lambda w: clip_grad_value_([w], 1e6)):
        w = leaf([0.0, 0.0], "float32")
        w.grad = Tensor(asarray(np.array([3, 100], dtype)))
        clip(w)
        assert w.grad.tolist() == [3.0, 100.0]


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_gradients_of_whole_numbers_are_clipped_to_fractions(dtype: str) -> None:
    w = leaf([0.0, 0.0], "float32")
    w.grad = Tensor(asarray(np.array([3, 200], dtype)))
    assert clip_grad_norm_([w], 1.0).item() == pytest.approx(math.hypot(3, 200))
    assert w.grad.tolist() == pytest.approx([3 / math.hypot(3, 200), 200 / math.hypot(3, 200)])


@pytest.mark.parametrize("grad", ["float16", "float64", "int64", "uint8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_of_another_type_is_taken_as_numbers(dtype: str, grad: str) -> None:
    for make, right in ((lambda p: SGD(p, 0.1, momentum=0.9), [0.0, -20.0]),
                        (lambda p: Adam(p, 0.1), [0.9, -0.1])):
        w = leaf([1.0, 0.0], dtype)
        w.grad = Tensor(asarray(np.array([10, 200], grad)))
        make([w]).step()
        assert close(w, right, atol=2 * EPS[dtype], rtol=EPS[dtype] + 1e-6)
