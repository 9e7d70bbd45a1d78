"""The losses of `functional` as modules, for those who like to pass them around.

Read next: `nn/init.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .. import functional as F
from ..checks import check_probability
from ..functional.loss import check_reduction
from ..tensor import Tensor
from .module import Buffer, Module


def _made_first(init: Callable[..., None]) -> Callable[..., None]:
    """`init`, which is told from a call with outputs and targets."""
    takes_weights = "weight" in inspect.signature(init).parameters

    @functools.wraps(init)
    def call(self: Any, *args: Any, **options: Any) -> None:
        axes = [a.ndim for a in args if getattr(a, "ndim", 0)]
        if axes and axes != [1] * takes_weights:
            raise TypeError(f"a loss is made first, and then called: "
                            f"nn.{type(self).__name__}()(outputs, targets)")
        init(self, *args, **options)

    return call


class _Loss(Module):
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ == __name__:
            cls.__init__ = _made_first(cls.__init__)  # type: ignore[method-assign]


class CrossEntropyLoss(_Loss):
    """-log softmax(logits)[target]; takes raw scores (N, classes), so no Softmax before it.

    `target` holds class indices (N,) or probabilities (N, classes); `weight` one factor
    for each class; `label_smoothing` mixes that share of the uniform distribution into
    the target. At the start of training it is near log(classes).

    >>> loss = CrossEntropyLoss()
    >>> round(float(loss(tn.zeros((4, 10)), tn.tensor([0, 1, 2, 3]))), 6)
    2.302585
    """

    def __init__(self, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"
                 ) -> None:
        self.weight = weight
        if weight is not None:
            self.weight = Buffer(weight)
        self.label_smoothing = check_probability("label_smoothing", label_smoothing)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.cross_entropy(logits, target, weight=self.weight,
                               label_smoothing=self.label_smoothing, reduction=self.reduction)


class MSELoss(_Loss):
    """(prediction - target)^2, averaged over all elements; shapes must be equal."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(reduction)

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, reduction=self.reduction)


class HingeLoss(_Loss):
    """sum over j != y of max(0, s_j - s_y + margin), averaged over the batch."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin = margin
        self.reduction = check_reduction(reduction)

    def forward(self, scores: Any, target: Any) -> Tensor:
        return F.hinge_loss(scores, target, margin=self.margin, reduction=self.reduction)


class NLLLoss(_Loss):
    """-target's log-probability, averaged over the batch: for outputs of LogSoftmax."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        self.weight = weight
        if weight is not None:
            self.weight = Buffer(weight)
        self.reduction = check_reduction(reduction)

    def forward(self, log_probs: Any, target: Any) -> Tensor:
        return F.nll_loss(log_probs, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """-t log(p) - (1 - t) log(1 - p), p = sigmoid(logit): several labels for each sample."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, target, reduction=self.reduction)


class L1Loss(_Loss):
    """|prediction - target|, averaged over all elements; shapes must be equal."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(reduction)

    def forward(self, prediction: Any, target: Any) -> Tensor:
        return F.l1_loss(prediction, target, reduction=self.reduction)
