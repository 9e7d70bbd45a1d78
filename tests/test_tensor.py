"""Tensor as a user meets it: making, looking, operators, backward and grad."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close
from tinynet import Tensor, grad, no_grad
from tinynet.backend import asarray, xp


def leaf(*values: float, dtype: str = "f4") -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True)


# Making one

@pytest.mark.parametrize(("data", "dtype"), [
    (1.5, "f4"), ([1.0, 2.0], "f4"), ([1, 2], "i8"), (True, "?"), (np.ones(2), "f8"),
    (np.ones(2, "f4"), "f4"), (np.float64(2.0), "f8"), ([[1.0], [2.0]], "f4")])
def test_lists_take_the_default_dtype_and_arrays_keep_theirs(data: Any, dtype: str) -> None:
    assert Tensor(data).dtype == np.dtype(dtype)


@pytest.mark.numpy_only("memory shared with NumPy")
def test_an_array_is_shared_and_tensor_copies() -> None:
    a = np.zeros(3)
    assert Tensor(a).data is a and Tensor(Tensor(a)).data is a
    copied = tn.tensor(a, requires_grad=True)
    assert not np.shares_memory(copied.data, a) and copied.requires_grad
    assert Tensor(a, dtype="float32").dtype == np.float32


def test_default_dtype_can_be_float64(float64: None) -> None:
    assert Tensor([1.0]).dtype == tn.zeros(2).dtype == tn.randn(2).dtype == np.float64


@pytest.mark.parametrize(("data", "words"), [
    (["a"], "its items are not numbers"), ([None], "its items are not numbers"),
    ([Tensor(1.0), Tensor(2.0)], r"use tn\.stack")])
def test_what_is_no_array_is_refused(data: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Tensor(data)


def test_only_floats_require_gradients() -> None:
    with pytest.raises(TypeError, match=r"only float tensors.*int64.*astype\('float32'\)"):
        Tensor([1, 2], requires_grad=True)
    x = Tensor([1.0])
    x.requires_grad = True
    assert x.requires_grad and x.is_leaf
    with pytest.raises(RuntimeError, match=r"leaf tensors only.*detach"):
        (x * 2).requires_grad = False
    x.requires_grad = False
    assert not x.requires_grad and x.grad is None


# Looking at one

def test_shape_dtype_ndim_size_len_item_tolist() -> None:
    x = Tensor([[1.0, 2.0, 3.0]])
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((1, 3), 2, 3, 1, np.float32)
    assert x.tolist() == [[1.0, 2.0, 3.0]] and x[0, 1].item() == 2.0
    assert float(x[0, 1]) == 2.0 and int(x[0, 2]) == 3 and bool(x[0, 0])
    assert type(x.sum().item()) is float
    with pytest.raises(TypeError, match=r"without axes has no len\(\)"):
        len(Tensor(1.0))
    with pytest.raises(ValueError, match="size 1"):
        x.item()


def test_truth_of_several_elements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) is ambiguous.*\.any\(\)"):
        bool(Tensor([1.0, 2.0]) > 0)
    assert (Tensor([1.0, 2.0]) > 0).all() and not (Tensor([1.0, 2.0]) < 0).any()


@pytest.mark.parametrize(("tensor", "text"), [
    (Tensor(2.0), "Tensor(2.)"),
    (Tensor([1, 2]), "Tensor([1, 2])"),
    (Tensor(np.ones(2)), "Tensor([1., 1.], dtype=float64)"),
    (leaf(1.0, 2.5), "Tensor([1. , 2.5], requires_grad=True)"),
    (leaf(1.0) * 2, "Tensor([2.], requires_grad=True)"),
    (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    (Tensor([True]), "Tensor([ True])"),
])
def test_repr(tensor: Tensor, text: str) -> None:
    assert repr(tensor) == str(tensor) == text


def test_repr_of_a_large_tensor_is_short_and_gives_the_shape() -> None:
    text = repr(tn.zeros((100, 200)))
    assert len(text) < 400 and "..." in text and text.endswith("shape=(100, 200))")


def test_format_of_a_scalar() -> None:
    assert f"{Tensor(2.0):.3f}" == "2.000" and f"{Tensor(2.0)}" == "2.0"
    assert f"{Tensor([2.0])}" == "Tensor([2.])"
    with pytest.raises(TypeError, match="format"):
        f"{Tensor([2.0]):.3f}"


def test_iteration_goes_over_the_first_axis_and_keeps_gradients() -> None:
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    rows = list(x)
    assert [row.tolist() for row in rows] == [[0, 1], [2, 3], [4, 5]]
    assert grad(rows[1].sum(), x).tolist() == [[0, 0], [1, 1], [0, 0]]
    a, b = Tensor([1.0, 2.0])
    assert (a.item(), b.item()) == (1.0, 2.0)
    with pytest.raises(TypeError, match="without axes"):
        iter(Tensor(1.0)).__next__()


def test_unknown_attributes_raise() -> None:
    x = leaf(1.0)
    with pytest.raises(AttributeError):
        x.shpae  # noqa: B018
    with pytest.raises(AttributeError):
        x.requires_gard = True  # type: ignore[attr-defined]


# NumPy and other libraries

@pytest.mark.numpy_only("memory shared with NumPy")
def test_numpy_sees_the_data() -> None:
    x = leaf(1.0, 2.0)
    assert np.asarray(x) is x.data and x.numpy() is x.data
    assert np.asarray(x, dtype="f8").dtype == np.float64
    assert not np.shares_memory(np.array(x), x.data)
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype="f8", copy=False)
    assert close(x, [1.0, 2.0]) and np.testing.assert_array_equal(x, [1.0, 2.0]) is None


@pytest.mark.parametrize("left", [np.array([1.0, 2.0], "f4"), np.float32(3.0), np.float64(3.0),
                                  3, 3.0, True, [1.0, 2.0]])
@pytest.mark.parametrize("f", [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul,
    operator.eq, operator.lt, operator.ge])
def test_operators_with_numpy_and_python_on_either_side(left: Any, f: Any) -> None:
    if f is operator.matmul and np.ndim(left) == 0:
        with pytest.raises(ValueError, match="at least one axis"):
            f(left, Tensor([1.0]))
        return
    x, raw = leaf(0.5, 4.0), asarray(left, "f4")
    left = raw if isinstance(left, np.ndarray) else left
    for y, want in ((f(left, x), f(raw, x.data)), (f(x, left), f(x.data, raw))):
        assert isinstance(y, Tensor) and close(y.data, want, rtol=1e-6)
        assert y.dtype == (bool if f in (operator.eq, operator.lt, operator.ge) else np.float32)


def test_numpy_functions_refuse_tensors_with_gradients() -> None:
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(leaf(1.0))


@pytest.mark.numpy_only("memory shared with NumPy")
def test_dlpack_both_ways() -> None:
    x = leaf(1.0, 2.0)
    shared = np.from_dlpack(x)
    assert np.shares_memory(shared, x.data)
    back = tn.from_dlpack(np.arange(3.0))
    assert isinstance(back, Tensor) and back.tolist() == [0.0, 1.0, 2.0]
    assert x.__dlpack_device__() == x.data.__dlpack_device__()


def test_copies_and_pickles_of_leaves_are_independent() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.tolist() == x.tolist() and y.grad.tolist() == [2.0, 4.0] and y.is_leaf
        y.data[0] = 7.0
        y.grad.data[0] = 7.0
        assert x.tolist() == [1.0, 2.0] and x.grad.tolist() == [2.0, 4.0]
        (y * y).sum().backward()
        assert y.grad.tolist() == [21.0, 8.0]


# Writing

def test_in_place_surprises_are_refused() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"x\[i\] = v.*tn\.where"):
        x[0] = 3.0
    for f, symbol in ((operator.iadd, r"\+="), (operator.isub, "-="), (operator.imul, r"\*="),
                      (operator.itruediv, "/="), (operator.ipow, r"\*\*="),
                      (operator.imatmul, "@=")):
        with pytest.raises(RuntimeError, match=f"^{symbol} on a leaf tensor that requires grad.*"
                                               "no_grad"):
            f(x, x)


def test_augmented_assignment_makes_a_new_tensor_elsewhere() -> None:
    x = leaf(1.0, 2.0)
    y = old = x * 3
    y += 1.0
    assert y is not old and old.tolist() == [3.0, 6.0] and y.tolist() == [4.0, 7.0]
    assert grad(y.sum(), x).tolist() == [3.0, 3.0]
    z = constant = Tensor([1.0])
    z *= 2.0
    assert constant.tolist() == [1.0] and z.tolist() == [2.0]


def test_update_under_no_grad_is_in_place() -> None:
    x = leaf(1.0, 2.0)
    before, data = x, x.data
    with no_grad():
        x -= 0.5 * Tensor([1.0, 2.0])
        x **= 2
    assert x is before and x.data is data and x.tolist() == [0.25, 1.0] and x.requires_grad


def test_copy_writes_into_leaves_of_the_same_shape() -> None:
    x, data = leaf(1.0, 2.0), None
    data = x.data
    assert x.copy_([3.0, 4.0]) is x and x.data is data and x.tolist() == [3.0, 4.0]
    x.copy_(0.5)
    x.copy_(np.array([1, 2]))
    x.copy_(Tensor([5.0, 6.0]))
    assert x.tolist() == [5.0, 6.0] and x.dtype == np.float32
    for value in ([1.0], np.ones((1, 2)), Tensor([1.0, 2.0, 3.0])):
        with pytest.raises(ValueError, match=r"copy_ needs a value of shape \(2,\), got"):
            x.copy_(value)
    with pytest.raises(RuntimeError, match="leaf tensors only"):
        (x * 1).copy_(0.0)


# backward and grad

def test_backward_adds_to_grad_until_it_is_cleared() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for n in (1, 2):
        (x * w).sum().backward()
        assert x.grad.tolist() == [3.0 * n, 4.0 * n] and w.grad.tolist() == [1.0 * n, 2.0 * n]
    x.grad = None
    (x * w).sum().backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert x.grad.requires_grad is False and (x * w).grad is None


def test_backward_of_a_leaf_and_of_a_vector_with_its_gradient() -> None:
    x = leaf(2.0)
    x.backward()
    assert x.grad.tolist() == [1.0]
    y = leaf(1.0, 2.0)
    (y * y).backward([10.0, 100.0])
    assert y.grad.tolist() == [20.0, 400.0] and y.grad.dtype == np.float32
    with pytest.raises(RuntimeError, match=r"needs a scalar, got shape \(2,\)"):
        (y * y).backward()
    with pytest.raises(ValueError, match=r"grad_output has shape \(3,\), the output \(2,\)"):
        (y * y).backward([1.0, 2.0, 3.0])
    (y * y).backward(Tensor(np.ones(2)))  # float64 into a float32 graph
    assert y.grad.dtype == np.float32


def test_gradients_of_scalars_are_arrays_of_their_own() -> None:
    """NumPy's arithmetic turns arrays without axes into scalars, which could not be written to."""
    x = leaf(3.0)[0].detach()
    x.requires_grad = True
    (x * x).backward()
    assert type(x.grad.data) is xp.ndarray and x.grad.data.shape == () and x.grad.item() == 6.0
    x.grad.data[...] = 0.0
    assert type(grad(x * x, x).data) is xp.ndarray


