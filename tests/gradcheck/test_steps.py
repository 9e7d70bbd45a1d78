"""Which step shows what: numbers far from 0 and beside it, sharp bends, edges, ties beside ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F
from tinynet.gradcheck import gradcheck

Function = Callable[[Any], Any]

SMOOTH: dict[str, tuple[Function, list[float]]] = {
    "tanh far from zero": (lambda x: tn.tanh(x - 1e7), [1e7 + 0.3]),
    "sine far from zero": (tn.sin, [1e8]),
    "sine of numbers of all sizes": (tn.sin, [1e8, 1.0, 1e-4, 1e5, 0.0]),
    "a fast sine": (lambda x: tn.sin(1e6 * x), [1.0]),
    "a faster sine": (lambda x: tn.sin(1e8 * x), [1.0]),
    "a steep exponential": (lambda x: tn.exp(1e4 * x), [1e-3, 2e-3]),
    "log beside the edge": (tn.log, [1e-9]),
    "log at the smallest numbers": (tn.log, [1e-300]),
    "log beside an edge far from zero": (lambda x: tn.log(x - 1.0), [1.0 + 1e-9]),
    "log of numbers of all sizes": (tn.log, [1e-9, 1.0, 1e-4, 1e5]),
    "sqrt beside the edge": (tn.sqrt, [1e-10]),
    "powers beside the edge": (lambda x: x**1.5, [1e-7, 1e-12]),
    "x log x beside the edge": (lambda x: x * tn.log(x), [1e-7, 1e-12, 1e-20]),
    "beside a pole": (lambda x: 1.0 / x, [1e-7]),
    "beside a pole far from zero": (lambda x: tn.sin(x) / tn.cos(x), [np.pi / 2 - 1e-6]),
    "a sharp step": (lambda x: tn.tanh(1e9 * x), [3e-10]),
    "a large constant is added": (lambda x: tn.sin(x) + 1e7, [1.0, 2.0, 3.0]),
    "a large constant comes and goes": (lambda x: tn.sin((x + 1e7) - 1e7), [1.0, 2.0, 3.0]),
    "a kink beside the point": (F.relu, [1e-9, -1e-9, 1.0]),
    "nothing special": (lambda x: F.softmax(x, 0), [1.0, 2.0, 3.0]),
}


def times(f: Function, factor: float) -> Function:
    """The values of f, with a gradient `factor` times too large."""
    return lambda x: factor * f(x) + (1.0 - factor) * f(x).detach()


def without_the_last(f: Function) -> Function:
    """The values of f, whose gradient forgets the last number."""
    return lambda x: f(tn.concatenate([x[:-1], x[-1:].detach()]) + 0.0 * x)


@pytest.mark.parametrize("elementwise", [False, True], ids=["directions", "elements"])
@pytest.mark.parametrize("name", SMOOTH)
def test_some_step_shows_that_a_gradient_is_right(name: str, elementwise: bool) -> None:
    f, x = SMOOTH[name]
    report = gradcheck(f, np.array(x), elementwise=elementwise, check=False)
    assert report, report
    assert all(c.resolved for c in report)


@pytest.mark.parametrize("elementwise", [False, True], ids=["directions", "elements"])
@pytest.mark.parametrize("factor", [1.001, -1.0, 0.0])
@pytest.mark.parametrize("name", SMOOTH)
def test_some_step_shows_that_a_gradient_is_wrong(name: str, factor: float,
                                                  elementwise: bool) -> None:
    f, x = SMOOTH[name]
    report = gradcheck(times(f, factor), np.array(x), elementwise=elementwise, check=False)
    assert not report, report
    assert report.worst.error == pytest.approx(
        abs(factor - 1.0) / max(abs(factor), 1.0), rel=0.1)


@pytest.mark.parametrize("name", [name for name, (_, x) in SMOOTH.items()
                                  if len(x) == 3 and not name.startswith("x log x")])
def test_a_forgotten_number_is_found(name: str) -> None:
    f, x = SMOOTH[name]
    report = gradcheck(without_the_last(f), np.array(x), elementwise=True, check=False)
    assert [c.passed for c in report] == [True, True, False], report


UNRESOLVED: dict[str, tuple[Function, list[float]]] = {
    "a sine whose period is lost in rounding": (tn.sin, [1e15]),
    "a sine below the spacing of the numbers": (lambda x: tn.sin(1e15 * x), [1.0]),
    "a sine near the spacing of the numbers": (lambda x: tn.sin(1e10 * x), [1.0]),
    "a constant that swallows f": (lambda x: tn.sin((x + 1e13) - 1e13), [1.0]),
}


@pytest.mark.parametrize("name", UNRESOLVED)
def test_what_no_step_can_show_is_said_and_is_no_alarm(name: str) -> None:
    f, x = UNRESOLVED[name]
    report = gradcheck(f, np.array(x), elementwise=True, check=False)
    assert report, report
    assert "cannot show whether the gradient is right" in report[0].note \
        or "no step can show whether the gradient is right" in report[0].note


def test_an_unresolved_comparison_has_its_own_band() -> None:
    worst = gradcheck(lambda x: tn.sin(1e15 * x), [1.0], elementwise=True, check=False)[0]
    assert not worst.resolved
    assert worst.band == "unresolved"
    assert "wrong" not in str(worst)


def test_an_unresolved_element_hides_no_wrong_one() -> None:
    x = np.array([1e15, 1.0, 2.0, 0.5])
    assert gradcheck(tn.sin, x) and gradcheck(tn.sin, x, elementwise=True)
    factor = np.array([1.0, 1.0, 1.001, 1.0])
    wrong = gradcheck(lambda x: factor * tn.sin(x) + (1.0 - factor) * tn.sin(x).detach(), x,
                      elementwise=True, check=False)
    assert [c.passed for c in wrong] == [True, True, False, True]


@pytest.mark.parametrize("elementwise", [False, True], ids=["directions", "elements"])
def test_what_the_rounding_of_a_large_sum_hides_is_told(elementwise: bool) -> None:
    x = np.array([1e8, 1e8 + 0.5])
    for factor in (1.0, 3.0):
        report = gradcheck(lambda x, f=factor: times(tn.tanh, f)(1e-8 * x) + 1e8, x,
                           elementwise=elementwise)
        assert all("the rounding of f hides slopes below" in c.note for c in report)
    assert not any(c.note for c in gradcheck(lambda x: tn.tanh(1e-8 * x), x))


TIES: dict[str, tuple[Function, list[float]]] = {
    "max, ties beside near ties": (tn.max, [1.0, 1.0 + 1e-15, 1.0, 1.0 + 1e-15]),
    "max, a tie and a near tie": (tn.max, [2.0, 2.0, 2.0 - 1e-9, 0.0]),
    "max, many": (tn.max, [3.0] * 20),
    "min, ties beside near ties": (tn.min, [1.0, 1.0 - 1e-15, 1.0, 1.0 - 1e-15]),
    "median, odd": (tn.median, [1.0, 1.0, 1.0]),
    "median, even": (tn.median, [1.0, 1.0, 1.0, 1.0]),
    "median, many": (tn.median, [1.0] * 9),
    "median, ties beside near ties": (tn.median, [1.0, 1.0 + 1e-15, 1.0, 1.0 - 1e-15]),
    "median among others": (lambda x: tn.median(3.0 * x + 1.0), [1.0, 1.0, 1.0, 5.0, -3.0]),
    "sort": (tn.sort, [1.0] * 4),
    "sort, ties beside near ties": (tn.sort, [1.0, 1.0, 1.0 + 1e-12, 1.0, 2.0, 2.0, 2.0 - 1e-9]),
    "sort, many": (tn.sort, [3.0] * 12),
    "two winners added": (lambda x: tn.max(x[:3]) + tn.min(x[3:]), [1.0, 1.0, 1.0, 5.0, 5.0]),
    "largest size": (lambda x: tn.norm(x, ord=float("inf")), [1.0, -1.0, 1.0, 0.0]),
    "pool": (lambda x: F.max_pool2d(x.reshape(1, 1, 2, 2), 2), [1.0, 1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("offset", [0.0, 1e7])
@pytest.mark.parametrize("elementwise", [False, True], ids=["directions", "elements"])
@pytest.mark.parametrize("name", TIES)
def test_a_choice_between_winners_that_tie_is_no_alarm(name: str, elementwise: bool,
                                                       offset: float) -> None:
    f, x = TIES[name]
    report = gradcheck(lambda x: f(x) + offset, np.array(x), elementwise=elementwise, check=False)
    assert report, report


@pytest.mark.parametrize("factor", [-1.0, 3.0])
@pytest.mark.parametrize("name", TIES)
def test_what_no_winner_has_is_found_at_a_tie(name: str, factor: float) -> None:
    f, x = TIES[name]
    if name in ("max, many", "largest size"):  # a share, three times: still between 0 and 1
        factor = factor if factor < 0 else 30.0
    report = gradcheck(times(f, factor), np.array(x), elementwise=True, check=False)
    assert not report, report
