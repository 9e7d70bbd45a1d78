"""Arrays of either backend in tests: made by `xp`, compared on the host.

A test hands the library arrays of the backend (``xp.ones(3)``, ``asarray(numpy_array)``, tensors)
and compares what comes back with `equal` and `close`, or after `host`; then it runs on NumPy and on
CuPy alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet import Tensor
from tinynet.backend import to_numpy


def leaf(values: Any) -> Tensor:
    """A leaf tensor of these numbers, in float64."""
    return Tensor(np.array(values, dtype=np.float64), requires_grad=True)


def host(x: Any) -> np.ndarray[Any, Any]:
    """A tensor, an array of either backend, a number or nested lists of them as a NumPy array."""
    if isinstance(x, Tensor):
        x = x.data
    if isinstance(x, list | tuple):
        return np.array([host(item) for item in x])
    return to_numpy(x)


def equal(a: Any, b: Any) -> bool:
    """Whether shapes and all values are equal."""
    return np.array_equal(host(a), host(b))


def close(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |a - b| <= atol + rtol |b| everywhere, after broadcasting."""
    return np.allclose(host(a), host(b), rtol, atol, equal_nan)
