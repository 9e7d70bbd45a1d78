"""Laws that hold for all shapes and all graphs, on examples that Hypothesis makes up."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import tinynet as tn
from tests.arrays import close, equal, host
from tinynet import Tensor, grad, random
from tinynet.backend import broadcast_to, sum_to, xp
from tinynet.calculus import jvp

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(shape: tuple[int, ...], seed: int = 0) -> Any:
    return random.normal(random.key(seed), shape, dtype=float)


# Broadcasting

@given(hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=(2, 3, 4), max_dims=3,
                                         min_side=1))
def test_sum_to_is_the_adjoint_of_broadcast_to(found: hnp.BroadcastableShapes) -> None:
    """<broadcast(x), y> = <x, sum_to(y)>, which is what makes one the gradient of the other."""
    (small,), large = found.input_shapes, found.result_shape
    x, y = numbers(small, 1), numbers(large, 2)
    assert equal(broadcast_to(x, large), np.broadcast_to(x, large))
    summed = sum_to(y, small)
    assert summed.shape == small
    assert np.isclose((broadcast_to(x, large) * y).sum(), (x * summed).sum(), atol=1e-12)


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0),
       st.sampled_from([operator.add, operator.sub, operator.mul, operator.truediv, tn.maximum]))
def test_operands_broadcast_as_in_numpy_and_gradients_have_their_shapes(
        found: hnp.BroadcastableShapes, f: Callable[..., Any]) -> None:
    a, b = (Tensor(numbers(s, i) + 3.0, requires_grad=True)
            for i, s in enumerate(found.input_shapes))
    y = f(a, b)
    raw = np.maximum if f is tn.maximum else f
    assert y.shape == found.result_shape and equal(y.data, raw(a.data, b.data))
    g = numbers(y.shape, 5)
    da, db = grad(y, [a, b], g)
    assert (da.shape, db.shape) == (a.shape, b.shape)
    # The gradient is linear in g: along a + t, all elements alike, its sum is the derivative.
    t = 1e-6
    slope = ((raw(a.data + t, b.data) - raw(a.data - t, b.data)) * g).sum() / (2 * t)
    assert np.isclose(da.data.sum(), slope, rtol=1e-6, atol=1e-7)


# Indexing

@st.composite
def indexed(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
    kind = draw(st.sampled_from(["basic", "arrays", "mask"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "mask":
        return shape, draw(hnp.arrays(bool, shape[: draw(st.integers(1, len(shape)))]))
    return shape, draw(hnp.integer_array_indices(shape[: draw(st.integers(1, len(shape)))]))


@settings(max_examples=200)
@given(indexed())
def test_indexing_is_numpys_and_its_gradient_adds_at_the_same_places(case: Any) -> None:
    shape, index = case
    x = Tensor(numbers(shape), requires_grad=True)
    y = x[index]
    assert equal(y.data, host(x)[index]) and type(y.data) is xp.ndarray
    g = numbers(y.shape, 1)
    expected = np.zeros(shape)
    np.add.at(expected, index, host(g))
    assert close(grad(y, x, g).data, expected, atol=1e-14)
    assert close(tn.put(g, index, shape), expected, atol=1e-14)
    # Taking is linear, and putting is its transpose.
    assert np.isclose((tn.put(g, index, shape) * x.data).sum(), (g * y.data).sum())


# Reductions

@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data(), st.booleans(),
       st.sampled_from(["sum", "mean", "max", "min", "prod", "var", "std", "all", "any",
                        "logsumexp"]))
def test_reductions_are_numpys_over_any_axes(shape: tuple[int, ...], data: st.DataObject,
                                             keepdims: bool, name: str) -> None:
    places = st.integers(-len(shape), len(shape) - 1)
    axis = data.draw(st.one_of(st.none(), places, st.lists(
        places, unique_by=lambda i: i % len(shape)).map(tuple)))
    x = numbers(shape)
    reference = (lambda x, **o: np.log(np.sum(np.exp(x), **o))) if name == "logsumexp" else \
        getattr(np, name)
    want = reference(x, axis=axis, keepdims=keepdims)
    t = Tensor(x, requires_grad=name not in ("all", "any"))
    y = getattr(t, name)(axis=axis, keepdims=keepdims)
    assert y.shape == np.shape(want) and close(y.data, want, atol=1e-12)
    raw = getattr(tn, name)(x, axis=axis, keepdims=keepdims)
    assert close(raw, want, atol=1e-12)
    if name in ("sum", "mean", "max", "min", "logsumexp"):  # these move with x: f(x + t) = f + t n
        n = x.size / max(1, y.size) if name == "sum" else 1.0
        assert np.isclose(grad(y, t, np.ones(y.shape)).data.sum(), n * y.size)


# Graphs

UNARY: list[tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = [
    (tn.sin, lambda x, d: (np.sin(x), np.cos(x) * d)),
    (tn.tanh, lambda x, d: (np.tanh(x), (1 - np.tanh(x) ** 2) * d)),
    (lambda x: x * 0.5, lambda x, d: (x * 0.5, d * 0.5)),
    (lambda x: x * x, lambda x, d: (x * x, 2 * x * d)),
    (lambda x: x.sum(axis=0, keepdims=True), lambda x, d: (x.sum(0, keepdims=True),
                                                           d.sum(0, keepdims=True))),
    (lambda x: x.T.T[::-1], lambda x, d: (x[::-1], d[::-1])),
    (lambda x: tn.concatenate([x, x])[:len(x)], lambda x, d: (x, d)),
]
BINARY: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (operator.add, lambda a, da, b, db: (a + b, da + db)),
    (operator.sub, lambda a, da, b, db: (a - b, da - db)),
    (operator.mul, lambda a, da, b, db: (a * b, da * b + a * db)),
    (lambda a, b: a / (b * b + 1.0),
     lambda a, da, b, db: (a / (b * b + 1), da / (b * b + 1) - a * 2 * b * db / (b * b + 1) ** 2)),
    (lambda a, b: (a @ b.T) @ b / 9.0,
     lambda a, da, b, db: (a @ b.T @ b / 9, (da @ b.T @ b + a @ db.T @ b + a @ b.T @ db) / 9)),
]
steps = st.lists(st.tuples(st.integers(0, len(UNARY) + len(BINARY) - 1), st.integers(0, 30),
                           st.integers(0, 30)), min_size=1, max_size=12)


@settings(max_examples=150)
@given(steps, st.integers(0, 3))
def test_random_graphs_agree_with_the_chain_rule_carried_forward(
        program: list[tuple[int, int, int]], seed: int) -> None:
    """A directional derivative, computed by the tape and, beside it, by dual numbers.

    Every step picks an operation and earlier values, so values are shared and dropped at random.
    """
    x, v = numbers((3, 3), seed), numbers((3, 3), seed + 10)
    t = Tensor(x, requires_grad=True)
    tape: list[Any] = [t]
    dual: list[tuple[Any, Any]] = [(x, v)]
    for kind, i, j in program:
        i, j = i % len(tape), j % len(tape)
        if kind < len(UNARY):
            tape.append(UNARY[kind][0](tape[i]))
            dual.append(UNARY[kind][1](*dual[i]))
        else:
            tape.append(BINARY[kind - len(UNARY)][0](tape[i], tape[j]))
            dual.append(BINARY[kind - len(UNARY)][1](*dual[i], *dual[j]))
    y, (value, slope) = tape[-1], dual[-1]
    assume(np.abs(value).max() < 1e6)
    assert close(y.data, value, rtol=1e-12, atol=1e-12)
    c = numbers(y.shape, 20)
    g = grad(y, t, c)
    scale = 1.0 + np.abs(c * slope).sum()
    assert abs((g.data * v).sum() - (c * slope).sum()) <= 1e-10 * scale
    assert close(grad(y, t, c, create_graph=True).data, g.data, rtol=1e-10, atol=1e-10)


@settings(max_examples=50)
@given(steps)
def test_random_graphs_have_symmetric_second_derivatives(
        program: list[tuple[int, int, int]]) -> None:
    """u . H v = v . H u, where the graph of the gradient was recorded by the walk itself."""
    x, u, v = (numbers((3, 3), seed) for seed in (1, 2, 3))
    t = Tensor(x, requires_grad=True)
    values: list[Any] = [t]
    for kind, i, j in program:
        a, b = values[i % len(values)], values[j % len(values)]
        values.append(UNARY[kind][0](a) if kind < len(UNARY)
                      else BINARY[kind - len(UNARY)][0](a, b))
    g = grad(tn.tanh(values[-1]).sum(), t, create_graph=True)
    hu, hv = (grad((g * d).sum(), t).data for d in (u, v))
    assume(np.isfinite(hu).all() and np.abs(hu).max() < 1e6)
    assert np.isclose((hu * v).sum(), (hv * u).sum(), rtol=1e-8, atol=1e-8)


# Moving elements about

@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_moves_are_undone_and_are_their_own_derivative(shape: tuple[int, ...],
                                                       data: st.DataObject) -> None:
    x = numbers(shape)
    axes = data.draw(st.permutations(range(len(shape))))
    flips = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1))))
    moves: list[Callable[[Any], Any]] = [
        lambda x: tn.transpose(x, axes), lambda x: tn.flip(x, flips), lambda x: tn.reshape(x, -1),
        lambda x: tn.pad(x, 1)]
    for move in moves:
        t = Tensor(x, requires_grad=True)
        g = grad(move(t), t, move(x))  # the transpose of a permutation is its inverse
        assert equal(g.data, x)
        assert equal(jvp(move, x, x).data, move(x))
    sizes = data.draw(st.lists(st.integers(0, shape[0]), max_size=3))
    assume(sum(sizes) <= shape[0])
    parts = tn.split(x, [*sizes, shape[0] - sum(sizes)])
    assert equal(tn.concatenate(parts), x)
