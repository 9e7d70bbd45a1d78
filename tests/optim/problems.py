"""An optimizer on a gradient that a test writes down itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import Tensor, to_numpy
from tinynet.optim.landscapes import Make, trace

Gradient = Callable[[np.ndarray], np.ndarray]


def walk(make: Make, start: Any, gradient: Gradient, steps: int) -> np.ndarray:
    """The positions (n + 1, coordinates) of an optimizer whose loss has this gradient."""
    return trace(make, lambda x: (Tensor(gradient(to_numpy(x.data))) * x).sum(), start, steps)
