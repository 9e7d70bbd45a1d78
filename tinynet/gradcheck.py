r"""Are the gradients right? Compare them with differences of the function itself.

    analytic   v . grad s                            what `backward` computes, along a direction v
    numeric    (s(x + h v) - s(x - h v)) / 2h        where s = sum(c f); c and v are random

Both are numbers, so one comparison looks at all elements of all inputs and outputs at once, and
v and c are random, so a wrong element cannot hide. Order 2 does the same to the gradient, as a
function of the inputs and of c; and so on. If they differ, halving the direction again and again
finds the element. Numbers are float64, and two steps are extrapolated to an error of h^4.

What a relative error |a - n| / max(|a|, |n|) says (CS231n notes, neural networks part 3):

    above 1e-2      wrong                          1e-4 to 1e-7    fine with kinks
    1e-2 to 1e-4    uncomfortable                  below 1e-7      good

A kink is where a max or a ReLU changes its winner: there the differences are wrong, not the
gradient. If a smaller step settles the matter, or the inputs sit on a kink and the gradient lies
between the slopes on its two sides, the report says so. Read next: `gradcheck_cases.py`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import random
from .backend import Array, asarray, to_numpy
from .graph import enable_grad
from .ops.shape import concatenate, reshape
from .tensor import Tensor, grad

BANDS = ((1e-2, "wrong"), (1e-4, "uncomfortable"), (1e-7, "fine with kinks"))
_ROUNDING = 2.0**-49  # of a sum, relative to the sum of the sizes of its terms
_MOST_KINKS = 100  # elements on a kink that are looked at before giving up


class GradcheckError(AssertionError):
    """A gradient that is not what differences say; the message is the report."""


class Comparison(NamedTuple):
    """One comparison: along a random direction, or for one element of an input."""

    order: int
    where: str
    analytic: float
    numeric: float
    error: float  # relative, or if it is mere rounding: relative to the terms of s
    passed: bool
    note: str = ""

    @property
    def band(self) -> str:
        """The band of the notes that the error falls in."""
        return next((name for bound, name in BANDS if self.error > bound), "good")

    def __str__(self) -> str:
        text = (f"order {self.order}, {self.where}: analytic {self.analytic:.6g}, numeric "
                f"{self.numeric:.6g}, relative error {self.error:.1e}: {self.band}")
        return f"{text}\n    {self.note}" if self.note else text


class Report(list[Comparison]):
    """The comparisons of a gradcheck; true if all passed."""

    def __bool__(self) -> bool:
        return all(c.passed for c in self)

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest error; failed ones come first."""
        return max(self, key=lambda c: (not c.passed, c.error))

    def order(self, order: int) -> Report:
        """The comparisons of one order."""
        return Report(c for c in self if c.order == order)

    def __repr__(self) -> str:
        if not self:
            return "\n  ".join(["gradcheck FAILED", *(str(c) for c in self if not c.passed)])
        orders = sorted({c.order for c in self})
        lines = [f"order {k}: {len(self.order(k))} comparisons, largest relative error "
                 f"{self.order(k).worst.error:.1e}: {self.order(k).worst.band}" for k in orders]
        notes = list(dict.fromkeys(c.note for c in self if c.note))
        more = [f"and {len(notes) - 3} more notes"] if len(notes) > 3 else []
        return "\n  ".join(["gradcheck passed", *lines, *notes[:3], *more])


@enable_grad()
def gradcheck(f: Callable[..., Any], *inputs: Any, order: int = 1, directions: int = 2,
              elementwise: bool | int = False, eps: float = 1e-4, tolerance: float = 1e-6,
              check: bool = True, names: Sequence[str] = (), seed: int = 0) -> Report:
    """Compare the gradients of ``f(*inputs)``, of every order up to `order`, with differences.

    The floats among `inputs` (numbers, arrays, tensors) are converted to float64 and
    differentiated; other inputs are handed on. `f` returns a tensor, or a tuple of which the
    tensors count. The library's random numbers are the same in every evaluation, so dropout may
    be inside; anything else that changes from call to call is refused.

    Each order is compared along `directions` random directions, or with `elementwise` for every
    element (a number: for so many elements of each input). `eps` is the step, and smaller ones
    follow if it disagrees. A relative error up to `tolerance` passes. What fails raises
    `GradcheckError`, or with ``check=False`` makes the report false.

    >>> from tinynet import exp, primitive
    >>> gradcheck(exp, [0.5, -1.0], order=2).worst.band
    'good'
    >>> cube = primitive(lambda g, x: 2 * g * x * x)(lambda x: x * x * x)
    >>> print(gradcheck(lambda x: cube(x).sum(), [1.0, 2.0], check=False).worst)
    order 1, input 0 (x), index (0,): analytic 2, numeric 3, relative error 3.3e-01: wrong
    """
    before, report = random.get_state(), Report()
    try:
        level = _first_level(f, inputs, names, _Settings(eps, tolerance, seed, before))
        level.refuse_nondeterminism()
        for k in range(1, order + 1):
            if k > 1:
                plain, level = level.gradient(level.cotangent()), level.derivative()
                report.append(level.same_as(plain))
            report += level.elements(elementwise) if elementwise else level.along(directions)
            if not report:  # the next order would build on what is wrong already
                break
    finally:
        random.set_state(before)
    if check and not report:
        raise GradcheckError(repr(report))
    return report


