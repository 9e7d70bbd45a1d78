"""Where two sides of a comparison differ, and whether a kink explains it.

A kink is where a max or a ReLU changes its winner: there the differences are wrong, not
the gradient. If the inputs sit on one and the gradient lies between the slopes next to
it, it is a choice, not an error.

    one-sided     (f(x + h v) - f(x)) / h, (f(x) - f(x - h v)) / h
    around it     the slopes along v at points x + h w: where three numbers tie, no step
                  of one moves their median, but next to the tie one of them is it
    parts         slopes along two parts of v add up to the slope along v, but at a kink

Read next: `gradcheck/report.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .. import random
from ..backend import Array, to_numpy
from .level import ROUNDING, Level, Tried, length
from .report import Comparison

Look = Callable[[Level, Array, Array], Array]  # the slopes that a step shows, in rows

_MOST_POINTS = 65  # that are looked at around a point
_AWAY = 64.0  # steps, so far are they


def locate(level: Level, v: Array, c: Array, gradient: Array) -> tuple[Array, str]:
    """The element of `v` where the sides differ most, by halving; or, if no half
    differs, a part of `v` and the note that excuses it, if one does.
    """
    whole = _part(level, v, np.nonzero(v)[0], c, gradient)
    while len(whole.places) > 1:
        two = np.array_split(whole.places, 2)
        halves = [_part(level, v, half, c, gradient) for half in two]
        if not any(half.differs for half in halves):
            return whole.places, _excuse(whole, halves)
        whole = max(halves, key=Part.rank)
    return whole.places, ""


class Part(NamedTuple):
    """Some elements of a direction, and what was found along them."""

    places: Array
    found: Comparison
    miss: float  # of the two sides, along the part as it stands in the direction

    @property
    def differs(self) -> bool:
        return not self.found.passed

    def rank(self) -> tuple[bool, bool, float]:
        return self.differs, self.found.resolved, self.miss


def _part(level: Level, v: Array, places: Array, c: Array, gradient: Array) -> Part:
    part = np.zeros_like(v)
    part[places] = v[places]
    size = length(part)
    found = level.compare("a part of the inputs", part / size, c, gradient)
    return Part(places, found, found.miss * size)


def _excuse(whole: Part, halves: Sequence[Part]) -> str:
    """Why two sides may differ along a direction, but not along its halves; or ""."""
    if not whole.found.resolved:
        return whole.found.note
    note = next((half.found.note for half in halves if half.found.note), "")
    if note or whole.found.passed:
        return note or whole.found.note
    if 10 * sum(half.miss for half in halves) < whole.miss:
        return ("a kink is exactly here: along two parts of the inputs f has the slopes "
                "of the gradient, but along both at once their sum is not its slope")
    return ""


def element(level: Level, place: int, c: Array, gradient: Array,
            alone: bool = False) -> Comparison:
    """One element of the flat point; excused if it sits on a kink."""
    v = np.zeros_like(level.x)
    v[place] = 1.0
    found, tried = level.search(level.describe(place), v, c, gradient, alone)
    if found.passed:
        return found
    note = kink(level, v, c, found, tried)
    return found.excused(note) if note else found


def kink(level: Level, v: Array, c: Array, found: Comparison,
         tried: Sequence[Tried]) -> str:
    """What to say if a kink or a jump at the point explains a difference along `v`, or "".

    It is looked for with the smallest of the steps that agreed whose rounding does not
    cover the difference. If none did agree, a jump may be why.
    """
    looks: tuple[Look, ...] = (_one_sided, _around)
    if not found.resolved:
        tried = [t for t in tried if t.h < 2 * length(level.step(v))] or tried
        looks = (_one_sided,)
    for look in looks:
        for t in (*tried[2::-1], tried[0]):
            noise = 4 * level.noise(c, 0.1 * found.miss * t.h)
            largest = float(np.abs(level.y).max(initial=0.0))
            noise = np.maximum(noise, 4 * ROUNDING * largest)
            if float(np.abs(c * noise).sum()) < 0.5 * found.miss * t.h:
                break
        note = _kink_within(level, v, c, t.step, noise / t.h, look)
        if note:
            return note
    return "" if found.resolved else found.note


def _kink_within(level: Level, v: Array, c: Array, step: Array, rounding: Array,
                 look: Look) -> str:
    # Of a smooth output, the slopes come together as the step shrinks. At a kink they
    # stay apart, and at a jump they grow as the step shrinks, again and again.
    far = look(level, v, 10 * step)
    near = look(level, v, step)
    with np.errstate(all="ignore"):
        grows = _tenfold(far, near) & (np.abs(near) > rounding)
        jump = (grows & _tenfold(near, look(level, v, 0.1 * step))).any(axis=0)
        bent = np.ptp(near, axis=0) > np.maximum(0.5 * np.ptp(far, axis=0), rounding)
    if not (jump | bent).any():
        return ""
    smooth = np.where(jump | bent, 0.0, c)
    if not level.compare("", v, smooth, level.gradient(smooth)).passed:
        return ""
    place = int(v.argmax())
    here = level.describe(place)
    note = (f"{here}: f jumps here (two winners of a max are equal), so it has no "
            f"derivative of order {level.order} to compare with")
    for output in np.argwhere(bent & ~jump)[:10].tolist():
        one = np.zeros_like(c)
        one[tuple(output)] = 1.0
        slope = float(level.gradient(one)[place])
        slopes = near[(slice(None), *output)]
        low = float(slopes.min())
        high = float(slopes.max())
        margin = 1e-4 * (high - low) + float((one * rounding).sum())
        if not low - margin <= slope <= high + margin:
            return ""
        note = (f"{here}: a kink is exactly here; the slopes of an output next to it go "
                f"from {low:.4g} to {high:.4g}, the gradient's {slope:.4g} is a choice "
                "between them, not an error")
    return note


def _tenfold(a: Array, b: Array) -> Array:
    """Where b is about 10 a."""
    return np.abs(b - 10 * a) < 2 * np.abs(a)


def _one_sided(level: Level, v: Array, step: Array) -> Array:
    """The slopes of each output on the left and on the right of the point."""
    with np.errstate(all="ignore"):
        left = (level.y - level.value(level.x - step)) / length(step)
        right = (level.value(level.x + step) - level.y) / length(step)
    return np.stack([left, right])


def _around(level: Level, v: Array, step: Array) -> Array:
    """The slopes of each output at the point, and at points around it.

    There all numbers lie apart, and that of `v` passes all others from point to point:
    where some tied, each place in their order is its own at one of the points.
    """
    h = length(step)
    apart = _AWAY * np.maximum(h, level.step(np.ones_like(v), h / level.settings.eps))
    others = np.nonzero(v == 0)[0]
    points = int(np.clip(2 * len(others) + 1, 3, _MOST_POINTS))
    order = to_numpy(random.permutation(random.key(level.settings.seed, "around"), len(others)))
    away = [level.x]
    for k in range(points):
        side = v * ((2 * k + 1) / points - 1)
        side[others[order]] = np.linspace(-1.0, 1.0, len(others))
        away.append(level.x + side * apart)
    with np.errstate(all="ignore"):
        return np.stack([(level.value(x + step) - level.value(x - step)) / (2 * h)
                         for x in away])


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
