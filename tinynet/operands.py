"""What goes into an operation and comes out of it: numbers, arrays and tensors, made
uniform.

An operation computes with raw arrays. `as_operand` says what an argument that is no
tensor becomes (Python numbers stay numbers, so that a float32 net stays float32),
`unpack` takes the arrays and the nodes out of all arguments, and `as_data` makes an
array of whatever NumPy returned.

Read next: `fast_calls.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .backend import Array, asarray, get_default_dtype, xp
from .graph import Node, mode
from .tensor import Tensor

NDARRAY = xp.ndarray
FLOAT64 = np.dtype(np.float64)
CONSTANTS = frozenset((float, int, bool, type(None), NDARRAY))  # taken as they are


class Operands(NamedTuple):
    """The arguments of a call, taken apart."""

    raw: list[Any]  # arrays and numbers
    nodes: list[Node | None]
    tensors: bool  # is any of them a tensor?
    recorded: bool  # does any of them want a gradient, and is this thread recording?


def unpack(args: Sequence[Any], name: str) -> Operands:
    """The arrays of `args` and their nodes, for the operation `name`."""
    raw: list[Any] = []
    nodes: list[Node | None] = []
    tensors = False
    traced = False
    for a in args:
        if isinstance(a, Tensor):
            tensors = True
            raw.append(a.data)
            nodes.append(a.node)
            if a.node is not None:
                traced = True
        else:
            raw.append(a if type(a) in CONSTANTS else as_operand(a, name))
            nodes.append(None)
    return Operands(raw, nodes, tensors, traced and mode.recording)


def as_operand(a: Any, name: str) -> Any:
    """What the operation `name` computes with for an argument that is no tensor.

    Python scalars stay Python scalars, so that a float32 net stays float32.
    """
    if type(a) in CONSTANTS:
        return a
    if isinstance(a, np.generic):
        return a.item()
    if isinstance(a, np.ndarray) and xp is not np:
        raise TypeError(f"{name} mixes a CuPy tensor with a NumPy array of shape "
                        f"{a.shape}: upload it with tn.tensor(array)")
    if isinstance(a, list | tuple | np.ndarray):
        return asarray(a)
    raise TypeError(f"{name} cannot compute with {type(a).__name__} {a!r}: use a "
                    "Tensor, an array or a number")


def as_array(a: Any) -> Any:
    """An argument of a call without tensors: lists and subclasses become arrays."""
    if xp is not np and isinstance(a, np.ndarray):
        raise TypeError(f"a NumPy array of shape {a.shape} is given to an operation on "
                        "the GPU: upload it with tn.tensor(array)")
    if isinstance(a, list | tuple | np.ndarray) and type(a) is not NDARRAY:
        return asarray(a)
    return a


def as_data(y: Any, raw: Sequence[Any]) -> Array:
    """A result as an array, and in float64 only if an operand is.

    NumPy returns scalars from full reductions, and float64 from ``images / 255`` or
    from a float32 array times an integer one, which would make a float64 net of a
    float32 net.
    """
    if y.dtype == FLOAT64:
        floats = {r.dtype for r in raw if hasattr(r, "dtype") and r.dtype.kind == "f"}
        if FLOAT64 not in floats:
            y = y.astype(max(floats, default=get_default_dtype()))
    return y if type(y) is NDARRAY else xp.asarray(y)