def test_grad_is_never_shared_memory() -> None:
    g = np.array([[1.0, 2.0], [3.0, 4.0]], "f4")
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).backward(g[0])
    (tn.concatenate([x, y])).backward(np.ones(4, "f4"))
    x.grad.data *= 10
    assert g.tolist() == [[1.0, 2.0], [3.0, 4.0]] and y.grad.tolist() == [2.0, 3.0]
    z = Tensor(np.ones((3, 2000), "f4"), requires_grad=True)
    z.sum().backward()  # a stretched view, if it were not copied
    z.grad.data[0, 0] = 5.0
    assert z.grad.data.sum() == 6004.0


def test_grad_set_by_hand_must_fit() -> None:
    x = leaf(1.0, 2.0)
    x.grad = Tensor([1.0, 1.0])
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(ValueError, match=r"must have the tensor's shape \(2,\), got \(3,\)"):
        x.grad = Tensor([1.0, 1.0, 1.0])
    with pytest.raises(RuntimeError, match="only a leaf"):
        (x * 2).grad = Tensor([1.0, 1.0])


def test_grad_of_leaves_inner_tensors_and_of_itself() -> None:
    x, unused = leaf(1.0, 2.0), leaf(5.0)
    h = x * x
    y = (h * 3.0).sum()
    with pytest.raises(RuntimeError, match=r"does not depend on input 1: .* allow_unused=True"):
        grad(y, [x, unused])
    dh, dx, du, dy = grad(y, [h, x, unused, y], allow_unused=True)
    assert (dh.tolist(), dx.tolist(), du.tolist(), dy.item()) == ([3, 3], [6, 12], [0], 1.0)
    assert grad(y, h).tolist() == [3.0, 3.0]
    assert grad(y, (h,), 2.0)[0].tolist() == [6.0, 6.0]
    assert grad(x, x, [1.0, 5.0]).tolist() == [1.0, 5.0]
    assert grad(y, []) == [] and grad(y, [x, x])[1].tolist() == [6.0, 12.0]
    assert x.grad is None


