"""Reductions over axes: sums, extremes, norms, and the running sum.

`axis` is None (all axes), an integer or a tuple; `keepdims` keeps the reduced axes with
length 1. What is added up or multiplied together is so in the dtype that
`backend.accumulator` says.

Read next: `ops/shape.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import (
    MANY,
    Array,
    accumulator,
    add_up,
    average,
    broadcast_to as stretched,
    float_dtype,
    on_gpu,
    xp,
)
from ..checks import answering, check_flag, check_number
from ..kernels import precision, sums
from ..operation import primitive
from ..rules import operands
from ..tensor import Tensor
from .arithmetic import (
    abs as absolute,
    astype,
    equal,
    exp,
    maximum,
    multiply,
    where,
    widened,
    without_derivative,
)
from .shape import (
    Axis,
    all_axes,
    as_axis,
    broadcast_to,
    concatenate,
    flip,
    moveaxis,
    one_axis,
    reshape,
)


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """A reduced `g` stretched over the axes it was reduced from."""
    if axis is not None and g.ndim < len(shape):
        g = reshape(g, _kept(shape, axis))
    if isinstance(g, Tensor):
        return broadcast_to(g, shape)
    return stretched(g, shape)  # at once: a call of an operation costs more


def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """`shape` with length 1 in place of the axes that are reduced."""
    lengths = list(shape)
    for i in all_axes(axis, len(shape)):
        lengths[i] = 1
    return tuple(lengths)


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements are reduced to one."""
    if axis is None:
        return math.prod(shape)
    return math.prod([shape[a] for a in all_axes(axis, len(shape))])


def _wide(g: Any) -> Any:
    """A gradient in the dtype of sums: 1 / 70,000 has few digits in float16."""
    if g.dtype.char == "e":
        return astype(g, np.float32)
    return g


@primitive(lambda g, x_shape, axis: _spread(g, x_shape, axis))
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over `axis`."""
    check_flag("keepdims", keepdims)
    axis = as_axis(axis)
    if axis == 0 and not keepdims and x.size > MANY:
        return sums.sum_to(x, x.shape[1:])
    return add_up(x, axis, keepdims)


@primitive(lambda g, x_shape, axis: _spread(_wide(g) / (_count(x_shape, axis) or 1), x_shape,
                                            axis))
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over `axis`."""
    check_flag("keepdims", keepdims)
    y = average(x, as_axis(axis), keepdims)
    if y.dtype.char == x.dtype.char:
        return y
    return y.astype(float_dtype(x.dtype))


@widened
@primitive(lambda g, axis: _centred(g, axis))
def _centred(x: Array, axis: Axis = None) -> Array:
    """x minus its mean over `axis`: a projection, which is its own adjoint."""
    return precision.centred(x, as_axis(axis))[0]


@widened
@primitive(lambda g, x, x_shape, axis, ddof: _spread(g, x_shape, axis)
           * _centred(x, axis) * (2.0 / (_count(x_shape, axis) - ddof)))
