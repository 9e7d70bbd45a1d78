r"""Activations and their gradients, a block at a time: what `functional/activation.py`
says, in few calls that overwrite one another's results.

Functions named `.._of` compute f(x) or g f'(x) for a block, into `out`; `in_blocks`
sends large arrays through them. A `.._of` is its own plain twin: the tests hold each to
the formula in plain NumPy.

    sigmoid  s = 1 / (1 + e^-x)        silu  x s          softplus  max(t, 0) + log(1 + e^-|t|)
    gelu     x Phi(x),   Phi(x) = (1 + tanh(x P(x^2))) / 2

With P(u) = sqrt(2/pi) (1 + 0.044715 u) that is the GELU of ``approximate="tanh"``.
The exact one has the same form in float32: for the polynomial P of degree 6 below,
fitted to artanh(erf(x / sqrt(2))) / x where that matters, Phi is right within 3e-8, and
so within its rounding. float64 takes `erf`.

NumPy's `clip` is three times faster than its `maximum` with a number.

Cost for each element: 4 to 11 operations and one or two exponentials (GELU: 18, and 24
for its slope, and a tanh); one pass over the operands and the result.

Read next: `kernels/sums.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backend import Array, is_array, xp
from . import erf as erf_kernel
from .elementwise import elementwise
from .memory import scratch
from .threads import BLOCK_BYTES

# Further out than this sigmoid and Phi are 0 or 1 in any dtype; it stands for inf, so
# that no 0 * inf makes a nan of a value or a slope that has a limit.
FAR = 1000.0
_TO = 10.0  # Phi is 0 or 1 beyond; the polynomial is good up to 40

# P by rising powers of x^2: minimax in Phi's error, weighted, on |x| <= 5.6.
_EXACT = (0.7978849414807703, 0.036333084430060766, -3.2594754912115966e-05,
          -5.5306316932351974e-05, 3.964773935647447e-06, -1.3226639899167083e-07,
          1.7562823829019571e-09)
_BY_TANH = (math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715)


def _result(x: Array, out: Array | None) -> Array:
    return xp.empty_like(x) if out is None else out


def _work(name: str, x: Array) -> Array:
    """Memory like x: kept for the next block, unless x is too large to be one."""
    if x.nbytes > BLOCK_BYTES:
        return xp.empty_like(x)
    return scratch(name, x.shape, x.dtype)


def sigmoid_of(x: Array, out: Array | None = None) -> Array:
    """e^min(x, 0) / (1 + e^-|x|): nothing overflows, and the smallest values keep their digits."""
    e = xp.abs(x, out=_work("exponential", x))
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    e += 1
    y = xp.clip(x, -np.inf, 0, out=_result(x, out))
    xp.exp(y, out=y)
    y /= e
    return y


def sigmoid_backward_of(g: Array, y: Array, out: Array | None = None) -> Array:
    """g y (1 - y)"""
    dx = _result(y, out)
    xp.subtract(1, y, out=dx)
    dx *= y
    dx *= g
    return dx


def tanh_backward_of(g: Array, y: Array, out: Array | None = None) -> Array:
    """g (1 - y^2)"""
    dx = _result(y, out)
    xp.multiply(y, y, out=dx)
    xp.subtract(1, dx, out=dx)
    dx *= g
    return dx


def silu_of(x: Array, out: Array | None = None) -> Array:
    y = _result(x, out)
    bounded = xp.clip(x, -FAR, np.inf, out=_work("activation", x))
    sigmoid_of(bounded, y)
    y *= bounded
    return y


def silu_backward_of(g: Array, x: Array, out: Array | None = None) -> Array:
    """g s (1 + x (1 - s))"""
    dx = _result(x, out)
    bounded = xp.clip(x, -FAR, FAR, out=_work("activation", x))
    s = sigmoid_of(bounded, _work("sigmoid", x))
    xp.subtract(1, s, out=dx)
    dx *= bounded
    dx += 1
    dx *= s
    dx *= g
    return dx


def _by_horner(coefficients: tuple[float, ...], u: Array, out: Array) -> Array:
    """The polynomial with these two or more coefficients, by rising powers of u."""
    *lower, last, first = coefficients
    xp.multiply(u, first, out=out)
    out += last
    for c in reversed(lower):
        out *= u
        out += c
    return out


def _two_sided(x: Array, square: Array, approximate: str, out: Array) -> Array:
    """tanh(x P(x^2)) = 2 Phi(x) - 1, from x within +-_TO and its square."""
    if approximate == "none" and x.dtype == np.float64:
        out[...] = erf_kernel.erf(x * math.sqrt(0.5))
        return out
    _by_horner(_EXACT if approximate == "none" else _BY_TANH, square, out)
    out *= x
    return xp.tanh(out, out=out)


def gelu_of(x: Array, approximate: str, out: Array | None = None) -> Array:
    y = _result(x, out)
    near = xp.clip(x, -_TO, _TO, out=_work("activation", x))
    square = xp.multiply(near, near, out=_work("square", x))
    phi = _two_sided(near, square, approximate, y)
    phi += 1
    phi *= 0.5
    y *= xp.clip(x, -_TO, np.inf, out=near)
    return y


def gelu_backward_of(g: Array, x: Array, approximate: str, out: Array | None = None
                     ) -> Array:
    """g (Phi + x Phi'): Phi' is the density, or (1 - tanh^2) / 2 times the inner slope."""
    dx = _result(x, out)
    near = xp.clip(x, -_TO, _TO, out=_work("activation", x))
    square = xp.multiply(near, near, out=_work("square", x))
    t = _two_sided(near, square, approximate, dx)
    density = _work("density", x)
    if approximate == "none":  # e^(-x^2 / 2) / sqrt(2 pi), doubled
        square *= -0.5
        xp.exp(square, out=density)
        density *= math.sqrt(2 / math.pi)
    else:
        xp.multiply(t, t, out=density)
        xp.subtract(1, density, out=density)
        square *= 3 * _BY_TANH[1]
        square += _BY_TANH[0]
        density *= square
    density *= near
    t += density
    t += 1
    t *= 0.5
    dx *= g
    return dx


def leaky_relu_of(x: Array, negative_slope: float, out: Array | None = None) -> Array:
    if negative_slope == 0:  # and not 0 * inf
        return xp.maximum(x, 0, out=out)
    y = xp.multiply(x, negative_slope, out=_result(x, out))
    choice = xp.maximum if negative_slope <= 1 else xp.minimum
    return choice(x, y, out=y)


def leaky_relu_backward_of(g: Array, x: Array, negative_slope: float,
                           out: Array | None = None) -> Array:
    """g where x > 0, else negative_slope g"""
    dx = _result(x, out)
    if negative_slope > 2:
        xp.multiply(g, xp.where(x > 0, 1, negative_slope).astype(x.dtype), out=dx)
        return dx
    slope = x.dtype.type(negative_slope)
    xp.multiply(x > 0, 1 - slope, out=dx)
    dx += slope  # (1 - slope) + slope is 1 to the last bit, for slopes up to 2
    dx *= g
    return dx


def elu_of(x: Array, alpha: float, out: Array | None = None) -> Array:
    y = xp.clip(x, -np.inf, 0, out=_result(x, out))
    xp.expm1(y, out=y)
    y *= alpha
    y += xp.clip(x, 0, np.inf, out=_work("activation", x))
    return y


def elu_backward_of(g: Array, x: Array, alpha: float, out: Array | None = None) -> Array:
    """g where x > 0, else alpha e^x g"""
    dx = xp.clip(x, -np.inf, 0, out=_result(x, out))
    xp.exp(dx, out=dx)
    if alpha != 1:
        dx *= alpha
        dx[x > 0] = 1
    dx *= g
    return dx


def softplus_of(x: Array, beta: float, out: Array | None = None) -> Array:
    y = _result(x, out)
    t = xp.multiply(x, beta, out=_work("activation", x))
    xp.abs(t, out=y)
    xp.negative(y, out=y)
    xp.exp(y, out=y)
    xp.log1p(y, out=y)
    y += xp.clip(t, 0, np.inf, out=t)
    if beta != 1:
        y /= beta
    return y


def softplus_backward_of(g: Array, x: Array, beta: float, out: Array | None = None) -> Array:
    """g sigmoid(beta x)"""
    dx = xp.multiply(x, beta, out=_result(x, out))
    sigmoid_of(dx, dx)
    dx *= g
    return dx


def in_blocks(f: Any, *arrays: Array, **options: Any) -> Array:
    """One of the functions above, of large arrays in blocks.

    >>> in_blocks(leaky_relu_of, xp.array([-2.0, 3.0]), negative_slope=0.25).tolist()
    [-0.5, 3.0]
    """
    if not is_array(arrays[-1]):  # a number: no gradient
        arrays = (xp.asarray(arrays[-1], np.float64),)
    if not options:
        return elementwise(f, *arrays)
    given = functools.partial(f, **options)
    return elementwise(given, *arrays)
