r"""How far to go along a direction: a step that satisfies the strong Wolfe conditions.

With phi(a) = f(x + a d), a step a is accepted if

    phi(a) <= phi(0) + c1 a phi'(0)          it goes down enough      (c1 = 1e-4)
    |phi'(a)| <= c2 |phi'(0)|                the slope has become flat (c2 = 0.9)

The second condition makes s'y > 0, which the BFGS update needs. The search first goes
on until an interval must contain such a step, then narrows it by cubic interpolation. A
trial where the loss or slope is not finite counts as infinitely high, so the step
shrinks.
Source: Nocedal and Wright 2006, "Numerical optimization", algorithms 3.5 and 3.6.

Read next: `optim/second_order.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from ..backend import Array


class Point(NamedTuple):
    """A place on the line: step `alpha`, loss, slope phi', weights, gradient (flat)."""

    alpha: float
    value: float
    slope: float
    x: Array
    g: Array


Phi = Callable[[float], Point]
LineSearch = Callable[[Phi, Point, float], Point]


def strong_wolfe(phi: Phi, start: Point, alpha: float, c1: float = 1e-4, c2: float = 0.9,
                 max_evaluations: int = 25) -> Point:
    """The first point found that satisfies both conditions, trying `alpha` first.

    `start` is phi at 0 and must go down. If `max_evaluations` do not suffice, the
    lowest point found is returned (`start` itself if none was lower).
    """
    previous = start
    for used in range(1, max_evaluations + 1):
        point = phi(alpha)
        if _too_high(point, start, c1) or (used > 1 and point.value >= previous.value):
            return _zoom(phi, start, previous, point, c1, c2, max_evaluations - used)
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope >= 0:
            return _zoom(phi, start, point, previous, c1, c2, max_evaluations - used)
        farther = _cubic_minimum(previous, point)
        if farther <= point.alpha:  # the cubic has none ahead
            farther = math.inf
        alpha = min(max(farther, 1.1 * point.alpha), 10 * point.alpha)
        previous = point
    return previous


def _zoom(phi: Phi, start: Point, low: Point, high: Point, c1: float, c2: float,
          evaluations: int) -> Point:
    """Narrow the interval between `low` (the lowest point so far) and `high`."""
    for _ in range(evaluations):
        width = high.alpha - low.alpha
        if abs(width) * abs(low.slope) <= 1e-16 * abs(low.value):
            break  # the loss cannot change any more
        share = (_cubic_minimum(low, high) - low.alpha) / width if _finite(high) else 0.1
        point = phi(low.alpha + min(max(share, 0.1), 0.9) * width)
        if _too_high(point, start, c1) or point.value >= low.value:
            high = point
            continue
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope * width >= 0:
            high = low
        low = point
    return low


def _finite(point: Point) -> bool:
    return math.isfinite(point.value) and math.isfinite(point.slope)


def _too_high(point: Point, start: Point, c1: float) -> bool:
    return not _finite(point) or point.value > start.value + c1 * point.alpha * start.slope


def _cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic through two values and slopes has its minimum, else the middle.

    Source: Nocedal and Wright 2006, equation 3.59.
    """
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.alpha - b.alpha)
    inside = d1 * d1 - a.slope * b.slope
    if inside >= 0:
        d2 = math.copysign(math.sqrt(inside), b.alpha - a.alpha)
        below = b.slope - a.slope + 2 * d2
        if below != 0:
            return b.alpha - (b.alpha - a.alpha) * (b.slope + d2 - d1) / below
    return (a.alpha + b.alpha) / 2
