"""`examples/micro.py`: the engine on one screen is the same mathematics as the library's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
import tinynet.functional as F

PATH = Path(__file__).parents[2] / "examples" / "micro.py"


@pytest.fixture(scope="module")
def micro() -> ModuleType:
    spec = importlib.util.spec_from_file_location("micro", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_both(value: Any, other: Any, kind: int, exponent: int) -> Any:
    """One random operation, written as Values and Tensors both understand it."""
    if kind == 0:
        return value + other
    if kind == 1:
        return value * other
    if kind == 2:
        return value - other
    if kind == 3:
        return (value * value + 1.0) ** exponent
    if kind == 4:
        return value / (other * other + 1.0)
    if kind == 5:
        return value @ other.transpose() @ value
    if kind == 6:
        return F.relu(value) if isinstance(value, tn.Tensor) else value.relu()
    if kind == 7:
        root = value * value + 0.5
        return tn.log(root) if isinstance(value, tn.Tensor) else root.log()
    damped = (value * value + 1.0) ** -1
    return tn.exp(damped) if isinstance(value, tn.Tensor) else damped.exp()


def graph(leaves: list[Any], choices: np.ndarray) -> Any:
    """A scalar from the leaves; each step reads two results chosen among all so far."""
    made = [leaves[0] * leaves[1], leaves[0] + leaves[2]]  # (3, 4) with (4,) and (3, 1)
    for kind, left, right, exponent in choices:
        made.append(of_both(made[left % len(made)], made[right % len(made)],
                            kind, (-1, 2, 3)[exponent]))
        size = np.abs(made[-1].numpy() if isinstance(made[-1], tn.Tensor) else made[-1].data).max()
        if size > 10:
            made[-1] = made[-1] * float(1 / size)
    total = made[-1].sum()
    for part in made[:-1]:
        total = total + (part * part).sum()
    return total


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_have_the_librarys_gradients_of_order_1_and_2(
        micro: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in ((3, 4), (4,), (3, 1))]
    choices = np.stack([rng.integers(0, high, size=8) for high in (9, 50, 50, 3)], axis=1)
    cotangents = [rng.normal(size=a.shape) for a in arrays]

    values = [micro.Value(a) for a in arrays]
    tensors = [tn.tensor(a, dtype="float64", requires_grad=True) for a in arrays]
    loss = graph(values, choices)
    expected = graph(tensors, choices)
    np.testing.assert_allclose(loss.data, expected.item(), rtol=1e-10)

    first = micro.grad(loss, values)
    expected_first = tn.grad(expected, tensors, create_graph=True)
    for g, e in zip(first, expected_first, strict=True):
        np.testing.assert_allclose(g.data, e.numpy(), rtol=1e-9, atol=1e-9)

    along = sum(((g * c).sum() for g, c in zip(first, cotangents, strict=True)), micro.Value(0.0))
    expected_along = sum((g * tn.tensor(c)).sum()
                         for g, c in zip(expected_first, cotangents, strict=True))
    second = micro.grad(along, values)
    expected_second = tn.grad(expected_along, tensors)
    for g, e in zip(second, expected_second, strict=True):
        np.testing.assert_allclose(g.data, e.numpy(), rtol=1e-8, atol=1e-8)


def test_the_third_derivative_of_a_power(micro: ModuleType) -> None:
    x = micro.Value(2.0)
    y = x**5
    for expected in (80.0, 160.0, 240.0):  # 5 x^4, 20 x^3, 60 x^2
        (y,) = micro.grad(y, [x])
        assert y.data == pytest.approx(expected)


def test_a_value_that_does_not_reach_the_loss_has_gradient_zero(micro: ModuleType) -> None:
    x = micro.Value([1.0, 2.0])
    unused = micro.Value(np.ones((2, 3)))
    _, zero = micro.grad((x * x).sum(), [x, unused])
    assert zero.data.shape == (2, 3)
    assert not zero.data.any()


def test_a_long_chain_needs_no_deep_stack(micro: ModuleType) -> None:
    x = micro.Value(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    assert micro.grad(y, [x])[0].data == 1.0


def test_the_small_net_learns_the_spirals(micro: ModuleType) -> None:
    assert micro.train(steps=600) > 0.98


def test_the_engine_fits_a_screen() -> None:
    text = PATH.read_text(encoding="utf-8")
    engine = text[text.index("class Value"):text.index("def spirals")]
    code = [line for line in engine.splitlines() if line.strip()]
    assert len(code) <= 95
