r"""Learning rates that change with the step, as pure functions of it.

A `Schedule` is called with the number of finished steps, t = 0, 1, 2 ..., and returns
the learning rate of the next one. It has no hidden counter: a checkpoint needs only t,
and there is no order in which to call things. Formulas of the lecture that count t from
1 (B5, B6, D4) have t + 1 here. Schedules count steps: for epochs, multiply by the steps
of one epoch. They compute with Python floats only, since a float64 array scalar would
turn a float32 net into float64.

The first three and the last three of 100 steps (`table`):

    t                                  0         1         2         97         98         99
    constant(0.1)                    0.1       0.1       0.1        0.1        0.1        0.1
    step_decay(0.1, every=30)        0.1       0.1       0.1     0.0001     0.0001     0.0001
    multistep(0.1, [30, 60, 90])     0.1       0.1       0.1     0.0001     0.0001     0.0001
    cosine(0.1, T=100)               0.1   0.09998    0.0999  0.0002219  9.866e-05  2.467e-05
    linear(0.1, T=100)               0.1     0.099     0.098      0.003      0.002      0.001
    inverse_sqrt(0.1)                0.1   0.07071   0.05774     0.0101    0.01005       0.01
    exponential(0.1, k=0.05)         0.1   0.09512   0.09048  0.0007828  0.0007447  0.0007083
    one_over_t(0.1, k=0.05)          0.1   0.09524   0.09091    0.01709    0.01695    0.01681
    cyclic_cosine(0.1, period=50)    0.1    0.0999   0.09961  0.0008856  0.0003943  9.866e-05
    one_cycle(0.1, T=100)          0.004  0.004263  0.005049  0.0004529  0.0002017  5.075e-05
    piecewise([(0, 0), (9, 0.1)])      0   0.01111   0.02222        0.1        0.1        0.1
    warmup(cosine(0.1, T=90), 10)   0.01      0.02      0.03  0.0002739  0.0001218  3.046e-05

Read next: `optim/averaging.py`.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .. import text
from ..checks import answering, check_choice
from ..foreign import of_class
from ..names import lister as _lister

__dir__ = _lister(__name__)

_Turn: TypeAlias = "tuple[Schedule, float, float]"

_BARS = "▁▂▃▄▅▆▇█"
_DEFAULTS = {"factor": 0.1, "end": 0.0}  # not worth saying


class Schedule:
    """A learning rate as a function of the step: ``schedule(t)``, t from 0.

    ``a >> b`` is `a` to its end and then `b` (a schedule or a number) from its own step
    0; ``0.1 * a`` scales. The `repr` draws it. Make one with the functions of this
    module, or of any function of t:

    >>> Schedule(lambda t: 0.1 / (1 + t // 10), "mine", span=60)
    mine ██████▅▅▅▅▅▃▃▃▃▃▃▃▃▃▃▃▂▂▂▂▂▂▂▂▂▂▂ 0.1..0.0143
    >>> linear(1.0, T=4) >> constant(0.1)
    linear(1, T=4) >> constant(0.1) ████▆▆▆▆▆▆▅▅▅▅▅▅▅▃▃▃▃▃▃▂▂▂▂▂▂▂▂▂▂ 1..0.1

    `span` is how many steps the picture shows, `length` when the schedule has ended
    (None: it has no end), `parts` the schedules inside it.
    """

    told: int | None = None  # the steps that an optimizer has made, as it says
    in_turn: int | None = None  # the same, if the last of them was this schedule's

    if not TYPE_CHECKING:  # a type checker would take any name for right
        __getattr__ = of_class("Schedule")

    def __init__(self, rule: Callable[[float], float], text: str, span: float,
                 length: int | None = None, parts: Sequence[Schedule] = ()) -> None:
        self.rule = rule
        self.text = text
        self.span = span
        self.length = length
        self.parts = tuple(parts)

    def __call__(self, t: float) -> float:
        """The learning rate of step `t` (0 at the first)."""
        if t < 0:
            raise ValueError(f"t counts steps from 0, got {t}")
        return self.rule(t)

    def then(self, following: Schedule | float, after: int | None = None) -> Schedule:
        """This schedule for `after` steps (None: to its end), then `following` from 0."""
        end = self.length if after is None else after
        if end is None:
            raise ValueError(f"{self.text} has no end: say when, "
                             ".then(following, after=steps)")
        _check(after=end)
        second = _as_schedule(following)
        return _Made(lambda t, a, b: (a, t, 1.0) if t < end else (b, t - end, 1.0),
                     f"{self.text} >> {second.text}", end + second.span,
                     _later(second.length, end), (self, second))

    def __rshift__(self, following: Schedule | float) -> Schedule:
        return self.then(following)

    def __mul__(self, factor: float) -> Schedule:
        _check(factor=factor)
        return _Made(lambda t, main: (main, t, factor), f"{factor:g} * ({self.text})",
                     self.span, self.length, (self,))

    __rmul__ = __mul__

    # Only a `Plateau` does something with a metric; schedules made of others pass it
    # on.

    def leaves(self, t: float | None = None) -> list[Schedule]:
        """The schedules without parts that run at step `t`, each once; None: all."""
        if not self.parts:
            return [self]
        found: list[Schedule] = []
        for part in self.parts:
            found += [leaf for leaf in part.leaves(t) if leaf not in found]
        return found

    def follow(self, steps: int) -> None:
        """An optimizer has made so many steps: who made the last of them is running."""
        for leaf in self.leaves():
            leaf.hear_of(steps)
        for leaf in self.leaves(steps - 1):
            leaf.in_turn = steps

    def hear_of(self, steps: int) -> None:
        """Note for a schedule without parts what `follow` was told."""
        self.told = steps

    @property
    def running(self) -> bool:
        """Whether it made the last step; as long as no optimizer has said, yes."""
        return self.told is None or self.in_turn == self.told

    def observe(self, metric: Any) -> None:
        """Hand over a metric, such as the validation loss after an epoch."""
        if self.parts:
            for leaf in self.leaves():
                leaf.observe(metric)

    def state_dict(self) -> dict[str, float]:
        """What has been learned from metrics; empty for a pure function of the step."""
        return {f"{i}.{name}": value for i, part in enumerate(self.parts)
                for name, value in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        for i, part in enumerate(self.parts):
            prefix = f"{i}."
            part.load_state_dict({name.removeprefix(prefix): value
                                  for name, value in state.items() if name.startswith(prefix)})

    def __repr__(self) -> str:
        values = [self(t) for t in _spread(self.span)]
        top = max([v for v in values if math.isfinite(v)], default=0.0) or 1.0
        full = len(_BARS) - 1
        bars = "".join(_BARS[max(0, round(v / top * full))] if math.isfinite(v) else "?"
                       for v in values)
        return f"{self.text} {bars} {values[0]:.3g}..{values[-1]:.3g}"


class _Made(Schedule):
    """Made of others: ``turn(t, *parts)`` gives who rules step `t`, its step, a factor.

    A part that is asked for a step before its first gives that one, and is not yet
    running.
    """

    def __init__(self, turn: Callable[..., _Turn], text: str, span: float,
                 length: int | None, parts: Sequence[Schedule]) -> None:
        super().__init__(self._rate, text, span, length, parts)
        self.turn = turn

    def _rate(self, t: float) -> float:
        part, own_t, factor = self.turn(t, *self.parts)
        return factor * part(max(own_t, 0))

    def leaves(self, t: float | None = None) -> list[Schedule]:
        if t is None:
            return super().leaves()
        part, own_t, _ = self.turn(t, *self.parts)
        return part.leaves(own_t) if own_t >= min(0, t) else []


def _spread(span: float, n: int = 32) -> list[int]:
    """Steps from 0 to `span`, about `n` of them."""
    return [round(i * span / n) for i in range(n + 1)]


def _as_schedule(lr: Schedule | float) -> Schedule:
    return lr if isinstance(lr, Schedule) else constant(lr)


def _later(length: int | None, steps: int) -> int | None:
    """The end of a schedule that begins `steps` later."""
    return None if length is None else steps + length


def _check(**values: float) -> None:
    """Refuse what is no number, negative, or 0 where that would divide by it."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise ValueError(f"{name} must be a finite number >= 0, got {value!r}")
        if value == 0 and name in ("T", "every", "k", "period", "steps"):
            raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


def _call(name: str, lr: float, *more: Any, **settings: float) -> str:
    """How a schedule is made, as text; settings that it cannot have are refused."""
    _check(lr=lr, **settings)
    shown = [f"{lr:g}", *map(str, more)]
    for key, value in settings.items():
        if value != _DEFAULTS.get(key):
            number = f"{value:g}" if isinstance(value, float) else value
            shown.append(f"{key}={number}")
    return f"{name}({', '.join(shown)})"


def _half_cosine(start: float, end: float, t: float, T: float) -> float:
    """From `start` at t = 0 to `end` at T, flat at both."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * t / T))


def constant(lr: float) -> Schedule:
    """lr at every step."""
    return Schedule(lambda t: lr, _call("constant", lr), span=1)


@answering
def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^floor(t / every): x0.1 every so many steps, as for ResNet.

    >>> [step_decay(1.0, every=30, factor=0.5)(t) for t in (0, 29, 30, 60)]
    [1.0, 1.0, 0.5, 0.25]
    """
    text = _call("step_decay", lr, every=every, factor=factor)
    return Schedule(lambda t: lr * factor ** (t // every), text, span=4 * every)


@answering
def multistep(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """lr * factor^(how many milestones are <= t).

    >>> [multistep(1.0, [30, 60], factor=0.5)(t) for t in (29, 30, 59, 60)]
    [1.0, 0.5, 0.5, 0.25]
    """
    if not isinstance(milestones, Iterable):
        raise TypeError(f"milestones must be a list of steps, got {milestones!r}: one "
                        f"step alone is [{milestones!r}]; every so many steps: "
                        "step_decay")
    steps = sorted(milestones)
    text = _call("multistep", lr, steps, factor=factor)
    return Schedule(lambda t: lr * factor ** sum(t >= m for m in steps), text,
                    span=1.25 * max(steps, default=1))


@answering
def cosine(lr: float, T: int, end: float = 0.0) -> Schedule:
    """end + (lr - end)/2 (1 + cos(pi t / T)); stays at `end` after T.

    >>> [round(cosine(1.0, T=100)(t), 6) for t in (0, 25, 50, 75, 100, 150)]
    [1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0]
    """
    text = _call("cosine", lr, T=T, end=end)
    return Schedule(lambda t: _half_cosine(lr, end, min(t, T), T), text, span=T, length=T)


@answering
def linear(lr: float, T: int, end: float = 0.0) -> Schedule:
    """From lr at 0 straight to `end` at T; stays there.

    >>> [linear(1.0, T=10)(t) for t in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """
    text = _call("linear", lr, T=T, end=end)
    return Schedule(lambda t: end + (lr - end) * (1 - min(t, T) / T), text, span=T, length=T)


@answering
def piecewise(knots: Sequence[tuple[float, float]]) -> Schedule:
    """Straight lines through the knots (step, lr); before and after them, level.

    >>> up_and_down = piecewise([(0, 0.2), (23, 1.0), (100, 0.07)])
    >>> [round(up_and_down(t), 4) for t in (0, 23, 61.5, 100, 150)]
    [0.2, 1.0, 0.535, 0.07, 0.07]
    """
    points = list(knots) if isinstance(knots, Iterable) else []
    if not points or not all(isinstance(p, tuple | list) and len(p) == 2 for p in points):
        raise ValueError("knots must be pairs (step, lr), as [(0, 0.1), (100, 0.0)], got "
                         f"{knots!r}")
    for step, lr in points:
        _check(step=step, lr=lr)
    steps = [float(step) for step, _ in points]
    rates = [float(lr) for _, lr in points]
    if any(late <= early for early, late in itertools.pairwise(steps)):
        raise ValueError(f"the steps of the knots must rise, got {steps}")

    def rule(t: float) -> float:
        after = bisect.bisect_right(steps, t)  # the first knot that lies behind t
        if after == 0 or after == len(steps):
            return rates[0] if after == 0 else rates[-1]
        share = (t - steps[after - 1]) / (steps[after] - steps[after - 1])
        return rates[after - 1] + share * (rates[after] - rates[after - 1])

    shown = ", ".join(f"({step:g}, {lr:g})" for step, lr in points)
    text = f"piecewise([{shown}])"
    return Schedule(rule, text, span=max(steps[-1], 1.0), length=math.ceil(steps[-1]))


@answering
def inverse_sqrt(lr: float) -> Schedule:
    """lr / sqrt(t + 1): lr at the first step, half of it at the fourth.

    >>> [inverse_sqrt(1.0)(t) for t in (0, 3, 99)]
    [1.0, 0.5, 0.1]
    """
    return Schedule(lambda t: lr / math.sqrt(t + 1), _call("inverse_sqrt", lr), span=99)


@answering
def exponential(lr: float, k: float) -> Schedule:
    """lr * exp(-k t)."""
    text = _call("exponential", lr, k=k)
    return Schedule(lambda t: lr * math.exp(-k * t), text, span=4 / k)


@answering
def one_over_t(lr: float, k: float) -> Schedule:
    """lr / (1 + k t)."""
    text = _call("one_over_t", lr, k=k)
    return Schedule(lambda t: lr / (1 + k * t), text, span=9 / k)


@answering
def cyclic_cosine(lr: float, period: int, end: float = 0.0) -> Schedule:
    """A cosine from lr towards `end` that starts anew every `period` steps.

    For M snapshots in T steps: period = ceil(T / M); save the weights at the end of
    each period.
    Source: Huang et al. 2017, "Snapshot ensembles", equation 2 (its t is t + 1 here).

    >>> [round(cyclic_cosine(0.1, period=50)(t), 8) for t in (0, 25, 49, 50)]
    [0.1, 0.05, 9.866e-05, 0.1]
    """
    text = _call("cyclic_cosine", lr, period=period, end=end)
    return Schedule(lambda t: _half_cosine(lr, end, t % period, period), text, span=3 * period)


@answering
def one_cycle(lr: float, T: int, peak: float = 0.3, start: float | None = None,
              end: float | None = None) -> Schedule:
    """Up to lr in the first `peak` share of T steps, then down to `end`: two cosines.

    `start` is lr/25 and `end` start/10000 unless given. Source: Smith and Topin 2018,
    "Super-convergence", in the shape PyTorch gives it.
    """
    text = _call("one_cycle", lr, T=T)
    if not 0 < peak < 1:
        raise ValueError(f"peak is the share of T before the top, in (0, 1), got {peak}")
    first = lr / 25 if start is None else start
    last = first / 1e4 if end is None else end
    _check(start=first, end=last)
    top = peak * T

    def rule(t: float) -> float:
        if t < top:
            return _half_cosine(first, lr, t, top)
        return _half_cosine(lr, last, min(t, T) - top, T - top)

    return Schedule(rule, text, span=T, length=T)


@answering
def warmup(schedule: Schedule | float, steps: int) -> Schedule:
    """lr (t + 1) / steps for `steps` steps, then the schedule from its 0: no jump.

    lr is the schedule's value at 0 (or the number given); it is reached at step t =
    steps - 1, and the first step is lr / steps, not 0. The lecture warms up for about
    5000 steps.

    >>> [round(warmup(cosine(1.0, T=100), 4)(t), 4) for t in (0, 1, 2, 3, 4, 54, 104)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0]
    """
    _check(steps=steps)
    if steps < 1:
        raise ValueError(f"warmup takes the schedule, then the steps, at least 1; got {steps}")
    main = _as_schedule(schedule)
    return _Made(lambda t, main: (main, t - steps, min(1.0, (t + 1) / steps)),
                 f"warmup({main.text}, {steps})", steps + main.span,
                 _later(main.length, steps), (main,))


class Plateau(Schedule):
    """lr that drops by `factor` after `patience` + 1 reports without improvement.

    This one is no function of the step: call ``observe(metric)`` after each evaluation
    (also on a schedule that contains it, such as ``warmup(Plateau(0.1), 500)``). `mode`
    says whether "min" or "max" is better, and an improvement must exceed `min_delta`;
    never below `end`.

    The optimizer says which steps were this schedule's, wherever it stands: a report
    that comes before its turn or after it, behind a step that was not its own, does not
    count. Reports at one step are one report, however many parameter groups pass it on:
    the first counts.

    >>> lr = Plateau(1.0, factor=0.5, patience=2)
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     lr.observe(loss)
    >>> lr(0), lr.best                        # the third 2.0 without progress fires
    (0.5, 2.0)
    """

    def __init__(self, lr: float, factor: float = 0.1, patience: int = 10,
                 mode: Literal["min", "max"] = "min", min_delta: float = 0.0,
                 end: float = 0.0) -> None:
        check_choice("mode", mode, ("min", "max"))
        if not 0 < factor < 1 or patience < 0:
            raise ValueError("factor must lie in (0, 1) and patience must be >= 0, got "
                             f"factor={factor}, patience={patience}")
        _check(lr=lr, min_delta=min_delta, end=end)
        text = f"Plateau({lr:g}, factor={factor:g}, patience={patience})"
        super().__init__(self._rate, text, span=1)
        self.lr = float(lr)
        self.factor = factor
        self.patience = patience
        self.end = end
        self.sign = 1.0 if mode == "min" else -1.0
        self.min_delta = min_delta
        self.best = self.sign * math.inf
        self.bad = 0
        self.heard = 0  # the steps that were done at the last report

    def _rate(self, t: float) -> float:
        return self.lr

    def hear_of(self, steps: int) -> None:
        super().hear_of(steps)
        if steps < self.heard:  # a new run
            self.heard = 0

    def observe(self, metric: Any) -> None:
        """Count reports without improvement (NaN is none); at patience + 1, drop lr."""
        value = float(metric)
        if not self.running:
            return
        if self.told:  # a training run: each number of steps is reported once
            if self.heard == self.told:
                return
            self.heard = self.told
        if self.sign * (self.best - value) > self.min_delta:
            self.best = value
            self.bad = 0
            return
        self.bad += 1
        if self.bad > self.patience:
            self.lr = max(self.end, self.lr * self.factor)
            self.bad = 0

    def state_dict(self) -> dict[str, float]:
        return {"lr": self.lr, "best": self.best, "bad": self.bad, "heard": self.heard}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        if not state:
            return
        self.lr = float(state["lr"])
        self.best = float(state["best"])
        self.bad = int(state["bad"])
        self.heard = int(state.get("heard", 0))  # older files lack it


def table(schedules: Schedule | Sequence[Schedule], steps: int) -> str:
    """The first three and the last three values of a run of `steps` steps, as text.

    >>> print(table([constant(0.1), linear(1.0, T=8)], steps=8))
    t                 0      1     2      5     6      7
    constant(0.1)   0.1    0.1   0.1    0.1   0.1    0.1
    linear(1, T=8)    1  0.875  0.75  0.375  0.25  0.125
    """
    rows = [schedules] if isinstance(schedules, Schedule) else list(schedules)
    if not rows or steps < 1:
        raise ValueError(f"a table needs schedules and steps >= 1, got {rows} and {steps}")
    ts = [t for t in range(steps) if t < 3 or t >= steps - 3]
    values = [[row.text, *(f"{row(t):.4g}" for t in ts)] for row in rows]
    return text.table([["t", *ts], *values])
