"""What every floor checks about the numbers it is given.

Each function returns what it has checked, or raises an error that names the argument
and the value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from operator import index
from typing import Any


def check_whole(what: str, value: Any, least: int = 1) -> int:
    """`value`, which must be an integer of at least `least`.

    >>> check_whole("batch_size", 0)
    Traceback (most recent call last):
        ...
    ValueError: batch_size must be an integer of at least 1, got 0
    """
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{what} must be an integer of at least {least}, got "
                         f"{value!r}")
    return number


def check_choice(what: str, value: Any, choices: Sequence[str]) -> Any:
    """`value`, which must be one of `choices`.

    >>> check_choice("reduction", "max", ("mean", "sum"))
    Traceback (most recent call last):
        ...
    ValueError: reduction must be 'mean' or 'sum', got 'max'
    """
    if not isinstance(value, str) or value not in choices:
        *others, last = map(repr, choices)
        listed = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{what} must be {listed}, got {value!r}")
    return value


def check_probability(what: str, value: Any) -> float:
    """`value`, which must be a number from 0 to 1."""
    if not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise ValueError(f"{what} must be a probability between 0 and 1, got {value!r}")
    return float(value)


def check_number(what: str, value: Any, least: float = 0.0, below: float = math.inf,
                 instead: str = "") -> float:
    """`value`, which must be a number with least <= value < below.

    `instead` names what else would have been taken: ``" or a schedule"``.

    >>> check_number("momentum", 1.5, below=1)
    Traceback (most recent call last):
        ...
    ValueError: momentum must be a number in [0, 1), got 1.5
    """
    if isinstance(value, Real) and least <= float(value) < below:
        return float(value)
    wanted = f">= {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"
    raise ValueError(f"{what} must be a number {wanted}{instead}, got {value!r}")


def check_positive(what: str, value: Any, instead: str = "") -> float:
    """`value`, which must be a finite number above 0; `instead` as in `check_number`."""
    if isinstance(value, Real) and 0.0 < float(value) < math.inf:
        return float(value)
    raise ValueError(f"{what} must be a number > 0{instead}, got {value!r}")
