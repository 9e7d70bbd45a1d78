"""Averages of the weights: D5 with its numbers, stochastic weight averaging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import host
from tinynet import Tensor
from tinynet.backend import asarray
from tinynet.optim import EMA, SWA, Lookahead


def weights(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


def test_D5_zero_start_tends_to_constant_weights() -> None:
    w = weights(2.0, -3.0)
    ema = EMA([w], start="zero")
    shares = []
    for n in range(1, 1001):
        ema.update()
        shares.append(float(ema.averages["param0"][0]) / 2.0)
        assert host(ema.averages["param0"] / w.data) == pytest.approx(1 - 0.995**n, rel=1e-12)
    assert shares[999] == pytest.approx(0.99335, abs=5e-6)
    assert shares[137] < 0.5 < shares[138]  # 138.3 steps to the half
    assert np.log(0.5) / np.log(0.995) == pytest.approx(138, abs=0.5)


def test_D5_copy_start_keeps_constant_weights_and_follows_the_formula() -> None:
    w = weights(2.0)
    ema = EMA([w], decay=0.9)
    ema.update()
    assert float(ema.averages["param0"][0]) == pytest.approx(2.0, abs=1e-15)
    a = 2.0
    for value in (1.0, 5.0, -2.0):
        w.copy_(np.array([value]))
        ema.update()
        a = 0.9 * a + 0.1 * value
        assert float(ema.averages["param0"][0]) == pytest.approx(a)


def test_D5_debias_divides_the_zero_start_out() -> None:
    w = weights(2.0)
    ema = EMA([w], decay=0.9, start="zero", debias=True)
    for _ in range(3):
        ema.update()
        assert float(ema.result()["param0"][0]) == pytest.approx(2.0)


def test_D5_average_of_a_noisy_run_is_nearer_to_the_minimum() -> None:
    rng = np.random.default_rng(0)
    w = weights(*np.zeros(100))
    ema, far = EMA([("w", w)], decay=0.98), []
    for _ in range(500):
        w.copy_(0.9 * w.data + 0.1 * asarray(rng.normal(size=100)))
        ema.update()
        far.append([float((a * a).mean()) for a in (w.data, ema.averages["w"])])
    own, averaged = np.mean(far[200:], axis=0)
    assert averaged < own / 2


def test_swa_is_the_plain_mean() -> None:
    w = weights(0.0)
    swa = SWA([w])
    for value in (4.0, 1.0, 7.0):
        w.copy_(np.array([value]))
        swa.update()
    assert float(swa.result()["param0"][0]) == pytest.approx(4.0) and swa.n == 3


def test_applied_swaps_and_restores_bit_for_bit_also_after_an_error() -> None:
    w = weights(0.1, 0.7)
    own = w.data.copy()
    ema = EMA([w], decay=0.5, start="zero")
    ema.update()
    with pytest.raises(ZeroDivisionError), ema.applied():
        assert w.numpy() == pytest.approx(host(own) / 2)
        raise ZeroDivisionError
    assert (w.data == own).all()


def test_copy_to_another_model_by_name() -> None:
    w, other = weights(1.0), weights(9.0)
    ema = EMA([("w", w)])
    ema.copy_to([("w", other)])
    assert other.item() == 1.0
    with pytest.raises(ValueError, match=r"no average of \['v'\]"):
        ema.copy_to([("v", other)])


@pytest.mark.parametrize(("options", "message"), [
    ({"decay": 1.0}, r"in \[0, 1\), got 1.0"),
    ({"start": "one"}, "start must be 'copy' or 'zero', got 'one'"),
    ({"debias": True}, "start='zero'")])
def test_wrong_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EMA([weights(1.0)], **options)


def test_load_of_other_parameters_is_refused() -> None:
    ema = EMA([("a", weights(1.0))])
    for other in (EMA([("b", weights(1.0))]), EMA([("a", weights(1.0, 2.0))])):
        with pytest.raises(ValueError, match=r"other shapes: \[\('a', \(1,\)\), \("):
            ema.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match=r"lacks \['averages', 'n'\]"):
        ema.load_state_dict({})


@pytest.mark.parametrize("params", [[], [("a", weights(1.0)), ("a", weights(2.0))]])
def test_averages_need_names_of_their_own(params: Any) -> None:
    with pytest.raises(ValueError, match="is empty, or two of them have the same name"):
        SWA(params)


@pytest.mark.parametrize("make", [
    lambda p: EMA(p, 0.5), lambda p: EMA(p, 0.5, start="zero"),
    lambda p: EMA(p, 0.5, start="zero", debias=True), SWA], ids=["copy", "zero", "debias", "SWA"])
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_counters_and_masks_are_not_averaged(make: Any, dtype: str) -> None:
    w, counter = weights(2.0), Tensor(np.array([100, 1]).astype(dtype))
    average = make([("w", w), ("counter", counter)])
    for value in (3, 7, 0, 101):
        counter.copy_(np.array([value, 1]).astype(dtype))
        average.update()
    kept = average.result()["counter"]
    assert kept.dtype == dtype and host(kept).tolist() == host(counter.data).tolist()
    saved = average.state_dict()
    counter.copy_(np.array([0, 0]).astype(dtype))
    fresh = make([("w", weights(0.0)), ("counter", counter)])
    fresh.load_state_dict(saved)
    with fresh.applied():
        assert counter.dtype == dtype and host(counter.data).tolist() == host(kept).tolist()
    assert host(counter.data).tolist() == [0, 0]


def test_averages_of_float16_do_not_stop_at_its_rounding() -> None:
    w = Tensor(np.ones(1, "float16"), requires_grad=True)
    ema, swa = EMA([w], decay=0.999), SWA([w])
    w.copy_(np.full(1, 1.25, "float16"))
    for _ in range(2000):
        ema.update()
        swa.update()
    assert float(ema.averages["param0"][0]) == pytest.approx(1.25 - 0.25 * 0.999**2000, rel=1e-4)
    assert float(swa.averages["param0"][0]) == pytest.approx(1.25, rel=1e-6)
    ema.copy_to()
    assert w.dtype == "float16" and float(w.data[0]) == pytest.approx(1.2162, abs=1e-3)


def test_lookahead_takes_part_of_the_way_every_k_steps() -> None:
    w = weights(0.0, 10.0)
    slow = Lookahead([w], every=3, alpha=0.25)
    a = np.array([0.0, 10.0])
    x = a.copy()
    for step in range(1, 10):
        x = x + np.array([1.0, -2.0]) * step
        w.copy_(x)
        slow.update()
        if step % 3 == 0:
            a = a + 0.25 * (x - a)
            x = a.copy()
        assert host(w) == pytest.approx(x)
    assert slow.n == 9
    assert host(slow.averages["param0"]) == pytest.approx(a)


def test_lookahead_follows_a_schedule_of_alpha() -> None:
    w = weights(0.0)
    slow = Lookahead([w], every=2, alpha=lambda t: 1.0 if t > 2 else 0.0)
    for _ in range(4):
        w.copy_(host(w) + 1.0)
        slow.update()
    assert host(w).tolist() == [2.0]  # thrown away at the second, kept at the fourth
    with pytest.raises(ValueError, match="alpha must be"):
        Lookahead([w], every=1, alpha=lambda t: 1.5).update()


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 2.5}, {"alpha": -0.1}, {"alpha": 1.1},
                                     {"alpha": "x"}])
def test_lookahead_refuses_by_name(options: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(options))} must be"):
        Lookahead([weights(0.0)], **options)