def gradcheck_module(model: Any, *inputs: Any, loss: Callable[[Any], Any] | None = None,
                     **options: Any) -> Report:
    """`gradcheck` of a network: its float inputs and all its trainable parameters, by name.

    The parameters and buffers are float64 during the check, and as before afterwards; running
    statistics do not move. `loss` is applied to the output; `options` are those of `gradcheck`.

    >>> from tinynet import nn
    >>> bool(gradcheck_module(nn.Linear(3, 2), [[1.0, 2.0, 3.0]], order=2))
    True
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tensors = [*parameters.values(), *(b for _, b in model.named_buffers())]
    before = [(t, t.data, t.node) for t in tensors]

    def f(*values: Any) -> Any:
        for t, data, _ in before:
            t.data = data.astype(float) if data.dtype.kind == "f" else data.copy()
        for p, value in zip(parameters.values(), values[len(inputs) :], strict=True):
            p.data, p.node = value.data, value.node
        y = model(*values[: len(inputs)])
        return y if loss is None else loss(y)

    names = [*(f"input {i}" for i in range(len(inputs))), *parameters]
    try:
        return gradcheck(f, *inputs, *(p.data for p in parameters.values()), names=names, **options)
    finally:
        for t, data, node in before:
            t.data, t.node = data, node


class _Settings(NamedTuple):
    eps: float
    tolerance: float
    seed: int
    random_state: dict[str, int]  # every evaluation starts with it


def _is_float(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return bool((asarray(x).dtype if dtype is None else dtype).kind == "f")


def _first_level(f: Callable[..., Any], inputs: Sequence[Any], names: Sequence[str],
                 settings: _Settings) -> _Level:
    """The function of its float inputs alone, and its point."""
    floats = [i for i, x in enumerate(inputs) if _is_float(x)]
    if not floats:
        raise TypeError("gradcheck needs an input of floats to differentiate, got "
                        + (", ".join(type(x).__name__ for x in inputs) or "no input"))

    def of_floats(*values: Tensor) -> Tensor:
        args = list(inputs)
        for i, value in zip(floats, values, strict=True):
            args[i] = value
        return _checked_output(f(*args))

    if not names:
        try:
            found = [p.name for p in inspect.signature(f).parameters.values()
                     if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        except (TypeError, ValueError):  # some built-in callables have no signature
            found = []
        names = [f"input {i}" + (f" ({found[i]})" if i < len(found) else "")
                 for i in range(len(inputs))]
    point = [Tensor(inputs[i], dtype=float).numpy() for i in floats]
    return _Level(1, of_floats, point, [names[i] for i in floats], settings)


def _checked_output(y: Any) -> Tensor:
    """The output, or the tensors of a tuple in a row; float64, or else an error that says why."""
    if isinstance(y, tuple | list) and any(isinstance(part, Tensor) for part in y):
        y = concatenate([reshape(part, (-1,)) for part in y if isinstance(part, Tensor)])
    if not isinstance(y, Tensor):
        raise TypeError(f"gradcheck: f returned {type(y).__name__}, and nothing differentiates "
                        "that: it must return a Tensor (was .data or .item() used?)")
    if y.dtype != float:
        raise TypeError(f"gradcheck: f returned {y.dtype}, although its inputs are float64: "
                        "differences need float64, so nothing inside f may convert to "
                        f"{y.dtype} (x.astype, or a tensor made with that dtype)")
    checked: Tensor = y
    return checked


class _Level:
    """One order: a function, the point where it is checked, and the names of its parts.

    All arrays here are NumPy's; only `call` puts them where the library computes.
    """

    def __init__(self, order: int, f: Callable[..., Tensor], point: list[Array],
                 names: Sequence[str], settings: _Settings) -> None:
        self.order, self.f, self.point, self.names, self.settings = order, f, point, names, settings
        self.x = _flat(point)
        self.y = self.value(self.x)

    def derivative(self) -> _Level:
        """The next order: the gradient, as a function of the point and of what arrives."""

        def gradient(*values: Tensor) -> Tensor:
            *inputs, g = values
            found = grad(self.f(*inputs), inputs, g, create_graph=True)
            row: Tensor = concatenate([reshape(gx, (-1,)) for gx in found])
            return row

        arrives = f"the gradient that arrives at order {self.order}"
        return _Level(self.order + 1, gradient, [*self.point, self.cotangent()],
                      [*self.names, arrives], self.settings)

    def same_as(self, plain: Array) -> Comparison:
        """The value of this gradient, recorded for the next order, against the plain gradient."""
        difference = np.abs(self.y - plain)
        place = int(difference.argmax())
        error = float(difference[place]) / (float(np.abs(plain).max()) or 1.0)
        return Comparison(
            self.order, f"{self.describe(place)}, recorded and plain gradient of order "
            f"{self.order - 1}", float(self.y[place]), float(plain[place]), error, error < 1e-9,
            "" if error < 1e-9 else
            "'analytic' is the gradient with create_graph=True (of a fused operation: through its "
            "reference), 'numeric' the one without: they must be equal")

    def draw(self, shape: tuple[int, ...], *key: int) -> Array:
        """Random numbers that depend on nothing but the seed and the key."""
        whole = random.key(self.settings.seed, "direction", self.order, *key)
        return to_numpy(random.normal(whole, shape, dtype=float))

    def cotangent(self, d: int = 0) -> Array:
        """The c of s = sum(c * f): random, but 1 if f is one number, so that s is f."""
        return self.draw(self.y.shape, d, 0) if self.y.size > 1 else np.ones_like(self.y)

    # The two sides of a comparison

    def call(self, x: Array) -> tuple[Tensor, list[Tensor]]:
        """f at the flat point `x`, and the leaves that it was computed from."""
        random.set_state(self.settings.random_state)
        leaves, start = [], 0
        for part in self.point:
            data = x[start : start + part.size].reshape(part.shape)
            leaves.append(Tensor(asarray(data.copy()), requires_grad=True))
            start += part.size
        return self.f(*leaves), leaves

    def value(self, x: Array) -> Array:
        """f at the flat point `x`, as an array."""
        return self.call(x)[0].numpy()

    def gradient(self, c: Array) -> Array:
        """The analytic side: the gradient of sum(c * f), flat."""
        y, leaves = self.call(self.x)
        return _flat([g.numpy() for g in grad(y, leaves, asarray(c))])

    def slopes(self, v: Array, h: float) -> Array:
        """The numeric side: the derivative of each output along `v`, with an error of h^4."""
        wide = (self.value(self.x + h * v) - self.value(self.x - h * v)) / (2 * h)
        narrow = (self.value(self.x + h / 2 * v) - self.value(self.x - h / 2 * v)) / h
        return (4 * narrow - wide) / 3

    def compare(self, where: str, v: Array, c: Array, gradient: Array) -> Comparison:
        """Both sides along `v`; if they differ, smaller steps, as long as these can tell."""
        eps, analytic = self.settings.eps, float((gradient * v).sum())
        results: list[Comparison] = []
        for h in (eps, eps / 10, eps / 100, eps / 1000):
            numeric = float((c * self.slopes(v, h)).sum())
            terms = float(np.abs(c * self.y).sum())
            rounding = _ROUNDING * terms / h
            miss, size = abs(analytic - numeric), max(abs(analytic), abs(numeric))
            if results and rounding > 0.1 * abs(analytic - results[0].numeric):
                break  # rounding would hide what the first step saw
            passed = miss <= rounding + self.settings.tolerance * size
            size = max(size, terms) if miss <= rounding else size
            error = miss / (size or 1.0) if math.isfinite(miss) else math.inf
            results.append(Comparison(self.order, where, analytic, numeric, error, passed))
            if passed:
                break
        found = results[-1]
        if found.passed and len(results) > 1:
            return found._replace(note=(
                f"differences agree with a step of {h:.0e}, not of {eps:.0e}: f has a kink in "
                "between (a max or a ReLU changes its winner), or bends strongly"))
        return found if found.passed else found._replace(note=_hint(analytic, found.numeric))

    # Where to look

    def along(self, directions: int) -> Iterator[Comparison]:
        """Random directions; what differs is traced to an element."""
        for d in range(directions):
            c, v = self.cotangent(d), self.draw(self.x.shape, d, 1)
            gradient, note = self.gradient(c), ""
            for _ in range(_MOST_KINKS):
                found = self.compare(f"random direction {d}", v / _length(v), c, gradient)
                place = None if found.passed else self.locate(v, c, gradient)
                if place is None:
                    break
                found = self.element(place, c, gradient)
                if not found.passed:
                    break
                v[place], note = 0.0, found.note  # on a kink: go on without this element
            else:
                note = (f"more than {_MOST_KINKS} elements sit exactly on a kink: move the inputs "
                        "away, for example by adding small random numbers")
                found = found._replace(passed=False, note=note)
            yield found._replace(note=found.note or note)

    def locate(self, v: Array, c: Array, gradient: Array) -> int | None:
        """The element of `v` where the sides differ most, by halving; None if no half differs."""
        places = np.nonzero(v)[0]
        while len(places) > 1:
            misses = []
            for half in np.array_split(places, 2):
                part = np.zeros_like(v)
                part[half] = v[half]
                found = self.compare("", part / _length(part), c, gradient)
                misses.append((not found.passed, found.error * _length(part), half))
            worst = max(misses, key=lambda miss: miss[:2])
            if not worst[0]:
                return None
            places = worst[2]
        return int(places[0]) if len(places) else None

    def elements(self, wanted: bool | int) -> Iterator[Comparison]:
        """Every element, or `wanted` random ones of each input."""
        c, start = self.cotangent(), 0
        gradient = self.gradient(c)
        for k, part in enumerate(self.point):
            key = random.key(self.settings.seed, "places", self.order, k)
            places = random.permutation(key, part.size).tolist()
            for place in sorted(places if wanted is True else places[:wanted]):
                yield self.element(start + place, c, gradient)
            start += part.size

    def element(self, place: int, c: Array, gradient: Array) -> Comparison:
        """One element of the flat point; excused if it sits on a kink."""
        v = np.zeros_like(self.x)
        v[place] = 1.0
        found = self.compare(self.describe(place), v, c, gradient)
        note = "" if found.passed else self.kink(v, c)
        return found._replace(passed=True, error=0.0, note=note) if note else found

    def describe(self, place: int) -> str:
        """The input and the index that a place of the flat point belongs to."""
        for name, part in zip(self.names, self.point, strict=True):
            if place < part.size:
                index = tuple(int(i) for i in np.unravel_index(place, part.shape))
                return f"{name}, index {index}"
            place -= part.size
        raise IndexError(place)

    def kink(self, v: Array, c: Array) -> str:
        """What to say if a kink or a jump at the point explains a difference along `v`, or ""."""
        h = self.settings.eps / 100
        (left_far, right_far), (left, right) = [
            [(self.value(self.x + sign * step * v) - self.y) / (sign * step) for sign in (-1, 1)]
            for step in (10 * h, h)]
        # Of a smooth output, the slopes on the two sides come together as the step shrinks. At a
        # kink they stay apart, and at a jump they grow.
        rounding = 4 * _ROUNDING * float(np.abs(self.y).max()) / h
        jump = (np.abs(right) > np.maximum(5 * np.abs(right_far), rounding)) \
            | (np.abs(left) > np.maximum(5 * np.abs(left_far), rounding))
        bent = np.abs(right - left) > np.maximum(0.5 * np.abs(right_far - left_far), rounding)
        smooth = np.where(jump | bent, 0.0, c)
        if not (jump | bent).any() or not self.compare("", v, smooth, self.gradient(smooth)).passed:
            return ""
        note = (f"{self.describe(int(v.argmax()))}: f jumps here (two winners of a max are equal), "
                f"so it has no derivative of order {self.order} to compare with")
        for output in np.argwhere(bent & ~jump)[:10].tolist():
            one = np.zeros_like(c)
            one[tuple(output)] = 1.0
            slope = float((self.gradient(one) * v).sum())
            low, high = sorted((float((one * left).sum()), float((one * right).sum())))
            if not low - 1e-4 * (high - low) <= slope <= high + 1e-4 * (high - low):
                return ""
            note = (f"{self.describe(int(v.argmax()))}: a kink is exactly here; the slopes of an "
                    f"output on its two sides are {low:.4g} and {high:.4g}, the gradient's "
                    f"{slope:.4g} is a choice between them, not an error")
        return note

    def refuse_nondeterminism(self) -> None:
        """Differences of a function that changes from call to call mean nothing."""
        again = self.value(self.x)
        if not np.array_equal(self.y, again, equal_nan=True):
            raise GradcheckError(
                "gradcheck: f is not deterministic: with the same inputs, two calls differ by up "
                f"to {float(np.abs(self.y - again).max()):.3g}. Draw random numbers from "
                "tinynet.random's default generator, and change nothing that f depends on")


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([part.reshape(-1) for part in parts])


def _length(v: Array) -> float:
    return float(np.sqrt((v * v).sum())) or 1.0


def _hint(analytic: float, numeric: float) -> str:
    """A guess at what went wrong."""
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
