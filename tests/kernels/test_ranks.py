"""Batch norm over several ranks is that of their rows together, with one message each way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet.backend import on_gpu, xp
from tinynet.kernels import norm
from tinynet.kernels.kernel import forcing
from tinynet.kernels.ranks import Ranks

EPS = 1e-5
BOUND = {"f2": 2e-3, "f4": 3e-6, "f8": 1e-13}
Total = Callable[[Any], Any]


def together(works: list[Callable[[Total], Any]]) -> tuple[list[Any], int]:
    """What each ``work(total)`` returns, and how often they met.

    One after the other, and again from the start once the next sum is known.
    """
    known: list[Any] = []
    while True:
        sent: list[list[Any]] = [[] for _ in works]

        def total_of(mine: list[Any]) -> Total:
            def total(a: Any) -> Any:
                mine.append(a)
                return known[len(mine) - 1] if len(mine) <= len(known) else a
            return total

        found = [work(total_of(mine)) for work, mine in zip(works, sent, strict=True)]
        if len(sent[0]) == len(known):
            assert all(len(mine) == len(known) for mine in sent)
            return found, len(known)
        known.append(sum(mine[len(known)] for mine in sent))


def difference(a: Any, b: Any) -> float:
    assert a.shape == b.shape
    return float(xp.linalg.norm((a - b).astype("f8")) / xp.linalg.norm(b.astype("f8")))


@pytest.mark.parametrize(("mean", "messages"), [(0.0, 1), (2.0, 1), (-50.0, 2), (1e6, 2)])
def test_moments_of_all_ranks_lose_no_digits(mean: float, messages: int, rng: Any) -> None:
    x = rng.normal((60, 5), dtype="f8") + mean
    parts = [x[:7], x[7:31], x[31:]]

    def work(part: Any) -> Callable[[Total], Any]:
        return lambda total: Ranks(total, 1.0).merged(*norm.plain_statistics(part), len(part))

    found, met = together([work(part) for part in parts])
    exact = norm.plain_statistics(x)
    assert met == messages
    for m, v, ranks in found:
        assert ranks.count == 60
        assert xp.abs(m - exact[0]).max() < 1e-15 * (1 + abs(mean))
        assert difference(v, exact[1]) < 1e-14 + 1e-16 * abs(mean)  # what m itself rounds
        assert (m == found[0][0]).all() and (v == found[0][1]).all()


@pytest.mark.parametrize("body", ["plain", None], ids=["twin", "fast"])
@pytest.mark.parametrize("relu", [False, True], ids=["bare", "relu"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("mean", [0.5, 40.0])
def test_norm_and_gradients_of_shared_rows(mean: float, dtype: str, relu: bool, body: Any,
                                           rng: Any) -> None:
    """Rank r's loss has the weight n_r R / n, as means over its own rows have."""
    shape = (12, 4, 3, 5) if on_gpu else (12, 32, 16, 17)  # large enough for the fast bodies
    x, g = (rng.normal(shape, dtype="f8").astype(dtype) for _ in "xg")
    x = (x.astype("f8") + mean).astype(dtype)
    weight, bias = (rng.normal(shape[1:2], dtype="f8").astype(dtype) for _ in "wb")
    shares = [slice(0, 7), slice(7, 12)]

    def work(rows: slice) -> Callable[[Total], Any]:
        def run(total: Total) -> Any:
            own, gradient = x[rows], g[rows]
            ranks = Ranks(total, len(own) * len(shares) / len(x))
            of = norm.measure(own, EPS, ranks)
            y = norm.normalised(own, weight, bias, of, relu)
            gate = y if relu else None
            gradient = (gradient / ranks.weight).astype(dtype)
            found = norm.batch_norm_backward(gradient, own, weight, of, True, gate)
            none, dw, _ = norm.batch_norm_backward(gradient, own, weight, of, False, gate)
            assert none is None and (dw == found[1]).all()
            return y, *(a.astype("f8") * ranks.weight for a in found)
        return run

    with forcing(body):
        found, met = together([work(rows) for rows in shares])
        assert met == (3 if mean == 0.5 else 4)
        y, of = norm.batch_norm(x, weight, bias, EPS, relu)
        wanted = y, *norm.batch_norm_backward(g, x, weight, of, True, y if relu else None)
    both = (xp.concatenate([one[0] for one in found]), xp.concatenate([one[1] for one in found]),
            sum(one[2] for one in found), sum(one[3] for one in found))
    for a, b in zip(both, wanted, strict=True):
        assert difference(a, b) < BOUND[dtype] * (1.0 if mean == 0.5 else 30.0)


def test_a_channel_that_is_constant_has_no_variance() -> None:
    parts = [xp.full((n, 1), 7.5) for n in (3, 5)]
    found, _ = together([
        lambda total, part=part: Ranks(total, 1.0).merged(*norm.plain_statistics(part), len(part))
        for part in parts])
    assert all(m.tolist() == [7.5] and v.tolist() == [0.0] for m, v, _ in found)


def test_gradients_are_weighed_by_what_their_losses_count() -> None:
    ones = np.ones(2)
    sent = []

    def total(a: Any) -> Any:
        sent.append(a)
        return 5.0 * a

    dw, db = Ranks(total, 0.25).gradients(xp.asarray(2 * ones), xp.asarray(ones))
    assert len(sent) == 1 and sent[0].tolist() == [[0.5, 0.5], [0.25, 0.25]]
    assert dw.tolist() == [10.0, 10.0] and db.tolist() == [5.0, 5.0]
