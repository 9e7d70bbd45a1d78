"""primitive and fused: what a vjp may name, what is kept, how calls are read, clear errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.project import below
from tinynet import Tensor, fused, grad, no_grad, operation, primitive
from tinynet.backend import xp
from tinynet.gradcheck import gradcheck


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


def kept(y: Tensor) -> list[Any]:
    """The arrays that a recorded operation keeps for each of its inputs."""
    return [None if values is None else list(values) for values in y.node.saved]


# What a vjp names

def test_a_vjp_may_name_the_output_arguments_shapes_and_options() -> None:
    @primitive(lambda g, y, a, b, a_shape, power, scale: g.reshape(a_shape) * y / a * power,
               lambda g, y, b_shape: g * y + 0.0 * sum(b_shape))
    def f(a: Any, b: Any, power: int = 2, scale: float = 1.0) -> Any:
        return scale * a**power * np.exp(b)

    for options in ({}, {"power": 3}, {"scale": 2.0, "power": 1}):
        assert gradcheck(lambda a, b, o=options: f(a, b, **o), [1.0, 2.0], [0.5, -0.5])


def test_only_what_the_wanted_vjps_name_is_kept() -> None:
    x, c = leaf(1.0, 2.0) * 1.0, Tensor([3.0, 4.0])
    assert kept(x + c) == [[], None] and kept(x - x) == [[], []]
    y = tn.exp(x)
    assert [v is y.data for v in kept(y)[0]] == [True]
    of_x, of_c = kept(x * c)  # only the constant, for the gradient of x
    assert of_c is None and [v is c.data for v in of_x] == [True]
    assert [v is x.data for v in kept(c * x)[1] or [0]] == [False]
    (saved,) = kept(x.reshape(2, 1))
    assert saved == [(2,)]
    assert kept(x.sum()) == [[(2,), None]]
    assert x.sum().node.inputs == (x.node,)


@pytest.mark.parametrize(("vjps", "words"), [
    ((lambda x, g: g,), r"has the parameters \['x', 'g'\]: the first must be g"),
    ((lambda g, z: g,), r"others can be y, x, x_shape, axis"),
    ((), r"has 0 vjps: one is needed"), ((lambda g: g,) * 3, r"has 3 vjps")])
def test_a_wrong_table_is_refused_at_decoration(vjps: Any, words: str) -> None:
    def f(x: Any, axis: int = 0) -> Any:
        return x

    with pytest.raises(TypeError, match=words):
        primitive(*vjps)(f)


def test_a_vjp_of_none_is_a_constant() -> None:
    condition, x = leaf(1.0, 0.0), leaf(2.0, 3.0)
    y = tn.where(condition, x, 0.0)
    assert y.node.inputs[0] is None
    found = grad(y.sum(), [condition, x], allow_unused=True)
    assert [g.tolist() for g in found] == [[0.0, 0.0], [1.0, 0.0]]
    assert not tn.where(condition, 1.0, 2.0).requires_grad


def test_the_gradient_of_a_stretched_argument_is_summed_and_converted() -> None:
    x = Tensor(np.ones((3, 1), "f4"), requires_grad=True)
    y = x * xp.ones((2, 3, 4))
    assert y.dtype == np.float64
    g = grad(y.sum(), x)
    assert g.shape == (3, 1) and g.dtype == np.float32 and g.tolist() == [[8.0]] * 3
    wrong = primitive(lambda g: g[:1])(lambda x: x * 1.0)
    with pytest.raises(ValueError, match=r"shape \(1,\) cannot be summed to shape \(2,\)"):
        wrong(leaf(1.0, 2.0)).sum().backward()


# Memory

@pytest.mark.cupy_only
@pytest.mark.parametrize("call", [
    lambda a: tn.exp(a), lambda a: tn.add(a, a), lambda a: leaf(1.0) * a, lambda a: a @ leaf(1.0),
    lambda a: tn.functional.mse_loss(leaf(1.0), a), lambda a: tn.concatenate([leaf(1.0), a])])
def test_a_numpy_array_in_a_computation_on_the_gpu_is_named(call: Any) -> None:
    with pytest.raises(TypeError, match=r"NumPy array of shape \(1,\).*upload it with tn\.tensor"):
        call(np.ones(1))
    with pytest.raises(TypeError, match=r"a NumPy array of shape \(1, 1, 2, 2\) is given to"):
        tn.functional.conv2d(np.ones((1, 1, 2, 2)), leaf(1.0).reshape(1, 1, 1, 1))


def test_running_out_of_memory_names_operation_shape_bytes_and_remedies() -> None:
    x, y = leaf(1.0).broadcast_to((3_000_000, 1)), leaf(1.0).broadcast_to((1, 4_000_000))
    with pytest.raises(MemoryError) as caught:
        x * y  # 87 TiB
    text = str(caught.value)
    assert text.startswith("multiply of float64 (3000000, 1), float64 (1, 4000000) ran out of mem")
    assert re.search("87.3 TiB|96,000,000,000,000 bytes", text)
    for remedy in ("a smaller batch", "tn.no_grad()", "append loss.item()"):
        assert remedy in text
    with pytest.raises(MemoryError, match=r"conv2d of float64 \(1, 1, 1, 1\).*ran out of memory"):
        tn.functional.conv2d(leaf(1.0).reshape(1, 1, 1, 1), leaf(1.0).reshape(1, 1, 1, 1),
                             padding=2_000_000)
    broken = primitive(lambda g: memory_is_gone())(lambda x: x * 1.0)
    with pytest.raises(MemoryError, match=r"the derivative at .*test_operation.py:\d+ of float64"):
        broken(leaf(1.0, 2.0)).sum().backward()


def memory_is_gone() -> Any:
    raise MemoryError("Out of memory allocating 8 bytes")


# How a call is read

def test_options_by_name_by_place_and_arguments_by_name() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    for y in (tn.sum(x, 1, True), tn.sum(x, axis=1, keepdims=True), tn.sum(x, 1, keepdims=True),
              tn.sum(x=x, keepdims=True, axis=1), x.sum(keepdims=True, axis=1)):
        assert y.tolist() == [[3.0], [12.0]] and y.requires_grad
    assert tn.multiply(b=x, a=2.0).tolist() == (2 * x).tolist()
    assert tn.power(x, p=2).tolist() == tn.power(p=2, x=x).tolist() == (x * x).tolist()
    assert tn.where(x > 2, b=0.0, a=x).tolist() == [[0, 0, 0], [3, 4, 5]]
    assert tn.exp(x=xp.zeros(2)).tolist() == [1.0, 1.0]  # no tensor in, no tensor out


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: tn.sum(x, axs=0), r"sum\(x.*unexpected keyword argument 'axs'"),
    (lambda x: tn.sum(x, 0, axis=0), r"sum\(x.*multiple values for argument 'axis'"),
    (lambda x: tn.sum(x, 0, True, 1), r"sum\(x.*too many positional arguments"),
    (lambda x: tn.add(x), r"add\(a.*missing a required argument: 'b'"),
    (lambda x: tn.exp(), r"exp\(x.*missing a required argument: 'x'"),
    (lambda x: tn.add(x, 1, 2), r"add\(a.*too many positional arguments"),
    (lambda x: tn.where(x > 0, x), r"where\(condition.*missing a required argument: 'b'"),
    (lambda x: tn.einsum("i->i", x, axis=0), "unexpected keyword")])
def test_wrong_calls_are_explained(call: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        call(leaf(1.0, 2.0))


def test_tensors_as_options() -> None:
    x, low = leaf(-1.0, 2.0), leaf(0.0)
    assert tn.pad(x, 1, Tensor(7.0)).tolist() == [7.0, -1.0, 2.0, 7.0]
    with pytest.raises(TypeError, match=r"pad cannot differentiate its option value.*\.detach"):
        tn.pad(x, 1, low)


def test_without_tensors_raw_arrays_come_back() -> None:
    assert type(tn.exp(xp.zeros(2))) is xp.ndarray and tn.exp(0.0) == 1.0
    assert tn.add([1.0], [2.0]).tolist() == [3.0]  # and not the list [1.0, 2.0]
    assert tn.sum([[1, 2], [3, 4]], axis=0).tolist() == [4, 6]
    assert tn.maximum(np.float32(1), np.float32(2)) == 2.0


@pytest.mark.parametrize("other", ["a", {1: 2}, object(), 1j])
def test_what_is_no_number_is_refused_by_the_operations_name(other: Any) -> None:
    with pytest.raises(TypeError, match=f"multiply cannot compute with {type(other).__name__}"):
        leaf(1.0) * other


def test_numbers_stay_numbers_and_integers_become_the_default_dtype() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for y in (x * 2, 2.0 ** x, x / np.float64(3.0), x ** np.int64(2), True * x, x * x.sum(),
              tn.maximum(x, 0.5), tn.where(x > 1, x, 0.0), x.mean() * np.float64(2)):
        assert y.dtype == np.float32
        assert grad(y.sum(), x).dtype == np.float32
        assert grad(y.sum(), x, create_graph=True).dtype == np.float32
    images = Tensor(np.array([0, 255], "u1"))
    for y in (images / 255, images * 0.5, images.mean(), tn.sqrt(Tensor([4])), (x > 1).mean()):
        assert y.dtype == np.float32
    assert (images.sum()).dtype.kind in "iu" and (Tensor([1]) * 2).dtype == np.int64
    assert (Tensor([1]) * xp.array([0.5])).dtype == np.float64  # a float64 array was asked for


def test_conversion_to_integers_cuts_the_graph() -> None:
    x = leaf(1.5, 2.5)
    assert not x.astype("int64").requires_grad and x.astype("float32").requires_grad
    assert grad(x.astype("f4").sum(), x).dtype == np.float64
    assert Tensor([1]).astype("f4").dtype == np.float32 and tn.astype(xp.ones(1), int).dtype == int


# fused

def product(log: list[Any]) -> Any:
    def reference(a: Any, b: Any, c: Any = None, *, scale: float = 1.0) -> Any:
        return a * b * scale if c is None else a * b * scale + c

    @fused(reference=reference)
    def f(a: Any, b: Any, c: Any = None, *, scale: float = 1.0, needs: Any) -> Any:
        log.append(("needs", needs))

        def backward(g: Any, wanted: Any) -> Any:
            log.append(("wanted", wanted))
            return (g * b * scale if wanted[0] else None, g * a * scale if wanted[1] else None,
                    g if c is not None and wanted[2] else None)[: len(needs)]

        y = a * b * scale
        return (y if c is None else y + c), backward

    return f


def test_fused_is_told_what_is_needed_and_wanted() -> None:
    log: list[Any] = []
    f = product(log)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = f(a, b, Tensor([0.5, 0.5]), scale=2.0)
    assert log == [("needs", (True, True, False))] and y.tolist() == [6.5, 16.5]
    assert grad(y.sum(), b).tolist() == [2.0, 4.0]
    assert log[1:] == [("wanted", [False, True, False])]
    log.clear()
    with no_grad():
        assert not f(a, b, None).requires_grad
    assert type(f(a.data, b.data)) is xp.ndarray
    assert not f(a.detach(), b.detach()).requires_grad
    assert log == [("needs", (False,) * n) for n in (3, 2, 2)]


def test_fused_is_exact_at_any_order_through_its_reference() -> None:
    f = product([])
    inputs = [1.0, 2.0], [3.0, -4.0], [0.1, 0.2]
    assert gradcheck(lambda a, b, c: f(a, b, c, scale=1.5) ** 2, *inputs, order=3)
    # The same tensor in two places, and above itself in the graph: each use counts once.
    assert gradcheck(lambda a: f(a, f(a, a * a), a), [1.0, 2.0], order=3)


def test_fused_with_an_auxiliary_result() -> None:
    def reference(x: Any) -> Any:
        return x * x, None

    @fused(reference=reference, has_aux=True)
    def square(x: Any, *, needs: Any) -> Any:
        return x * x, lambda g, wanted: (2.0 * g * x,), {"mean": float(x.mean())}

    y, aux = square(leaf(1.0, 3.0))
    assert isinstance(y, Tensor) and aux == {"mean": 2.0}
    raw, _ = square(xp.ones(2))
    assert type(raw) is xp.ndarray
    assert gradcheck(lambda x: square(x)[0], [1.0, 2.0], order=2)


def test_fused_that_returns_too_few_gradients_is_named() -> None:
    @fused(reference=lambda a, b: a * b)
    def lazy(a: Any, b: Any, *, needs: Any) -> Any:
        return a * b, lambda g, wanted: (g * b,)

    with pytest.raises(ValueError, match="backward of lazy returned 1 gradients for 2 inputs"):
        lazy(leaf(1.0), leaf(2.0)).sum().backward()


def test_registries_list_the_librarys_operations_each_once() -> None:
    """A second operation of the same name would take the first one's place, and its tests."""
    files = below(Path(tn.__file__).parent)
    defined = [node.name for path in files
               for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
               if isinstance(node, ast.FunctionDef)
               and any(ast.unparse(decorator).startswith(("primitive(", "fused("))
                       for decorator in node.decorator_list)]
    assert sorted(defined) == sorted([*operation.primitives, *operation.fusions])
    assert operation.primitives["exp"] is tn.exp
    assert tn.exp.__doc__ == "e ** x" and tn.exp.__module__ == "tinynet.ops.arithmetic"


def test_a_derivative_of_a_wrong_shape_is_named_by_its_place() -> None:
    @primitive(lambda g: g.sum())
    def wrong(x: Any) -> Any:
        return x * 2

    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with pytest.raises(ValueError, match=r"cannot be summed to shape \(2, 2\)") as caught:
        wrong(x).sum().backward()
    (note,) = caught.value.__notes__
    assert "test_operation.py" in note and "returned shape () for an argument of shape" in note
