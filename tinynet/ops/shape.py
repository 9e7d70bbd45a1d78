"""Operations that move elements about without computing: each is undone by its opposite.

Results may share memory with their input; operations never write, so nobody notices.

Read next: `ops/indexing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array, xp
from ..checks import answering, check_whole
from ..operation import primitive
from ..rules import operand_list, operands
from ..tensor import Tensor
from ..text import shown

Axis = int | tuple[int, ...] | None
_MOST_AXES = 64  # of an array


def _number(axis: Any) -> int:
    if isinstance(axis, bool | np.bool_):  # most likely keepdims, in the place of axis
        raise TypeError
    return index(axis)


def one_axis(axis: int, ndim: int) -> int:
    """`axis` as a number from 0 to ndim - 1."""
    try:
        place = _number(axis)
    except TypeError:
        raise TypeError(f"axis must be an integer, got {axis!r}") from None
    if not -ndim <= place < ndim:
        raise ValueError(f"axis {axis} is out of range: there are {ndim} axes")
    return place % ndim


def _inside_all(axis: int) -> int:
    """`axis`, or an error where no array has so many."""
    if not -_MOST_AXES <= axis < _MOST_AXES:
        raise ValueError(f"axis {axis} is out of range: no array has so many axes")
    return axis


def as_axis(axis: Axis) -> Axis:
    """`axis` as NumPy takes it: None, a number, or a tuple; a list becomes a tuple."""
    if axis is None or (type(axis) is int and -_MOST_AXES <= axis < _MOST_AXES):
        return axis
    try:
        if isinstance(axis, tuple | list):
            return tuple([_inside_all(_number(a)) for a in axis])
        return _inside_all(_number(axis))
    except TypeError:
        raise TypeError("axis must be None, an integer or a tuple of integers, got "
                        f"{axis!r}") from None


def all_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of numbers from 0 to ndim - 1; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple | list):
        return (one_axis(axis, ndim),)
    axes = tuple([one_axis(a, ndim) for a in axis])
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


@primitive(lambda g, x_shape: reshape(g, x_shape))
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """The same elements in row-major order under another shape (one length may be -1)."""
    try:
        return x.reshape(shape)
    except OverflowError:
        raise ValueError(f"reshape: shape {shape} is too large") from None
    except TypeError:
        raise TypeError(f"reshape: shape must hold integers, got {shape!r}") from None


def _undo(axes: Sequence[int] | None) -> tuple[int, ...] | None:
    """The order of axes that undoes a transposition."""
    if axes is None:
        return None
    n = len(axes)
    return tuple(sorted(range(n), key=lambda i: axes[i] % n))


@primitive(lambda g, axes: transpose(g, _undo(axes)))
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; None turns them all around."""
    try:
        return x.transpose(axes)
    except (ValueError, TypeError) as error:
        raise ValueError(f"transpose: axes {axes} are not an order of the {x.ndim} "
                         f"axes of shape {x.shape}: {error}") from None


@operands("x")
def swapaxes(x: Any, a: int, b: int) -> Tensor:
    """Axes `a` and `b` exchanged."""
    axes = list(range(x.ndim))
    a = one_axis(a, x.ndim)
    b = one_axis(b, x.ndim)
    axes[a] = b
    axes[b] = a
    return transpose(x, axes)


