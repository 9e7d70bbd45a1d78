"""Operators and array methods of `Tensor`: ``x + y``, ``x.sum(axis=0)``, ``x[1:]``.

They are the functions of this package, attached by name, so there is one piece of code
for ``tn.exp(x)`` and ``x.exp()``.

Read next: `functional/__init__.py`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NoReturn

from .. import foreign
from ..graph import is_grad_enabled
from ..tensor import Tensor
from . import arithmetic, indexing, linalg, reduction, shape

_SAME_NAME = {
    arithmetic: ["exp", "log", "log1p", "expm1", "sqrt", "square", "sin", "cos", "tanh", "sigmoid",
                 "erf", "abs", "sign", "clip", "astype", "maximum", "minimum"],
    reduction: ["sum", "mean", "var", "std", "max", "min", "prod", "cumsum", "logsumexp", "norm",
                "argmax", "argmin", "argsort", "sort", "median", "all", "any"],
    shape: ["broadcast_to", "sum_to", "swapaxes", "moveaxis", "expand_dims", "squeeze", "flatten",
            "flip", "split"],
    linalg: ["matmul"],
}
_OPERATORS: dict[str, Callable[..., Any]] = {
    "__add__": arithmetic.add, "__sub__": arithmetic.subtract, "__mul__": arithmetic.multiply,
    "__truediv__": arithmetic.divide, "__pow__": arithmetic.power, "__matmul__": linalg.matmul,
    "__neg__": arithmetic.negative, "__abs__": arithmetic.abs, "__invert__": arithmetic.logical_not,
    "__eq__": arithmetic.equal, "__ne__": arithmetic.not_equal, "__lt__": arithmetic.less,
    "__le__": arithmetic.less_equal, "__gt__": arithmetic.greater,
    "__ge__": arithmetic.greater_equal, "__and__": arithmetic.logical_and,
    "__or__": arithmetic.logical_or, "__getitem__": indexing.getitem,
}
_REVERSED = {name: _OPERATORS[f"__{name}__"]
             for name in ("add", "sub", "mul", "truediv", "pow", "matmul")}


def _reverse(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: function(other, self)


def _in_place(self: Tensor, other: Any, symbol: str, apply: Callable[[Any, Any], Any]) -> Tensor:
    """``x += y``: a new tensor, except for leaves with gradients, which it would cut off."""
    if self.node is None or not self.is_leaf:
        return apply(self, other)
    if is_grad_enabled():
        raise RuntimeError(f"{symbol} on a leaf tensor that requires grad: inside "
                           "tn.no_grad() it updates the tensor in place; elsewhere "
                           f"write a new name, y = x {symbol[:-1]} ...")
    return self.copy_(apply(self, other))


def _reshape(self: Tensor, *lengths: Any) -> Any:
    """The same elements under another shape: ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
    nested = len(lengths) == 1 and isinstance(lengths[0], tuple | list)
    return shape.reshape(self, tuple(lengths[0]) if nested else lengths)


def _permute(self: Tensor, *axes: Any) -> Any:
    """The axes in another order: ``x.permute(1, 0)``, ``x.permute((1, 0))``, or reversed."""
    if len(axes) == 1 and isinstance(axes[0], tuple | list):
        axes = tuple(axes[0])
    return shape.transpose(self, None if axes in ((), (None,)) else axes)


def _transpose(self: Tensor, *axes: Any) -> Any:
    """The same, but two numbers that elsewhere exchange two axes are not taken for an order."""
    if len(axes) == 2 and (self.ndim > 2 or axes == (0, 1)):
        raise ValueError(f"transpose{axes} of shape {self.shape}: it takes the new order of "
                         f"all {self.ndim} axes, as NumPy's; to exchange two axes write "
                         f"x.swapaxes{axes}")
    return _permute(self, *axes)


def _requires_grad(self: Tensor, wanted: bool = True) -> Tensor:
    """Record operations on this leaf from now on, or (False) no longer; returns it."""
    self.requires_grad = wanted
    return self


def _refused(symbol: str, line: str) -> Callable[..., NoReturn]:
    def operate(*operands: Any) -> NoReturn:
        raise TypeError(f"tensors have no {symbol}, whose steps have no slope: write {line}")

    return operate


def _iterate(self: Tensor) -> Any:
    return (self[i] for i in range(len(self)))


def _names(self: Tensor) -> list[str]:
    """What tab completion offers: not the names that only tell what they are here."""
    return sorted(set(object.__dir__(self)) - foreign.table()["Tensor"].keys())


_OTHERS: dict[str, Any] = {
    "reshape": _reshape, "view": _reshape, "transpose": _transpose, "permute": _permute,
    "requires_grad_": _requires_grad,
    "T": property(shape.transpose), "__iter__": _iterate,
}
_REFUSED = {  # for type checkers they are not there
    "__floordiv__": _refused("//", "tn.floor(x / y)"),
    "__rfloordiv__": _refused("//", "tn.floor(x / y)"),
    "__mod__": _refused("%", "x - y * tn.floor(x / y)"),
    "__rmod__": _refused("%", "x - y * tn.floor(x / y)"),
    "__round__": _refused("round", "tn.floor(x + 0.5)"),
}


def attach() -> None:
    """Give `Tensor` its operators and methods."""
    for module, names in _SAME_NAME.items():
        for name in names:
            setattr(Tensor, name, getattr(module, name))
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)  # a plain function of a class is a method
    for name, function in _REVERSED.items():
        setattr(Tensor, f"__r{name}__", _reverse(function))
    for name, symbol in (("add", "+="), ("sub", "-="), ("mul", "*="), ("truediv", "/="),
                         ("pow", "**="), ("matmul", "@=")):
        setattr(Tensor, f"__i{name}__", functools.partialmethod(
            _in_place, symbol=symbol, apply=getattr(operator, name)))
    for name, method in (_OTHERS | _REFUSED).items():
        setattr(Tensor, name, method)
    Tensor.__dir__ = _names  # type: ignore[assignment]
    for name in foreign.table()["Tensor"]:
        setattr(Tensor, name, foreign.Elsewhere("Tensor", name))
