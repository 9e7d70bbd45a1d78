"""The counter-based generator: known answers, statistics, keys and state.

Statistical tests run on fixed keys, so they give the same answer every time. Their bounds are
those of a test on fresh keys: 4 standard deviations, or a p-value above 1e-4.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

import tinynet.random as tr
from tinynet.backend import set_default_dtype, to_numpy, xp
from tinynet.random import Generator, key

KEYS = [key(seed, 7) for seed in range(5)]
P_MIN = 1e-4


def sigmas(value: float, expected: float, std: float) -> float:
    """How many standard deviations `value` lies from what is expected."""
    return abs(value - expected) / std


# Known answers

def test_bits_are_splitmix64() -> None:
    # the reference implementation (Vigna, splitmix64.c), seeded with 1234567
    assert to_numpy(tr.bits(1234567, 5)).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821]


def test_golden_draws_do_not_change() -> None:
    k = key(0, 1, 2)
    assert k == 7904147674706643831
    assert to_numpy(tr.integers(k, 0, 1000, 6)).tolist() == [515, 929, 176, 482, 956, 448]
    assert to_numpy(tr.permutation(k, 8)).tolist() == [3, 6, 5, 4, 2, 1, 7, 0]
    assert to_numpy(tr.uniform(k, 3, dtype=np.float64)).tolist() == [
        0.929382086385756, 0.4824940602240839, 0.44830354604779177]
    normal = [2.2922805190712854, -0.4807431583234875, 0.2773477759381953]
    np.testing.assert_allclose(to_numpy(tr.normal(k, 3, dtype=np.float64)), normal, rtol=1e-13)
    assert tr.beta(k, 0.2, 0.2) == pytest.approx(8.448590574916537e-07, rel=1e-9)


# Statistics

@pytest.mark.parametrize("k", KEYS)
def test_bits_are_balanced_and_uncorrelated(k: int) -> None:
    n = 1 << 16
    words = to_numpy(tr.bits(k, n))
    bit = ((words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).astype(np.float64)
    std = 0.5 / math.sqrt(n)
    assert np.abs(bit.mean(axis=0) - 0.5).max() < 4.5 * std  # the largest of 64
    signs = 2.0 * bit - 1.0
    between = signs.T @ signs / n  # 2016 pairs of bits within a word: the largest is near 3.7
    assert np.abs(between - np.eye(64)).max() < 5.2 / math.sqrt(n)
    serial = (signs[1:] * signs[:-1]).mean(axis=0)  # each bit with itself one word later
    assert np.abs(serial).max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", KEYS)
def test_uniform_is_uniform(k: int, dtype: type) -> None:
    n = 200_000
    u = to_numpy(tr.uniform(k, n, dtype=dtype))
    assert u.dtype == dtype and u.min() >= 0.0 and u.max() < 1.0
    counts = np.bincount((u * 1000).astype(int), minlength=1000)
    assert stats.chisquare(counts).pvalue > P_MIN
    assert stats.kstest(u.astype(np.float64), "uniform").pvalue > P_MIN
    centred = u.astype(np.float64) - 0.5
    for lag in (1, 2, 3, 64, 1000):
        correlation = 12.0 * np.mean(centred[lag:] * centred[:-lag])
        assert sigmas(correlation, 0.0, 1.0 / math.sqrt(n - lag)) < 4.0
    pairs = np.histogram2d(u[0::2], u[1::2], bins=32)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > P_MIN


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.1, 0.5, 0.75, 0.999, 1.0])
@pytest.mark.parametrize("k", KEYS)
def test_mask_is_true_with_probability_p(k: int, p: float) -> None:
    n = 250_001  # odd: two words come from each hash
    m = to_numpy(tr.mask(k, p, n))
    assert m.dtype == bool and m.shape == (n,)
    std = math.sqrt(p * (1.0 - p) / n)
    assert m.mean() == p if std == 0.0 else sigmas(m.mean(), p, std) < 4.0


@pytest.mark.parametrize(("p", "width"), [(0.5, 1), *itertools.product((0.25, 0.5, 0.7), (8, 16))])
def test_masks_of_fewer_bits(p: float, width: int) -> None:
    """p counts in multiples of 2^-width; each key has the same mask alone and among others."""
    n = 250_001
    m = to_numpy(tr.mask(4, p, n, width))
    exact = math.floor(p * 2**width) / 2**width
    assert sigmas(m.mean(), exact, math.sqrt(exact * (1 - exact) / n)) < 4.0
    assert abs(np.mean(m[1:] == m[:-1]) - exact**2 - (1 - exact) ** 2) < 4.5 / math.sqrt(n)
    keys = key(3, xp.arange(5))
    several = to_numpy(tr.mask(keys, p, (7, 3), width))
    for row, k in zip(several, to_numpy(keys).tolist(), strict=True):
        assert np.array_equal(row, to_numpy(tr.mask(k, p, (7, 3), width)))


def test_one_bit_is_for_one_half() -> None:
    with pytest.raises(ValueError, match=r"with width=1, p must be 0\.5, got 0\.3"):
        tr.mask(4, 0.3, 8, width=1)


@pytest.mark.parametrize("k", KEYS)
def test_normal_is_normal(k: int) -> None:
    n = 200_000
    z = to_numpy(tr.normal(k, n, dtype=np.float64))
    assert sigmas(z.mean(), 0.0, 1.0 / math.sqrt(n)) < 4.0
    assert sigmas(z.var(), 1.0, math.sqrt(2.0 / n)) < 4.0
    assert sigmas((z**3).mean(), 0.0, math.sqrt(15.0 / n)) < 4.0
    assert sigmas((z**4).mean(), 3.0, math.sqrt(96.0 / n)) < 4.0
    assert stats.kstest(z, "norm").pvalue > P_MIN
    assert sigmas(np.mean(z[1:] * z[:-1]), 0.0, 1.0 / math.sqrt(n)) < 4.0


def test_normal_variance_is_one_over_many_keys() -> None:
    keys = key(3, np.arange(400))
    z = to_numpy(tr.normal(keys, 5000, dtype=np.float64))
    deviation = (z.var(axis=1) - 1.0) / math.sqrt(2.0 / 5000)  # of each key, in sigmas
    assert sigmas(deviation.mean(), 0.0, 1.0 / math.sqrt(400)) < 4.0
    assert stats.kstest(deviation, "norm").pvalue > P_MIN


def test_normal_scales_and_shifts() -> None:
    z = to_numpy(tr.normal(KEYS[0], 1000, dtype=np.float64))
    np.testing.assert_allclose(to_numpy(tr.normal(KEYS[0], 1000, 3.0, 0.5, np.float64)),
                               0.5 * z + 3.0, rtol=1e-15)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 7), (256, 481), (0, 1000)])
def test_integers_are_uniform_on_their_range(low: int, high: int) -> None:
    draws = to_numpy(tr.integers(KEYS[1], low, high, 100_001))
    assert draws.dtype == np.int64 and draws.min() == low and draws.max() == high - 1
    assert stats.chisquare(np.bincount(draws - low)).pvalue > P_MIN


def test_integers_reach_both_ends_of_the_widest_range() -> None:
    draws = to_numpy(tr.integers(KEYS[1], -(1 << 31), 1 << 31, 100_000))
    assert draws.min() < -(1 << 31) + (1 << 20) and draws.max() > (1 << 31) - (1 << 20)


def test_permutations_are_uniform() -> None:
    orders = [tuple(to_numpy(tr.permutation(key(5, i), 4)).tolist()) for i in range(12_000)]
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > P_MIN


@given(st.integers(0, 300), st.integers(0, 2**64 - 1))
def test_permutation_holds_every_index_once(n: int, k: int) -> None:
    assert sorted(to_numpy(tr.permutation(k, n)).tolist()) == list(range(n))


@pytest.mark.parametrize("a", [0.2, 1.0, 2.5])
def test_beta_has_mean_one_half_and_its_variance(a: float) -> None:
    n = 20_000
    draws = np.array([tr.beta(key(11, i), a, a) for i in range(n)])
    variance = 1.0 / (4.0 * (2.0 * a + 1.0))
    assert draws.min() >= 0.0 and draws.max() <= 1.0
    assert sigmas(draws.mean(), 0.5, math.sqrt(variance / n)) < 4.0
    fourth = stats.beta(a, a).moment(4) - 4 * 0.5 * stats.beta(a, a).moment(3) \
        + 6 * 0.25 * stats.beta(a, a).moment(2) - 3 * 0.5**4
    assert sigmas(draws.var(), variance, math.sqrt((fourth - variance**2) / n)) < 4.0
    assert stats.kstest(draws, stats.beta(a, a).cdf).pvalue > P_MIN


def test_beta_with_different_and_tiny_parameters() -> None:
    draws = [tr.beta(key(12, i), 2.0, 5.0) for i in range(10_000)]
    assert stats.kstest(draws, stats.beta(2.0, 5.0).cdf).pvalue > P_MIN
    tiny = np.array([tr.beta(key(13, i), 1e-3, 1e-3) for i in range(4000)])
    outside = (tiny < 1e-9) | (tiny > 1.0 - 1e-9)  # nearly all mass sits at 0 and 1, none at 1/2
    expected = 2.0 * stats.beta(1e-3, 1e-3).cdf(1e-9)
    assert sigmas(outside.mean(), expected, math.sqrt(expected * (1 - expected) / 4000)) < 4.0
    assert sigmas((tiny > 0.5).mean(), 0.5, 0.5 / math.sqrt(4000)) < 4.0


def test_beta_of_neighbouring_plain_keys_is_independent() -> None:
    draws = np.array([tr.beta(i, 1.0, 1.0) for i in range(5000)])
    assert sigmas(np.corrcoef(draws[1:], draws[:-1])[0, 1], 0.0, 1.0 / math.sqrt(5000)) < 4.0


# Shapes, types, errors

@pytest.mark.parametrize("shape", [(), 0, 1, 7, (0, 3), (2, 3, 4)])
def test_shapes_and_dtypes(shape: int | tuple[int, ...]) -> None:
    wanted = (shape,) if isinstance(shape, int) else shape
    rng = Generator(1)
    for draw, dtype in [(rng.uniform(shape), "f4"), (rng.normal(shape), "f4"),
                        (rng.integers(0, 5, shape), "i8"), (rng.mask(0.5, shape), "?"),
                        (rng.uniform(shape, dtype=np.float16), "f2"),
                        (rng.normal(shape, dtype="f8"), "f8")]:
        assert draw.shape == wanted and draw.dtype == np.dtype(dtype)


def test_default_dtype_is_followed() -> None:
    set_default_dtype(np.float64)
    assert Generator().uniform(2).dtype == Generator().normal(2).dtype == np.float64
    set_default_dtype(np.float32)


@given(st.floats(-100, 100), st.floats(1e-3, 100))
def test_uniform_stays_in_its_interval(low: float, width: float) -> None:
    u = to_numpy(tr.uniform(KEYS[0], 2000, low, low + width, np.float64))
    assert low <= u.min() and u.max() <= low + width
    assert u.min() < low + 0.02 * width and u.max() > low + 0.98 * width


def test_errors_name_the_argument_and_the_value() -> None:
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"p must be a probability between 0 and 1, got {p}"):
            tr.mask(0, p, 3)
    with pytest.raises(ValueError, match=r"high must exceed low by 1 to 2.*32, got low=3, high=3"):
        tr.integers(0, 3, 3)
    with pytest.raises(ValueError, match="low=0, high=4294967297"):
        tr.integers(0, 0, (1 << 32) + 1)
    with pytest.raises(ValueError, match=r"a and b must be positive .* got a=0\.0, b=1\.0"):
        tr.beta(0, 0.0, 1.0)
    with pytest.raises(TypeError, match=r"key part 0 is int64: .* only the last"):
        key(np.arange(3), 1)
    for wrong, name in [(0.5, "float"), (np.ones(2), "float64"), (b"a", "bytes"), (True, "bool"),
                        (None, "NoneType")]:
        with pytest.raises(TypeError, match=f"key part 1 is {name}: parts are words and integers"):
            key(0, wrong)
    for seed in (1.5, "0", None, True):
        with pytest.raises(TypeError, match=f"seed must be an integer, got {seed!r}"):
            Generator(seed)  # type: ignore[arg-type]


# State

def test_generator_state_resumes_the_stream() -> None:
    rng = Generator(42)
    rng.normal(5)
    state = rng.get_state()
    ahead = [rng.uniform(3), rng.permutation(5), rng.beta(0.3, 0.3), rng.mask(0.5, 4)]
    for other in (rng, Generator()):
        other.set_state(state)
        again = [other.uniform(3), other.permutation(5), other.beta(0.3, 0.3), other.mask(0.5, 4)]
        for a, b in zip(ahead, again, strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    assert state == {"seed": 42, "counter": 1}


def test_generators_of_different_seeds_and_successive_draws_differ() -> None:
    a, b = Generator(0), Generator(1)
    draws = [to_numpy(g.uniform(4)).tolist() for g in (a, a, b, b)]
    assert len({tuple(d) for d in draws}) == 4


def test_generator_keeps_apart_from_keys_made_by_hand() -> None:
    rng = Generator(3)
    assert [rng.key() for _ in range(3)] != [key(3, i) for i in (1, 2, 3)]


def test_manual_seed_and_state_of_the_default_generator() -> None:
    tr.manual_seed(5)
    first = to_numpy(tr.default_generator.uniform(3))
    state = tr.get_state()
    second = to_numpy(tr.default_generator.uniform(3))
    tr.manual_seed(5)
    np.testing.assert_array_equal(to_numpy(tr.default_generator.uniform(3)), first)
    tr.set_state(state)
    np.testing.assert_array_equal(to_numpy(tr.default_generator.uniform(3)), second)


@given(st.integers(-(2**63), 2**64 - 1))
def test_every_integer_of_64_bits_seeds(seed: int) -> None:
    assert Generator(seed).get_state() == {"seed": seed, "counter": 0}
    assert 0.0 <= float(Generator(seed).uniform()) < 1.0
