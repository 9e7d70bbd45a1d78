r"""The proving ground: small losses with known answers, and an optimizer's path there.

    bowl(k)        A3   (x^2 + k y^2) / 2                a valley, condition number k
    saddle         A4   x^2 - y^2                        gradient 0, and not a minimum
    double_well    A5   x^4/4 - x^2/2 + .15 x (+ y^2/2)  a local minimum, and a lower
    rosenbrock          100 (y - x^2)^2 + (1 - x)^2      a bent valley
    sampled(n)     A13  x^2/2 + mean of n random waves   dips that more data removes
    regression(B)  A6   squared errors of a line, on B random examples at each call
    noisy(f, s)         f, with noise of deviation s in its gradient

Coordinates stand on the last axis, so that the same function takes a point (2,) and a
grid of points (height, width, 2). `trace` runs any optimizer of this package on any of
them, and the rest of the file measures the path. Pictures of paths: `tinynet.viz`.
Lecture ids A2 to A15.

Read next: `gradcheck/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import asarray, to_numpy, xp
from ..names import lister as _lister
from ..ops.arithmetic import cos, sin
from ..random import Generator, key, uniform
from ..tensor import Tensor
from .optimizer import Optimizer

__all__ = ["Landscape", "bowl", "double_well", "noisy", "path_length",
           "regression", "rosenbrock", "saddle", "sampled", "sign_changes", "steps_until", "trace",
           "turning_angle"]

__dir__ = _lister(__name__)

LossFunction = Callable[[Tensor], Any]  # a Tensor of one number for each point
Make = Callable[[list[Tensor]], Optimizer]
Path = np.ndarray[Any, Any]

FAR = 1e9  # who gets so far away will not come back


class Landscape(NamedTuple):
    """A loss of a few coordinates, called like a function, and what its picture needs.

    ``minima``: all of them, the lowest first; ``start``: where races begin; ``window``:
    the part worth seeing, (left, right, bottom, top).
    """

    name: str
    f: LossFunction
    minima: tuple[tuple[float, ...], ...]
    start: tuple[float, ...]
    window: tuple[float, float, float, float]

    def __call__(self, x: Tensor) -> Any:
        return self.f(x)


def bowl(k: float) -> Landscape:
    """(x^2 + k y^2) / 2: flat along x, steep along y; condition number k.

    >>> bowl(10)(Tensor([1.0, 1.0])).item(), bowl(10).minima
    (5.5, ((0.0, 0.0),))
    """
    curvature = asarray(np.array([1.0, k]))
    return Landscape(f"bowl, k = {k:g}", lambda x: (curvature * x * x).sum(axis=-1) / 2,
                     ((0.0, 0.0),), (1.0, 1.0), (-1.3, 1.3, -1.3, 1.3))


def _saddle(x: Tensor) -> Any:
    return x[..., 0] ** 2 - x[..., 1] ** 2


def _double_well(x: Tensor) -> Any:
    """Any number of coordinates: those after the first lie in a bowl."""
    u = x[..., 0]
    rest = x[..., 1:]
    return u**4 / 4 - u**2 / 2 + 0.15 * u + (rest * rest).sum(axis=-1) / 2


def _rosenbrock(x: Tensor) -> Any:
    """Two coordinates or more, each bound to the one before it."""
    before = x[..., :-1]
    after = x[..., 1:]
    return (100 * (after - before**2) ** 2 + (1 - before) ** 2).sum(axis=-1)


saddle = Landscape("saddle", _saddle, (), (1.0, 1e-3), (-1.2, 1.2, -1.2, 1.2))
double_well = Landscape("double well", _double_well, ((-1.06792301, 0.0), (0.91429732, 0.0)),
                        (2.0, 1.0), (-2.0, 2.3, -1.3, 1.3))
rosenbrock = Landscape("Rosenbrock", _rosenbrock, ((1.0, 1.0),), (-1.2, 1.0),
                       (-1.7, 1.7, -0.8, 1.9))


def sampled(n: int, seed: int = 0, waves: int = 30) -> Landscape:
    r"""L(x) = x^2/2 + 1/n sum_i l_i(x): a bowl, and the chance of n examples.

        l_i(x) = sqrt(2 / waves) sum_k cos(w_k x + phase_ik),      w_k from 5 to 25

    One example's ripple has mean 0 and variance 1 over the random phases, so the mean
    of n has deviation 1/sqrt(n): the sharp dips of a small data set are noise, and fade
    as it grows.
    """
    phases = uniform(key(seed, "phases", n), (n, waves), 0.0, 2 * math.pi, dtype=np.float64)
    w = xp.linspace(5.0, 25.0, waves)
    size = math.sqrt(2 / waves)
    # cos(w x + phase) = cos(w x) cos(phase) - sin(w x) sin(phase): the mean is over
    # phases alone
    c = size * xp.cos(phases).mean(axis=0)
    s = size * xp.sin(phases).mean(axis=0)

    def f(x: Tensor) -> Any:
        return (x * x).sum(axis=-1) / 2 + (c * cos(w * x) - s * sin(w * x)).sum(axis=-1)

    return Landscape(f"mean of {n} losses", f, (), (2.0,), (-2.5, 2.5, -1.5, 3.5))


def regression(batch: int | None = None, rng: Generator | None = None) -> Landscape:
    """mean (w x_i - y_i)^2 over 200 examples, or `batch` of them drawn at each call.

    Examples are drawn with replacement, so the deviation of a mini-batch's gradient is
    that of one example divided by sqrt(batch). The minimum is that of all examples.
    Pass `rng` with `batch`.
    """
    if (batch is None) != (rng is None):
        raise ValueError(f"batch={batch} and rng={rng}: a batch is drawn by a "
                         "generator, pass both")
    data = Generator(0)
    x = data.normal((200, 2), dtype=np.float64) * asarray(np.array([1.0, 2.0]))
    y = x.sum(axis=1) + data.normal(200, dtype=np.float64)

    def f(w: Tensor) -> Any:
        rows = slice(None) if batch is None or rng is None else rng.integers(0, 200, batch)
        return ((w @ x[rows].T - y[rows]) ** 2).mean(axis=-1)

    best = np.linalg.lstsq(to_numpy(x), to_numpy(y))[0]
    return Landscape("regression", f, ((float(best[0]), float(best[1])),), (-1.0, 2.0),
                     (-1.5, 2.5, -0.5, 2.5))


def noisy(f: LossFunction, std: float, rng: Generator) -> LossFunction:
    """f(x) + x . noise, new at each call: the gradient plus normal noise."""
    return lambda x: f(x) + (rng.normal(x.shape, std=std, dtype=x.dtype) * x).sum()


def trace(make: Make, f: LossFunction, start: Any, steps: int,
          stop: Callable[[Path], bool] = lambda x: False) -> Path:
    """Where an optimizer goes on `f`: float64 positions (n + 1, coordinates) (NumPy's).

    ``make`` builds it from a list of one tensor. The path ends early where
    ``stop(position)`` holds, and where a coordinate is 1e9 or more: it has diverged.

    >>> from tinynet.optim import SGD
    >>> trace(lambda params: SGD(params, lr=0.5), bowl(1), (1.0, 2.0), steps=2).tolist()
    [[1.0, 2.0], [0.5, 1.0], [0.25, 0.5]]
    """
    x = Tensor(asarray(np.array(start, dtype=np.float64)), requires_grad=True)
    optimizer = make([x])
    path = [to_numpy(x.data).copy()]
    for _ in range(steps):
        optimizer.step(lambda: f(x))
        path.append(to_numpy(x.data).copy())
        if stop(path[-1]) or not np.abs(path[-1]).max() < FAR:
            break
    return np.stack(path)


def steps_until(make: Make, f: LossFunction, start: Any, stop: Callable[[Path], bool],
                limit: int = 10_000) -> int | None:
    """How many steps until ``stop(position)``; None: never, or more than `limit`."""
    path = trace(make, f, start, limit, stop)
    return len(path) - 1 if stop(path[-1]) else None


# What a path is like

def sign_changes(values: Path) -> int:
    """How often a coordinate changes sign, to and from 0 too (which is below 1e-12).

    >>> sign_changes(np.array([1.0, -0.5, 0.2, 0.1]))
    2
    """
    signs = np.sign(np.where(np.abs(values) < 1e-12, 0.0, values))
    return int((np.diff(signs) != 0).sum())


def path_length(path: Path) -> float:
    """The sum of the lengths of all steps.

    >>> path_length(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]))
    6.0
    """
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def turning_angle(path: Path) -> float:
    """The mean angle between a step and the next, in degrees: 0 straight on, 180 back.

    >>> turning_angle(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    90.0
    """
    steps = np.diff(path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    cosines = (steps[1:] * steps[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())
