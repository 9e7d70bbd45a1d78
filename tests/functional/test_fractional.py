"""Fractional max pooling: the regions' numbers, the largest of each, passes averaged (G2)."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal, host
from tinynet import Tensor, functional as F, grad, nn
from tinynet.backend import asarray, xp
from tinynet.functional.fractional import fractional_regions
from tinynet.random import Generator, key

SIZES = [(25, 18), (36, 25), (32, 20), (7, 4), (8, 7), (9, 5)]
both_kinds = pytest.mark.parametrize("pseudo", [True, False])
both_modes = pytest.mark.parametrize("overlapping", [True, False])


@both_kinds
@both_modes
@pytest.mark.parametrize(("n", "parts"), SIZES)
def test_G2_steps_are_1_or_2_and_their_numbers_are_fixed(n: int, parts: int, pseudo: bool,
                                                          overlapping: bool) -> None:
    cuts = host(fractional_regions(n, parts, pseudo=pseudo, overlapping=overlapping, samples=200,
                                   key=1))
    span = n - 1 if overlapping else n  # the paper's 1 .. n, and 0 .. n
    assert cuts.shape == (200, parts + 1) and cuts.dtype == np.int64
    assert (cuts[:, 0] == 0).all() and (cuts[:, -1] == span).all()
    steps = np.diff(cuts)
    assert set(np.unique(steps)) <= {1, 2} and ((steps == 2).sum(1) == span - parts).all()


@pytest.mark.parametrize(("n", "parts"), SIZES)
def test_G2_pseudo_random_cuts_are_the_formula(n: int, parts: int) -> None:
    """a_i = ceil(alpha (i + u)) - ceil(alpha u): all found ones have some u, and differ evenly."""
    cuts = host(fractional_regions(n, parts, overlapping=False, samples=100, key=3))
    alpha, u = n / parts, (np.arange(2000) + 0.5) / 2000
    known = {tuple(np.ceil(alpha * (np.arange(parts + 1) + v)) - math.ceil(alpha * v)) for v in u}
    assert {tuple(c) for c in cuts} <= known
    # each pixel count of i + 1 neighbouring regions is alpha (i + 1), rounded up or down
    for i in range(1, parts):
        assert np.ptp(cuts[:, i:] - cuts[:, :-i]) <= 1


def test_G2_random_cuts_are_a_shuffle() -> None:
    """Of 7 pixels in 5 regions the two steps of 2 lie in each of the 10 ways equally often."""
    n = 5000
    cuts = host(fractional_regions(7, 5, pseudo=False, overlapping=False, samples=n, key=9))
    counts = Counter(tuple(steps) for steps in np.diff(cuts))
    assert len(counts) == 10
    assert all(abs(c - n / 10) < 4.5 * math.sqrt(n * 0.09) for c in counts.values())


@both_kinds
@both_modes
@pytest.mark.parametrize("per_sample", [True, False])
def test_G2_each_output_is_the_largest_of_its_region(overlapping: bool, pseudo: bool,
                                                     per_sample: bool, rng: Any) -> None:
    x = host(rng.normal((3, 2, 9, 8), dtype="f8")).round(1)  # with ties
    x = np.maximum(x, 0)
    options = {"pseudo": pseudo, "overlapping": overlapping}
    t = Tensor(asarray(x), requires_grad=True)
    y = F.fractional_max_pool2d(t, (6, 5), per_sample=per_sample, key=5, **options)
    g = host(rng.normal((3, 2, 6, 5), dtype="f8"))
    dx, wanted = host(grad(y, t, asarray(g))), np.zeros_like(x)
    rows, columns = (host(fractional_regions(n, parts, samples=3 if per_sample else 1,
                                             key=key(5, axis), **options))
                     for axis, n, parts in (("rows", 9, 6), ("columns", 8, 5)))
    more = 1 if overlapping else 0
    for n, c, i, j in np.ndindex(3, 2, 6, 5):
        a, b = rows[n % len(rows)], columns[n % len(columns)]
        region = x[n, c, a[i] : a[i + 1] + more, b[j] : b[j + 1] + more]
        assert min(region.shape) >= 1 and max(region.shape) <= 2 + more
        assert host(y)[n, c, i, j] == region.max()
        row, column = np.unravel_index(region.argmax(), region.shape)  # the first, by rows
        wanted[n, c, a[i] + row, b[j] + column] += g[n, c, i, j]
    np.testing.assert_allclose(dx, wanted, atol=1e-15)


@both_modes
def test_G2_every_pixel_is_in_a_region(overlapping: bool) -> None:
    for place in itertools.product((0, 6), repeat=2):
        x = np.zeros((1, 1, 7, 7))
        x[0, 0][place] = 1.0
        for k in range(5):
            y = F.fractional_max_pool2d(asarray(x), 5, overlapping=overlapping, key=k)
            assert host(y).max() == 1.0


def test_G2_sizes_by_ratio_are_the_papers() -> None:
    for size, ratio, out in ((36, 2**0.5, 25), (25, 2**0.5, 18), (32, 1.6, 20), (94, 1.25, 75)):
        layer = nn.FractionalMaxPool2d(ratio=ratio)
        assert layer(tn.zeros((1, 1, size, size))).shape == (1, 1, out, out)
    y = F.fractional_max_pool2d(xp.zeros((1, 1, 8, 6)), ratio=(2.0, 1.5), overlapping=False, key=0)
    assert y.shape == (1, 1, 4, 4)


def test_G2_ratio_two_without_overlap_is_the_plain_pool(rng: Any) -> None:
    x = rng.normal((2, 3, 8, 6))
    y = F.fractional_max_pool2d(x, (4, 3), overlapping=False, pseudo=False, key=1)
    assert equal(y, F.max_pool2d(x, 2))


def test_G2_regions_of_a_batch_or_of_each_sample(rng: Any) -> None:
    x = xp.tile(rng.normal((1, 2, 20, 20)), (6, 1, 1, 1))
    one = host(F.fractional_max_pool2d(x, 13, key=2))
    assert (one == one[:1]).all()
    each = host(F.fractional_max_pool2d(x, 13, per_sample=True, key=2))
    assert len({a.tobytes() for a in each}) == 6
    assert equal(F.fractional_max_pool2d(x[:4], 13, per_sample=True, key=2), each[:4])


def test_G2_an_explicit_generator_and_evaluation(rng: Any) -> None:
    x = Tensor(rng.normal((2, 3, 20, 20)))
    layer = nn.FractionalMaxPool2d(ratio=1.5, pseudo=False, generator=Generator(7))
    first, second = host(layer(x)), host(layer(x))
    again = nn.FractionalMaxPool2d(ratio=1.5, pseudo=False, generator=Generator(7))
    state = tn.get_state()
    assert not equal(first, second)
    assert equal(again(x), first) and equal(again(x), second)
    assert tn.get_state() == state, "a layer with a generator of its own leaves the others alone"
    layer.eval()
    assert equal(layer(x), layer(x)) and layer.generator.counter == 2
    assert not equal(layer(x), first)


def test_G2_the_mean_of_K_passes_has_a_variance_of_1_over_K(rng: Any) -> None:
    """By the paper's test time: K passes averaged, here of the whole net."""
    x = Tensor(rng.normal((1, 4, 20, 20), dtype="f8"))
    net = nn.Sequential(nn.FractionalMaxPool2d(ratio=1.5, pseudo=False), nn.GlobalAvgPool2d())
    spread = {}
    for k in (1, 4, 16):
        means = [host(nn.marginalize(net, x, how="sample", n=k, seed=s)) for s in range(120)]
        spread[k] = np.var(means, axis=0).mean()
    assert 2.4 < spread[1] / spread[4] < 6.5 and 2.4 < spread[4] / spread[16] < 6.5
    one, many = (nn.FractionalMaxPool2d(ratio=1.5, passes=k).eval()(x) for k in (1, 8))
    by_hand = np.mean([host(F.fractional_max_pool2d(x, ratio=1.5, key=key("test", k)))
                       for k in range(8)], axis=0)
    np.testing.assert_allclose(host(many), by_hand, rtol=1e-12)
    assert not equal(one, many)


