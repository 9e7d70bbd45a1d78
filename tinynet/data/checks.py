"""What the pieces of `data` check about pictures, about settings, and about functions of yours.

Each returns what it has checked, or raises an error that names the argument, the value and the fix.
Read next: `augment.py`.
"""

from __future__ import annotations

import inspect
import math
from numbers import Real
from typing import Any

import numpy as np

from ..backend import without_subclass


def check_images(images: Any) -> None:
    """TypeError unless `images` is an array of numbers, ValueError unless it is (N, C, H, W)."""
    if not hasattr(images, "dtype") or hasattr(images, "requires_grad"):
        raise TypeError(f"images must be an array, got {type(images).__name__}: pictures are "
                        "prepared before they become tensors; a list of them needs np.stack")
    check_not_masked(images)
    if images.dtype.kind not in "uif":
        raise TypeError(f"images must be an array of numbers, got {images.dtype}: convert them "
                        "with .astype('uint8') or .astype('float32')")
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {shape}: grey pictures "
                         "(N, H, W) need images[:, None], a single one (C, H, W) images[None]")
    if shape[3] in (1, 3, 4) and min(shape[1:3]) > 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {shape}, which looks like "
                         "(N, H, W, C): use images.transpose(0, 3, 1, 2)")


def check_not_masked(images: Any) -> None:
    """TypeError for a masked array: what stands under its mask would be learned."""
    if isinstance(images, np.ndarray):
        without_subclass(images)


def check_size(size: Any) -> tuple[int, int]:
    """(height, width) of a size in pixels: one side, or both.

    >>> check_size(224), check_size((20, 30))
    ((224, 224), (20, 30))
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(v, int | np.integer) and v > 0 for v in pair):
        raise ValueError(f"size must be a side or (height, width) in whole pixels, got {size!r}")
    return int(pair[0]), int(pair[1])


def two_numbers(pair: Any) -> tuple[float, float]:
    """`pair` if it is two numbers; else (nan, nan), for which no comparison holds."""
    if isinstance(pair, tuple | list) and len(pair) == 2 and all(
            isinstance(v, Real) for v in pair):
        return pair[0], pair[1]
    return math.nan, math.nan


def check_range_of(what: str, pair: Any, above: float, upto: float = math.inf
                   ) -> tuple[float, float]:
    """(low, high), for which above < low <= high <= upto must hold."""
    low, high = two_numbers(pair)
    if not above < low <= high <= upto:
        limit = f" to {upto:g}" if math.isfinite(upto) else ""
        raise ValueError(f"{what} must be (low, high), low <= high, more than {above:g}{limit}, "
                         f"got {pair!r}")
    return low, high


def check_call(what: str, function: Any, *arguments: str) -> None:
    """TypeError unless `function` can be called with as many arguments as are named.

    >>> check_call("transform", np.copy, "images", "keys")
    >>> check_call("transform", lambda images: images, "images", "keys")
    Traceback (most recent call last):
        ...
    TypeError: transform must be a function of (images, keys), but <lambda>(images) ...
    """
    wanted = f"{what} must be a function of ({', '.join(arguments)})"
    if not callable(function):
        raise TypeError(f"{wanted}, got {function!r}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"{wanted}, but {name}{signature} cannot be called so ({error}): give it "
                        "these parameters, also where it ignores some") from error
