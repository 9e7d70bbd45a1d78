"""Gradient clipping by functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinynet import Tensor
from tinynet.optim import clip_grad_norm_, clip_grad_value_


def with_grad(*values: float, dtype: str = "f8") -> Tensor:
    p = Tensor(np.zeros(len(values), dtype), requires_grad=True)
    p.grad = Tensor(np.array(values, dtype))
    return p


def test_norm_is_that_of_all_gradients_together() -> None:
    a, b, without = with_grad(3.0, 0.0), with_grad(4.0), Tensor([1.0], requires_grad=True)
    assert clip_grad_norm_([a, b, without], max_norm=2.5).item() == 5.0
    assert a.grad.tolist() == [1.5, 0.0] and b.grad.tolist() == [2.0]
    assert without.grad is None


def test_small_gradients_and_zeros_stay() -> None:
    a = with_grad(0.3, 0.4)
    assert clip_grad_norm_([a], max_norm=1.0).item() == pytest.approx(0.5)
    assert a.grad.tolist() == [0.3, 0.4]
    zero = with_grad(0.0)
    assert clip_grad_norm_([zero], max_norm=1.0).item() == 0.0 and zero.grad.item() == 0.0


@pytest.mark.parametrize(("kind", "norm"), [(1.0, 7.0), (2.0, 5.0), (3.0, 91 ** (1 / 3)),
                                            (math.inf, 4.0)])
def test_other_norms(kind: float, norm: float) -> None:
    a, b = with_grad(-3.0), with_grad(4.0)
    assert clip_grad_norm_([a, b], max_norm=1.0, norm_type=kind).item() == pytest.approx(norm)
    assert (a.grad.item(), b.grad.item()) == (pytest.approx(-3 / norm), pytest.approx(4 / norm))


def test_a_shared_gradient_is_scaled_once() -> None:
    """Two tensors, one gradient array: in-place scaling would hit it twice."""
    shared = Tensor(np.array([3.0, 4.0]))
    a, b = with_grad(0.0, 0.0), with_grad(0.0, 0.0)
    a.grad = b.grad = shared
    norm = clip_grad_norm_([a, b], max_norm=math.sqrt(50) / 2).item()
    assert norm == pytest.approx(math.sqrt(50))
    assert a.grad.tolist() == b.grad.tolist() == pytest.approx([1.5, 2.0])
    assert shared.tolist() == [3.0, 4.0]


def test_by_value() -> None:
    a = with_grad(-3.0, 0.2, 5.0, dtype="f4")
    clip_grad_value_([("a", a)], 1.0)
    assert a.grad.data.tolist() == [-1.0, pytest.approx(0.2), 1.0]
    assert a.grad.dtype == np.float32


def test_float32_gradients_stay_float32() -> None:
    a = with_grad(3.0, 4.0, dtype="f4")
    clip_grad_norm_([a], max_norm=1.0)
    assert a.grad.dtype == np.float32


def test_no_gradients_at_all() -> None:
    assert clip_grad_norm_([Tensor([1.0], requires_grad=True)], max_norm=1.0).item() == 0.0


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_norm must be positive, got 0"):
        clip_grad_norm_([with_grad(1.0)], max_norm=0.0)
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        clip_grad_norm_([with_grad(1.0)], 1.0, norm_type=0)
    with pytest.raises(ValueError, match="clip_value must be positive, got -1"):
        clip_grad_value_([with_grad(1.0)], -1.0)
