r"""Activations: one line for the value, one for the derivative, both exact at any order.

Each is a primitive, so its second derivative is the derivative of its vjp: nothing more
to write. Large arrays and their plain gradients go through `kernels/activation.py`.
Where a function has a kink, the text says which slope stands in for the derivative
there.

Read next: `functional/linear.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, as_float, xp
from ..checks import check_choice, check_positive, check_scalar
from ..kernels import activation as kernels, elementwise, softmax as softmax_kernels
from ..operation import primitive
from ..ops.arithmetic import clip, erf, exp, minimum, pulled, sigmoid, tanh, where, widened
from ..ops.reduction import sum as total
from ..ops.shape import Axis, as_axis
from ..tensor import Tensor


@primitive(lambda g, gate: _where_positive(g, gate), None)
def _where_positive(x: Array, gate: Array) -> Array:
    """x where gate > 0, else 0: the gradient of a ReLU, and (being linear) its own gradient."""
    return elementwise.relu_backward(x, gate)


def _relu_slope(g: Any, y: Any) -> Any:
    """The gradient: an operation if it is to be differentiated, else the kernel."""
    if isinstance(g, Tensor):
        return _where_positive(g, y)
    return elementwise.relu_backward(g, y)


@primitive(lambda g, y: _relu_slope(g, y))
def relu(x: Array) -> Array:
    """max(x, 0); slope 0 at 0. Keeps its output alone, which the next layer keeps anyway.

    >>> from tinynet import Tensor, grad
    >>> x = Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> relu(x), grad(relu(x).sum(), x)
    (Tensor([0., 0., 2.], requires_grad=True), Tensor([0., 0., 1.]))
    """
    return elementwise.relu(as_float(x))


@primitive(lambda g, x: g * ((x > 0) & (x < 6)))
def relu6(x: Array) -> Array:
    """min(max(x, 0), 6); slope 0 at both bounds.

    >>> relu6(xp.array([-1.0, 3.0, 7.0])).tolist()
    [0.0, 3.0, 6.0]
    """
    return xp.clip(x, 0, 6)


@primitive(lambda g, x, negative_slope: pulled(
    kernels.leaky_relu_backward_of, lambda: where(x > 0, g, negative_slope * g), g, x,
    negative_slope=negative_slope))
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x for x > 0, negative_slope * x for the others; that slope at 0, too.

    >>> leaky_relu(xp.array([-2.0, 3.0]), 0.25).tolist()
    [-0.5, 3.0]
    """
    check_scalar("leaky_relu: negative_slope", negative_slope)
    return kernels.in_blocks(kernels.leaky_relu_of, as_float(x), negative_slope=negative_slope)


@primitive(lambda g, x, alpha: pulled(
    kernels.elu_backward_of, lambda: where(x > 0, g, alpha * g * exp(minimum(x, 0.0))), g, x,
    alpha=alpha))
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x for x > 0, alpha (e^x - 1) for the others (Clevert et al. 2016, equation 15).

    >>> [round(float(y), 4) for y in elu(xp.array([-1.0, 2.0]))]
    [-0.6321, 2.0]
    """
    check_scalar("elu: alpha", alpha)
    return kernels.in_blocks(kernels.elu_of, as_float(x), alpha=alpha)


def _gelu_tanh_argument(x: Any) -> Any:
    return (x * x * 0.044715 + 1.0) * x * math.sqrt(2 / math.pi)


def _gelu_slope(x: Any, approximate: str) -> Any:
    """(x Phi)' = Phi + x Phi'."""
    x = clip(x, -kernels.FAR, kernels.FAR)
    if approximate == "none":
        passes = 0.5 * (erf(x / math.sqrt(2)) + 1.0)  # the normal distribution's Phi(x)
        density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    else:
        t = tanh(_gelu_tanh_argument(x))
        passes = 0.5 * (t + 1.0)
        inner_slope = (x * x * (3 * 0.044715) + 1.0) * math.sqrt(2 / math.pi)
        density = (1.0 - t * t) * inner_slope * 0.5
    return passes + x * density


@widened
@primitive(lambda g, x, approximate: pulled(
    kernels.gelu_backward_of, lambda: g * _gelu_slope(x, approximate), g, x,
    approximate=approximate))
def gelu(x: Array, approximate: str = "none") -> Array:
    """x Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel 2016).

    Exact with erf by default; ``approximate="tanh"`` is the paper's
    0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    >>> [round(float(gelu(xp.array(1.0), approximate=a)), 4) for a in ("none", "tanh")]
    [0.8413, 0.8412]
    """
    check_choice("approximate", approximate, ("none", "tanh"))
    return kernels.in_blocks(kernels.gelu_of, x, approximate=approximate)


def _silu_slope(x: Any) -> Any:
    """(x s)' = s (1 + x (1 - s)), s being the sigmoid of x."""
    s = sigmoid(x)
    return s * ((1.0 - s) * clip(x, -kernels.FAR, kernels.FAR) + 1.0)


@widened
@primitive(lambda g, x: pulled(kernels.silu_backward_of, lambda: g * _silu_slope(x), g, x))
def silu(x: Array) -> Array:
    """x sigmoid(x), also known as swish.

    >>> [round(float(y), 4) for y in silu(xp.array([-1.0, 0.0, 1.0]))]
    [-0.2689, 0.0, 0.7311]
    """
    return kernels.in_blocks(kernels.silu_of, x)


@widened
@primitive(lambda g, x, beta: pulled(
    kernels.softplus_backward_of, lambda: g * sigmoid(beta * x), g, x, beta=beta))
def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + e^(beta x)) / beta, a smooth ReLU; computed so that nothing overflows.

    >>> [round(float(softplus(x)), 6) for x in (-1000.0, 0.0, 1000.0)]
    [0.0, 0.693147, 1000.0]
    """
    check_positive("beta", beta)
    return kernels.in_blocks(kernels.softplus_of, x, beta=beta)


def _softmax_slope(g: Any, y: Any, axis: Axis) -> Any:
    """y (g - sum(g y)), by the kernel if it is not to be differentiated."""
    if isinstance(g, Tensor):
        return y * (g - total(g * y, axis, True))
    return softmax_kernels.softmax_backward(g, y, as_axis(axis))


@widened
@primitive(lambda g, y, axis: _softmax_slope(g, y, axis))
def softmax(x: Array, axis: Axis = -1) -> Array:
    """e^x / sum(e^x) along `axis`: positive numbers that add up to 1.

    >>> softmax(xp.array([1e4, 1e4])).tolist()      # shifted by the largest: no overflow
    [0.5, 0.5]
    """
    return softmax_kernels.softmax(x, as_axis(axis))


def _log_softmax_slope(g: Any, y: Any, axis: Axis) -> Any:
    """g - e^y sum(g), by the kernel if it is not to be differentiated."""
    if isinstance(g, Tensor):
        return g - exp(y) * total(g, axis, True)
    return softmax_kernels.log_softmax_backward(g, y, as_axis(axis))


@widened
@primitive(lambda g, y, axis: _log_softmax_slope(g, y, axis))
def log_softmax(x: Array, axis: Axis = -1) -> Array:
    """log(softmax(x)) along `axis`, without taking the logarithm of a rounded zero.

    >>> [round(float(y), 3) for y in log_softmax(xp.array([0.0, 1000.0]))]
    [-1000.0, 0.0]
    """
    return softmax_kernels.log_softmax(x, as_axis(axis))
