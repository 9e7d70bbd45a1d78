"""Picking elements, and its opposite, adding into places.

An element that is picked twice gets both gradients (`put` adds; it does not overwrite).

Read next: `ops/linalg.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, accumulator, asarray, check_range, is_array, on_gpu, xp
from ..operation import primitive
from ..rules import operands
from ..tensor import Tensor, raw
from .shape import lengths_of, one_axis


def _plain(index: Any) -> Any:
    """An index made of slices, numbers and raw arrays."""
    if isinstance(index, tuple):
        return tuple([_plain(i) for i in index])
    index = raw(index)
    if isinstance(index, np.ndarray) and type(index) is not np.ndarray:
        index = asarray(index)
    elif isinstance(index, list) or (on_gpu and isinstance(index, np.ndarray)):
        index = xp.asarray(index, dtype=None if len(index) else int)
    if is_array(index) and index.dtype.kind not in "iub":
        raise TypeError(f"an index must hold integers or booleans, got {index.dtype}")
    return index


def _uploaded(index: Any, shape: tuple[int, ...]) -> Any:
    """On a GPU: an index whose lists and NumPy arrays are checked, since CuPy wraps
    places that are out of range around, and uploaded. Arrays that are on the device
    already are not read."""

    def axes(i: Any) -> int:  # of the array that one item of an index is for
        if i is None:
            return 0
        if str(getattr(i, "dtype", "")) == "bool":
            return int(i.ndim)
        return 1

    items = _items(index)
    found = []
    axis = 0
    for k, i in enumerate(items):
        if isinstance(i, list | np.ndarray):
            i = np.asarray(i, None if len(i) else int)
            if i.dtype.kind in "iu" and i.size and axis < len(shape):
                n = shape[axis]
                if i.min() < -n or i.max() >= n:
                    raise IndexError(f"an index of {i.min()} to {i.max()} is out of "
                                     f"bounds for axis {axis} with size {n}")
            i = xp.asarray(i)
        found.append(i)
        if i is Ellipsis:  # stands for all axes but those of the items behind it
            axis = len(shape) - sum(map(axes, items[k + 1:]))
        else:
            axis += axes(i)
    if isinstance(index, tuple):
        return tuple(found)
    return found[0]


def _items(index: Any) -> tuple[Any, ...]:
    if isinstance(index, tuple):
        return index
    return (index,)


def _may_repeat(index: Any) -> bool:
    """Whether `index` can pick an element twice: integer arrays can."""
    return any(is_array(i) and i.dtype.kind != "b" for i in _items(index))


@primitive(lambda g, x_shape, index: _put(g, index, x_shape))
def _get(x: Array, index: Any) -> Array:
    return x[index]


@primitive(lambda g, index: _get(g, index))
def _put(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `x` added at `index`."""
    if not _may_repeat(index):
        out = xp.zeros(shape, x.dtype)
        out[index] = x
        return out
    out = xp.zeros(shape, accumulator(x.dtype))
    xp.add.at(out, index, x.astype(out.dtype, copy=False))
    return out.astype(x.dtype, copy=False)


def getitem(x: Any, index: Any) -> Tensor:
    """x[index]: slices, integers, None, ..., integer arrays, boolean masks, and mixtures.

    >>> from tinynet import Tensor, grad
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> grad(x[[0, 0, 2]].sum(), x)
    Tensor([2., 0., 1.])
    """
    return _get(x, index=_plain(_uploaded(index, x.shape) if on_gpu else index))


def put(x: Any, index: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with `x` added at `index`; the opposite of ``[index]``."""
    shape = lengths_of("put", shape)
    return _put(x, index=_plain(_uploaded(index, shape) if on_gpu else index), shape=shape)


@operands("x", "indices")
def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """For each position, the element of `x` whose place along `axis` is in `indices`."""
    axis = one_axis(axis, x.ndim)
    check_range("indices", raw(indices), x.shape[axis])
    indices = _plain(indices)
    if indices.ndim != x.ndim:
        raise ValueError(f"take_along_axis needs indices with {x.ndim} axes, got shape "
                         f"{tuple(indices.shape)}")
    place = [xp.arange(n).reshape([-1 if i == j else 1 for j in range(x.ndim)])
             for i, n in enumerate(x.shape)]
    place[axis] = indices
    return _get(x, index=tuple(place))
