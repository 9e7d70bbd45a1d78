"""What the state of a run looks like: a whole checkpoint may still hold odd values.

`check_state` compares the tree with `_STATE`, name by name, before anything is taken
over: a step that is infinite, an array for a dict, a name that is missing.

Read next: `train/given.py`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..backend import is_array
from .history import TABLES


def check_state(state: Any) -> None:
    """ValueError names what in the state of a run is missing or of the wrong kind."""
    _check("", state, _STATE)
    optimizer = state["optimizer"]
    if "members" in optimizer:  # several together
        _check("/optimizer/members", optimizer["members"], [_OPTIMIZER])
    else:
        _check("/optimizer", optimizer, _OPTIMIZER)
    _check("/settings", state.get("settings", {}), {"a text"})
    if state["sums"]:  # in mid-epoch
        _check("/sums", state["sums"], SUMS)


def check_settings(groups: Any, own: Any) -> None:
    """ValueError if a setting of a group is of another kind than this run's own."""
    for i, (saved, mine) in enumerate(zip(groups, own, strict=False)):
        path = f"/optimizer/groups/{i}"
        _check(f"{path}/schedule", saved.get("schedule", {}), {"a number"})
        for name in saved.keys() & mine.keys() - {"params", "names"}:
            same_kind = _kind(saved[name]) == _kind(mine[name])
            is_like_mine = callable(mine[name]) or same_kind
            # All but the rate may be switched on and off by hand.
            is_off = name != "lr" and saved[name] is None
            is_on = mine[name] is None and _is_number(saved[name])
            if not (is_like_mine or is_off or is_on):
                raise ValueError(f"the state {path}/{name} is {saved[name]!r}, where "
                                 f"this optimizer has {mine[name]!r}")


def _kind(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_kind(item) for item in value]
    return "a finite number" if _is_number(value) else type(value)


def _check(path: str, value: Any, wanted: Any) -> None:
    """Compare a tree with `_STATE`: a dict has fixed names, a list or set one kind."""
    if isinstance(wanted, dict | set):
        _demand(path, value, isinstance(value, Mapping), "a dict")
    if isinstance(wanted, dict):
        for name, kind in wanted.items():
            _demand(f"{path}/{name}", None, name in value, "there")
            _check(f"{path}/{name}", value[name], kind)
    elif isinstance(wanted, set):  # any names
        for name, item in value.items():
            _check(f"{path}/{name}", item, *wanted)
    elif isinstance(wanted, list):
        _demand(path, value, isinstance(value, list | tuple), "a list")
        for i, item in enumerate(value):
            _check(f"{path}/{i}", item, *wanted)
    else:
        _demand(path, value, _KINDS[wanted](value), wanted)


def _demand(path: str, value: Any, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(
            f"the state {path or '/'} must be {what}, it is {reprlib.repr(value)}")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def is_saved(value: Any) -> bool:
    """Whether `value` is an array, on the device or on the host."""
    return is_array(value) or isinstance(value, np.ndarray)


_WHOLE = "a whole number of at least 0"
_KINDS: dict[str, Callable[[Any], bool]] = {
    _WHOLE: _is_whole,
    "a finite number": _is_number,
    "a number": lambda value: isinstance(value, int | float),
    "a count": lambda value: (_is_number(value) and 0 <= value < 2**53
                              and value == int(value)),
    "a text": lambda value: isinstance(value, str),
    "an array": is_saved,
    "a dict": lambda value: isinstance(value, Mapping),
    "slots": lambda value: isinstance(value, Mapping) and all(
        _is_whole(item) or is_saved(item) for item in value.values()),
    "a dict, or None": lambda value: value is None or isinstance(value, Mapping),
    "a name and a dict": lambda value: (
        isinstance(value, list | tuple) and len(value) == 2
        and isinstance(value[0], str) and isinstance(value[1], Mapping)),
}
SUMS = {"batches": "a count", "mixed": "a count", "size": "a count",
         "loss": "a finite number", "accuracy": "a finite number"}
_GENERATOR = {"seed": "a finite number", "counter": _WHOLE}
_OPTIMIZER = {"optimizer": "a text", "t": _WHOLE, "groups": ["a dict"], "state": {"slots"}}
_STATE = {
    "step": _WHOLE, "epoch": _WHOLE, "first_epoch": _WHOLE, "stop": "a text",
    "seconds": "a finite number", "sums": {"a finite number"},
    "random": {"default": _GENERATOR, "layers": {"a dict"}},
    "loaders": ["a dict, or None"], "callbacks": ["a name and a dict"],
    "model": {"an array"},
    "optimizer": {"optimizer": "a text", "t": _WHOLE, "groups": ["a dict"]},
    "history": {table: {"an array"} for table in TABLES},
}
