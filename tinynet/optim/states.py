"""Loading what `state_dict` returned: what is lacking, or of another shape, is named.

Read next: `optim/interrupts.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..backend import Array, DType, asarray, xp


def check_entries(what: str, state: Mapping[str, Any], entries: Iterable[str]) -> None:
    """Refuse a state that lacks one of the entries."""
    if lacking := set(entries) - state.keys():
        raise ValueError(f"this is no {what}'s state: it lacks {sorted(lacking)}")


def copied(what: str, saved: Any, like: Array, dtype: DType | None = None) -> Array:
    """A copy of a saved array, which must have the shape of `like` and lies like it."""
    shape = getattr(saved, "shape", None)
    if shape != like.shape:
        raise ValueError(f"{what} has shape {shape}, the parameter {like.shape}")
    copy = xp.empty_like(like, dtype=dtype)
    copy[...] = asarray(saved)
    return copy
