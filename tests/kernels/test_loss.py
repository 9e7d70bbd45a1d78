"""Softmax cross-entropy equals its definition, and stays right for huge logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinynet.backend import xp
from tinynet.kernels.loss import (
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 2), (7, 10), (128, 1000), (3, 1)])
def test_equal_to_plain(shape: Any, dtype: str, rng: Any) -> None:
    z, labels = rng.normal(shape, dtype=dtype), rng.integers(0, shape[1], (shape[0],))
    losses, p = softmax_cross_entropy(z, labels)
    bound = 1e-13 if dtype == "f8" else 2e-6
    exact = z.astype("f8")
    e = np.exp(exact)
    exact_p = e / e.sum(1, keepdims=True)
    assert np.abs(losses + np.log(exact_p[np.arange(len(z)), labels])).max() < bound
    assert losses.dtype == p.dtype == z.dtype
    assert np.abs(p - exact_p).max() < bound
    g = rng.normal((shape[0],), dtype=dtype)
    dz = softmax_cross_entropy_backward(g, p, labels)
    wanted = g[:, None] * (exact_p - xp.eye(shape[1])[labels])
    assert np.abs(dz - wanted).max() < bound
    assert dz.dtype == z.dtype


def test_E2_stable_at_logits_of_ten_thousand() -> None:
    z = xp.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], "f4")
    losses, p = softmax_cross_entropy(z, xp.array([1, 2]))
    assert losses.tolist() == pytest.approx([1e4, np.log(3)])
    assert p[0].tolist() == [1, 0, 0]
    dz = softmax_cross_entropy_backward(xp.ones(2, "f4"), p, xp.array([1, 2]))
    assert dz[0].tolist() == [1, -1, 0]
    assert np.abs(dz.sum(1)).max() < 1e-7
