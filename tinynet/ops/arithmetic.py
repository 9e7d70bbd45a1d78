"""Element-wise operations as a table of calculus: each value, and its derivative beside it.

Operands broadcast as in NumPy; the engine undoes it for the gradients. Where a function
has a kink, the text says which value stands in for the derivative.

Read next: `ops/reduction.py`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..backend import Array, accumulator, as_dtype, as_float, float_dtype, xp
from ..foreign import refusal
from ..kernels import activation, elementwise, erf as erf_kernel
from ..kernels.kernel import SERIAL_BYTES
from ..operation import primitive
from ..rules import as_arrays, as_operand, operand, operands, unpack
from ..tensor import Tensor, wrap

P = ParamSpec("P")
R = TypeVar("R")
_HALF = np.dtype(np.float16)
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


def without_derivative(forward: Callable[P, Array]) -> Callable[P, Any]:
    """An operation without a derivative (zero almost everywhere): values in, values out.

    Parameters with a default are options.
    """
    name = forward.__name__
    parameters = inspect.signature(forward).parameters
    arity = sum(p.default is p.empty for p in parameters.values())

    @functools.wraps(forward)
    def call(*args: Any, **options: Any) -> Any:
        if options and not parameters.keys() >= options.keys():
            raise refusal(name, options, parameters)
        raw, _, tensors, _ = unpack(args[:arity], name)
        if not tensors:
            raw = as_arrays(args[:arity], name)
        y = forward(*raw, *args[arity:], **options)
        return wrap(xp.asarray(y), None) if tensors else y

    return call


def widened(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, its first argument in the dtype that `backend.accumulator` says:
    float16 is computed in float32, gradients too, and the result rounded back; integers
    become floats. Other arguments of float16 follow the first.
    """
    parameters = inspect.signature(function).parameters
    first = next(iter(parameters))

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if options and not parameters.keys() >= options.keys():
            raise refusal(function.__name__, options, parameters)
        if args and isinstance(args[0], Tensor) and args[0].data.dtype is _FLOAT32:
            return function(*args, **options)  # at once: the rest costs a small operation much
        if not args and first not in options:
            raise refusal(function.__name__, options, parameters)
        x, *others = args or [options.pop(first)]
        x = operand(x, function.__name__.strip("_"))
        dtype = x.dtype
        if dtype is _FLOAT32 or dtype is _FLOAT64:
            return function(x, *others, **options)
        if dtype.kind == "c":
            raise TypeError(f"{function.__name__.strip('_')} is not defined for complex "
                            f"numbers, got {dtype}")
        result = float_dtype(dtype)
        inside = accumulator(result)
        if dtype is _HALF:
            others = [astype(a, inside) if getattr(a, "dtype", None) == _HALF else a
                      for a in others]
        wide: Any = astype(x, inside)
        y = function(wide, *others, **options)
        return astype(y, result)

    return call


def pulled(kernel: Callable[..., Array], formula: Callable[[], Any], g: Any, *arrays: Any,
           **options: Any) -> Any:
    """A vjp by its `formula` where that is to be differentiated itself, else by its kernel."""
    if isinstance(g, Tensor):
        return formula()
    return activation.in_blocks(kernel, g, *arrays, **options)


@primitive(lambda g: g, lambda g: g)
def add(a: Array, b: Array) -> Array:
    """a + b"""
    return elementwise.add(a, b)


@primitive(lambda g: g, lambda g: -g)
def subtract(a: Array, b: Array) -> Array:
    """a - b"""
    return a - b


@primitive(lambda g, b: g * b, lambda g, a: g * a)
def multiply(a: Array, b: Array) -> Array:
    """a * b"""
    return a * b


@primitive(lambda g, b: g / b, lambda g, y, b: -g * y / b)
def divide(a: Array, b: Array) -> Array:
    """a / b"""
    return a / b


@primitive(lambda g: -g)
def negative(x: Array) -> Array:
    """-x"""
    return -x


def _one_less(p: Any) -> Any:
    """p - 1, but 1 where p is 0: x**0 has derivative 0 * x, also at x = 0."""
    return (p - 1 if p != 0 else 1) if isinstance(p, int | float) else where(p == 0, 1.0, p - 1)


def _log_positive(x: Any) -> Any:
    """log(x), but 0 where x <= 0."""
    return math.log(x if x > 0 else 1.0) if isinstance(x, int | float) else \
        log(where(x > 0, x, 1.0))


@primitive(lambda g, x, p: g * p * x ** _one_less(p), lambda g, y, x: g * y * _log_positive(x))
def power(x: Array, p: Array) -> Array:
    """x ** p; the derivative with respect to `p` is taken as 0 where x <= 0."""
    return x**p


@primitive(lambda g, x: 2.0 * g * x)
def square(x: Array) -> Array:
    """x * x"""
    return x * x


@primitive(lambda g, y: g * y)
def exp(x: Array) -> Array:
    """e ** x"""
    return xp.exp(as_float(x))


@primitive(lambda g, y: g * (y + 1.0))
def expm1(x: Array) -> Array:
    """e ** x - 1, exact for small x"""
    return xp.expm1(as_float(x))


@primitive(lambda g, x: g / x)
def log(x: Array) -> Array:
    """The natural logarithm of x."""
    return xp.log(as_float(x))


