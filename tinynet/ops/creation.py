"""New tensors: from data, constant, and random.

Read next: `ops/methods.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import DType, check_range, get_default_dtype, xp
from ..checks import MOST_NUMBERS, answering, check_number, check_whole
from ..random import default_generator
from ..rules import operand
from ..tensor import Tensor, raw
from ..text import shown

Shape = int | tuple[int, ...]


@answering
def tensor(data: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data` (numbers, nested lists, an array, a tensor).

    Floats in lists take the default dtype, arrays keep theirs.

    >>> tensor([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    made = Tensor(data, dtype=dtype)
    made.data = made.data.copy()
    made.requires_grad = requires_grad
    return made


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares memory with an array of another library (DLPack)."""
    if not hasattr(x, "__dlpack__"):
        raise TypeError("from_dlpack needs an array of another library that has "
                        f"__dlpack__, got {shown(x)}")
    return Tensor(xp.from_dlpack(x))


@answering
def full(shape: Shape, value: float, dtype: DType = None, requires_grad: bool = False
         ) -> Tensor:
    """A tensor filled with `value`."""
    if isinstance(dtype, int | np.integer):
        raise TypeError(f"shape is one tuple, ({shape}, {dtype}), not several numbers")
    lengths = _lengths((shape,))
    try:
        values = xp.full(lengths, value, dtype or get_default_dtype())
    except (TypeError, ValueError):
        raise ValueError(f"full: value must be a number, or fit shape {lengths}, got "
                         f"{shown(value)}") from None
    return Tensor(values, requires_grad)


@answering
def zeros(shape: Shape, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0, dtype, requires_grad)


@answering
def ones(shape: Shape, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return full(shape, 1, dtype, requires_grad)


def zeros_like(x: Any) -> Tensor:
    """Zeros with the shape and dtype of `x`."""
    return Tensor(xp.zeros_like(raw(operand(x, "zeros_like"))))


def ones_like(x: Any) -> Tensor:
    """Ones with the shape and dtype of `x`."""
    return Tensor(xp.ones_like(raw(operand(x, "ones_like"))))


def arange(*bounds: float, dtype: DType = None) -> Tensor:
    """Numbers from start (0) up to, not including, stop, by step (1), as in Python's range."""
    for bound in bounds:
        check_number("arange: every bound", bound, -MOST_NUMBERS, MOST_NUMBERS)
    values = xp.arange(*bounds)
    if dtype is None and values.dtype.kind == "f":
        dtype = get_default_dtype()
    return Tensor(values, dtype=dtype)


@answering
def linspace(start: float, stop: float, n: int, dtype: DType = None) -> Tensor:
    """`n` numbers at equal distances from `start` to `stop`, both included."""
    n = check_whole("linspace: n", n, 0, MOST_NUMBERS)
    try:
        values = xp.linspace(start, stop, n)
    except TypeError:
        raise TypeError("linspace: start and stop must be numbers, got "
                        f"{shown(start)} and {shown(stop)}") from None
    return Tensor(values, dtype=dtype or get_default_dtype())


@answering
def eye(n: int, dtype: DType = None) -> Tensor:
    """The identity matrix of `n` rows."""
    n = check_whole("eye: n", n, 0, MOST_NUMBERS)
    return Tensor(xp.eye(n, dtype=dtype or get_default_dtype()))


@answering
def one_hot(labels: Any, num_classes: int, dtype: DType = None) -> Tensor:
    """A row for each label, 1 at its class and 0 elsewhere."""
    num_classes = check_whole("one_hot: num_classes", num_classes, 1, MOST_NUMBERS)
    given = np.asarray(labels) if isinstance(labels, list | tuple) else None
    labels = raw(operand(labels, "one_hot"))
    check_range("labels", labels if given is None else given, num_classes)
    rows = xp.arange(num_classes) == xp.asarray(labels)[..., None]
    return Tensor(rows.astype(dtype or get_default_dtype()))


def _lengths(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of rand(2, 3) as well as of rand((2, 3))."""
    if len(shape) == 1 and isinstance(shape[0], tuple | list):
        shape = tuple(shape[0])
    lengths = tuple([check_whole("every length of the shape", n, least=0) for n in shape])
    if math.prod(lengths) > MOST_NUMBERS:
        raise ValueError(f"shape {shown(lengths)} holds more numbers than any memory")
    return lengths


@answering
def rand(*shape: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in [0, 1) from the default generator."""
    values = default_generator.uniform(_lengths(shape), dtype=dtype)
    return Tensor(values, requires_grad)


@answering
def randn(*shape: Any, dtype: DType = None, requires_grad: bool = False) -> Tensor:
    """Normal numbers (mean 0, deviation 1) from the default generator."""
    values = default_generator.normal(_lengths(shape), dtype=dtype)
    return Tensor(values, requires_grad)
