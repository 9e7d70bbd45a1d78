"""unfold and fold: adjoint to each other, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import close
from tinynet import Tensor, functional as F, grad

OPTIONS = [{"kernel_size": 2}, {"kernel_size": 3, "padding": 1},
           {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}]


@pytest.mark.parametrize("options", OPTIONS)
def test_adjoint_at_every_order(options: dict[str, Any], rng: Any) -> None:
    x = Tensor(rng.normal((2, 3, 6, 7), dtype="f8"), requires_grad=True)
    columns = F.unfold(x, **options)
    c = Tensor(rng.normal(columns.shape, dtype="f8"), requires_grad=True)
    folded = F.fold(c, (6, 7), **options)
    assert (columns * c).sum().item() == pytest.approx((x * folded).sum().item(), abs=1e-12)
    dx = grad((columns * c).sum(), x, create_graph=True)
    assert close(dx.data, folded.data, atol=1e-13)
    assert close(grad(dx, c, x.data).data, columns.data, atol=1e-13)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.unfold(x[0], 2), r"\(N, C, H, W\), got \(2, 4, 4\): add the batch axis"),
    (lambda x: F.unfold(x, 5), r"kernel spans \(5, 5\) pixels, but the image has \(4, 4\)"),
    (lambda x: F.unfold(x, 0), "kernel_size must be an integer of at least 1"),
    (lambda x: F.unfold(x, 2, stride=(1, 2, 3)), r"stride must .* got \(1, 2, 3\)"),
    (lambda x: F.unfold(x, 2, padding=-1), "padding must be an integer of at least 0"),
    (lambda x: F.fold(x[0], 4, 3), r"\(N, a multiple of 9, 4\)"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(np.ones((1, 2, 4, 4))))
