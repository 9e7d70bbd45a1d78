"""gradcheck finds what is wrong, says where and how much, and knows a kink from an error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.arrays import equal
from tinynet import Tensor, functional as F, nn, primitive, random
from tinynet.backend import xp
from tinynet.gradcheck import (
    BANDS,
    Comparison,
    GradcheckError,
    Report,
    gradcheck,
    gradcheck_module,
)


def scaled(factor: float) -> Any:
    """x * x with a derivative that is off by a factor."""
    return primitive(lambda g, x: g * (2.0 * factor) * x)(lambda x: x * x)


# What it finds

def test_wrong_gradient_is_reported_with_input_index_values_error_and_band() -> None:
    @primitive(lambda g, b: g * b, lambda g, a: g * a * (a < 5))
    def product(a: Any, b: Any) -> Any:
        return a * b

    a, b = np.array([[1.0, 2.0], [7.0, 4.0]]), np.ones((2, 2))
    with pytest.raises(GradcheckError) as error:
        gradcheck(lambda weight, scale: product(weight, scale).sum(), a, b)
    text = str(error.value)
    assert "gradcheck FAILED" in text and "order 1" in text
    assert "input 1 (scale), index (1, 0): analytic 0, numeric 7" in text
    assert "relative error 1.0e+00: wrong" in text
    assert "no gradient arrives here" in text
    assert isinstance(error.value, AssertionError)


@pytest.mark.parametrize(("factor", "words"), [
    (-1.0, "the sign is wrong"), (2.0, "2 times too large"), (1 / 3, "3 times too small"),
    (1.03, "wrong"), (1.003, "uncomfortable"), (1.00003, "fine with kinks"), (0.0, "no gradient")])
def test_errors_fall_in_the_bands_of_the_notes_and_get_a_hint(factor: float, words: str) -> None:
    report = gradcheck(lambda x: scaled(factor)(x).sum(), [1.5, -2.0], check=False)
    assert not report and words in repr(report)
    assert report.worst.error == pytest.approx(abs(1 - factor) / max(1, abs(factor)), rel=1e-3)


def test_bands_have_the_bounds_of_the_notes() -> None:
    assert [bound for bound, _ in BANDS] == [1e-2, 1e-4, 1e-7]
    found = [Comparison(1, "", 0.0, 0.0, error, True).band for error in (1.0, 5e-3, 1e-6, 1e-8)]
    assert found == ["wrong", "uncomfortable", "fine with kinks", "good"]


def test_one_wrong_element_of_a_thousand_is_found() -> None:
    mask = xp.ones((10, 10, 10))
    mask[3, 1, 4] = 1.01
    wrong = primitive(lambda g, y: g * y * mask)(lambda x: xp.exp(x))
    report = gradcheck(wrong, random.normal(1, mask.shape, dtype=float), check=False)
    assert not report
    assert all(c.where == "input 0 (x), index (3, 1, 4)" for c in report)
    assert report.worst.error == pytest.approx(0.01 / 1.01, rel=1e-4)


def test_a_forgotten_path_and_a_detached_tensor_are_found() -> None:
    x = [0.3, 0.4, 1.0]
    assert not gradcheck(lambda x: (x - x.mean().detach()) ** 2, x, check=False)
    report = gradcheck(lambda x: (Tensor(x.data) * 2.0).sum(), x, check=False)
    assert "is there a .detach()" in repr(report)


def test_order_2_finds_what_order_1_cannot_see() -> None:
    """The first derivative is right; that of the derivative was cut off."""
    @primitive(lambda g, x: g * Tensor(3.0 * x.data * x.data) if isinstance(x, Tensor)
               else 3.0 * g * x * x)
    def cube(x: Any) -> Any:
        return x**3

    x = [1.0, -0.5]
    assert gradcheck(cube, x)
    report = gradcheck(cube, x, order=2, check=False)
    assert not report and report.order(1) and not report.order(2)
    assert report.worst.order == 2


def test_recorded_gradient_that_differs_from_the_plain_one_is_found() -> None:
    @tn.fused(reference=lambda x: x * x * 1.001)
    def square(x: Any, *, needs: Any) -> Any:
        return x * x, lambda g, wanted: (2.0 * g * x,)

    assert gradcheck(square, [1.0, 2.0])
    report = gradcheck(square, [1.0, 2.0], order=2, check=False)
    assert not report and "recorded and plain gradient of order 1" in report.worst.where
    assert "through its reference" in report.worst.note


def test_elementwise_compares_every_element_or_some() -> None:
    x, y = np.ones((2, 3)), np.array([1.0, 2.0])
    every = gradcheck(lambda x, y: x.sum() * y, x, y, elementwise=True)
    assert len(every) == 8 and {c.where for c in every} >= {"input 0 (x), index (1, 2)",
                                                            "input 1 (y), index (0,)"}
    assert len(gradcheck(lambda x, y: x.sum() * y, x, y, elementwise=1)) == 2
    failed = gradcheck(scaled(1.5), [1.0, 0.0, 2.0], elementwise=True, check=False)
    assert [c.passed for c in failed] == [False, True, False]  # 0 has the derivative 0 anyhow


def test_any_order_of_a_smooth_function() -> None:
    report = gradcheck(lambda x, y: tn.sin(x * y).sum(axis=0), np.ones((2, 3)) * 0.3,
                       np.array([0.1, -2.0, 1.0]), order=4)
    assert report and report.worst.error < 1e-8 and {c.order for c in report} == {1, 2, 3, 4}
    assert "order 4: 3 comparisons" in repr(report) and "gradcheck passed" in repr(report)


# Kinks

def test_a_kink_within_the_step_is_told_from_an_error() -> None:
    x = [1.0, 2e-6, -3e-5, -1.0]
    for order in (1, 2):
        report = gradcheck(F.relu, x, order=order, elementwise=True)
        notes = [c.note for c in report if c.note]
        assert notes and all("has a kink in between" in note for note in notes)
    assert "a kink in between (a max or a ReLU changes its winner)" in repr(report)
    wrong = primitive(lambda g, y: g * (y > 0) * 1.01)(lambda x: np.maximum(x, 0.0))
    found = gradcheck(wrong, x, elementwise=True, check=False)
    assert [c.passed for c in found] == [False, False, True, True]
    assert found[1].error == pytest.approx(0.01 / 1.01, rel=1e-3)  # of the step that can tell


@pytest.mark.parametrize("f", [tn.abs, lambda x: tn.maximum(x, 0.0),
                               lambda x: tn.clip(x, 0.0, 2.0)])
def test_no_alarm_where_the_gradient_is_the_mean_of_both_sides(f: Any) -> None:
    assert gradcheck(f, np.zeros((2, 3)), order=2)


@pytest.mark.parametrize("f", [F.relu, lambda x: F.leaky_relu(x),
                               lambda x: F.hinge_loss(x, [0, 1], margin=0.0)])
def test_no_false_alarm_exactly_on_a_kink(f: Any) -> None:
    report = gradcheck(f, np.zeros((2, 3)), order=2)
    notes = [c.note for c in report if c.note]
    assert any("a kink is exactly here" in note for note in notes)
    assert any("not an error" in note for note in notes)


def test_no_false_alarm_for_equal_winners_of_a_max() -> None:
    x = np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]])
    for f in (lambda x: tn.max(x, axis=1), lambda x: tn.min(-x), lambda x: tn.sort(x, axis=1)):
        assert gradcheck(f, x, order=2)
    image = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])[None, None]
    assert gradcheck(lambda x: F.max_pool2d(x, 2, stride=1), image, order=2)
    report = gradcheck(lambda x: tn.max(x, axis=1), x, order=2, elementwise=True)
    assert any("f jumps here" in c.note for c in report.order(2))


def test_too_many_kinks_are_no_pass() -> None:
    report = gradcheck(F.relu, np.zeros(200), directions=1, check=False)
    assert not report and "more than 100 elements sit exactly on a kink" in report.worst.note


def test_an_error_beside_a_kink_and_one_at_it_are_still_found() -> None:
    wrong = primitive(lambda g, y: g * (y > 0) * 1.5)(lambda x: np.maximum(x, 0.0))
    assert not gradcheck(wrong, [0.0, 0.0, 1.0], check=False)
    beyond = primitive(lambda g, x: g * np.where(x == 0, 7.0, x > 0))(lambda x: np.maximum(x, 0))
    assert not gradcheck(beyond, [0.0, 1.0], check=False)  # 7 is not between 0 and 1
    smooth = primitive(lambda g, x: g * np.where(x == 0, 0.0, 1.0))(lambda x: x * 1.0)
    assert not gradcheck(smooth, [0.0, 1.0], check=False)  # x has no kink at 0


# What it is given

def test_inputs_of_other_types_are_handed_on_and_floats_become_float64() -> None:
    seen: list[Any] = []

    def f(x: Any, labels: Any, scale: Any) -> Any:
        seen[:] = [x.dtype, labels, scale.dtype]
        return F.cross_entropy(x * scale, labels)

    labels = np.array([0, 2])
    assert gradcheck(f, np.ones((2, 3), "f4"), labels, 0.1)
    assert seen[0] == seen[2] == np.float64 and seen[1] is labels
    with pytest.raises(TypeError, match="needs an input of floats to differentiate, got ndarray"):
        gradcheck(lambda x: x, np.arange(3))


def test_a_python_float_is_not_rounded_to_float32() -> None:
    point: list[float] = []
    gradcheck(lambda x: point.append(x.item()) or x * 1.0, 0.1)  # type: ignore[func-returns-value]
    assert point[0] == 0.1


def test_random_layers_are_frozen_and_the_state_is_put_back() -> None:
    random.manual_seed(7)
    random.default_generator.uniform(3)
    before = random.get_state()
    assert gradcheck(lambda x: F.dropout(x, 0.5) * x, np.ones((4, 5)), order=2)
    assert random.get_state() == before


def test_what_is_not_deterministic_is_refused() -> None:
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        return x * float(len(calls))

    with pytest.raises(GradcheckError, match=r"not deterministic.*differ by up to 2"):
        gradcheck(f, [1.0, 2.0])


def test_an_output_that_is_not_float64_or_no_tensor_is_explained() -> None:
    with pytest.raises(TypeError, match=r"f returned float32, although its inputs are float64"):
        gradcheck(lambda x: x.astype("float32"), [1.0])
    with pytest.raises(TypeError, match=r"f returned ndarray.*was .data or .item\(\) used"):
        gradcheck(lambda x: x.data, [1.0])


def test_nan_is_never_a_pass() -> None:
    broken = primitive(lambda g, x: g * x * math.nan)(lambda x: x * 1.0)
    report = gradcheck(broken, [1.0, 2.0], check=False)
    assert not report and report.worst.error == math.inf
    edge = gradcheck(lambda x: tn.where(x > 1.0, math.nan, x), [1.0], check=False)
    assert not edge and "f is not a number next to these inputs" in edge.worst.note


def test_tuples_of_outputs_all_count() -> None:
    assert gradcheck(lambda x: (x * x, x.sum(), "note"), [1.0, 2.0], order=2)
    assert not gradcheck(lambda x: (x * x, scaled(1.1)(x)), [1.0, 2.0], check=False)


def test_tiny_and_zero_gradients_are_no_alarm() -> None:
    assert gradcheck(lambda x: x * 0.0 + 1e6, [1.0, 2.0])
    assert gradcheck(lambda x: x * 1e-30, [1.0, 2.0], order=2)
    assert not gradcheck(lambda x: scaled(0.5)(x) * 1e-30, [1.0, 2.0], check=False)
    assert not gradcheck(lambda x: scaled(0.5)(x) * 1e-3 + 1e6, [1.0, 2.0], check=False)


def test_report_is_a_list_that_knows_its_worst() -> None:
    good, bad = (Comparison(1, "", 1.0, 1.0, error, passed)
                 for error, passed in ((1e-3, True), (1e-5, False)))
    assert Report([good]) and not Report([good, bad]) and Report([good, bad]).worst is bad


# Networks

def test_a_module_is_checked_by_its_parameters_names_and_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.3),
                          nn.Flatten(), nn.Linear(8, 3))
    before = {name: value.copy() for name, value in model.state_dict().items()}
    nodes = [p.node for p in model.parameters()]
    x = random.normal(1, (4, 1, 4, 4))
    report = gradcheck_module(model, x, loss=lambda y: F.cross_entropy(y, [0, 1, 2, 1]), order=2)
    assert report and report.worst.error < 1e-6
    assert [p.node for p in model.parameters()] == nodes
    assert all(equal(value, before[name]) and value.dtype == before[name].dtype
               for name, value in model.state_dict().items())
    assert all(p.dtype == np.float32 and p.grad is None for p in model.parameters())


def test_the_wrong_parameter_of_a_module_is_named() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            bias = primitive(lambda g: g * 0.5)(lambda x: x)(self.second.bias)
            return F.linear(tn.tanh(self.first(x)), self.second.weight, bias)

    with pytest.raises(GradcheckError, match=r"order 1, second\.bias, index \(0,\).*\n.*2 times"):
        gradcheck_module(Net(), np.ones((4, 2)))