def var(x: Array, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """The variance over `axis`: squared distances from the mean, summed, over (n - ddof)."""
    check_flag("keepdims", keepdims)
    check_number("ddof", ddof)
    n = _count(x.shape, axis)
    if n <= ddof:
        raise ValueError(f"var with ddof={ddof} needs more than {ddof} values, got {n}")
    axis = as_axis(axis)
    v = precision.moments(x, axis)[1] * (n / (n - ddof))
    return (v if keepdims else v.squeeze(axis)).astype(x.dtype)


@widened
@answering
def std(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The standard deviation over `axis`, the square root of `var`; gradient 0 where it is 0."""
    return _root(var(x, axis, ddof, keepdims))


@primitive(lambda g, y: g * (y > 0) * 0.5 / where(y > 0, y, 1.0))
def _root(x: Array) -> Array:
    return xp.sqrt(x)


def _winners(g: Any, y: Any, x: Any, axis: Axis) -> Any:
    """The gradient of an extreme: shared equally by all elements that attain it."""
    won = x == _spread(y, x.shape, axis)
    share = astype(won, accumulator(g.dtype))
    return _spread(g, x.shape, axis) * share / sum(share, axis, True)


def _check_not_empty(what: str, x: Array, axis: Axis) -> None:
    if not x.size and not _count(x.shape, axis):
        raise ValueError(f"{what} over axis {axis} of an array of shape {x.shape}: "
                         "there are no elements to choose from")


@primitive(lambda g, y, x, axis: _winners(g, y, x, axis))
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest element over `axis`; equal ones share the gradient."""
    _check_not_empty("max", x, axis)
    return x.max(axis=as_axis(axis), keepdims=check_flag("keepdims", keepdims))


@primitive(lambda g, y, x, axis: _winners(g, y, x, axis))
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest element over `axis`; equal ones share the gradient."""
    _check_not_empty("min", x, axis)
    return x.min(axis=as_axis(axis), keepdims=check_flag("keepdims", keepdims))


@operands("x")
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over `axis`, folded in half again and again.

    Multiplying pairs, not dividing the product by each factor, keeps the gradient right
    (at any order) when factors are zero.
    """
    check_flag("keepdims", keepdims)
    shape = x.shape
    dtype = x.dtype
    axes = all_axes(axis, len(shape))
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    if dtype != accumulator(dtype):
        x = astype(x, accumulator(dtype))
    kept = tuple(shape[i] for i in rest)
    x = reshape(x.transpose((*rest, *axes)), (*kept, _count(shape, axis)))
    if x.shape[-1] == 0:
        x = sum(x, -1, True) + 1  # an empty product
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        odd = x[..., 2 * half :]
        x = multiply(x[..., :half], x[..., half : 2 * half])
        if odd.shape[-1]:
            x = concatenate([x, odd], axis=-1)
    if x.dtype.kind == "f" and x.dtype != dtype:
        x = astype(x, dtype)
    if keepdims:
        return reshape(x, _kept(shape, axis))
    return reshape(x, kept)


@primitive(lambda g, axis: flip(cumsum(flip(g, axis), axis), axis))
def cumsum(x: Array, axis: int) -> Array:
    """The running sum along `axis`."""
    y = xp.cumsum(x, axis=one_axis(axis, x.ndim), dtype=accumulator(x.dtype))
    if x.dtype.kind == "f":
        return y.astype(x.dtype, copy=False)
    return y


def _shares(x: Any, y: Any, axis: Axis) -> Any:
    """softmax(x) from y = logsumexp(x); zeros where all of x is -inf, and so is y."""
    lowest = float(np.finfo(y.dtype).min)
    return exp(x - _spread(maximum(y, lowest), x.shape, axis))


@widened
@primitive(lambda g, y, x, x_shape, axis: _spread(g, x_shape, axis) * _shares(x, y, axis))
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, computed around the largest element: no overflow.

    Of no elements, and of -inf alone, it is -inf; there its gradient is 0.
    """
    axis = as_axis(axis)
    check_flag("keepdims", keepdims)
    if not x.size:
        return x.sum(axis=axis, keepdims=keepdims) - math.inf
    top = x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    parts = add_up(xp.exp(x - top), axis, True)
    with np.errstate(divide="ignore"):  # log(0) = -inf
        y = xp.log(parts) + top
    if keepdims:
        return y
    return y.squeeze(axis)


@primitive(lambda g, y, x, x_shape, axis: _spread(g / where(y == 0, 1.0, y), x_shape, axis) * x)
def _euclidean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return xp.sqrt(add_up(x * x, as_axis(axis), check_flag("keepdims", keepdims)))


@widened
@answering
def norm(x: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The vector norm over `axis`: ord 2 (Euclid), 1 (the sum of |x|) or inf (the largest |x|).

    At 0 the Euclidean norm has gradient 0 here, and no meaningful second derivative.
    """
    if ord == 2:
        return _euclidean(x, axis, keepdims)
    if ord == 1:
        return sum(absolute(x), axis, keepdims)
    if ord == math.inf:
        return max(absolute(x), axis, keepdims)
    raise ValueError(f"norm knows ord 1, 2 and inf, got {ord!r}")


def _one_or_all(axis: int | None, ndim: int) -> int | None:
    return None if axis is None else one_axis(axis, ndim)


def _place(x: Array, axis: int | None, extreme: str) -> Array:
    axis = _one_or_all(axis, x.ndim)
    _check_not_empty(f"arg{extreme}", x, axis)
    if on_gpu and x.dtype.kind == "f":  # of several nan CuPy takes any, NumPy the first
        value = getattr(x, extreme)(axis=axis, keepdims=True)
        return ((x == value) | (x != x)).argmax(axis=axis)
    return getattr(x, f"arg{extreme}")(axis=axis)


@without_derivative
def argmax(x: Array, axis: int | None = None) -> Array:
    """The place of the largest element, or of nan (the first of several)."""
    return _place(x, axis, "max")


@without_derivative
def argmin(x: Array, axis: int | None = None) -> Array:
    """The place of the smallest element, or of nan (the first of several)."""
    return _place(x, axis, "min")


@without_derivative
def all(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether all elements are true."""
    return x.all(axis=as_axis(axis), keepdims=check_flag("keepdims", keepdims))


@without_derivative
def any(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether an element is true."""
    return x.any(axis=as_axis(axis), keepdims=check_flag("keepdims", keepdims))


@without_derivative
def argsort(x: Array, axis: int = -1) -> Array:
    """The order that sorts `x` along `axis`, equal elements in their old order."""
    return xp.argsort(x, axis=one_axis(axis, x.ndim), kind="stable")


@operands("x")
def sort(x: Any, axis: int = -1) -> Tensor:
    """`x` sorted along `axis`, ascending."""
    from .indexing import take_along_axis

    return take_along_axis(x, argsort(x, axis), axis)


@widened
@answering
def median(x: Any, axis: int = -1) -> Tensor:
    """The middle element along `axis` (the mean of the two middle ones); nan if one is nan."""
    ordered = moveaxis(sort(x, axis), axis, -1)
    n = ordered.shape[-1]
    if n == 0:
        raise ValueError(f"median along axis {axis} of an array of shape {x.shape}: "
                         "there are no elements")
    middle = (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) * 0.5
    last = ordered[..., -1]  # nan sorts to the end
    return where(equal(last, last), middle, last)
