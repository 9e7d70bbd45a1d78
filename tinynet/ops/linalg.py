"""Products of matrices: `matmul` for stacks of them, `einsum` for everything else.

Read next: `ops/creation.py`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, xp
from ..kernels import matmul as fast
from ..operation import primitive
from ..rules import operand
from ..tensor import Tensor
from ..text import shown
from .shape import broadcast_to, expand_dims, reshape, squeeze


def _times(a: Any, b: Any) -> Any:
    """a @ b: an operation if one of them is a tensor, else the kernel."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return _matmul(a, b)
    return fast.matmul(a, b)


@primitive(lambda g, b: _times(g, b.swapaxes(-1, -2)),
           lambda g, a: _times(a.swapaxes(-1, -2), g))
def _matmul(a: Array, b: Array) -> Array:
    return fast.matmul(a, b)


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b for matrices, stacks of matrices (leading axes broadcast) and vectors.

    Shapes: (..., n, k) @ (..., k, m) -> (..., n, m); a vector (k,) counts as a row
    before the product or a column after it, and its axis is dropped.
    """
    if not isinstance(a, Tensor):
        a = operand(a, "matmul")
    if not isinstance(b, Tensor):
        b = operand(b, "matmul")
    shape = a.shape
    na = len(shape)
    nb = len(b.shape)
    if na == 0 or nb == 0:
        raise ValueError("matmul needs an array with at least one axis on both sides; "
                         "multiply by numbers with *")
    rows = b.shape[0 if nb == 1 else -2]
    if shape[-1] != rows:
        axis = "only axis" if nb == 1 else "second last axis"
        raise ValueError(f"matmul of {a.shape} and {b.shape}: the last axis of the "
                         f"first ({a.shape[-1]}) must equal the {axis} of the second "
                         f"({rows})")
    if na == 2 and nb == 2:
        return _matmul(a, b)
    if na == 1:  # a row: its axis is the last but one of the product, or the only one
        y = matmul(expand_dims(a, 0), b)
        return squeeze(y, max(y.ndim - 2, 0))
    if nb == 1:
        return squeeze(matmul(a, expand_dims(b, 1)), -1)
    if nb == 2:  # one product of a tall matrix, not many small ones
        tall = reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        return reshape(_matmul(tall, b), (*a.shape[:-1], b.shape[-1]))
    return _matmul(a, b)


def _swap_in(g: Any, i: int, xs: Any, shapes: Any, subscripts: str) -> Any:
    """The gradient of operand `i`: the same sum with the output in its place.

    A letter of the operand that appears nowhere else was summed out: its gradient is
    constant along that axis.
    """
    terms, out = subscripts.split("->")
    letters = terms.split(",")
    others = [x for j, x in enumerate(xs) if j != i]
    known = set(out).union(*(t for j, t in enumerate(letters) if j != i))
    target = "".join(c for c in letters[i] if c in known)
    inputs = ",".join([out, *(t for j, t in enumerate(letters) if j != i)])
    gi = einsum(f"{inputs}->{target}", g, *others)
    for place, c in enumerate(letters[i]):
        if c not in known:
            gi = expand_dims(gi, place)
    return broadcast_to(gi, shapes[i])


@primitive(lambda g, i, xs, xs_shape, subscripts: _swap_in(g, i, xs, xs_shape, subscripts))
def _einsum(*xs: Array, subscripts: str) -> Array:
    dtype = xp.result_type(*xs)
    if dtype.char != "e":
        return xp.einsum(subscripts, *xs)
    return xp.einsum(subscripts, *[x.astype(xp.float32) for x in xs]).astype(dtype)


def einsum(subscripts: str, *tensors: Any) -> Tensor:
    """Einstein's summation: ``einsum("ij,jk->ik", a, b)`` is a @ b.

    Letters that are missing behind ``->`` are summed; without ``->``, those that appear
    once stay, in alphabetical order. No letter twice in one operand, and no ``...``.
    """
    if not isinstance(subscripts, str):
        raise TypeError("einsum: subscripts must be a text such as 'ij,jk->ik', got "
                        f"{shown(subscripts)}")
    tensors = tuple([operand(x, "einsum") for x in tensors])
    subscripts = subscripts.replace(" ", "")
    terms, arrow, out = subscripts.partition("->")
    letters = terms.split(",")
    if "." in subscripts:
        raise ValueError(f"einsum({subscripts!r}): '...' is not known, name every axis")
    if len(letters) != len(tensors):
        raise ValueError(f"einsum({subscripts!r}) names {len(letters)} operands, got "
                         f"{len(tensors)}")
    lengths: dict[str, int] = {}
    for term, x in zip(letters, tensors, strict=True):
        if len(set(term)) != len(term):
            raise ValueError(f"einsum({subscripts!r}): a letter appears twice in "
                             f"{term!r}; take the diagonal by indexing first")
        if len(term) != len(x.shape):
            raise ValueError(f"einsum({subscripts!r}): {term!r} names {len(term)} "
                             f"axes, the operand has shape {x.shape}")
        for c, n in zip(term, x.shape, strict=True):
            if lengths.setdefault(c, n) != n:
                raise ValueError(f"einsum({subscripts!r}): axis {c!r} has lengths "
                                 f"{lengths[c]} and {n}")
    if not arrow:
        out = "".join(sorted(c for c in set(terms) - {","} if terms.count(c) == 1))
    return _einsum(*tensors, subscripts=f"{terms}->{out}")
