"""Where two sides of a comparison differ, and whether a kink explains it.

A kink is where a max or a ReLU changes its winner: there the differences are wrong, not
the gradient. If the inputs sit on one and the gradient lies between the slopes on its
two sides, it is a choice, not an error.

Read next: `gradcheck/report.py`.
"""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array
from .level import ROUNDING, Level
from .report import Comparison


def locate(level: Level, v: Array, c: Array, gradient: Array) -> tuple[int | None, str]:
    """The element of `v` where the sides differ most, by halving.

    If no half differs there is none, but perhaps the note that excuses a half, and so
    the whole.
    """
    places = np.nonzero(v)[0]
    while len(places) > 1:
        misses = []
        note = ""
        for half in np.array_split(places, 2):
            part = np.zeros_like(v)
            part[half] = v[half]
            found = level.compare("a part of the inputs", part / length(part), c, gradient)
            misses.append((not found.passed, found.error * length(part), half))
            note = note or found.note
        differs, _, places = max(misses, key=lambda miss: miss[:2])
        if not differs:
            return None, note
    return (int(places[0]) if len(places) else None), ""


def element(level: Level, place: int, c: Array, gradient: Array,
            alone: bool = False) -> Comparison:
    """One element of the flat point; excused if it sits on a kink."""
    v = np.zeros_like(level.x)
    v[place] = 1.0
    found = level.compare(level.describe(place), v, c, gradient, alone)
    if found.passed:
        return found
    note = kink(level, v, c, abs(found.analytic - found.numeric))
    return found.excused(note) if note else found


def kink(level: Level, v: Array, c: Array, miss: float) -> str:
    """What to say if a kink or a jump at the point explains a difference along `v`, or "".

    The steps are small, or the smallest whose rounding does not cover the difference
    `miss`.
    """
    noise = np.maximum(4 * ROUNDING * float(np.abs(level.y).max()), 4 * level.noise)
    eps = level.settings.eps
    covered = float(np.abs(c * noise).sum()) / (0.5 * miss)  # a step at which rounding is half
    h = next((h for h in (eps / 100, eps / 10) if h > covered), eps)
    return _kink_within(level, v, c, h, noise)


def _kink_within(level: Level, v: Array, c: Array, h: float, noise: Array) -> str:
    left_far, right_far = _one_sided(level, v, 10 * h)
    left, right = _one_sided(level, v, h)
    # Of a smooth output, the slopes on the two sides come together as the step shrinks.
    # At a kink they stay apart, and at a jump they grow.
    rounding = noise / h
    jump = (np.abs(right) > np.maximum(5 * np.abs(right_far), rounding)) \
        | (np.abs(left) > np.maximum(5 * np.abs(left_far), rounding))
    bent = np.abs(right - left) > np.maximum(0.5 * np.abs(right_far - left_far), rounding)
    if not (jump | bent).any():
        return ""
    smooth = np.where(jump | bent, 0.0, c)
    if not level.compare("", v, smooth, level.gradient(smooth)).passed:
        return ""
    here = level.describe(int(v.argmax()))
    note = (f"{here}: f jumps here (two winners of a max are equal), so it has no "
            f"derivative of order {level.order} to compare with")
    for output in np.argwhere(bent & ~jump)[:10].tolist():
        one = np.zeros_like(c)
        one[tuple(output)] = 1.0
        slope = float((level.gradient(one) * v).sum())
        low, high = sorted((float((one * left).sum()), float((one * right).sum())))
        margin = 1e-4 * (high - low) + float((one * rounding).sum())
        if not low - margin <= slope <= high + margin:
            return ""
        note = (f"{here}: a kink is exactly here; the slopes of an output on its two "
                f"sides are {low:.4g} and {high:.4g}, the gradient's {slope:.4g} is a "
                "choice between them, not an error")
    return note


def _one_sided(level: Level, v: Array, h: float) -> tuple[Array, Array]:
    """The slope of each output on the left and on the right of the point."""
    with np.errstate(all="ignore"):
        left = (level.value(level.x - h * v) - level.y) / -h
        right = (level.value(level.x + h * v) - level.y) / h
    return left, right


def length(v: Array) -> float:
    """Of a direction; 1 if it is 0."""
    return float(np.sqrt((v * v).sum())) or 1.0


def hint(found: Comparison) -> str:
    """A guess at what went wrong."""
    analytic = found.analytic
    numeric = found.numeric
    if not math.isfinite(numeric):
        return "f is not a number next to these inputs: move them away from the edge of its domain"
    if analytic == 0.0:
        return "no gradient arrives here: is there a .detach() or a .data on the way?"
    if math.isclose(analytic, -numeric, rel_tol=1e-3):
        return "the sign is wrong"
    for factor in (2, 3, 4):
        if math.isclose(analytic, factor * numeric, rel_tol=1e-3):
            return f"{factor} times too large: is something counted more than once?"
        if math.isclose(factor * analytic, numeric, rel_tol=1e-3):
            return f"{factor} times too small: is a factor, or one of several uses, forgotten?"
    return ""