@primitive(lambda g, x: g / (x + 1.0))
def log1p(x: Array) -> Array:
    """log(1 + x), exact for small x"""
    return xp.log1p(as_float(x))


@primitive(lambda g, y: 0.5 * g / y)
def sqrt(x: Array) -> Array:
    """The square root of x; its derivative at 0 is infinite."""
    return xp.sqrt(as_float(x))


@primitive(lambda g, x: g * cos(x))
def sin(x: Array) -> Array:
    """The sine of x (in radians)."""
    return xp.sin(as_float(x))


@primitive(lambda g, x: -g * sin(x))
def cos(x: Array) -> Array:
    """The cosine of x (in radians)."""
    return xp.cos(as_float(x))


def _tanh_slope(g: Any, y: Any) -> Any:
    """g (1 - y^2), by the kernel if it is large and not to be differentiated."""
    if isinstance(g, Tensor) or y.nbytes < SERIAL_BYTES:
        return g * (1.0 - y * y)
    return activation.in_blocks(activation.tanh_backward_of, g, y)


@primitive(lambda g, y: _tanh_slope(g, y))
def tanh(x: Array) -> Array:
    """(e^x - e^-x) / (e^x + e^-x)"""
    x = as_float(x)
    if x.nbytes < SERIAL_BYTES:
        return xp.tanh(x)
    return elementwise.elementwise(xp.tanh, x)


@widened
@primitive(lambda g, y: pulled(activation.sigmoid_backward_of, lambda: g * y * (1.0 - y), g, y))
def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)"""
    return activation.in_blocks(activation.sigmoid_of, as_float(x))


@widened
@primitive(lambda g, x: g * exp(-x * x) * (2.0 / math.sqrt(math.pi)))
def erf(x: Array) -> Array:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return erf_kernel.erf(x)


@primitive(lambda g, x: g * sign(x))
def abs(x: Array) -> Array:
    """|x|; the derivative at 0 is taken as 0"""
    return xp.abs(x)


@primitive(lambda g, a, b: where(a == b, 0.5 * g, g * (a > b)),
           lambda g, a, b: where(a == b, 0.5 * g, g * (b > a)))
def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b; where they are equal each gets half of the gradient."""
    return xp.maximum(a, b)


@primitive(lambda g, a, b: where(a == b, 0.5 * g, g * (a < b)),
           lambda g, a, b: where(a == b, 0.5 * g, g * (b < a)))
def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b; where they are equal each gets half of the gradient."""
    return xp.minimum(a, b)


def _bound(value: Any, name: str) -> Any:
    """A bound of `clip`: a tensor, an array or a number."""
    return value if isinstance(value, Tensor) else as_operand(value, name)


@operands("x")
def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """min(max(x, low), high); at a bound that x just reaches, half of the gradient passes."""
    if low is None and high is None:
        raise ValueError("clip needs low, high or both")
    if low is not None:
        x = maximum(x, _bound(low, "clip: low"))
    if high is not None:
        x = minimum(x, _bound(high, "clip: high"))
    return x


@primitive(None, lambda g, condition: where(condition, g, 0.0),
           lambda g, condition: where(condition, 0.0, g))
def where(condition: Array, a: Array, b: Array) -> Array:
    """a where the condition holds, else b; on CuPy it may be NumPy's, as an index may"""
    return xp.where(condition, a, b)


@primitive(lambda g: g)
def _astype(x: Array, dtype: Any) -> Array:
    return x.astype(dtype, copy=False)


def astype(x: Any, dtype: Any) -> Tensor:
    """`x` converted to `dtype`; from float to float, the gradient is converted back."""
    if isinstance(x, Tensor) and (x.dtype.kind != "f" or as_dtype(dtype).kind != "f"):
        return wrap(x.data.astype(dtype), None)
    return _astype(x, as_dtype(dtype))


@without_derivative
def sign(x: Array) -> Array:
    """-1, 0 or 1"""
    return x if x.dtype == bool else xp.sign(x)


@without_derivative
def floor(x: Array) -> Array:
    """The largest integer not above x."""
    return xp.floor(x)


@without_derivative
def isfinite(x: Array) -> Array:
    """False where x is infinite or not a number."""
    return xp.isfinite(x)


@without_derivative
def equal(a: Array, b: Array) -> Array:
    """a == b, element by element"""
    return a == b


@without_derivative
def not_equal(a: Array, b: Array) -> Array:
    """a != b, element by element"""
    return a != b


@without_derivative
def less(a: Array, b: Array) -> Array:
    """a < b"""
    return a < b


@without_derivative
def less_equal(a: Array, b: Array) -> Array:
    """a <= b"""
    return a <= b


@without_derivative
def greater(a: Array, b: Array) -> Array:
    """a > b"""
    return a > b


@without_derivative
def greater_equal(a: Array, b: Array) -> Array:
    """a >= b"""
    return a >= b


@without_derivative
def logical_not(x: Array) -> Array:
    """True where x is False or 0"""
    return xp.logical_not(x)


@without_derivative
def logical_and(a: Array, b: Array) -> Array:
    """True where both are"""
    return xp.logical_and(a, b)


@without_derivative
def logical_or(a: Array, b: Array) -> Array:
    """True where one of both is"""
    return xp.logical_or(a, b)


