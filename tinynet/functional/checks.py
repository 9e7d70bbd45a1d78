"""What several operations check about their arguments, and the sizes that follow from them."""

from __future__ import annotations

from operator import index
from typing import Any

Pair = tuple[int, int]


def pair(what: str, value: Any, least: int) -> Pair:
    """`value`, one integer or two (height, width), as two; neither below `least`."""
    given = value
    if not isinstance(value, tuple | list):
        given = (value, value)
    try:
        two = [index(v) for v in given]
    except TypeError:
        two = []
    if len(two) != 2 or min(two) < least:
        raise ValueError(f"{what} must be an integer of at least {least} or two of "
                         f"them (height, width), got {value!r}")
    return two[0], two[1]


def images(what: str, x: Any) -> tuple[int, int, int, int]:
    """The shape of `x`, which must be (N, C, H, W), N > 0 images."""
    shape = tuple(x.shape)
    if len(shape) != 4:
        hint = ""
        if len(shape) == 3:
            hint = ": add the batch axis with x[None]"
        raise ValueError(f"{what}: x must have shape (N, C, H, W), got {shape}{hint}")
    if not shape[0]:
        raise ValueError(f"{what}: x of shape {shape} holds no images: leave empty "
                         "batches out")
    return shape


def float_of_one_dtype(what: str, **arrays: Any) -> None:
    """All arrays (None does not count) must be floats of the same dtype."""
    found = {name: a.dtype for name, a in arrays.items() if a is not None}
    if len(set(found.values())) > 1 or any(dtype.kind != "f" for dtype in found.values()):
        text = ", ".join(f"{name} is {dtype}" for name, dtype in found.items())
        raise TypeError(f"{what}: {text}: all must be floats of one dtype, convert "
                        "with .astype('float32')")


def window_count(what: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair,
                 dilation: Pair = (1, 1)) -> Pair:
    """How many windows fit: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""
    span = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    room = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
    if span[0] > room[0] or span[1] > room[1]:
        raise ValueError(f"{what}: the kernel spans {span} pixels, but the image has "
                         f"{room} with its padding: use a smaller kernel, more padding "
                         "or larger images")
    return (room[0] - span[0]) // stride[0] + 1, (room[1] - span[1]) // stride[1] + 1
