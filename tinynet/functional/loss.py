r"""Losses: one number that says how wrong the outputs are, and so what training makes smaller.

Shapes must be equal, never broadcast: (n, 1) minus (n,) would be n^2 differences and a
net that learns nothing. Class labels are checked on the host; on a GPU, where reading
them back would stall the device, a label out of range makes the loss NaN instead.
`reduction` is "mean", "sum" or "none" (one loss for each sample). Losses of float16 are
computed in float32 and rounded at the end; 0 log 0 is 0.

Read next: `functional/conv.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, asarray, average, check_range, on_gpu, xp
from ..checks import check_choice, check_probability, check_scalar
from ..kernels import loss as fast
from ..operation import fused, primitive
from ..ops.arithmetic import (
    abs as absolute,
    astype,
    equal,
    logical_and,
    sigmoid,
    square,
    where,
    widened,
)
from ..ops.creation import one_hot
from ..ops.indexing import take_along_axis
from ..ops.reduction import mean, sum as total
from ..ops.shape import moveaxis, reshape
from ..random import current_share
from ..tensor import Tensor, raw
from .activation import log_softmax, relu

REDUCTIONS = {"mean": mean, "sum": total, "none": lambda losses: losses}


def check_reduction(reduction: Any) -> str:
    """`reduction`, which must be one of the three."""
    return check_choice("reduction", reduction, tuple(REDUCTIONS))


def _reduce(losses: Any, reduction: str) -> Tensor:
    return REDUCTIONS[check_reduction(reduction)](losses)


def _weighted(losses: Any, weights: Any) -> Any:
    """losses * weights, and 0 where a loss is infinite but its weight 0: 0 log 0 = 0."""
    nothing = logical_and(equal(weights, 0), equal(absolute(losses), math.inf))
    return where(nothing, 0.0, losses) * weights


# Regression

def _alike(what: str, x: Any, target: Any) -> Any:
    """`target` in the dtype of `x`; its shape must be that of `x`."""
    if not hasattr(target, "shape"):
        target = asarray(target)
    if target.shape != x.shape:
        fix = "every output needs a target of its own"
        if target.size == x.size:
            fix = f"reshape the target to {tuple(x.shape)}"
        raise ValueError(f"{what}: target has shape {tuple(target.shape)}, the output "
                         f"{tuple(x.shape)}: {fix}")
    if target.dtype != x.dtype and x.dtype.kind == "f":
        target = astype(target, x.dtype)
    return target


@primitive(lambda g, x, target: (x - target) * (g * (2.0 / (x.size or 1))),
           lambda g, x, target: (target - x) * (g * (2.0 / (x.size or 1))))
def _mean_squared_error(x: Array, target: Array) -> Array:
    difference = x - target
    return (difference * difference).sum() / (x.size or math.nan)  # of nothing: nan


@widened
def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The mean of (x - target)^2 over all elements.

    >>> from tinynet import xp
    >>> float(mse_loss(xp.array([1.0, 2.0]), [0.0, 4.0]))
    2.5
    """
    target = _alike("mse_loss", x, target)
    if reduction == "mean":
        return _mean_squared_error(x, target)
    return _reduce(square(x - target), reduction)


@widened
def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The mean of |x - target| over all elements."""
    return _reduce(absolute(x - _alike("l1_loss", x, target)), reduction)


@primitive(lambda g, x, target: g * (sigmoid(x) * (1.0 - target) - sigmoid(-x) * target),
           lambda g, x: -g * x)
def _binary_cross_entropy(x: Array, target: Array) -> Array:
    """log(1 + e^-|x|) + |x| (1 - t or t): no digits cancel, as in log(1 + e^x) - t x."""
    wrong = xp.where(x > 0, 1 - target, target)  # how much of the target is on the other side
    size = xp.where(wrong == 0, 0, xp.abs(x))  # no 0 * inf
    return xp.log1p(xp.exp(-xp.abs(x))) + size * wrong


def _check_shares(target: Any) -> None:
    """ValueError for targets outside 0 .. 1; on a GPU they are not read."""
    values = raw(target)
    if on_gpu or not values.size:
        return
    low = values.min()
    high = values.max()
    if low < 0 or high > 1:
        raise ValueError("binary_cross_entropy_with_logits: targets must lie between 0 "
                         f"and 1, got {low:g} to {high:g}: class numbers take cross_entropy")


@widened
def binary_cross_entropy_with_logits(logits: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The mean of -t log(p) - (1 - t) log(1 - p), p = sigmoid(logit), targets t from 0 to 1.

    Computed from the logits, so that nothing overflows and right answers keep all their
    digits.
    """
    target = _alike("binary_cross_entropy_with_logits", logits, target)
    _check_shares(target)
    return _reduce(_binary_cross_entropy(logits, target), reduction)


