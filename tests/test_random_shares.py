"""Masks cut from the mask of a larger batch: shares of a batch get what the whole would give."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tinynet as tn
import tinynet.random as tr
from tests.arrays import equal, host
from tinynet import functional as F, nn
from tinynet.backend import xp
from tinynet.random import Generator, key, share_of_batch

P = {1: 0.5, 8: 0.75, 16: 0.3, 32: 0.1}


@pytest.mark.parametrize("width", P)
@given(st.integers(1, 40), st.integers(0, 40),
       st.sampled_from([(), (1,), (3,), (7, 5), (64,), (0,)]), st.integers(0, 2**64 - 1))
def test_rows_a_to_b_of_a_mask_are_that_part_of_the_whole(width: int, rows: int, offset: int,
                                                          inner: tuple[int, ...], k: int) -> None:
    total = offset + rows + 3
    whole = host(tr.mask(k, P[width], (total, *inner), width))
    part = tr.mask(k, P[width], (rows, *inner), width, offset=offset, total=total)
    assert equal(part, whole[offset : offset + rows])
    assert equal(tr.mask(k, P[width], (rows, *inner), width, offset=offset), part)


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("width", [8, 16, 32])
def test_rows_of_a_mask_that_is_all_or_nothing(width: int, p: float) -> None:
    assert (host(tr.mask(3, p, (2, 5), width, offset=4, total=6)) == bool(p)).all()


def test_rows_of_masks_for_an_array_of_keys() -> None:
    keys = key(3, xp.arange(4))
    for width, p in P.items():
        whole = host(tr.mask(keys, p, (9, 3), width))
        assert equal(tr.mask(keys, p, (4, 3), width, offset=5), whole[:, 5:])


def test_words_may_begin_anywhere_in_the_stream() -> None:
    whole = host(tr.bits(5, 100_000))
    for start in (1, 63, 70_000):
        assert equal(tr.bits(5, 1000, start), whole[start : start + 1000])


@pytest.mark.parametrize(("options", "message"), [
    ({"offset": -1}, "offset must be 0 or more, and 3 rows from there on .* got offset=-1"),
    ({"offset": 2, "total": 4}, r"must lie in the total, got offset=2, total=4"),
    ({"width": 64}, "width must be 1, 8, 16 or 32 bits, got 64"),
], ids=["negative", "too far", "width"])
def test_rows_outside_the_whole_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tr.mask(1, 0.5, (3, 2), **options)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Dropout": lambda: nn.Dropout(0.3),
    "Dropout of one half": lambda: nn.Dropout(0.5),
    "vanilla Dropout": lambda: nn.Dropout(0.3, inverted=False),
    "Dropout2d": lambda: nn.Dropout2d(0.3),
    "DropConnectConv2d": lambda: nn.DropConnectConv2d(4, 4, 3, padding=1, p=0.3),
    "DropConnectConv2d of one half": lambda: nn.DropConnectConv2d(4, 4, 3, padding=1),
    "DropConnectConv2d in groups": lambda: nn.DropConnectConv2d(4, 4, 2, groups=2, p=0.25),
    "DropConnectLinear": lambda: nn.Sequential(nn.Flatten(), nn.DropConnectLinear(144, 5)),
    "FractionalMaxPool2d": lambda: nn.FractionalMaxPool2d(ratio=1.5),
    "FractionalMaxPool2d per sample": lambda: nn.FractionalMaxPool2d(
        4, pseudo=False, per_sample=True),
    "stochastic depth": lambda: nn.Residual(nn.Conv2d(4, 4, 3, padding=1), p=0.5),
    "stochastic depth per sample": lambda: nn.Residual(
        nn.Conv2d(4, 4, 3, padding=1), p=0.5, mode="sample"),
    "several": lambda: nn.Sequential(
        nn.Dropout(0.5), nn.DropConnectConv2d(4, 4, 3, padding=1, p=0.2), nn.Dropout2d(0.2),
        nn.Residual(nn.Conv2d(4, 4, 1), p=0.4, mode="sample")),
}


def gradients(layer: nn.Module, x: Any, g: Any) -> tuple[Any, list[Any]]:
    """The output, and the gradients of sum(g * output) for the input and all parameters."""
    t = tn.tensor(x, requires_grad=True)
    y = layer(t)
    parameters = [p for _, p in layer.named_parameters()]
    for p in parameters:
        p.grad = None
    y.backward(tn.tensor(g))
    found = [p.grad for p in (t, *parameters)]
    return host(y.data), [None if d is None else host(d.data) for d in found]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("cuts", [(0, 4, 8), (0, 1, 3, 8), (0, 5, 5, 8)],
                         ids=["halves", "uneven", "one empty"])
@pytest.mark.usefixtures("float64")
def test_shares_of_a_batch_get_the_noise_of_the_whole(name: str, cuts: tuple[int, ...]) -> None:
    layer = LAYERS[name]()
    rng = Generator(5)
    x = host(rng.normal((8, 4, 6, 6)))
    for _ in range(3):  # a few steps, of which stochastic depth skips some
        state = tn.get_state()
        shape = layer(tn.tensor(x)).shape
        g = host(rng.normal(shape))
        tn.set_state(state)
        whole, wanted = gradients(layer, x, g)
        after = tn.get_state()
        total: list[Any] = [None] * len(wanted)
        for a, b in itertools.pairwise(cuts):
            if a == b:
                continue
            tn.set_state(state)
            with share_of_batch(a, b - a, 8):
                part, found = gradients(layer, x[a:b], g[a:b])
            assert tn.get_state() == after
            assert np.array_equal(part == 0.0, whole[a:b] == 0.0)
            np.testing.assert_allclose(part, whole[a:b], rtol=1e-12, atol=1e-12)
            assert np.array_equal(found[0] == 0.0, wanted[0][a:b] == 0.0)
            np.testing.assert_allclose(found[0], wanted[0][a:b], rtol=1e-12, atol=1e-12)
            for i in range(1, len(found)):
                if found[i] is not None:
                    total[i] = found[i] if total[i] is None else total[i] + found[i]
        for one, other in zip(total[1:], wanted[1:], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_two_halves_of_a_dropout_are_the_whole_bit_for_bit() -> None:
    n = 10
    x = xp.ones((n, 17))
    whole = host(F.dropout(x, 0.3, key=9))
    with share_of_batch(0, n // 2, n):
        first = host(F.dropout(x[: n // 2], 0.3, key=9))
    with share_of_batch(n // 2, n // 2, n):
        second = host(F.dropout(x[n // 2 :], 0.3, key=9))
    assert equal(np.concatenate([first, second]), whole)


def test_an_example_may_have_several_rows() -> None:
    """As a sentence has one for each word, (N T, C)."""
    x = xp.ones((12, 5))
    whole = host(F.dropout(x, key=2))
    with share_of_batch(2, 1, 4):
        assert equal(F.dropout(x[6:9], key=2), whole[6:9])


def test_an_array_without_an_axis_of_examples_is_refused() -> None:
    with share_of_batch(2, 2, 4):
        with pytest.raises(ValueError, match="noise for 5 rows was asked for in a share of 2 rows"):
            F.dropout(xp.ones((5, 3)), key=1)
        assert F.dropout(xp.asarray(1.0), key=1).shape == ()


@pytest.mark.parametrize(("share", "message"), [
    ((2, 3, 4), r"offset \+ rows must be at most total, got 2 \+ 3 > 4"),
    ((-1, 3, 4), "offset must be an integer of at least 0, got -1"),
    ((0, 2.5, 4), "rows must be an integer of at least 0, got 2.5"),
    ((0, 0, 0), "total must be an integer of at least 1, got 0"),
])
def test_a_share_lies_within_the_batch(share: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message), share_of_batch(*share):
        pass


def test_a_share_is_this_threads_own_and_ends() -> None:
    x = xp.ones((2, 40))
    plain = host(F.dropout(x, key=1))
    others: list[Any] = []

    def work() -> None:
        others.append(host(F.dropout(x, key=1)))

    with share_of_batch(2, 2, 4):
        second = host(F.dropout(x, key=1))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with pytest.raises(KeyError), share_of_batch(0, 2, 4):
            assert equal(F.dropout(x, key=1), plain)
            raise KeyError
        assert equal(F.dropout(x, key=1), second)
    assert not equal(second, plain)
    assert equal(F.dropout(x, key=1), plain) and equal(others[0], plain)
