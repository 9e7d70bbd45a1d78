"""One order of differentiation: a function, a point, and both sides of a comparison there.

    analytic   v . grad s                            what `backward` computes, along a direction v
    numeric    (s(x + h v) - s(x - h v)) / 2h        where s = sum(c f)

Two steps are extrapolated to an error of h^4. x + h v is rounded, so v is what the
numbers let it be, (x+ - x-) / 2h, on both sides; and no step is smaller than 2^20
spacings of the numbers.

A difference shows only what rises above the rounding of s. Of a sum that is known (its
terms); of what happens inside f it is measured, by fourth differences, in which a
smooth f leaves nothing else. What the largest step cannot show is excused with a note,
not called wrong.

Read next: `gradcheck/kinks.py`.
"""

from __future__ import annotations

import functools
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
_SMALLEST_STEP = 2.0**-32  # relative to the number that moves
_PARTS = np.linspace(0.5, 1.0, 7)  # of a step, where rounding is measured
_SAFETY = 2.0  # a slope's rounding is below this many fourth differences, over the step


class Settings(NamedTuple):
    """What all orders share; `gradcheck` explains those that a user may set."""

    random_state: dict[str, int]  # every evaluation starts with it
    eps: float = 1e-4
    tolerance: float = 1e-6
    seed: int = 0


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

    def derivative(self) -> Level:
        """The next order: the gradient, as a function of the point and of what arrives."""

        def gradient(*values: Tensor) -> Tensor:
            *inputs, g = values
            found = grad(self.f(*inputs), inputs, g, create_graph=True)
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
        return _flat([g.numpy() for g in grad(y, leaves, asarray(c))])

    # The numeric side

    def value(self, x: Array) -> Array:
        """f at the flat point `x`, as an array."""
        return self.call(x)[0].numpy()

    def step(self, v: Array, h: float) -> Array:
        """h v, made larger where it would vanish beside the number that moves."""
        size = np.maximum(np.abs(h * v), _SMALLEST_STEP * np.abs(self.x))
        return np.where(np.isfinite(size) & (v != 0), np.copysign(size, h * v), h * v)

    def difference(self, v: Array, h: float) -> tuple[Array, Array]:
        """(f(x+) - f(x-)) / 2h and (x+ - x-) / 2h."""
        step = self.step(v, h)
        right = self.x + step
        left = self.x - step
        slope = (self.value(right) - self.value(left)) / (2 * h)
        way = (right - left) / (2 * h)
        return slope, np.where(np.isfinite(way), way, v)

    def slopes(self, v: Array, h: float) -> tuple[Array, Array]:
        """The derivative of each output along a direction, with an error of h^4; the direction."""
        wide, wide_way = self.difference(v, h)
        narrow, narrow_way = self.difference(v, h / 2)
        return (4 * narrow - wide) / 3, (4 * narrow_way - wide_way) / 3

    @functools.cached_property
    def noise(self) -> Array:
        """The rounding of each output near the point: its largest fourth difference.

        A kink or a jump is no rounding: only one of four distances meets it, and the
        second largest of what they show counts.
        """
        v = np.clip(self.draw(self.x.shape, 0, 2), -1.0, 1.0)
        found = []
        for h in self.settings.eps * np.array([1.0, 2.0, 4.0, 8.0]):
            bent = []
            for side in (-h, h):
                values = np.stack([self.nearby(v, side * part) for part in _PARTS])
                bent.append(np.abs(np.diff(values, 4, axis=0)).max(axis=0))
            found.append(np.maximum(*bent))
        return np.sort(found, axis=0)[-2]

    def nearby(self, v: Array, h: float) -> Array:
        """f a step away, perhaps beyond the edge of its domain."""
        with np.errstate(all="ignore"):
            return self.value(self.x + self.step(v, h))

    # The comparison

    def compare(self, where: str, v: Array, c: Array, gradient: Array,
                alone: bool = False) -> Comparison:
        """Both sides along `v`; if they differ, smaller steps, as long as these can tell.

        An element that is looked at `alone` is given the benefit of all rounding there
        may be.
        """
        eps = self.settings.eps
        first, slopes = self.at_step(eps, where, v, c, gradient)
        if first.passed:
            return first
        noise = _SAFETY * float(np.abs(c * self.noise).sum())
        found = first
        for h in (eps, eps / 10, eps / 100, eps / 1000):
            if h < eps:
                rounding = max(self.rounding(c), noise) / h
                if rounding > 0.5 * abs(first.analytic - first.numeric):
                    break  # it would hide what the first step saw
                found, slopes = self.at_step(h, where, v, c, gradient)
            if found.passed:
                return found._replace(note=(
                    f"differences agree with a step of {h:.0e}, not of {eps:.0e}: f "
                    "has a kink in between (a max or a ReLU changes its winner), or "
                    "bends strongly"))
            still = np.where(slopes == 0, c, 0.0)
            limit = self.limit(found, v, still, noise / eps, alone)
            if limit is not None:
                return found.excused(
                    f"{where}: a step of {h:.0e} cannot show whether the gradient is "
                    f"right: the rounding of f hides slopes below {limit:.0e} (it is "
                    "nearly flat here)")
        return found

    def at_step(self, h: float, where: str, v: Array, c: Array, gradient: Array
                ) -> tuple[Comparison, Array]:
        """Both sides along `v` for a step of that size, and the slope of each output."""
        slopes, way = self.slopes(v, h)
        analytic = float((gradient * way).sum())
        numeric = float((c * slopes).sum())
        rounding = self.rounding(c) / h
        miss = abs(analytic - numeric)
        size = max(abs(analytic), abs(numeric))
        passed = miss <= rounding + self.settings.tolerance * size
        if miss <= rounding:
            size = max(size, float(np.abs(c * self.y).sum()))
        error = miss / (size or 1.0) if math.isfinite(miss) else math.inf
        return Comparison(self.order, where, analytic, numeric, error, passed), slopes

    def limit(self, found: Comparison, v: Array, still: Array, noise: float,
              alone: bool) -> float | None:
        """The slopes that rounding hides from a step, if it explains the difference found.

        still:   c where an output does not move, else 0
        noise:   the rounding of the outputs that do move, as a slope

        What does not move may come from numbers as large as 1, and if nothing moves as
        large as those that were moved: their rounding hides what the gradient claims of
        it. At order 2 and above the gradient itself comes from such numbers.
        """
        largest = 1.0
        if found.numeric == 0.0:
            largest = float(np.abs(self.x[(v != 0) & np.isfinite(self.x)]).max(initial=1.0))
        hidden = ROUNDING * largest * float(np.abs(still).sum()) / self.settings.eps
        claimed = float((self.gradient(still) * v).sum())
        if abs(claimed) > hidden:
            claimed = 0.0
        size = max(abs(found.analytic), abs(found.numeric))
        bound = noise + self.settings.tolerance * size
        if alone or self.order > 1:
            bound += hidden
        if abs(found.analytic - claimed - found.numeric) <= bound:
            return max(noise, hidden)
        return None

    def rounding(self, c: Array) -> float:
        """Of sum(c * f), if f itself were exact."""
        return ROUNDING * float(np.abs(c * self.y).sum())

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
