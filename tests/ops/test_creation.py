"""New tensors: shapes, dtypes, values, and what they share."""

from __future__ import annotations

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import Tensor


def test_constants() -> None:
    assert tn.zeros((2, 3)).shape == (2, 3) and tn.ones(2, dtype="f8").dtype == np.float64
    assert tn.full(2, 7).tolist() == [7.0, 7.0] and tn.full((), 1.0).dtype == np.float32
    assert tn.zeros(2, requires_grad=True).requires_grad
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    assert tn.zeros_like(x).tolist() == [[0, 0], [0, 0]] and tn.ones_like(x).dtype == np.float64
    assert not tn.zeros_like(x).requires_grad
    assert tn.eye(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_sequences() -> None:
    assert tn.arange(3).tolist() == [0, 1, 2] and tn.arange(3).dtype.kind == "i"
    assert tn.arange(1.0, 2.0, 0.5).tolist() == [1.0, 1.5]
    assert tn.arange(1.0, 2.0).dtype == np.float32
    assert tn.linspace(0.0, 1.0, 3).tolist() == [0.0, 0.5, 1.0]
    assert tn.linspace(0.0, 1.0, 3).dtype == np.float32


def test_one_hot_checks_its_labels() -> None:
    assert tn.one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert tn.one_hot(Tensor([[1]]), 2, dtype="f8").shape == (1, 1, 2)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, got 3 at position 1"):
        tn.one_hot([0, 3], 3)
    with pytest.raises(TypeError, match="labels must be integers"):
        tn.one_hot([0.0, 1.0], 3)


def test_random_tensors_follow_the_seed_and_take_both_spellings() -> None:
    tn.manual_seed(5)
    a, b = tn.rand(2, 3), tn.randn((2, 3), requires_grad=True)
    tn.manual_seed(5)
    assert equal(a.data, tn.rand((2, 3)).data)
    assert equal(b.data, tn.randn(2, 3).data)
    assert a.dtype == b.dtype == np.float32 and b.requires_grad and tn.rand().shape == ()
    assert a.data.min() >= 0.0 and a.data.max() < 1.0
