"""What a step can and cannot show: saturated functions, large inputs, kinks and ties nearby."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import functional as F, primitive
from tinynet.gradcheck import gradcheck

SATURATED = {
    "cross-entropy": lambda x: F.cross_entropy(x, [0]),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": F.log_softmax,
    "sigmoid": tn.sigmoid,
    "tanh": tn.tanh,
    "one minus tanh": lambda x: 1.0 - tn.tanh(x),
    "erf": tn.erf,
    "logsumexp": lambda x: tn.logsumexp(x, axis=1),
    "binary cross-entropy": lambda x: F.binary_cross_entropy_with_logits(
        x, np.array([[1.0, 0.0]])),
}


@pytest.mark.parametrize("name", SATURATED)
@pytest.mark.parametrize("elementwise", [False, True], ids=["directions", "elements"])
def test_a_right_gradient_of_a_saturated_function_is_no_alarm(name: str, elementwise: bool
                                                              ) -> None:
    for gap in (15.0, 30.0, 40.0, 100.0):
        report = gradcheck(SATURATED[name], np.array([[gap / 2, -gap / 2]]), order=2,
                           elementwise=elementwise, check=False)
        assert report, (gap, report)


def test_what_the_step_cannot_show_is_said() -> None:
    report = gradcheck(SATURATED["cross-entropy"], np.array([[15.0, -15.0]]))
    assert report
    assert "the rounding of f hides slopes below" in report.worst.note
    assert "cannot show whether the gradient is right" in repr(report)


def test_a_wrong_gradient_that_rises_above_the_rounding_is_still_found() -> None:
    wrong = primitive(lambda g, y: g * y * (1.0 - y) * 1.01)(lambda x: 1.0 / (1.0 + np.exp(-x)))
    for x in (0.0, 4.0, 8.0, 12.0, -15.0):
        report = gradcheck(wrong, [x], check=False)
        assert not report, x
        assert report.worst.error == pytest.approx(0.01 / 1.01, rel=1e-2)


@pytest.mark.parametrize("size", [1e3, 1e7, 1e10, 1e13, 1e15])
def test_a_step_that_ties_with_its_number_within_rounding_is_enlarged(size: float) -> None:
    x = np.array([1.7, -0.9, 0.3]) * size
    for f in (lambda x: (x * x).sum(), lambda x: (3.0 * x).sum(), lambda x: tn.sqrt(x * x + 1.0),
              lambda x: tn.log(tn.abs(x) + 1.0)):
        for elementwise in (False, True):
            assert gradcheck(f, x, elementwise=elementwise)
    wrong = primitive(lambda g, x: 1.01 * g / x)(lambda x: np.log(x))
    for elementwise in (False, True):
        report = gradcheck(wrong, np.abs(x), elementwise=elementwise, check=False)
        assert not report
        assert report.worst.error == pytest.approx(0.01 / 1.01, rel=1e-2)


KINKED: dict[str, Any] = {
    "relu": F.relu,
    "abs": tn.abs,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "clip": lambda x: tn.clip(x, 0.0, 1.0),
    "a kink of the second derivative": lambda x: F.relu(x) * x,
}
DISTANCES = (1e-17, -3e-12, 2e-8, 7.7e-8, -2e-6, 3e-5)


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_a_kink_at_any_distance_is_no_alarm(name: str, offset: float) -> None:
    for distance in DISTANCES:
        x = np.array([0.8, distance, -0.6, 0.3])
        report = gradcheck(lambda x: KINKED[name](x).sum() + offset, x, order=2, check=False)
        assert report, (distance, report)


WINNERS: dict[str, Any] = {
    "max": lambda x: tn.max(x, axis=1),
    "min": lambda x: tn.min(x, axis=1),
    "sort": lambda x: tn.sort(x, axis=1),
    "median": lambda x: tn.median(x, axis=1),
    "largest size": lambda x: tn.norm(x, ord=float("inf"), axis=1),
}


@pytest.mark.parametrize("name", WINNERS)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_winners_that_tie_nearly_are_no_alarm(name: str, offset: float) -> None:
    for distance in DISTANCES[::2] if offset else DISTANCES:
        x = np.array([[0.4, 2.0, 2.0 + distance, -0.7], [1.0, 0.1 + 0.2, 0.3, -1.0]])
        report = gradcheck(lambda x: WINNERS[name](x) + offset, x, order=2, directions=1,
                           check=False)
        assert report, (distance, report)


def _square(error: float) -> Any:
    return primitive(lambda g, x: 2.0 * error * g * x)(np.square)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0])
@pytest.mark.parametrize("size", [1e-8, 1e-5, 1e-2, 1.0])
def test_a_wrong_slope_is_found_element_by_element_however_small_it_is(
        size: float, scale: float) -> None:
    """Outputs that stand still hide nothing of the one that moves."""
    x = size * np.array([0.3, -1.2, 0.7])
    right = _square(1.0)
    wrong = _square(1.01)
    assert gradcheck(lambda x: right(x) * scale, x, elementwise=True)
    assert not gradcheck(lambda x: wrong(x) * scale, x, elementwise=True, check=False)


def test_a_wrong_gradient_beside_a_kink_is_found_at_any_distance() -> None:
    wrong = primitive(lambda g, y: g * (y > 0) * 1.01)(lambda x: np.maximum(x, 0.0))
    for distance in DISTANCES:
        x = np.array([0.8, distance, 0.6])
        assert not gradcheck(lambda x: wrong(x).sum(), x, check=False), distance


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match=r"no option 'epsilon': there are .*eps, tolerance, seed"):
        gradcheck(tn.exp, [1.0], epsilon=1e-3)


def test_the_public_name_stays_the_function() -> None:
    import tinynet.gradcheck.table  # noqa: F401 - a package of the same name

    assert tn.gradcheck is gradcheck
    assert tn.gradcheck(tn.exp, [1.0])