@operands("x")
def moveaxis(x: Any, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Tensor:
    """Axis `source` moved to place `destination`; or several to as many places."""
    sources = all_axes(source, x.ndim)
    places = all_axes(destination, x.ndim)
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: source {source} and destination {destination} "
                         "must name as many axes")
    axes = [i for i in range(x.ndim) if i not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        axes.insert(place, axis)
    return transpose(x, axes)


@operands("x")
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """A new axis of length 1 at place `axis` of the result; or several."""
    count = len(axis) if isinstance(axis, tuple | list) else 1
    shape = list(x.shape)
    for place in sorted(all_axes(axis, x.ndim + count)):
        shape.insert(place, 1)
    return reshape(x, tuple(shape))


@operands("x")
def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Without the axes of length 1 (or without `axis`, which must have length 1)."""
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    drop = all_axes(axis, x.ndim)
    for i in drop:
        if x.shape[i] != 1:
            raise ValueError(f"squeeze: axis {i} of shape {x.shape} has length "
                             f"{x.shape[i]}, only length 1 can be dropped")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in drop))


@operands("x")
def flatten(x: Any, start_axis: int = 0) -> Tensor:
    """All axes from `start_axis` on as one."""
    start = one_axis(start_axis, max(1, len(x.shape)))
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))


def lengths_of(what: str, shape: Any) -> tuple[int, ...]:
    """`shape`, which must hold integers."""
    if type(shape) is tuple and all(type(n) is int for n in shape):
        return shape
    if not isinstance(shape, tuple | list):
        shape = (shape,)
    return tuple([check_whole(f"{what}: every length of shape", n, least=0) for n in shape])


@primitive(lambda g: g)
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` stretched to `shape` as in arithmetic; a large result is a view, nothing is copied."""
    return backend.broadcast_to(x, lengths_of("broadcast_to", shape))


@primitive(lambda g, x_shape: broadcast_to(g, x_shape))
def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """The opposite of `broadcast_to`: stretched axes are summed."""
    return backend.sum_to(x, lengths_of("sum_to", shape))


@primitive(lambda g, axis: flip(g, axis))
def flip(x: Array, axis: int | tuple[int, ...]) -> Array:
    """The elements in reverse order along `axis`."""
    return xp.flip(x, all_axes(axis, x.ndim))


def _pairs(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """`pad_width` as (before, after) for each axis."""
    try:
        widths = pad_width if isinstance(pad_width, tuple | list) else [pad_width] * ndim
        sides = [p if isinstance(p, tuple | list) else (p, p) for p in widths]
        pairs = [(index(before), index(after)) for before, after in sides]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) != ndim or any(min(p) < 0 for p in pairs):
        raise ValueError("pad_width must be a number or (before, after) for each of "
                         f"{ndim} axes, none negative; got {pad_width!r}")
    if ndim == 4 and isinstance(pad_width, tuple | list) and isinstance(pad_width[0], int) \
            and pad_width[0] > 0:
        raise ValueError(f"pad_width {pad_width} would pad the batch as well: it is a width for "
                         "each axis, first (N, C), as NumPy's; PyTorch's (left, right, top, "
                         "bottom) is ((0, 0), (0, 0), (top, bottom), (left, right))")
    return pairs


def _inside(pairs: list[tuple[int, int]], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where the elements are that the border goes around."""
    return tuple([slice(before, before + n)
                  for (before, _), n in zip(pairs, shape, strict=True)])


@primitive(lambda g, x_shape, pad_width:
           g[_inside(_pairs(pad_width, len(x_shape)), x_shape)])
def pad(x: Array, pad_width: Any, value: float = 0.0) -> Array:
    """A border of `value`: `pad_width` elements on all sides, or (before, after) per axis."""
    pairs = _pairs(pad_width, x.ndim)
    lengths = [n + sum(pair) for n, pair in zip(x.shape, pairs, strict=True)]
    try:
        out = xp.full(tuple(lengths), value, x.dtype)
    except (TypeError, ValueError):
        raise ValueError(f"pad: value {shown(value)} and pad_width {pad_width!r} make no array of "
                         f"{x.dtype}: a number, and a border that memory holds") from None
    out[_inside(pairs, x.shape)] = x
    return out


def _part(g: Any, i: int, shapes: Sequence[tuple[int, ...]], axis: int) -> Any:
    """The part of `g` that array `i` was put into."""
    start = sum(shape[axis] for shape in shapes[:i])
    return g[(slice(None),) * axis + (slice(start, start + shapes[i][axis]),)]


@primitive(lambda g, i, xs_shape, axis: _part(g, i, xs_shape, axis))
def _concatenate(*xs: Array, axis: int = 0) -> Array:
    return xp.concatenate(xs, axis=axis)


@answering
def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors one after the other along an axis they have."""
    tensors = operand_list("concatenate", "tensors", tensors)
    if not tensors:
        raise ValueError("concatenate needs at least one tensor")
    shapes = [tuple(t.shape) for t in tensors]
    axis = one_axis(axis, len(shapes[0]))
    if len({(len(s), s[:axis], s[axis + 1 :]) for s in shapes}) != 1:
        raise ValueError(f"concatenate along axis {axis} needs equal shapes elsewhere, "
                         f"got {shapes}")
    return _concatenate(*tensors, axis=axis)


@answering
def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, side by side along a new axis."""
    tensors = operand_list("stack", "tensors", tensors)
    shapes = [tuple(t.shape) for t in tensors]
    if len(set(shapes)) != 1:
        raise ValueError(f"stack needs tensors of one shape, got {shapes}")
    return concatenate([expand_dims(t, axis) for t in tensors], axis=axis)


@operands("x")
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Cut along `axis`: in pieces of length `sizes` (as PyTorch does), or of the lengths given."""
    axis = one_axis(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(sizes, tuple | list):
        sizes = [check_whole("split: every one of sizes", size, least=0) for size in sizes]
    else:
        length = check_whole("split: sizes", sizes)
        sizes = [min(length, n - start) for start in range(0, n, length)] or [0]
    if sum(sizes) != n:
        raise ValueError(f"split: sizes {sizes} add up to {sum(sizes)}, but axis "
                         f"{axis} has length {n}")
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    before = (slice(None),) * axis
    return [x[(*before, slice(end - size, end))] for size, end in zip(sizes, ends, strict=True)]
