r"""What a search may try: ranges of hyper-parameters, drawn at random or laid out as a grid.

    u = hash(seed, i, name) / 2^64 in [0, 1)
    Uniform      low + u (high - low)                     dropout, momentum
    LogUniform   low (high / low)^u                       learning rate, weight decay
    Choice       options[floor(u n)]                      optimizer, activation
    When         one of the above, if another choice was made

Trial i is a function of (seed, i) and of the parameter's name alone: it does not depend
on how many trials there are, which of them ran before, on which worker, or on the other
parameters. Learning rates and decays act by their factor, so they are drawn evenly in
the logarithm. Lecture id H8; Bergstra and Bengio 2012, "Random search for
hyper-parameter optimization".

Read next: `tune/search.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..random import check_seed, key
from ..text import shown

Config = dict[str, Any]


@dataclass(frozen=True)
class Uniform:
    """Evenly between `low` and `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high < math.inf:
            raise ValueError(f"{type(self).__name__} needs low < high, got {self.low}, "
                             f"{self.high}")

    def at(self, u: float) -> Any:
        """The value at the share `u` in [0, 1) of the range."""
        return self.low + u * (self.high - self.low)


class LogUniform(Uniform):
    """Evenly in the logarithm: as often in 1e-4..1e-3 as in 1e-2..1e-1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ValueError(f"LogUniform has no lower end at {self.low}: take a small "
                             "positive number, such as 1e-6")

    def at(self, u: float) -> Any:
        """The value at the share `u` in [0, 1) of the range, in logarithms."""
        return self.low * (self.high / self.low) ** u


class Choice:
    """One of the options, each as often: ``Choice("sgd", "adam")``."""

    def __init__(self, *options: Any) -> None:
        if not options:
            raise ValueError("Choice needs at least one option")
        self.options = options

    def at(self, u: float) -> Any:
        """The option at the share `u` in [0, 1)."""
        return self.options[int(u * len(self.options))]

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"


@dataclass(frozen=True)
class When:
    """`then`, if the parameter `name` (which stands before) has `value`; else none."""

    name: str
    value: Any
    then: Uniform | Choice


Space = Mapping[str, Uniform | Choice | When]


def is_number(value: Any) -> bool:
    """Whether a value of a parameter is a finite number, so that it can be compared."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def label(value: Any) -> str:
    """A value as in tables and pictures: functions and classes by their name."""
    if isinstance(value, float):
        return f"{value:.4g}"
    name = getattr(value, "__qualname__", None)
    try:
        text = str(name or value)
    except Exception:  # whatever an object's own text raises
        text = shown(value)
    return text.encode("utf-8", "backslashreplace").decode()  # half a letter has no glyph


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different ones: numbers first, in order, then the others as they came."""
    found: list[Any] = []
    for value in values:
        if not any(same(value, other) for other in found):
            found.append(value)
    return sorted(filter(is_number, found)) + [v for v in found if not is_number(v)]


def same(a: Any, b: Any) -> bool:
    """Whether two values are one choice: of any kind, also arrays, and nan is nan."""
    if a is b:
        return True
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    try:
        equal = np.asarray(a == b)
        return bool(equal.all()) and equal.size > 0
    except Exception:  # whatever an object's own == raises
        return False


def describe(value: Any, where: str = "the value") -> Any:
    """What a journal can hold of `value`: JSON's own types, and names of functions and classes.

    TypeError for an object that another process could not recognise: its text is its
    address.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return describe(value.tolist(), where)
    if isinstance(value, Real):
        if not is_number(value):  # nan, infinities, integers beyond all floats
            return str(value)
        return value if isinstance(value, int | float) else float(value)
    if isinstance(value, Mapping):
        return {str(key): describe(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item, where) for item in value]
    name = getattr(value, "__qualname__", "<lambda>")
    if "<lambda>" not in name:
        return f"{getattr(value, '__module__', type(value).__module__)}.{name}"
    text = shown(value, most=None)
    if " at 0x" in text or " whose repr raises " in text:
        raise TypeError(f"{where} is {text}, which a journal cannot tell from another "
                        "one: give the choice a name, and look the object up in the "
                        "objective")
    return text


def sample(space: Space, seed: int, i: int) -> Config:
    """The hyper-parameters of trial `i`: a function of (seed, i) alone.

    >>> space = {"lr": LogUniform(1e-4, 1e-1), "optimizer": Choice("sgd", "adam"),
    ...          "momentum": When("optimizer", "sgd", Uniform(0.8, 0.99))}
    >>> for i in (0, 5):
    ...     print({name: f"{value:.3}" for name, value in sample(space, seed=0, i=i).items()})
    {'lr': '0.000112', 'optimizer': 'ada'}
    {'lr': '0.00381', 'optimizer': 'sgd', 'momentum': '0.903'}
    """
    seed = check_seed(seed)
    config: Config = {}
    for name, values in space.items():
        if isinstance(values, When):
            if values.name not in list(space)[: list(space).index(name)]:
                raise ValueError(f"{name} depends on {values.name!r}, which does not "
                                 "stand before it in the space")
            if not same(config.get(values.name), values.value):
                continue
            values = values.then
        if not isinstance(values, Uniform | Choice):
            raise TypeError(f"{name} must be a Uniform, LogUniform, Choice or When, "
                            f"got {shown(values)}")
        word = key(seed, "space", i, name)
        config[name] = values.at((word >> 11) * 2.0**-53)
    return config


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Config]:
    """Every combination of the values, the last parameter fastest.

    >>> grid({"lr": [0.1, 0.01], "decay": [0, 1e-4]})[1:3]
    [{'lr': 0.1, 'decay': 0.0001}, {'lr': 0.01, 'decay': 0}]
    """
    return [dict(zip(axes, values, strict=True))
            for values in itertools.product(*axes.values())]


def hit_probability(fraction: float, trials: int) -> float:
    """1 - (1 - fraction)^trials: the chance that one random trial at least lands in a region.

    `fraction` is the region's share of the range. A peak of a tenth of the important
    axis is found by 9 random trials with 61 %; 60 trials are 95 % sure to hold one of
    the best twentieth, however many parameters there are.

    >>> f"{hit_probability(0.1, 9):.1%}", f"{hit_probability(0.05, 60):.1%}"
    ('61.3%', '95.4%')
    """
    if not (0.0 <= fraction <= 1.0 and trials >= 0):
        raise ValueError("fraction must lie in [0, 1] and trials be 0 or more, got "
                         f"{fraction}, {trials}")
    return 1.0 - (1.0 - fraction) ** trials
