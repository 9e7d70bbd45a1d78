"""Losses: the lecture's numbers, stability, and errors that name label and place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.arrays import close, host
from tinynet import Tensor, functional as F, grad
from tinynet.backend import xp
from tinynet.functional import loss
from tinynet.ops import creation, indexing


def logits_of(rng: Any, *shape: int) -> Tensor:
    return Tensor(rng.normal(shape, dtype="f8"), requires_grad=True)


# E1: the hinge loss

SCORES = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]


def test_E1_hinge_loss_of_the_lecture() -> None:
    scores = xp.array(SCORES)
    assert close(F.hinge_loss(scores, [0, 1, 2], reduction="none"), [2.9, 0, 12.9],
                       atol=1e-12)
    assert float(F.hinge_loss(scores, [0, 1, 2])) == pytest.approx(15.8 / 3, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_E1_hinge_loss_of_zero_scores_is_classes_minus_one(classes: int) -> None:
    assert float(F.hinge_loss(xp.zeros((4, classes)), [0, 1, 1, 0])) == classes - 1


def test_E1_hinge_gradient_rows_sum_to_zero(rng: Any) -> None:
    scores = logits_of(rng, 6, 5)
    labels = np.array([0, 1, 2, 3, 4, 0])
    ds = grad(F.hinge_loss(scores, labels), scores).data
    assert np.abs(ds.sum(1)).max() < 1e-16
    margins = scores.data - scores.data[range(6), labels][:, None] + 1 > 0
    margins[range(6), labels] = False
    wanted = margins / 6
    wanted[range(6), labels] = -margins.sum(1) / 6
    assert close(ds, wanted, atol=1e-16)


# E2: cross-entropy

def test_E2_first_loss_is_log_of_the_number_of_classes() -> None:
    assert float(F.cross_entropy(xp.zeros((7, 10)), np.arange(7))) == \
        pytest.approx(2.302585092994046, abs=1e-15)


def test_E2_gradient_is_probabilities_minus_one_hot(rng: Any) -> None:
    logits, labels = logits_of(rng, 5, 4), np.array([0, 3, 1, 1, 2])
    e = np.exp(host(logits))
    wanted = (e / e.sum(1, keepdims=True) - np.eye(4)[labels]) / 5
    assert np.abs(host(grad(F.cross_entropy(logits, labels), logits)) - wanted).max() < 1e-15


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_E2_stable_at_large_scores(dtype: str) -> None:
    logits = Tensor(np.array([[1e4, 0, -1e4], [-1e4, 1e4, 1e4]], dtype), requires_grad=True)
    losses = F.cross_entropy(logits, [0, 0], reduction="none")
    assert losses.dtype == dtype
    assert close(losses.data, [0, 2e4 + math.log(2)], rtol=1e-6)
    assert close(grad(losses.sum(), logits).data, [[0, 0, 0], [-1, 0.5, 0.5]], atol=1e-6)


def test_labels_probabilities_and_smoothing_agree(rng: Any) -> None:
    logits, labels = logits_of(rng, 6, 4), [0, 3, 1, 1, 2, 0]
    for smoothing in (0.0, 0.3):
        by_label = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        by_share = F.cross_entropy(logits, xp.eye(4)[labels], label_smoothing=smoothing)
        assert by_label.item() == pytest.approx(by_share.item(), abs=1e-14)
        assert close(grad(by_label, logits).data, grad(by_share, logits).data, atol=1e-15)


def test_nll_of_log_softmax_is_cross_entropy(rng: Any) -> None:
    logits, labels, weight = logits_of(rng, 5, 3), [0, 2, 1, 1, 0], np.array([0.5, 1.0, 2.0])
    a = F.cross_entropy(logits, labels, weight=weight).item()
    b = F.nll_loss(F.log_softmax(logits), labels, weight=weight).item()
    assert a == pytest.approx(b, abs=1e-14)


def test_probabilities_can_want_gradients(rng: Any) -> None:
    logits = logits_of(rng, 3, 4)
    target = Tensor(np.full((3, 4), 0.25), requires_grad=True)
    y = F.cross_entropy(logits, target)
    assert close(grad(y, target).data, -F.log_softmax(logits.data) / 3, atol=1e-15)


@pytest.mark.parametrize("kind", ["list", "int32", "uint8", "tensor"])
def test_kinds_of_labels(kind: str) -> None:
    labels: Any = [2, 0]
    if kind != "list":
        labels = np.array(labels, "int64" if kind == "tensor" else kind)
    if kind == "tensor":
        labels = Tensor(labels)
    assert float(F.cross_entropy(xp.array([[0.0, 1, 2]] * 2), labels)) == \
        pytest.approx(math.log(1 + math.e + math.e**2) - 1, abs=1e-15)


@pytest.mark.parametrize("f", [F.cross_entropy, F.hinge_loss, F.nll_loss])
@pytest.mark.parametrize(("shape", "target", "error", "words"), [
    ((3, 4), [0, 4, 1], ValueError, r"labels must lie in 0..3, got 4 at position 1"),
    ((3, 4), [0, 1, -1], ValueError, r"labels must lie in 0..3, got -1 at position 2"),
    ((3, 4), [0.0, 1.0, 2.0], TypeError, r"integer class labels, got float32 of shape \(3,\)"),
    ((3, 4), [[0], [1], [2]], ValueError, r"target must have shape \(3,\) .* got \(3, 1\): "
                                          r"take target.reshape\(\(3,\)\)"),
    ((3, 4), [0, 1], ValueError, r"target must have shape \(3,\) .* got \(2,\)"),
    ((3, 4), np.eye(4, dtype=int)[:3], ValueError, "one-hot rows, take target.argmax"),
    ((4,), [0], ValueError, r"scores must have shape \(N, C\).*got \(4,\)"),
    ((0, 4), [], ValueError, r"got \(0, 4\)"),
])
def test_errors_name_the_label(f: Any, shape: Any, target: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        f(Tensor(np.zeros(shape, "f4")), target)


@pytest.mark.parametrize("f", [F.hinge_loss, F.nll_loss])
def test_unchecked_labels_give_nan(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "on_gpu", True)  # where labels are not read back to be checked
    for module in (loss, creation, indexing):
        monkeypatch.setattr(module, "check_range", lambda *args: None)
    scores = Tensor(np.zeros((3, 4), "f4"), requires_grad=True)
    assert np.isfinite(f(scores, [0, 1, 2]).item())
    assert math.isnan(f(scores, [0, -1, 2]).item())
    assert np.isnan(f(scores, [0, -1, 2], reduction="none").data).tolist() == \
        [False, True, False]


@pytest.mark.parametrize(("options", "words"), [
    ({"reduction": "avg"}, "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    ({"label_smoothing": 1.5}, "label_smoothing must be a probability between 0 and 1, got 1.5"),
    ({"weight": [1.0, 2.0]}, r"weight must have shape \(3,\), one for each class, got \(2,\)"),
])
def test_unknown_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        F.cross_entropy(Tensor(np.zeros((2, 3))), [0, 1], **options)


# Regression

@pytest.mark.parametrize("f", [F.mse_loss, F.l1_loss, F.binary_cross_entropy_with_logits])
def test_no_silent_broadcast(f: Any) -> None:
    with pytest.raises(ValueError, match=r"target has shape \(4,\), the output \(4, 1\): reshape"):
        f(Tensor(np.ones((4, 1))), Tensor(np.ones(4)))
    with pytest.raises(ValueError, match="every output needs a target of its own"):
        f(Tensor(np.ones((4, 1))), 1.0)


@pytest.mark.parametrize("f", [F.mse_loss, F.l1_loss, F.binary_cross_entropy_with_logits])
def test_float64_target_does_not_promote(f: Any) -> None:
    x = Tensor(np.array([0.5, 1.5], "f4"), requires_grad=True)
    y = f(x, xp.array([0.0, 1.0]))
    assert y.dtype == grad(y, x).dtype == np.float32


def test_binary_cross_entropy_is_stable() -> None:
    x = Tensor([1e4, -1e4, 0.0], requires_grad=True)
    y = F.binary_cross_entropy_with_logits(x, [1.0, 1.0, 0.5], reduction="none")
    assert close(y.data, [0.0, 1e4, math.log(2)])
    assert close(grad(y.sum(), x).data, [0, -1, 0])


LOGITS = [0.0, 1e-3, 0.5, 5.0, 10.0, 15.0, 20.0, 40.0, 87.0, 100.0, 1e4]


@pytest.mark.parametrize("target", [0.0, 1.0, 0.25, 0.5, 1e-6])
@pytest.mark.parametrize("sign", [1, -1])
def test_binary_cross_entropy_keeps_float32_digits_at_any_logit_and_target(
        target: float, sign: int) -> None:
    z = np.array(LOGITS, "f4") * np.float32(sign)
    t = np.full(len(z), target, "f4")
    x = Tensor(xp.asarray(z), requires_grad=True)
    y = F.binary_cross_entropy_with_logits(x, xp.asarray(t), reduction="none")
    exact = z.astype(float)
    share = t.astype(float)
    losses = share * np.logaddexp(0, -exact) + (1 - share) * np.logaddexp(0, exact)
    assert y.dtype == np.float32
    assert close(y, losses, rtol=4e-7, atol=1e-44)
    if target in (0.0, 1.0):  # between them a slope is a difference, and may be 0
        with np.errstate(over="ignore"):
            slope = (1 - share) / (1 + np.exp(-exact)) - share / (1 + np.exp(exact))
        assert close(grad(y.sum(), x), slope, rtol=1e-6, atol=1e-43)  # e^-100 is 0 in its slope


def test_binary_cross_entropy_is_symmetric() -> None:
    z = Tensor(xp.asarray(LOGITS, "f4"))
    zeros = xp.zeros(z.shape, "f4")
    right = F.binary_cross_entropy_with_logits(z, zeros + 1, reduction="none")
    left = F.binary_cross_entropy_with_logits(-z, zeros, reduction="none")
    assert right.tolist() == left.tolist()


def test_a_certain_and_right_answer_costs_nothing_and_a_wrong_one_all() -> None:
    x = Tensor(xp.asarray([math.inf, -math.inf, math.inf, -math.inf]), requires_grad=True)
    t = xp.asarray([1.0, 0.0, 0.0, 1.0])
    y = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert y.tolist() == [0.0, 0.0, math.inf, math.inf]
    assert grad(y[:2].sum(), x).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert grad(y, x, xp.ones(4)).tolist() == [0.0, 0.0, 1.0, -1.0]


def test_soft_targets_of_binary_cross_entropy_can_want_gradients() -> None:
    x = Tensor(xp.asarray([-2.0, 0.0, 3.0]))
    t = Tensor(xp.asarray([0.2, 1.0, 0.0]), requires_grad=True)
    y = F.binary_cross_entropy_with_logits(x, t, reduction="sum")
    assert grad(y, t).tolist() == [2.0, 0.0, -3.0]


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]], ids=["plain", "weighted"])
def test_zero_times_log_of_zero_is_zero(weight: Any) -> None:
    logits = Tensor(xp.asarray([[-math.inf, 0.0, 0.0]]), requires_grad=True)
    factor = 2.0 if weight else 1.0
    weight = None if weight is None else xp.asarray(weight)
    soft = F.cross_entropy(logits, xp.asarray([[0.0, 1.0, 0.0]]), weight)
    assert soft.item() == pytest.approx(factor * math.log(2), abs=1e-15)
    assert close(grad(soft, logits), [[0.0, -factor / 2, factor / 2]])
    hard = F.cross_entropy(logits, [1], weight)
    assert hard.item() == pytest.approx(math.log(2), abs=1e-15)
    assert close(grad(hard, logits), [[0.0, -0.5, 0.5]])


def test_a_class_of_weight_0_counts_nothing_even_if_it_is_impossible() -> None:
    logits = Tensor(xp.asarray([[-math.inf, 0.0, 0.0], [0.0, 0.0, 0.0]]), requires_grad=True)
    weight = xp.asarray([0.0, 1.0, 1.0])
    for f in (F.cross_entropy, lambda x, *rest: F.nll_loss(F.log_softmax(x), *rest)):
        y = f(logits, [0, 2], weight)
        assert y.item() == pytest.approx(math.log(3))
        assert np.isfinite(host(grad(y, logits))).all()


def test_an_impossible_class_that_is_the_target_costs_infinity() -> None:
    logits = Tensor(xp.asarray([[-math.inf, 0.0]]), requires_grad=True)
    assert F.cross_entropy(logits, [0]).item() == math.inf
    assert F.cross_entropy(logits, xp.asarray([[0.5, 0.5]])).item() == math.inf
    assert math.isnan(F.cross_entropy(Tensor([[math.nan, 0.0]]), xp.asarray([[0.0, 1.0]])).item())


def test_the_target_s_gradient_is_minus_log_p_also_where_the_target_is_0() -> None:
    logits = Tensor(xp.asarray([[-1.0, 0.0, -math.inf]]))
    target = Tensor(xp.asarray([[0.0, 1.0, 0.0]]), requires_grad=True)
    slope = grad(F.cross_entropy(logits, target), target)
    p = np.exp([-1.0, 0.0]) / np.exp([-1.0, 0.0]).sum()
    assert close(slope, [[*-np.log(p), 0.0]])


def test_hinge_loss_passes_over_classes_that_cannot_win() -> None:
    scores = Tensor(xp.asarray([[-math.inf, 1.0, 0.5]]), requires_grad=True)
    y = F.hinge_loss(scores, [1])
    assert y.item() == 0.5
    assert grad(y, scores).tolist() == [[0.0, -1.0, 1.0]]
    lost = Tensor(xp.asarray([[-math.inf, 1.0]]))
    assert F.hinge_loss(lost, [0]).item() == math.inf


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.binary_cross_entropy_with_logits],
                         ids=["mse", "l1", "bce"])
def test_the_mean_loss_of_nothing_is_nan_without_a_warning(loss: Any, dtype: str) -> None:
    nothing = Tensor(xp.zeros((0, 3), dtype))
    assert np.isnan(float(loss(nothing, nothing)))
    assert float(loss(nothing, nothing, reduction="sum")) == 0.0
    assert loss(nothing, nothing, reduction="none").shape == (0, 3)
