r"""Jacobians, Hessians and products with them, in a few lines on top of `grad`.

    jacobian(f, x)[i, j] = d f_i / d x_j          hessian(f, x)[i, j] = d^2 f / d x_i d x_j
    hvp(f, x, v) = H v = d (v . grad f) / d x     jvp(f, x, v) = J v
    f(x + t d) ~ a + b t + c t^2 / 2              taylor(f, x, d) = a, b, c

A Hessian has n^2 numbers and takes n backward passes; its product with a vector takes
two, whatever n is (Pearlmutter 1994, "Fast exact multiplication by the Hessian"), so
methods of second order for nets use `hvp` (lecture ids C3 and C4). `f` is any function
of one tensor; all results are plain tensors without a graph.

Read next: `optim/line_search.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .backend import as_float, xp
from .graph import enable_grad
from .names import lister as _lister
from .ops.shape import stack
from .tensor import Tensor, grad

__dir__ = _lister(__name__)

Function = Callable[[Tensor], Any]


def _leaf(x: Any) -> Tensor:
    """`x` as a leaf of its own, so that whatever graph it has is left alone; integers as floats."""
    return Tensor(as_float(Tensor(x).data), requires_grad=True)


def _tensor(y: Any, name: str) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"{name}: f must return a Tensor, got {type(y).__name__}")
    return y


def _scalar(y: Any, name: str) -> Tensor:
    if not isinstance(y, Tensor) or y.size != 1:
        what = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"{name} needs a function with one number as its value, got "
                         f"{what}: reduce it with .sum() or .mean()")
    return y


@enable_grad()
def jacobian(f: Function, x: Any) -> Tensor:
    """All first derivatives: shape (*f(x).shape, *x.shape), a backward pass for each output.

    >>> jacobian(lambda x: x * x, [1.0, 3.0])
    Tensor([[2., 0.],
            [0., 6.]])
    """
    x = _leaf(x)
    return _rows(_tensor(f(x), "jacobian"), x)


def _rows(y: Tensor, x: Tensor) -> Tensor:
    """The gradient of each element of `y`, stacked."""
    rows = []
    for i in range(y.size):
        one = xp.zeros(y.size, y.dtype)
        one[i] = 1.0
        rows.append(grad(y, x, one.reshape(y.shape), allow_unused=True))
    table = stack(rows).data if rows else xp.zeros(0, x.dtype)
    return Tensor(table.reshape((*y.shape, *x.shape)))


@enable_grad()
def hessian(f: Function, x: Any) -> Tensor:
    """All second derivatives of a function whose value is one number: (*x.shape, *x.shape).

    >>> hessian(lambda x: x[0] * x[0] * x[1], [2.0, 3.0])
    Tensor([[6., 4.],
            [4., 0.]])
    """
    x = _leaf(x)
    return _rows(grad(_scalar(f(x), "hessian"), x, create_graph=True, allow_unused=True), x)


@enable_grad()
def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian at `x` times `v`, in two backward passes and without the Hessian.

    If `x` is a tuple, f takes that many tensors, and `v` and the result are tuples like
    it.

    >>> hvp(lambda x: x[0] * x[0] * x[1], [2.0, 3.0], [1.0, 10.0])
    Tensor([46.,  4.])
    """
    leaves = [_leaf(part) for part in (x if isinstance(x, tuple) else (x,))]
    parts = v if isinstance(x, tuple) else (v,)
    if len(parts) != len(leaves):
        raise ValueError(f"hvp: x is a tuple of {len(leaves)}, so v must be one, too, "
                         f"got {v!r}")
    along = [_like(part, leaf, "hvp") for part, leaf in zip(parts, leaves, strict=True)]
    slopes = grad(_scalar(f(*leaves), "hvp"), leaves, create_graph=True, allow_unused=True)
    # d (v . grad f) / d x; the sum over the parts is one graph
    along_slopes: Any = sum((g * a).sum() for g, a in zip(slopes, along, strict=True))
    products = grad(along_slopes, leaves, allow_unused=True)
    return tuple(products) if isinstance(x, tuple) else products[0]


@enable_grad()
def jvp(f: Function, x: Any, v: Any) -> Tensor:
    """The Jacobian at `x` times `v`: how fast f changes as x moves along v.

    u . J is linear in u, so its derivative with respect to u, along v, is J v (Townsend
    2017): two backward passes.

    >>> jvp(lambda x: x * x, [1.0, 3.0], [1.0, 10.0])
    Tensor([ 2., 60.])
    """
    x = _leaf(x)
    y = _tensor(f(x), "jvp")
    u = _leaf(xp.zeros(y.shape, y.dtype))
    pulled = grad(y, x, u, create_graph=True, allow_unused=True)
    product: Tensor = grad(pulled, u, _like(v, x, "jvp"), allow_unused=True)
    return product


@enable_grad()
def taylor(f: Function, x: Any, d: Any) -> tuple[float, float, float]:
    """f(x + t d) ~ a + b t + c t^2 / 2: returns a = f(x), b = g'd and c = d'Hd.

    a + b t is the tangent, off by O(t^2); the whole is the quadratic
    model, off by O(t^3), whose minimum Newton's method goes to.

    >>> taylor(lambda x: (x**3).sum(), [1.0, 2.0], [1.0, 0.0])
    (9.0, 3.0, 6.0)
    """
    x = _leaf(x)
    along = _like(d, x, "taylor", "d")
    y = _scalar(f(x), "taylor")
    slope = (grad(y, x, create_graph=True, allow_unused=True) * along).sum()
    return y.item(), slope.item(), (grad(slope, x, allow_unused=True) * along).sum().item()


def _like(v: Any, x: Tensor, name: str, argument: str = "v") -> Tensor:
    like = Tensor(v, dtype=x.dtype)
    if like.shape != x.shape:
        raise ValueError(f"{name}: {argument} has shape {like.shape}, x {x.shape}: "
                         "they must be equal")
    return like
