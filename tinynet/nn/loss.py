"""Losses as modules, for those who like to pass them around; the formulas stand in
`functional/loss.py`.

Read next: `summary.py`.
"""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..checks import check_choice, check_probability
from ..tensor import Tensor
from .module import Buffer, Module


class _Loss(Module):
    reduction = "mean"

    def _set_reduction(self, reduction: str) -> None:
        self.reduction = check_choice("reduction", reduction, ("mean", "sum", "none"))


class CrossEntropyLoss(_Loss):
    """-log softmax(logits)[target]; takes raw scores (N, classes), so no Softmax before
    it.

    `target` holds class indices (N,) or probabilities (N, classes); `weight` one factor
    for each class; `label_smoothing` mixes that share of the uniform distribution into
    the target. At the start of training it is near log(classes) (E2).

    >>> loss = CrossEntropyLoss()
    >>> round(float(loss(tn.zeros((4, 10)), tn.tensor([0, 1, 2, 3]))), 6)
    2.302585
    """

    def __init__(self, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"
                 ) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.label_smoothing = check_probability("label_smoothing", label_smoothing)
        self._set_reduction(reduction)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.cross_entropy(logits, target, weight=self.weight,
                               label_smoothing=self.label_smoothing, reduction=self.reduction)


class MSELoss(_Loss):
    """(prediction - target)^2, averaged over all elements; shapes must be equal."""

    def __init__(self, reduction: str = "mean") -> None:
        self._set_reduction(reduction)

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, reduction=self.reduction)


class HingeLoss(_Loss):
    """sum over j != y of max(0, s_j - s_y + margin), averaged over the batch (E1)."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin = margin
        self._set_reduction(reduction)

    def forward(self, scores: Any, target: Any) -> Tensor:
        return F.hinge_loss(scores, target, margin=self.margin, reduction=self.reduction)
