"""Indexing beyond what test_properties.py makes up: kinds of indices, duplicates, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import close, equal
from tinynet import Tensor, grad, random
from tinynet.backend import asarray, to_numpy

X = to_numpy(random.normal(1, (4, 3, 2), dtype=float))


@pytest.mark.parametrize("index", [
    1, -1, np.int64(2), slice(None, None, -2), ..., None, (..., 0), (slice(1, 3), None, 2),
    [0, 0, 3], [], [True, False, True, True], ([1, 2], [0, 0]), (slice(None), [2, 0]),
    np.array([[0, 1], [2, 3]]), (0, [1, 1], slice(None)), X > 0, (X[:, :, 0] > 0, 1)])
def test_every_kind_of_index(index: Any) -> None:
    x = Tensor(X, requires_grad=True)
    y, want = x[index], X[index]
    assert y.shape == want.shape and equal(y.data, want)
    if isinstance(index, np.ndarray):
        assert equal(x[Tensor(index)].data, want)
    expected = np.zeros_like(X)
    np.add.at(expected, np.array([], int) if isinstance(index, list) and not index else index, want)
    assert close(grad(y, x, want).data, expected)


def test_an_index_that_comes_again_adds_up() -> None:
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    assert grad(x[[2, 0, 2, 2]], x, [1.0, 10.0, 100.0, 1000.0]).tolist() == [10.0, 0.0, 1101.0]
    assert tn.put(Tensor([1.0, 2.0]), [1, 1], (3,)).tolist() == [0.0, 3.0, 0.0]


def test_an_index_of_floats_or_out_of_range_is_an_error() -> None:
    with pytest.raises(TypeError, match="must hold integers or booleans, got float64"):
        Tensor(X)[np.array([0.5])]
    with pytest.raises(TypeError, match="must hold integers or booleans, got float32"):
        Tensor(X)[Tensor([1.0])]
    with pytest.raises(IndexError, match="out of bounds"):
        Tensor(X)[[4]]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis_is_numpys(axis: int) -> None:
    order = X.argsort(axis)
    x = Tensor(X, requires_grad=True)
    y = tn.take_along_axis(x, Tensor(order), axis)
    assert equal(y.data, np.take_along_axis(X, order, axis))
    assert equal(grad(y, x, y.data).data, X)
    first = order.take([0], axis)
    y = tn.take_along_axis(asarray(X), asarray(first), axis)
    assert equal(y, np.take_along_axis(X, first, axis))


def test_take_along_axis_stretches_indices_as_numpy_does() -> None:
    indices = np.array([[[1], [0]]])
    y = tn.take_along_axis(asarray(X), asarray(indices), 1)
    assert equal(y, np.take_along_axis(X, indices, 1))


@pytest.mark.numpy_only("indices that are on a device are not read back to be checked")
def test_take_along_axis_errors() -> None:
    with pytest.raises(ValueError, match=r"needs indices with 3 axes, got shape \(1,\)"):
        tn.take_along_axis(Tensor(X), np.array([0]), 0)
    with pytest.raises(ValueError, match=r"indices must lie in 0\.\.2, got 3 at position 1"):
        tn.take_along_axis(Tensor(X), np.array([[[0], [3]]]), 1)
    with pytest.raises(ValueError, match="axis 3 is out of range"):
        tn.take_along_axis(Tensor(X), np.zeros((1, 1, 1), int), 3)
