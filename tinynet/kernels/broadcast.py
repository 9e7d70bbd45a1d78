"""Broadcasting, and its opposite: sum an array down to the shape it was stretched from."""

from __future__ import annotations

import math

from ..backend import Array, accumulator, xp

FILL = 1 << 12  # a smaller result is filled: cheaper than the view NumPy makes of a small array


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` stretched to `shape`: a view where the result is large."""
    try:
        if math.prod(shape) > FILL or x.ndim > len(shape):
            return xp.broadcast_to(x, shape)
        y = xp.empty(shape, x.dtype)
        y[...] = x
    except ValueError:
        raise ValueError(f"shape {x.shape} cannot be stretched to {shape}") from None
    return y


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting `shape` to ``x.shape`` added or stretched.

    >>> import numpy as np
    >>> sum_to(np.ones((4, 2, 3)), (2, 1)).tolist()
    [[12.0], [12.0]]
    """
    lead = x.ndim - len(shape)
    y = x
    dtype = accumulator(x.dtype, x.size // (math.prod(shape) or 1))
    if lead > 0:
        y = xp.add.reduce(y, 0 if lead == 1 else tuple(range(lead)), dtype)
    if y.shape != shape:
        stretched = tuple(i for i, n in enumerate(shape) if n == 1 and y.shape[i] != 1)
        y = y.sum(stretched, dtype, keepdims=True)
        if y.shape != shape:
            raise ValueError(f"an array of shape {x.shape} cannot be summed to shape {shape}")
    if x.dtype.kind == "f":
        y = y.astype(x.dtype, copy=False)  # of float16, rounded once
    return y
