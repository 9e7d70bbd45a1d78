"""What several layers check about their arguments and their input."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_default_dtype, xp


def empty(*shape: int) -> Array:
    """Memory for a parameter, of the default dtype, still to be filled."""
    return xp.empty(shape, get_default_dtype())


def check_dtype(x: Any, weight: Any) -> None:
    """Refuse an input that would silently change what the network computes in."""
    if not hasattr(x, "dtype"):
        raise TypeError(f"the input is a {type(x).__name__}: pass a Tensor or an array, for "
                        "example tn.tensor(values)")
    if weight is not None and x.dtype != weight.dtype:
        fix = (f"convert the input with x.astype('{weight.dtype}')"
               + (f" (or the network with model.astype('{x.dtype}'))" if x.dtype.kind == "f" else
                  ", pictures also to small numbers, as in x.astype('float32') / 255"))
        raise TypeError(f"the input is {x.dtype}, the weights are {weight.dtype}: {fix}")
