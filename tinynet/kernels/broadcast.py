"""Undo broadcasting: sum an array down to the shape it was stretched from."""

from __future__ import annotations

from ..backend import Array


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting `shape` to ``x.shape`` added or stretched.

    >>> import numpy as np
    >>> sum_to(np.ones((4, 2, 3)), (2, 1)).tolist()
    [[12.0], [12.0]]
    """
    lead = x.ndim - len(shape)
    if lead < 0:
        raise ValueError(f"cannot sum shape {x.shape} to {shape}: it has fewer axes")
    if lead:
        x = x.sum(axis=tuple(range(lead)))
    if x.shape == shape:
        return x
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return x.sum(axis=stretched, keepdims=True)
