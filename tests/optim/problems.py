"""Loss surfaces with a known answer, and a walk of an optimizer over one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import Tensor
from tinynet.optim import Optimizer

Gradient = Callable[[np.ndarray], np.ndarray]
Make = Callable[[list[Tensor]], Optimizer]


def walk(make: Make, start: Any, gradient: Gradient, steps: int,
         stop: Callable[[np.ndarray], bool] = lambda x: False) -> np.ndarray:
    """The positions (n + 1, dimensions) of an optimizer in float64; ends early at `stop`."""
    x = Tensor(np.array(start, dtype=np.float64), requires_grad=True)
    optimizer, path = make([x]), [x.data.copy()]
    for _ in range(steps):
        x.grad = Tensor(gradient(x.data))
        optimizer.step()
        path.append(x.data.copy())
        if stop(x.data):
            break
    return np.stack(path)


def steps_until(make: Make, start: Any, gradient: Gradient,
                stop: Callable[[np.ndarray], bool], limit: int = 10_000) -> int:
    """How many steps until `stop`; `limit` if it does not come."""
    return len(walk(make, start, gradient, limit, stop)) - 1


def bowl(k: float) -> Gradient:
    """f = (x^2 + k y^2) / 2: flat along x, steep along y; condition number k."""
    return lambda x: np.array([1.0, k]) * x


def saddle(x: np.ndarray) -> np.ndarray:
    """f = x^2 - y^2."""
    return np.array([2.0, -2.0]) * x


def double_well(x: np.ndarray) -> np.ndarray:
    """f = x^4/4 - x^2/2 + .15 x: minima at .914 and (lower) at -1.068."""
    return x**3 - x + 0.15


def sign_changes(values: np.ndarray) -> int:
    """How often the sign changes, to and from 0 too; below 1e-12 a value counts as 0."""
    signs = np.sign(np.where(np.abs(values) < 1e-12, 0.0, values))
    return int((np.diff(signs) != 0).sum())


def length(path: np.ndarray) -> float:
    """The sum of the lengths of all steps."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def turning_angle(path: np.ndarray) -> float:
    """The mean angle between one step and the next, in degrees."""
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    cosines = (steps[1:] * steps[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())
