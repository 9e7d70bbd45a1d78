"""The calls that are written out for one and two arguments do what the general call does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import Tensor, operation
from tinynet.backend import asarray, to_numpy
from tinynet.fast_calls import fast_call
from tinynet.graph import Node, Watcher, watching
from tinynet.operation import general_call

OPTIONS: dict[str, dict[str, Any]] = {  # of those that cannot do without
    "cumsum": {"axis": 0}, "pad": {"pad_width": 1}, "reshape": {"shape": (9,)},
    "broadcast_to": {"shape": (2, 3, 3)}, "sum_to": {"shape": (3,)}, "expand_dims": {"axis": 0},
    "swapaxes": {"axis1": 0, "axis2": 1}, "moveaxis": {"source": 0, "destination": 1},
    "flip": {"axis": 0},
}


def written_out() -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    """For each public primitive that has one, its written-out call and the general one."""
    found = {}
    public = {name: made for name, made in operation.primitives.items() if name[0] != "_"}
    for name, made in public.items():
        quick = fast_call(made.rules, made.__wrapped__)
        if quick is not None:
            found[name] = quick, general_call(made.rules, made.__wrapped__)
    return found


PAIRS = written_out()


def test_most_primitives_have_a_written_out_call() -> None:
    assert len(PAIRS) > 30
    assert {"add", "multiply", "exp", "sum", "reshape"} <= PAIRS.keys()
    assert not {"where", "concatenate", "einsum"} & PAIRS.keys()


def inputs(name: str) -> tuple[list[Any], dict[str, Any]]:
    """Arguments that every operation can work with, and the options that it needs."""
    rules = operation.primitives[name].rules
    rng = np.random.default_rng(0)
    arrays = [asarray(rng.uniform(0.2, 0.8, (3, 3))) for _ in rules.arguments]
    return arrays, OPTIONS.get(name, {})


def outcome(call: Callable[..., Any], args: list[Any], options: dict[str, Any]) -> Any:
    """What a call gives: its value, what it keeps and its gradients; or its error."""
    try:
        y = call(*args, **options)
    except Exception as error:
        return type(error), str(error)
    if not isinstance(y, Tensor):
        return type(y), to_numpy(y).tolist()
    if y.node is None:
        return str(y.dtype), y.tolist()
    kept = [[same(v) for v in values or ()] for values in y.node.saved]
    leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    gradients = [g.tolist() for g in tn.grad(y.sum(), leaves)]
    return str(y.dtype), y.tolist(), kept, gradients, [i is None for i in y.node.inputs]


def same(value: Any) -> Any:
    return to_numpy(value).tolist() if hasattr(value, "dtype") else value


def alternatives(arrays: list[Any]) -> list[list[Any]]:
    """The same arguments as tensors with and without gradients, arrays, lists and numbers."""
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    forms = [leaves, [Tensor(a) for a in arrays], arrays, [same(a) for a in arrays]]
    if len(arrays) == 2:
        forms += [[leaves[0], arrays[1]], [arrays[0], leaves[1]], [leaves[0], leaves[0]],
                  [leaves[0], 0.5], [0.5, leaves[1]], [leaves[0], np.float64(0.5)]]
    return [*forms, [leaves[0]], [leaves[0], "text"], []]


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_a_written_out_call_equals_the_general_one(name: str) -> None:
    quick, general = PAIRS[name]
    arrays, options = inputs(name)
    for args in alternatives(arrays):
        assert outcome(quick, args, options) == outcome(general, args, options)
    with tn.no_grad():
        args = [Tensor(a, requires_grad=True) for a in arrays]
        assert outcome(quick, args, options) == outcome(general, args, options)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_arguments_given_by_name_are_the_same_to_both(name: str) -> None:
    quick, general = PAIRS[name]
    arrays, options = inputs(name)
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    named = dict(zip(operation.primitives[name].rules.arguments, leaves, strict=True))
    results = [call(**named, **options) for call in (quick, general)]
    assert results[0].tolist() == results[1].tolist()
    assert all(y.requires_grad == results[1].requires_grad for y in results)


def test_a_watcher_is_told_the_same_by_both() -> None:
    class Noting(Watcher):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def made(self, node: Node, y: Any, args: Any) -> None:
            self.seen.append((node.operation.name, to_numpy(y).tolist(), len(args)))

        def pull(self, node: Node, compute: Callable[..., Any], *values: Any) -> Any:
            self.seen.append((node.operation.name, len(values)))
            return compute(*values)

    notes = []
    for call in PAIRS["multiply"]:
        noting = Noting()
        with watching(noting):
            a = Tensor([1.0, 2.0], requires_grad=True)
            call(a, a).backward(np.ones(2))
        notes.append(noting.seen)
    assert notes[0] == notes[1]
    assert notes[0] == [("multiply", [1.0, 4.0], 2), ("multiply", 2), ("multiply", 2)]