# Classification

def _rows(what: str, scores: Any) -> Any:
    """Scores as (samples, classes): of (N, C, ...) every position is a sample."""
    if len(scores.shape) < 2 or not math.prod(scores.shape):
        raise ValueError(f"{what}: the scores must have shape (N, C), N > 0 samples "
                         f"and C > 0 classes, got {tuple(scores.shape)}")
    if scores.shape[1] == 1:
        raise ValueError(f"{what}: scores of shape {tuple(scores.shape)} have one column, "
                         "so one class: the loss is 0 whatever they say. Two classes take "
                         "two columns, or one and binary_cross_entropy_with_logits; "
                         "a number to be predicted takes mse_loss")
    if len(scores.shape) == 2:
        return scores
    return reshape(moveaxis(scores, 1, -1), (-1, scores.shape[1]))


def _labels(what: str, target: Any, shape: tuple[int, ...]) -> Array:
    """`target` as checked class indices, one for each row of scores of `shape` (N, C, ...)."""
    labels = asarray(raw(target))
    if labels.dtype.kind not in "iu":
        hint = ""
        if what == "cross_entropy":
            hint = " or give probabilities in the shape of the scores"
        raise TypeError(f"{what}: target must hold integer class labels, got "
                        f"{labels.dtype} of shape {labels.shape}: convert them with "
                        f".astype(int){hint}")
    wanted = (shape[0], *shape[2:])
    if labels.shape != wanted:
        fix = "one label for each sample"
        if labels.shape == shape:
            fix = "these look like one-hot rows, take target.argmax(axis=1)"
        elif labels.size == math.prod(wanted):
            fix = f"take target.reshape({wanted})"
        raise ValueError(f"{what}: target must have shape {wanted} for scores of shape "
                         f"{shape}, got {labels.shape}: {fix}")
    check_range(f"{what}: labels", labels if isinstance(target, Tensor) else target, shape[1],
                f"The scores have {shape[1]} classes, numbered from 0.")
    return labels.reshape(-1)


def _class_weights(what: str, weight: Any, like: Any, classes: int) -> Array | None:
    if weight is None:
        return None
    weight = asarray(raw(weight))
    if weight.shape != (classes,):
        raise ValueError(f"{what}: weight must have shape {(classes,)}, one for each "
                         f"class, got {weight.shape}")
    return weight.astype(like.dtype)


def _mark_bad_labels(losses: Any, labels: Array, classes: int) -> Any:
    """On a GPU, NaN for labels out of range: there they were not checked, and indices wrap."""
    if not on_gpu:
        return losses
    known = (labels >= 0) & (labels < classes)
    return losses + xp.where(known, 0, xp.nan).astype(losses.dtype)


def _sum_of_batch(weights: Array, losses: Any) -> Array:
    """What the weighted losses are divided by for their mean: the sum of the weights, W_r.

    In training on several ranks it is n_r / N sum_s W_s: rank r's mean counts n_r / N.
    A chunk of a batch does not know it.
    """
    own = weights.sum()
    share = current_share()
    if share is not None and share.chunk_of is not None:
        raise ValueError("a batch in chunks with class weights: their mean divides by the "
                         "weights of the whole batch, which a chunk does not know. Use "
                         'reduction="sum"')
    if share is None or share.over is None or not getattr(losses, "requires_grad", False):
        return own
    whole = share.over.total(xp.asarray(own, "float64").reshape(1))[0]
    return (whole * (share.rows / share.total)).astype(own.dtype)


def _reduce_weighted(losses: Any, weights: Array | None, reduction: str,
                     shape: tuple[int, ...]) -> Tensor:
    """Losses of the rows, which carry their weights already; the mean divides by their sum."""
    if reduction == "none":
        return reshape(losses, (shape[0], *shape[2:]))
    if reduction == "mean" and weights is not None:
        return total(losses) / _sum_of_batch(weights, losses)
    return _reduce(losses, reduction)


def _pick(rows: Any, labels: Array) -> Any:
    """rows[i, labels[i]]"""
    return reshape(take_along_axis(rows, labels[:, None], 1), labels.shape)


