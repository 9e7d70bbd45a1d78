"""Dropout: switch values off at random in training, use all of them in evaluation.

    inverted   x mask / keep in training     x in evaluation         (keep = 1 - p)
    vanilla    x mask in training            x keep in evaluation

The mask is drawn outside the differentiable operation and comes in as an array, so the
operation is pure: its gradient is the same multiplication again. Only the mask (one
byte for each value) is kept for the backward pass.

Read next: `nn/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..backend import Array, accumulator, float_dtype, xp
from ..checks import float_of_one_dtype
from ..kernels import elementwise, memory
from ..operation import primitive
from ..ops.arithmetic import abs as absolute, astype, square
from ..ops.reduction import sum as total
from ..random import batch_mask, default_generator
from ..rules import operand_list, operands
from ..tensor import Tensor


@primitive(lambda g, mask, scale: _masked(g, mask, scale))
def _masked(x: Array, mask: Array, scale: float) -> Array:
    """x * mask * scale; the mask has x's shape, or one value for each channel of each sample."""
    if mask.shape != x.shape:
        return x * (mask.astype(x.dtype) * scale)
    return elementwise.masked(x, mask, scale)


def draw_key(what: str, p: float, key: int | None, training: bool = True) -> int | None:
    """The key of the noise: `key`, or in training the next one of the default generator."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{what}: p is the probability of zeroing, between 0 and 1, "
                         f"got {p}")
    if key is None and training and p > 0.0:
        return default_generator.key()
    return key


def _drop(what: str, x: Any, p: float, training: bool, shape: tuple[int, ...], inverted: bool,
          key: int | None) -> Tensor:
    key = draw_key(what, p, key, training)
    keep = 1.0 - p
    if p == 0.0 or (inverted and not training):
        return x
    float_of_one_dtype(what, x=x)
    if not training:
        return x * keep
    mask = batch_mask(key, keep, shape)  # in the order of the axes: layout changes no result
    values = x.data if isinstance(x, Tensor) else x
    if shape == values.shape and not values.flags.c_contiguous:
        order = memory.memory_order(values)
        mask = xp.ascontiguousarray(mask.transpose(order)).transpose(np.argsort(order))
    return _masked(x, mask, 1.0 / keep if inverted and keep else 1.0)


@operands("x")
def dropout(x: Any, p: float = 0.5, training: bool = True, *, inverted: bool = True,
            key: int | None = None) -> Tensor:
    """Inverted dropout: x * mask / (1 - p) in training, x itself in evaluation.

    `p` is the probability of ZEROING, as in PyTorch. (In the lecture's code p is the
    probability of keeping, which is 1 - p here.) The mean stays that of x, so
    evaluation needs no correction. With ``inverted=False`` the lecture's vanilla
    dropout: x * mask, and x * (1 - p) in evaluation. The mask comes from `key` (None:
    the next one of the default generator). Source: Srivastava et al. 2014; both forms
    as in CS231n lecture 8.

    >>> from tinynet import xp
    >>> dropout(xp.ones(8), p=0.5, key=3).tolist()
    [0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 2.0, 2.0]
    >>> x = xp.ones(8)
    >>> dropout(x, training=False) is x
    True
    """
    return _drop("dropout", x, p, training, tuple(x.shape), inverted, key)


@operands("x")
def dropout2d(x: Any, p: float = 0.5, training: bool = True, *, inverted: bool = True,
              key: int | None = None) -> Tensor:
    """Dropout of whole channels: of an (N, C, ...) array, each x[n, c] is zeroed or kept at once.

    Neighbouring pixels of a feature map are alike: what is zeroed alone is still seen
    beside it. Source: Tompson et al. 2015.
    """
    shape = tuple(x.shape)
    if len(shape) < 3:
        raise ValueError(f"dropout2d: x must have shape (N, C, H, W), got {shape}: for "
                         "feature vectors use dropout")
    return _drop("dropout2d", x, p, training, shape[:2] + (1,) * (len(shape) - 2), inverted,
                 key)


@operands("x")
def drop_path(x: Any, p: float = 0.5, training: bool = True, *, inverted: bool = True,
              key: int | None = None) -> Tensor:
    """Dropout of whole samples: of an (N, ...) array, each x[n] is zeroed or kept at once.

    What stochastic depth does to the body of a residual block, sample by sample.
    """
    shape = tuple(x.shape)
    return _drop("drop_path", x, p, training, shape[:1] + (1,) * (len(shape) - 1), inverted,
                 key)


def _added_up(what: str, measure: Callable[[Any], Any], weights: Iterable[Any]) -> Any:
    """The sum of measure(w); of float16 weights it is taken in float32, and rounded at the end."""
    weights = operand_list(what, "weights", weights)
    parts = [measure(astype(w, accumulator(float_dtype(w.dtype)))) for w in weights]
    if not parts:
        return 0.0
    return astype(sum(parts), np.result_type(*[float_dtype(w.dtype) for w in weights]))


def l2_penalty(weights: Iterable[Any]) -> Tensor:
    """R(W) = 1/2 sum of w^2 over all arrays, to add to a loss as strength * R.

    Its gradient is w: for SGD the same as ``weight_decay=strength``.
    Source: CS231n lecture 8.

    >>> from tinynet import xp
    >>> float(l2_penalty([xp.asarray([3.0, 4.0]), xp.asarray([[1.0]])]))
    13.0
    """
    return 0.5 * _added_up("l2_penalty", lambda w: total(square(w)), weights)


def l1_penalty(weights: Iterable[Any]) -> Tensor:
    """R(W) = sum of |w| over all arrays; its gradient is sign(w), 0 at 0. Both make elastic net."""
    return _added_up("l1_penalty", lambda w: total(absolute(w)), weights)
