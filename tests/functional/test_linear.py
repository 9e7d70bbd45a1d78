"""The linear operation: shapes, second order, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close
from tinynet import Tensor, functional as F, grad


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (2, 3, 4), (0,)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_leading_axes(lead: tuple[int, ...], with_bias: bool, rng: Any) -> None:
    x = Tensor(rng.normal((*lead, 5), dtype="f8"), requires_grad=True)
    w = Tensor(rng.normal((3, 5), dtype="f8"), requires_grad=True)
    b = Tensor(rng.normal(3, dtype="f8"), requires_grad=True) if with_bias else None
    g = rng.normal((*lead, 3), dtype="f8")
    y = F.linear(x, w, b)
    wrt = [x, w] + ([b] if with_bias else [])
    found = grad(y, wrt, g)
    wanted = [g @ w.data, np.tensordot(g, x.data, (range(len(lead)),) * 2),
              g.sum(axis=tuple(range(len(lead))))]
    assert y.shape == (*lead, 3)
    assert close(y.data, x.data @ w.data.T + (b.data if with_bias else 0), atol=1e-13)
    for got, want in zip(found, wanted, strict=False):
        assert got.shape == want.shape
        assert close(got.data, want, atol=1e-13)


def test_one_recorded_operation() -> None:
    x = Tensor(np.ones((2, 3), "f4"))
    w, b = (Tensor(np.ones(s, "f4"), requires_grad=True) for s in ((4, 3), (4,)))
    y = F.linear(x, w, b)
    assert list(y.node.inputs) == [None, w.node, b.node]


@pytest.mark.parametrize(("x", "weight", "bias", "words"), [
    ((2, 4), (3, 5), None, r"x of shape \(2, 4\) does not fit weight of shape \(3, 5\)"),
    ((5,), (5,), None, r"weight, which is \(out, in\)"),
    ((), (3, 5), None, r"x of shape \(\)"),
    ((2, 5), (3, 5), (5,), r"bias of shape \(5,\) .* must be \(3,\)"),
])
def test_errors_name_the_argument(x: Any, weight: Any, bias: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        F.linear(Tensor(np.ones(x)), Tensor(np.ones(weight)),
                 None if bias is None else Tensor(np.ones(bias)))
