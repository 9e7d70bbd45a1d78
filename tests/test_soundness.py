"""The engine's promises: each is broken in some well-known library, each has a test here."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal
from tinynet import (
    Tensor,
    enable_grad,
    functional as F,
    fused,
    grad,
    is_grad_enabled,
    no_grad,
    primitive,
)
from tinynet.gradcheck import gradcheck


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counting frees memory inside."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


def net(x: Any, w1: Tensor, w2: Tensor) -> Tensor:
    h = F.relu(x @ w1 + 0.1)
    return F.cross_entropy(h @ w2, np.array([0, 1, 2, 0]))


# 1. Gradients live in the walk; backward frees the graph; grad frees nothing.

def test_rule_1_a_second_backward_is_an_error_and_counts_nothing() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward\(\).*retain_graph=True"):
        y.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        grad(y, x)  # and not zeros
    assert x.grad.tolist() == [2.0, 4.0]


def test_rule_1_a_shared_part_is_freed_for_both_its_users() -> None:
    x = leaf(1.0, 2.0)
    h = x * x
    a, b = h.sum(), (h * 2.0).sum()
    a.backward()
    with pytest.raises(RuntimeError, match="freed"):
        b.backward()
    assert x.grad.tolist() == [2.0, 4.0]  # nothing was added before the error


def test_rule_1_retain_graph_and_grad_keep_the_graph() -> None:
    x = leaf(1.0, 2.0)
    y = (x**3).sum()
    assert grad(y, x).tolist() == grad(y, x).tolist() == [3.0, 12.0]
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6.0, 24.0]


def test_rule_1_inner_gradients_do_not_pile_up_from_call_to_call() -> None:
    x = leaf(2.0)
    h = x * x
    y = h * h
    first = grad(y, [h, x])
    assert [g.item() for g in grad(y, [h, x])] == [g.item() for g in first] == [8.0, 32.0]


def test_rule_1_spent_values_go_while_the_walk_goes_on() -> None:
    """The first layers' saved values live until the end, those of the last layers do not."""
    gone: list[int] = []
    alive: list[int] = []

    def marked(place: int) -> Any:
        @fused(reference=lambda x: x * 1.0)
        def layer(x: Any, *, needs: Any) -> Any:
            saved = Saved()
            weakref.finalize(saved, gone.append, place)

            def backward(g: Any, wanted: Any, saved: Any = saved) -> Any:
                alive.append(4 - len(gone))
                return (g,)

            return x * 1.0, backward

        return layer

    class Saved:
        pass

    x = leaf(1.0)
    y = x
    for place in range(4):
        y = marked(place)(y)
    y.backward()
    assert gone == [3, 2, 1, 0] and alive == [4, 3, 2, 1]


# 2. Operations are pure.

def test_rule_2_operations_write_neither_inputs_nor_incoming_gradients() -> None:
    x, w = Tensor(np.ones((4, 3)), requires_grad=True), Tensor(np.ones((3, 3)), requires_grad=True)
    y = F.softmax(x @ w, axis=1)
    g = np.arange(12.0).reshape(4, 3)
    copies = [a.copy() for a in (x.data, w.data, y.data, g)]
    grad(y, [x, w], g)
    y.backward(g)
    for a, copy in zip((x.data, w.data, y.data, g), copies, strict=True):
        assert equal(a, copy)


def test_rule_2_a_recomputed_dropout_has_the_same_mask() -> None:
    x = Tensor(np.ones(1000), requires_grad=True)
    y = F.dropout(x * 2.0, 0.5)
    once, again = grad(y.sum(), x), grad(y.sum(), x, create_graph=True)
    assert equal(once.data, again.data) and equal(once.data, y.data)


# 3. No reference cycles; memory is flat with the garbage collector off; nodes keep little.

def test_rule_3_memory_is_flat_over_1000_steps_without_gc(no_gc: None) -> None:
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((4, 50)))
    w1, w2 = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((50, 80), (80, 30)))

    def step(i: int) -> None:
        loss = net(x, w1, w2)
        if i % 10 == 0:  # gradients of gradients must not leak either
            slope = grad(loss, w1, create_graph=True)
            grad((slope * slope).sum(), [w1, w2])
        loss.backward()
        for w in (w1, w2):
            w.copy_(w.data - 0.01 * w.grad.data)
            w.grad = None

    for i in range(20):
        step(i)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    objects = len(gc.get_objects())
    for i in range(1000):
        step(i)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 50
    assert grown < 500_000  # one weight gradient a step would be 32 MB; Python keeps some tuples


def test_rule_3_a_dropped_graph_is_freed_at_once(no_gc: None) -> None:
    x = leaf(1.0, 2.0)
    y = F.relu(tn.exp(x) * x).sum()
    nodes = [weakref.ref(t) for t in (y,)]
    data = weakref.ref(tn.exp(x).data)
    del y
    assert nodes[0]() is None and data() is None


