"""One order of differentiation: a function, a point, and both sides of a comparison there.

    analytic   v . grad s                            what `backward` computes, along a direction v
    numeric    (s(x + h v) - s(x - h v)) / 2h        where s = sum(c f)

Two steps are extrapolated to an error of h^4. Beside a large number a step is enlarged,
to 2^20 spacings of the numbers at first, and all steps are multiples of the spacing, so
that x + h v is exact; v is what became of it, on both sides.

A difference shows only what rises above the rounding of s. Of a sum that is known (its
terms); of what happens inside f it is measured, by fourth differences, in which a
smooth f leaves nothing else. What the largest step cannot show is excused with a note,
not called wrong.

Nor is a gradient wrong because one step disagrees with it: f may bend within the step,
or end there. Smaller steps follow, until three in a row agree with one another and not
with the gradient. If none do, nothing is shown: the comparison is unresolved.

Read next: `gradcheck/kinks.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .. import random
from ..backend import Array, asarray, to_numpy
from ..ops.shape import concatenate, reshape
from ..tensor import Tensor, grad
from .report import Comparison, GradcheckError

ROUNDING = 2.0**-49  # of a sum, relative to the sum of the sizes of its terms
_STEP = 2.0**-32  # relative to the number that moves: the first step is no smaller,
_SMALLEST_STEP = 2.0**-44  # and the others not smaller than this
_PARTS = np.arange(10, 17) / 16  # of a step, where rounding is measured
_SAFETY = 2.0  # a slope's rounding is below this many fourth differences, over the step

# Steps, as parts of eps, and at most such a part of the number that moves.
_SMALLER = [*((10.0**-k, math.inf) for k in range(13)), (1e-12, 1e-2), (1e-12, 1e-3),
            (1e-12, 1e-4)]
_LARGER = [(10.0, math.inf), (100.0, math.inf), (1000.0, math.inf)]
_FOR_NOISE = [(10.0**-k, math.inf) for k in (0, 2, 4, 6, 8, 10)] + [(1e-12, 1e-3)]
_MOST_ROUNDING = 1e-3  # of a function, as a part of it
_NOTHING = 1e-12  # a gradient below this claims no slope that rounding could hide
_NEARLY = 0.1  # the relative error of what agrees with a staircase
_ENOUGH = 4  # so many steps are looked at before three that agree can end the search


class Settings(NamedTuple):
    """What all orders share; `gradcheck` explains those that a user may set."""

    random_state: dict[str, int]  # every evaluation starts with it
    eps: float = 1e-4
    tolerance: float = 1e-6
    seed: int = 0


class Tried(NamedTuple):
    """A step, its length, and what it showed."""

    step: Array
    h: float
    found: Comparison
    moved: Array  # c of the outputs that it moves, else 0: they alone have a rounding


class Level:
    """A function, the point where it is checked, and the names of its parts.

    All arrays here are NumPy's; only `call` puts them where the library computes.
    """

    def __init__(self, order: int, f: Callable[..., Tensor], point: list[Array],
                 names: Sequence[str], settings: Settings) -> None:
        self.order = order
        self.f = f
        self.point = point
        self.names = names
        self.settings = settings
        self.x = _flat(point)
        self.y = self.value(self.x)
        self._noise: list[Array] = []

    def derivative(self) -> Level:
        """The next order: the gradient, as a function of the point and of what arrives."""

        def gradient(*values: Tensor) -> Tensor:
            *inputs, g = values
            found = grad(self.f(*inputs), inputs, g, create_graph=True, allow_unused=True)
            row: Tensor = concatenate([reshape(gx, (-1,)) for gx in found])
            return row

        arrives = f"the gradient that arrives at order {self.order}"
        return Level(self.order + 1, gradient, [*self.point, self.cotangent()],
                     [*self.names, arrives], self.settings)

    def draw(self, shape: tuple[int, ...], *key: int) -> Array:
        """Random numbers that depend on nothing but the seed and the key."""
        whole = random.key(self.settings.seed, "direction", self.order, *key)
        return to_numpy(random.normal(whole, shape, dtype=float))

    def cotangent(self, d: int = 0) -> Array:
        """The c of s = sum(c * f): random, but 1 if f is one number, so that s is f."""
        return self.draw(self.y.shape, d, 0) if self.y.size > 1 else np.ones_like(self.y)

    def describe(self, place: int) -> str:
        """The input and the index that a place of the flat point belongs to."""
        for name, part in zip(self.names, self.point, strict=True):
            if place < part.size:
                index = tuple(int(i) for i in np.unravel_index(place, part.shape))
                return f"{name}, index {index}"
            place -= part.size
        raise IndexError(place)

    # The analytic side

    def call(self, x: Array) -> tuple[Tensor, list[Tensor]]:
        """f at the flat point `x`, and the leaves that it was computed from."""
        random.set_state(self.settings.random_state)
        leaves = []
        start = 0
        for part in self.point:
            data = x[start : start + part.size].reshape(part.shape)
            leaves.append(Tensor(asarray(data.copy()), requires_grad=True))
            start += part.size
        return self.f(*leaves), leaves

    def gradient(self, c: Array) -> Array:
        """The gradient of sum(c * f), flat."""
        y, leaves = self.call(self.x)
        return _flat([g.numpy() for g in grad(y, leaves, asarray(c), allow_unused=True)])

    # The numeric side

    def value(self, x: Array) -> Array:
        """f at a flat point, perhaps beyond the edge of its domain, as an array."""
        with np.errstate(all="ignore"):
            return self.call(x)[0].numpy()

    def step(self, v: Array, shrink: float = 1.0, share: float = math.inf) -> Array:
        """eps v times `shrink`, enlarged where it would vanish beside a number.

        At most `share` of a number is added to it; 0 has no share. Sixteenths of a step
        are multiples of the spacing of the numbers.
        """
        plain = self.settings.eps * shrink * v
        number = np.where(np.isfinite(self.x), np.abs(self.x), 0.0)
        size = np.maximum(np.abs(plain), max(_STEP * shrink, _SMALLEST_STEP) * number)
        if share < 1.0:
            size = np.where(number == 0, size, np.minimum(size, share * number))
        size = (32 * number + size) - 32 * number
        return np.where(v != 0, np.copysign(size, v), plain)

    def slopes(self, step: Array) -> tuple[Array, Array]:
        """The derivative of each output along a step, with an error of h^4; the direction."""
        h = length(step)
        with np.errstate(all="ignore"):
            wide = self.value(self.x + step) - self.value(self.x - step)
            narrow = self.value(self.x + step / 2) - self.value(self.x - step / 2)
            return (8 * narrow - wide) / (6 * h), step / h

    def noise(self, c: Array, enough: float = math.inf) -> Array:
        """The rounding of each output near the point: its smallest fourth difference.

        They are taken over 1 to 8 steps, and, until their sum is `enough` or less, over
        smaller steps again and again: there f bends less. Where nothing moves they say
        nothing and do not count.
        """
        for depth, (shrink, share) in enumerate(_FOR_NOISE):
            if depth == len(self._noise):
                found = self._fourth_differences(shrink, share)
                if depth:
                    before = self._noise[-1]
                    found = np.where((found > 0) & ~(before <= found), found, before)
                self._noise.append(found)
            if float(np.abs(c * self._noise[depth]).sum()) <= enough:
                break
        return self._noise[depth]

    def _fourth_differences(self, shrink: float, share: float) -> Array:
        """The second largest of four distances: a kink or a jump is no rounding, and
        only one of them meets it."""
        v = np.clip(self.draw(self.x.shape, 0, 2), -1.0, 1.0)
        found = []
        for scale in (1.0, 2.0, 4.0, 8.0):
            step = self.step(v, scale * shrink, scale * share)
            bent = []
            for side in (-step, step):
                values = np.stack([self.value(self.x + side * part) for part in _PARTS])
                with np.errstate(all="ignore"):
                    bent.append(np.abs(np.diff(values, 4, axis=0)).max(axis=0))
            found.append(np.maximum(*bent))
        return np.sort(found, axis=0)[-2]

    def rounding(self, c: Array) -> float:
        """Of sum(c * f), if f itself were exact."""
        return ROUNDING * float(np.abs(c * self.y).sum())

    def hides(self, c: Array, enough: float) -> float:
        """The rounding of sum(c * f), of what happens inside f too; looked at closely
        if it is more than `enough`."""
        inside = _SAFETY * float(np.abs(c * self.noise(c, enough / _SAFETY)).sum())
        return float(np.maximum(self.rounding(c), inside))

    # The comparison

    def compare(self, where: str, v: Array, c: Array, gradient: Array,
                alone: bool = False) -> Comparison:
        """Both sides along `v`; if they differ, other steps, as long as these can tell.

        An element that is looked at `alone`, and moves nothing, is given the benefit of
        all rounding there may be.
        """
        return self.search(where, v, c, gradient, alone)[0]

    def search(self, where: str, v: Array, c: Array, gradient: Array,
               alone: bool = False) -> tuple[Comparison, list[Tried]]:
        """What `compare` finds, and the steps that it was found with."""
        tried: list[Tried] = []
        for shrink, share in _SMALLER:
            step = self.step(v, shrink, share)
            if tried and np.array_equal(step, tried[-1].step):
                continue  # it is as small as it can be
            hidden = 0.5 * _miss(tried) * length(step)
            if tried and self.hides(_moved(tried), 0.02 * hidden) > hidden:
                break  # rounding would hide what the other steps saw
            found = self.at_step(step, where, v, c, gradient, tried, alone)
            if found.passed:
                return found, tried
            if len(tried) >= _ENOUGH and self.agree(tried[-3:]):
                break
        if not any(math.isfinite(t.found.numeric) for t in tried):
            return found, tried
        wrong, steps = self.verdict(tried)
        if wrong.resolved and wrong.numeric != 0.0:
            return wrong, steps
        smaller = len(tried)  # too few, or nothing moved: perhaps it does farther away
        for shrink, share in _LARGER:
            step = self.step(v, shrink, share)
            found = self.at_step(step, where, v, c, gradient, tried, alone)
            if found.passed:
                return found, tried
        if wrong.resolved and not any(t.found.error < _NEARLY for t in tried[smaller:]):
            return wrong, steps
        return self.verdict(sorted(tried, key=lambda t: -t.h), wrong.resolved)

    def at_step(self, step: Array, where: str, v: Array, c: Array, gradient: Array,
                tried: list[Tried], alone: bool) -> Comparison:
        """Both sides for a step, which joins those that were tried; perhaps excused."""
        h = length(step)
        slopes, way = self.slopes(step)
        with np.errstate(all="ignore"):
            analytic = float((gradient * way).sum())
            numeric = float((c * slopes).sum())
        rounding = self.rounding(c) / h
        miss = abs(analytic - numeric)
        size = max(abs(analytic), abs(numeric))
        passed = miss <= rounding + self.settings.tolerance * size
        if passed and tried and rounding > 0.5 * max(size, _miss(tried, default=0.0)):
            passed = False  # anything would pass
        claims = abs(analytic) > _NOTHING and miss > self.settings.tolerance * size
        blind = passed and claims and rounding > abs(analytic)
        if miss <= rounding:
            size = max(size, float(np.abs(c * self.y).sum()))
        error = miss / (size or 1.0) if math.isfinite(miss) else math.inf
        found = Comparison(self.order, where, analytic, numeric, error, passed)
        moved = np.where(slopes == 0, 0.0, c)
        tried.append(Tried(step, h, found, moved))
        if passed and not blind:
            return found._replace(note=self.other_step(tried))
        limit: float | None = rounding
        if not blind:
            limit = self.limit(found, v, c - moved, moved, tried[0].h, alone)
        if limit is None:
            return found
        return found.excused(
            f"{where}: a step of {h:.0e} cannot show whether the gradient is right: the "
            f"rounding of f hides slopes below {limit:.0e} (it is nearly flat here)")

    @staticmethod
    def other_step(tried: Sequence[Tried]) -> str:
        """What to say if the last step passed, and the first did not."""
        if len(tried) == 1:
            return ""
        why = ("f has a kink in between (a max or a ReLU changes its winner), or bends "
               "strongly")
        if not math.isfinite(tried[0].found.numeric):
            why = "f is not a number as far away as that"
        return (f"differences agree with a step of {tried[-1].h:.0e}, not of "
                f"{tried[0].h:.0e}: {why}")

    def agree(self, three: Sequence[Tried]) -> bool:
        """Whether differences of three steps are one slope, and not the gradient's.

        Rounding may blur the smallest of them.
        """
        numeric = np.array([t.found.numeric for t in three])
        misses = np.array([t.found.analytic for t in three]) - numeric
        if not np.isfinite(misses).all():
            return False
        c = _moved(three)
        h = np.array([t.h for t in three])
        miss = float(np.abs(misses).min())
        change = float(np.ptp(numeric))
        largest = float(np.abs(numeric).max())
        steady = change <= 0.1 * largest + 2 * self.rounding(c) / float(h.min())
        enough = 0.01 * (miss if steady else min(miss, largest)) * float(h.min())
        rounding = np.sort(self.hides(c, enough) / h)
        blur = 2 * float(rounding[-1])
        if blur * float(h.min()) > _MOST_ROUNDING * float(np.abs(c * self.y).sum()):
            blur = 0.0  # it may be f itself that swings so
        steady = steady or change <= 0.1 * largest + blur
        return bool(steady and 4 * rounding[1] <= miss
                    and np.ptp(misses) <= 0.25 * miss + blur)

    def verdict(self, tried: list[Tried], staircase: bool = False
                ) -> tuple[Comparison, list[Tried]]:
        """Of steps that all disagree with the gradient: wrong, or unresolved.

        On a staircase, where nothing moves within a stair, nothing is shown by that.
        """
        for k in range(len(tried), 2, -1):
            three = tried[k - 3 : k]
            if self.agree(three) and not (staircase and three[1].found.numeric == 0.0):
                return three[1].found, three
        finite = [t for t in tried if math.isfinite(t.found.numeric)]
        slopes = ", ".join(f"{t.found.numeric:.4g} (step {t.h:.0e})" for t in finite)
        found = finite[0].found
        return found._replace(resolved=False, note=(
            f"{found.where}: no step can show whether the gradient is right: differences "
            f"do not agree with one another either, {slopes}")), finite

    def limit(self, found: Comparison, v: Array, still: Array, moved: Array, h: float,
              alone: bool) -> float | None:
        """The slopes that rounding hides from a step of `h`, if it explains what was found.

        still, moved:   c where an output does not move, and where it does, else 0

        What does not move may come from numbers as large as 1, and if nothing moves as
        large as those that were moved: their rounding hides what the gradient claims of
        it. At order 2 and above the gradient itself comes from such numbers.
        """
        largest = 1.0
        if found.numeric == 0.0:
            largest = float(np.abs(self.x[(v != 0) & np.isfinite(self.x)]).max(initial=1.0))
        hidden = ROUNDING * largest * float(np.abs(still).sum()) / h
        claimed = float((self.gradient(still) * v).sum())
        if abs(claimed) > hidden:
            claimed = 0.0
        miss = abs(found.analytic - claimed - found.numeric)
        noise = self.hides(moved, 0.5 * miss * h) / h
        size = max(abs(found.analytic), abs(found.numeric))
        bound = noise + self.settings.tolerance * size
        if self.order > 1 or (alone and found.numeric == 0.0):
            bound += hidden
        return max(noise, hidden) if miss <= bound else None

    # What is checked without differences

    def same_as(self, plain: Array) -> Comparison:
        """The value of this gradient, recorded for the next order, against the plain gradient."""
        difference = np.abs(self.y - plain)
        place = int(difference.argmax())
        error = float(difference[place]) / (float(np.abs(plain).max()) or 1.0)
        where = f"{self.describe(place)}, recorded and plain gradient of order {self.order - 1}"
        found = Comparison(self.order, where, float(self.y[place]), float(plain[place]), error,
                           error < 1e-9)
        if found.passed:
            return found
        return found._replace(note=(
            "'analytic' is the gradient with create_graph=True (of a fused operation: "
            "through its reference), 'numeric' the one without: they must be equal"))

    def refuse_nondeterminism(self) -> None:
        """Differences of a function that changes from call to call mean nothing."""
        again = self.value(self.x)
        if not np.array_equal(self.y, again, equal_nan=True):
            raise GradcheckError(
                "gradcheck: f is not deterministic: with the same inputs, two calls "
                f"differ by up to {float(np.abs(self.y - again).max()):.3g}. Draw "
                "random numbers from tinynet.random's default generator, and change "
                "nothing that f depends on")


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([part.reshape(-1) for part in parts])


def _moved(tried: Sequence[Tried]) -> Array:
    """The size of c for the outputs that one of the steps moves, else 0."""
    largest: Array = np.max([np.abs(t.moved) for t in tried], axis=0)
    return largest


def _miss(tried: Sequence[Tried], default: float = math.inf) -> float:
    """The most by which differences and gradient were apart."""
    misses = [t.found.miss for t in tried if math.isfinite(t.found.miss)]
    return max(misses, default=default)


def length(v: Array) -> float:
    """Of a direction; 1 if it is 0."""
    largest = float(np.abs(v).max(initial=0.0))
    return largest * float(np.sqrt(((v / largest) ** 2).sum())) if largest else 1.0