@widened
def nll_loss(log_probs: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """The mean of -w_y log_probs[i, y_i]: cross-entropy for outputs of `log_softmax`.

    Shapes: log_probs (N, C) or (N, C, ...), target (N,) or (N, ...), weight (C,) or
    None.
    """
    check_reduction(reduction)
    shape = tuple(log_probs.shape)
    rows = _rows("nll_loss", log_probs)
    labels = _labels("nll_loss", target, shape)
    weights = _class_weights("nll_loss", weight, log_probs, shape[1])
    losses = _mark_bad_labels(-_pick(rows, labels), labels, shape[1])
    if weights is not None:
        weights = weights[labels]
        losses = _weighted(losses, weights)
    return _reduce_weighted(losses, weights, reduction, shape)


def cross_entropy_reference(logits: Any, *, labels: Array, averaged: bool = False) -> Tensor:
    """-log softmax, at the place of the label; the mean of the rows if `averaged`."""
    losses = -_pick(log_softmax(logits), labels)
    return mean(losses) if averaged else losses


@fused(reference=cross_entropy_reference)
def _softmax_cross_entropy(logits: Array, *, labels: Array, averaged: bool = False,
                           needs: Sequence[bool]) -> Any:
    losses, p = fast.softmax_cross_entropy(logits, labels)
    rows = len(losses)
    if averaged:
        losses = average(losses).astype(logits.dtype, copy=False)

    def backward(g: Array, wanted: Sequence[bool]) -> tuple[Array]:
        return (fast.softmax_cross_entropy_backward(g, p, labels, rows if averaged else 1),)

    return losses, backward


@widened
def cross_entropy(logits: Any, target: Any, weight: Any = None, label_smoothing: float = 0.0,
                  reduction: str = "mean") -> Tensor:
    r"""L_i = -sum_c w_c q_ic log p_ic,  p = softmax(logits); the mean over samples i.

    `target` holds class labels (integers) or probabilities t_ic (floats, in the shape
    of the logits); q = (1 - s) t + s / C with smoothing s, t being one-hot for labels.
    For labels the mean with class weights w divides by the sum of the samples' w_y;
    otherwise by N. Shapes: logits (N, C) or (N, C, ...), labels (N,) or (N, ...).
    Source: CS231n lecture 8.

    >>> from tinynet import Tensor, xp
    >>> logits = Tensor(xp.zeros((2, 10)), requires_grad=True)
    >>> loss = cross_entropy(logits, [3, 7])
    >>> round(loss.item(), 6)                   # log(10): the first loss of a new net
    2.302585
    """
    check_reduction(reduction)
    check_probability("label_smoothing", label_smoothing)
    shape = tuple(logits.shape)
    rows = _rows("cross_entropy", logits)
    classes = shape[1]
    weights = _class_weights("cross_entropy", weight, logits, classes)
    given = target if hasattr(target, "dtype") else asarray(target)
    labels = None
    if given.dtype.kind == "f" and given.shape == shape:
        q = _rows("cross_entropy", astype(given, logits.dtype))
    else:
        labels = _labels("cross_entropy", target, shape)
        if weights is None and not label_smoothing:  # the same, fused
            if reduction == "mean":
                return _softmax_cross_entropy(rows, labels=labels, averaged=True)
            losses = _softmax_cross_entropy(rows, labels=labels)
            return _reduce_weighted(losses, None, reduction, shape)
        q = one_hot(labels, classes, logits.dtype).data
    if label_smoothing:
        q = q * (1.0 - label_smoothing) + label_smoothing / classes
    if weights is not None:
        q = q * weights
    losses = -total(_weighted(log_softmax(rows), q), 1)
    if labels is None:
        return _reduce_weighted(losses, None, reduction, shape)
    losses = _mark_bad_labels(losses, labels, classes)
    if weights is not None:
        weights = weights[labels]
    return _reduce_weighted(losses, weights, reduction, shape)


@widened
def hinge_loss(scores: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    r"""L_i = sum over classes j other than y_i of max(0, s_ij - s_iy + margin)  (multiclass SVM).

    Shapes: scores (N, C), target (N,) class labels. Slope 0 at the kink.
    Source: CS231n lecture 8.

    >>> from tinynet import xp
    >>> scores = xp.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    >>> [round(float(l), 2) for l in hinge_loss(scores, [0, 1, 2], reduction="none")]
    [2.9, 0.0, 12.9]
    """
    check_reduction(reduction)
    check_scalar("hinge_loss: margin", margin)
    shape = tuple(scores.shape)
    rows = _rows("hinge_loss", scores)
    labels = _labels("hinge_loss", target, shape)
    correct = one_hot(labels, shape[1], bool).data
    own = take_along_axis(rows, labels[:, None], 1)
    others = where(correct, 0.0, rows)
    losses = total(where(correct, 0.0, relu(others - own + margin)), 1)
    losses = _mark_bad_labels(losses, labels, shape[1])
    return _reduce_weighted(losses, None, reduction, shape)