def test_rule_3_nodes_keep_what_their_vjps_name_and_no_more(no_gc: None) -> None:
    x = Tensor(np.ones(1000), requires_grad=True)
    h = x * 2.0
    dead = [weakref.ref(h.data)]
    y = h + 1.0            # addition keeps no operands
    del h
    assert dead[0]() is None
    before = weakref.ref(y.data)
    z = F.relu(y)          # ReLU keeps its output alone
    del y
    assert before() is None
    assert grad(z.sum(), x).data.sum() == 2000.0


# 4. The walk is iterative.

@pytest.mark.parametrize("graph", [False, True])
def test_rule_4_a_chain_of_100_000_operations(graph: bool) -> None:
    n = 100_000 if not graph else 30_000
    assert n > 10 * sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(n):
        y = y + 1.0
    assert grad(y, x, create_graph=graph).item() == 1.0
    if not graph:
        y.backward()
        assert x.grad.item() == 1.0


def test_rule_4_dropping_a_long_chain_does_not_overflow() -> None:
    y = leaf(1.0)
    for _ in range(100_000):
        y = tn.sin(y)
    del y


def test_rule_4_a_ladder_takes_linear_time() -> None:
    """y = y + y, 2000 times: 2^2000 paths, 2000 nodes."""
    x = leaf(1e-300)
    y = x
    for _ in range(2000):
        y = (y + y) * 0.5
    assert grad(y, x).item() == 1.0


# 5. Unwanted gradients are never computed; nothing is kept under no_grad; mode per thread.

def test_rule_5_unwanted_gradients_are_not_computed() -> None:
    asked: list[str] = []

    @primitive(lambda g, b: asked.append("a") or g * b, lambda g, a: asked.append("b") or g * a)
    def product(a: Any, b: Any) -> Any:
        return a * b

    image, frozen, w, v = Tensor([1.0]), Tensor([2.0]), leaf(3.0), leaf(4.0)
    product(image, w).backward()
    assert asked == ["b"]
    asked.clear()
    y = product(product(w, frozen), v)
    grad(y, v)
    assert asked == ["b"]  # neither w's own gradient nor what leads to it
    asked.clear()
    grad(y, w)
    assert asked == ["a", "a"]


def test_rule_5_no_grad_keeps_nothing_and_is_undone_by_enable_grad() -> None:
    x = leaf(1.0)
    with no_grad():
        assert (x * x).node is None and not is_grad_enabled()
        with enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad
    double = no_grad()(lambda: x * 2.0)  # as a decorator
    assert not double().requires_grad and is_grad_enabled()


def test_rule_5_grad_mode_is_restored_on_errors() -> None:
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0  # noqa: B018
    assert is_grad_enabled()

    @primitive(lambda g: 1 / 0)
    def broken(x: Any) -> Any:
        return x * 1.0

    x = leaf(1.0)
    with no_grad():
        with enable_grad():
            y = broken(x)
        with pytest.raises(ZeroDivisionError):
            grad(y, x, create_graph=True)
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_rule_5_grad_mode_belongs_to_the_thread() -> None:
    seen: list[bool] = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_rule_5_threads_differentiate_side_by_side() -> None:
    w = Tensor(np.arange(1.0, 5.0), requires_grad=True)
    results: dict[int, Any] = {}

    def work(k: int) -> None:
        for _ in range(50):
            with no_grad():
                _ = w * k
            results[k] = grad((tn.exp(w * 0.1) * k).sum(), w).data

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, g in results.items():
        assert close(g, 0.1 * k * np.exp(0.1 * w.data))


# 6. A float32 net stays float32: values here, every operation in gradcheck/test_table.py.

def test_rule_6_a_float32_net_stays_float32() -> None:
    x = Tensor(np.ones((4, 5), "f4"))
    w1, w2 = (Tensor(np.ones(s, "f4"), requires_grad=True) for s in ((5, 8), (8, 3)))
    loss = net(x, w1, w2) * 0.5 + 1e-3 * (w1**2).sum() / 2 - np.float64(1.0) * w2.mean()
    assert loss.dtype == np.float32
    for create_graph in (False, True):
        for g in grad(loss, [w1, w2], create_graph=create_graph):
            assert g.dtype == np.float32
    loss.backward()
    assert w1.grad.dtype == np.float32


# 7. Hash by identity, == by element, unknown attributes raise (test_tensor.py).

def test_rule_7_tensors_are_keys_by_identity_and_compare_by_element() -> None:
    a, b = Tensor([1.0, 2.0]), Tensor([1.0, 2.0])
    assert {a: "a", b: "b"}[a] == "a" and len({a, b, a}) == 2
    assert (a == b).tolist() == [True, True] and (a != b).tolist() == [False, False]
    assert (a == [1.0, 5.0]).tolist() == [True, False] and not (a == None).any()  # noqa: E711
    with pytest.raises(ValueError, match="ambiguous"):
        if a == b:
            pass