def test_grad_refuses_what_it_cannot_differentiate() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"input 1 of grad\(\) needs no gradient"):
        grad(x * 2, [x, Tensor([1.0])])
    with pytest.raises(TypeError, match="differentiates a Tensor, got float"):
        grad(2.0, x)  # type: ignore[arg-type]
    assert grad(Tensor(2.0), x).tolist() == [0.0]  # a constant


def test_gradients_of_gradients() -> None:
    x = leaf(2.0, dtype="f8")
    y, derivatives = x**5, []
    for _ in range(6):
        y = grad(y, x, create_graph=True)
        derivatives.append(y.item())
    assert derivatives == [80.0, 160.0, 240.0, 240.0, 120.0, 0.0]


def test_a_product_of_both_sides_of_the_tape() -> None:
    """Two backwards in one: the gradient of a gradient penalty reaches every weight."""
    w, x = leaf(1.0, -2.0, dtype="f8"), leaf(3.0, 0.5, dtype="f8")
    slope = grad(tn.tanh(w * x).sum(), x, create_graph=True)
    (slope * slope).sum().backward()
    t = np.tanh(w.data * x.data)
    s = w.data * (1 - t * t)
    assert close(w.grad.data, 2 * s * ((1 - t * t) - 2 * w.data * x.data * t * (1 - t * t)))
    assert x.grad is not None