def test_results_lie_channels_last(rng: Any) -> None:
    x = Tensor(rng.normal((2, 9, 9, 3)).transpose(0, 3, 1, 2), requires_grad=True)
    y = F.fractional_max_pool2d(x, 6, key=0)
    dx = grad(y, x, xp.ones_like(y.data))
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dx.data.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: F.fractional_max_pool2d(x), "give output_size or ratio, one of them"),
    (lambda x: F.fractional_max_pool2d(x, 3, ratio=1.5), "give output_size or ratio, one of them"),
    (lambda x: F.fractional_max_pool2d(x, ratio=2.5), "from 1 to 2 or two of them .*, got 2.5"),
    (lambda x: F.fractional_max_pool2d(x, 2), "6 pixels cannot be cut into 2 .* must be 3 to 5"),
    (lambda x: F.fractional_max_pool2d(x, 2, overlapping=False), "must be 3 to 6"),
    (lambda x: F.fractional_max_pool2d(x, 6), "regions of 2 or 3 pixels"),
    (lambda x: F.fractional_max_pool2d(x[0], 4), r"must have shape \(N, C, H, W\)"),
    (lambda x: nn.FractionalMaxPool2d(), "give output_size or ratio"),
    (lambda x: nn.FractionalMaxPool2d(3, passes=0), "passes must be an integer of at least 1"),
])
def test_errors(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(Tensor(xp.ones((1, 2, 6, 6))))