# 8. No saved constant stands in for what depends on an input.

@pytest.mark.parametrize("detached", ["mean", "deviation"])
def test_rule_8_a_detached_statistic_is_caught_by_a_random_cotangent(detached: str) -> None:
    """A batch norm whose recorded gradient takes a statistic for a constant.

    Its first derivative is right. The sum of squares of the gradient, a common check of second
    order, cannot see a detached mean, because the gradient's sum over the batch is zero.
    """
    def normalise(x: Any) -> Any:
        mean = x.mean(axis=0)
        centred = x - mean
        return centred * ((centred**2).mean(axis=0) + 1e-2) ** -0.5

    def reference(x: Any) -> Any:
        mean = x.mean(axis=0)
        mean = mean.detach() if detached == "mean" else mean
        centred = x - mean
        deviation = ((centred**2).mean(axis=0) + 1e-2) ** 0.5
        return centred / (deviation.detach() if detached == "deviation" else deviation)

    @fused(reference=reference)
    def wrong(x: Any, *, needs: Any) -> Any:
        def backward(g: Any, wanted: Any) -> Any:
            t = Tensor(x, requires_grad=True)
            with enable_grad():
                return (grad(normalise(t), t, g).data,)

        return normalise(x), backward

    x = tn.random.normal(1, (5, 3), dtype=float)
    assert gradcheck(wrong, x)
    assert not gradcheck(wrong, x, order=2, check=False)
    assert gradcheck(normalise, x, order=2)
    assert gradcheck(lambda x: F.batch_norm(x, None, None, eps=1e-2), x, order=3)


# Ties

def test_ties_are_shared_by_max_and_min_and_given_to_the_first_by_pools() -> None:
    x = leaf(1.0, 3.0, 3.0)
    assert grad(x.max(), x).tolist() == [0.0, 0.5, 0.5]
    assert grad((-x).min(), x).tolist() == [0.0, -0.5, -0.5]
    a, b = leaf(1.0, 2.0), leaf(1.0, 3.0)
    assert [g.tolist() for g in grad(tn.maximum(a, b).sum(), [a, b])] == [[0.5, 0], [0.5, 1]]
    assert [g.tolist() for g in grad(tn.minimum(a, b).sum(), [a, b])] == [[0.5, 1], [0.5, 0]]
    assert grad(tn.clip(x, 1.0, 2.0).sum(), x).tolist() == [0.5, 0.0, 0.0]
    image = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    for create_graph in (False, True):  # the kernel, and its reference
        g = grad(F.max_pool2d(image, 2).sum(), image, create_graph=create_graph)
        assert g.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


# Stale data

@pytest.mark.parametrize("use", [
    lambda x, w: x * w, lambda x, w: x @ w.T[:2], lambda x, w: w[0] * x,
    lambda x, w: F.linear(x, w.reshape(2, 2))])
def test_data_that_was_changed_in_place_is_refused(use: Any) -> None:
    x, w = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.ones((2, 2)), requires_grad=True)
    y = use(x, w)  # keeps the weight, or a view of it
    w.copy_(2.0)
    for differentiate in (lambda: y.sum().backward(), lambda: grad(y.sum(), x),
                          lambda: grad(y.sum(), x, create_graph=True)):
        with pytest.raises(RuntimeError, match=r"shape \(2, 2\) was changed in place.*anew"):
            differentiate()
    assert x.grad is None
    use(x, w).sum().backward()  # anew: fine
    with no_grad():
        w -= 0.1 * w.grad
    use(x, w).sum().backward()


def test_data_written_by_hand_can_be_announced() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.data *= 2.0
    w.mark_changed()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_data_that_was_replaced_does_not_reach_old_graphs() -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.data = np.array([10.0, 20.0])
    assert grad(y, w).tolist() == [2.0, 4.0]
    assert grad(y, w, create_graph=True).tolist() == [2.0, 4.0]


def test_a_constant_written_later_does_not_change_a_graph() -> None:
    """copy_ gives a tensor without gradients new memory: the graph keeps what it used."""
    w = Tensor([1.0, 2.0], requires_grad=True)
    constant = Tensor([3.0, 4.0])
    y = (w * constant).sum()
    constant.copy_([100.0, 100.0])
    y.backward()
    assert w.grad is not None and w.grad.tolist() == [3.0, 4.0]
    assert constant.tolist() == [100.0, 100.0]


def test_integers_keep_a_float32_net_float32() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * Tensor([3, 4])
    assert y.dtype == np.float32 and grad(y.sum(), x).tolist() == [3.0, 4.0]
