"""Draws stay where they belong: in [low, high) in every dtype, finite, and within their range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tinynet as tn
import tinynet.random as tr
from tests.arrays import host
from tests.test_random import sigmas
from tinynet import data, random, tune
from tinynet.random import Generator, key

DTYPES = ["float16", "float32", "float64"]
SPANS = {
    "around zero": (-1.0, 1.0), "beside one": (0.5, 1.0), "thirds": (1 / 3, 2 / 3),
    "tenths": (0.1, 0.3), "all negative": (-3.0, -2.0), "tiny": (0.0, 1e-7),
    "large": (1000.0, 1003.0), "wide": (-60000.0, 60000.0), "subnormal": (0.0, 5e-7),
    "two numbers apart": (1.0, 1.0 + 2**-9), "one number": (2048.0, 2050.0),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_from_zero_to_one_never_are_one(dtype: str) -> None:
    n = 300_000
    u = host(tr.uniform(key(0, "a"), n, dtype=dtype))
    assert u.dtype == dtype and u.min() >= 0.0 and u.max() < 1.0
    bits = {"float16": 11, "float32": 24, "float64": 53}[dtype]
    assert (np.ldexp(u.astype("f8"), bits) % 1.0 == 0.0).all()
    assert sigmas(u.astype("f8").mean() + 2.0**-(bits + 1), 0.5, math.sqrt(1 / 12 / n)) < 4.0
    with tn.no_grad():
        assert host(tn.rand(100_000, dtype=dtype).data).max() < 1.0


def test_every_number_of_float16_from_zero_to_one_is_as_frequent() -> None:
    u = host(tr.uniform(key(0, "b"), 1 << 20, dtype="float16"))
    counts = np.bincount((u.astype("f8") * 2**11).astype(int), minlength=2**11)
    assert counts.min() > 0 and counts.max() < 512 + 6 * math.sqrt(512)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("span", SPANS)
def test_numbers_of_a_range_never_are_its_end(span: str, dtype: str) -> None:
    low, high = SPANS[span]
    u = host(tr.uniform(key(0, "c"), 50_000, low, high, dtype)).astype("f8")
    assert u.min() >= low and u.max() < high
    step = float(np.spacing(np.dtype(dtype).type(high)))  # that `high` itself is left out shows
    middle = (low + high) / 2
    assert abs(u.mean() - middle) < 4.0 * (high - low) / math.sqrt(12 * 50_000) + step


@given(st.sampled_from(DTYPES), st.floats(-6e4, 6e4), st.floats(-6e4, 6e4), st.integers(0, 99))
def test_any_range_is_half_open(dtype: str, a: float, b: float, seed: int) -> None:
    low, high = min(a, b), max(a, b)
    try:
        u = host(tr.uniform(key(seed), 500, low, high, dtype)).astype("f8")
    except ValueError as error:
        assert "no float" in str(error) and high - low < 64  # between two numbers of the dtype
        return
    assert u.min() >= low or low == high
    assert u.max() < high or low == high


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_widest_range_and_the_smallest(dtype: str) -> None:
    limit = float(np.finfo(dtype).max)
    u = host(tr.uniform(key(1, "d"), 10_000, -limit, limit, dtype)).astype("f8") / limit
    assert np.isfinite(u).all() and u.max() < 1.0 and abs(u.mean()) < 0.05 and u.std() > 0.5
    one = np.dtype(dtype).type(1.0)
    after = float(np.nextafter(one, one + one))
    assert (host(tr.uniform(key(1), 100, 1.0, after, dtype)) == 1.0).all()
    least = float(np.nextafter(np.dtype(dtype).type(0), one))
    assert (host(tr.uniform(key(1), 100, 0.0, least, dtype)) == 0.0).all()


def test_a_range_of_one_number_is_that_number() -> None:
    for dtype in DTYPES:
        assert (host(tr.uniform(key(1), 10, 0.5, 0.5, dtype)) == 0.5).all()


@pytest.mark.parametrize(("low", "high", "dtype", "message"), [
    (1.0, 0.0, "float32", r"low and high must be numbers with low <= high that float32 can hold"),
    (0.0, math.inf, "float64", "float64 can hold, got low=0.0, high=inf"),
    (math.nan, 1.0, "float64", "low=nan"),
    (0.0, 1e6, "float16", "float16 can hold, got low=0.0, high=1000000.0"),
    (1.0 + 1e-9, 1.0 + 2e-9, "float32", r"no float32 number lies in \[low, high\)"),
])
def test_ranges_that_hold_nothing_are_refused(low: float, high: float, dtype: str, message: str
                                              ) -> None:
    with pytest.raises(ValueError, match=message):
        tr.uniform(key(1), 3, low, high, dtype)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_floats_are_drawn_in_float_dtypes_alone(dtype: str) -> None:
    for draw in (tr.uniform, tr.normal):
        with pytest.raises(TypeError, match=f"must be float16, float32 or float64, got {dtype}"):
            draw(key(1), 3, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_numbers_are_finite_or_refused(dtype: str) -> None:
    limit = float(np.finfo(dtype).max)
    z = host(tr.normal(key(2, "e"), 300_000, std=limit / 8.7, dtype=dtype))
    assert z.dtype == dtype and np.isfinite(z).all()
    for mean, std in ((0.0, limit / 8), (limit, 1e-2 * limit), (math.nan, 1.0), (0.0, -1.0),
                      (0.0, math.inf)):
        with pytest.raises(ValueError, match="mean and std must be finite"):
            tr.normal(key(2), 3, mean, std, dtype)


def test_the_farthest_normal_number_is_within_reach() -> None:
    """u1 is a multiple of 2^-53 below 1, so the radius is sqrt(2 * 53 log 2) at most."""
    assert math.sqrt(2 * 53 * math.log(2)) < 8.6


def test_integers_reach_the_ends_of_int64_and_no_farther() -> None:
    for low, high in ((-(2**63), -(2**63) + 3), (2**63 - 3, 2**63)):
        found = set(host(tr.integers(key(3), low, high, 100)).tolist())
        assert found == set(range(low, high))
    for low, high in ((2**63 - 3, 2**63 + 1), (-(2**63) - 1, 0), (2**64, 2**64 + 2)):
        with pytest.raises(ValueError, match=r"high must exceed low by|must be int64 numbers"):
            tr.integers(key(3), low, high, 2)
    with pytest.raises(TypeError, match=r"must be integers, got low=0\.5, high=3"):
        tr.integers(key(3), 0.5, 3)  # type: ignore[arg-type]
    assert host(tr.integers(key(3), np.int64(0), np.uint8(200), np.int64(4))).shape == (4,)


def test_orders_are_of_a_whole_number_of_things() -> None:
    for wrong in (-1, 2.5, True):
        with pytest.raises(ValueError, match="n must be an integer of at least 0"):
            tr.permutation(key(4), wrong)  # type: ignore[arg-type]
    assert host(tr.permutation(key(4), 0)).tolist() == []


def test_beta_is_a_number_from_zero_to_one_for_every_parameter() -> None:
    sizes = (1e-300, 1e-10, 0.5, 1.0, 1e10, 1e300)
    draws = [tr.beta(key(5, i), a, b) for i in range(20) for a in sizes for b in sizes]
    assert all(0.0 <= draw <= 1.0 for draw in draws)
    for a, b in ((0.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf), (1e-320, 1.0)):
        with pytest.raises(ValueError, match="a and b must be positive"):
            tr.beta(key(5), a, b)


def test_lengths_may_be_integers_of_numpy() -> None:
    assert Generator().uniform(np.int64(2)).shape == (2,)
    assert tn.rand(np.int64(2), np.uint8(3)).shape == (2, 3)
    assert tr.mask(key(6), 0.5, np.int32(4), 1).shape == (4,)


def test_a_state_from_a_damaged_file_is_refused() -> None:
    rng = Generator(4)
    for state in ({"seed": 1.5, "counter": 0}, {"seed": 0, "counter": -1},
                  {"seed": 0, "counter": math.inf}):
        with pytest.raises((TypeError, ValueError), match=r"(seed|counter) must be an integer"):
            rng.set_state(state)  # type: ignore[arg-type]
    assert rng.get_state() == {"seed": 4, "counter": 0}


@pytest.mark.parametrize("state", [{}, {"seed": 1}, None, {"counter": 1}], ids=repr)
def test_a_state_without_seed_or_counter_is_refused_and_nothing_is_changed(state: Any) -> None:
    before = random.get_state()
    with pytest.raises(ValueError, match=r"state must be what get_state\(\) gives"):
        random.set_state(state)
    assert random.get_state() == before


@pytest.mark.parametrize("seed", ["1", 1.0, None, True], ids=repr)
def test_sets_and_searches_refuse_a_seed_that_is_no_integer(seed: Any) -> None:
    with pytest.raises(TypeError, match="seed must be an integer"):
        data.load_shapes(train=8, test=8, seed=seed)
    with pytest.raises(TypeError, match="seed must be an integer"):
        tune.random_search(lambda config: 0.0, {"x": tune.Uniform(0, 1)}, trials=2, seed=seed)
