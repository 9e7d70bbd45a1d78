"""What every floor checks about what it is given: numbers, windows, pictures, functions.

Each function returns what it has checked, or raises an error that names the argument
and the value.

Read next: `text.py`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from operator import index
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .backend import without_subclass
from .text import shown

P = ParamSpec("P")
R = TypeVar("R")
Pair = tuple[int, int]
NUMBER = (float, int, Real)  # `Real` alone is an ABC, and slow to ask
_MOST_PIXELS = 2**31 - 1  # along an axis
MOST_NUMBERS = 2**48  # in an array


def check_whole(what: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value`, which must be an integer of at least `least`, and at most `most`.

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
                         f"{shown(value)}")
    if most is not None and number > most:
        raise ValueError(f"{what} must be an integer of at most {most}, got {shown(value)}")
    return number


def check_flag(what: str, value: Any) -> bool:
    """`value`, which must be True or False (or the number 1 or 0)."""
    if value is True or value is False:
        return value
    if isinstance(value, int | np.integer | np.bool_) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{what} must be True or False, got {shown(value)}")


def check_scalar(what: str, value: Any) -> Any:
    """`value`, which must be a number that is not nan, or an array of no axes."""
    if (isinstance(value, NUMBER) and value == value) or getattr(value, "shape", None) == ():
        return value
    raise ValueError(f"{what} must be a number, got {shown(value)}")


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
        raise ValueError(f"{what} must be {listed}, got {shown(value)}")
    return value


def check_probability(what: str, value: Any) -> float:
    """`value`, which must be a number from 0 to 1."""
    if not isinstance(value, NUMBER) or not 0.0 <= float(value) <= 1.0:
        raise ValueError(f"{what} must be a probability between 0 and 1, got {shown(value)}")
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
    if isinstance(value, NUMBER) and least <= float(value) < below:
        return float(value)
    wanted = f">= {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"
    raise ValueError(f"{what} must be a number {wanted}{instead}, got {shown(value)}")


def check_positive(what: str, value: Any, instead: str = "") -> float:
    """`value`, which must be a finite number above 0; `instead` as in `check_number`."""
    if isinstance(value, NUMBER) and 0.0 < float(value) < math.inf:
        return float(value)
    raise ValueError(f"{what} must be a number > 0{instead}, got {shown(value)}")


# Arguments of layers, and the windows that follow from them: all sizes are (rows,
# columns)


def pair(what: str, value: Any, least: int) -> Pair:
    """`value`, one integer or two (height, width), as two; neither below `least`.

    >>> pair("size", 224, 1), pair("size", (20, 30), 1)
    ((224, 224), (20, 30))
    """
    given = value
    if not isinstance(value, tuple | list):
        given = (value, value)
    try:
        two = [least - 1 if isinstance(v, bool) else index(v) for v in given]
    except TypeError:
        two = []
    if len(two) != 2 or min(two) < least or max(two) > _MOST_PIXELS:
        raise ValueError(f"{what} must be an integer of at least {least} or two of "
                         f"them (height, width), got {shown(value)}")
    return two[0], two[1]


def convolution_padding(padding: Any, stride: Pair) -> Pair | str:
    """`padding` of a convolution: numbers, "valid", or, with stride 1, "same"."""
    if not isinstance(padding, str):
        return pair("padding", padding, 0)
    if padding not in ("same", "valid"):
        raise ValueError(f"padding must be 'same', 'valid' or numbers, got {padding!r}")
    if padding == "same" and stride != (1, 1):
        raise ValueError(f"padding='same' needs stride 1, got stride={stride}")
    return padding


def pool_windows(kernel_size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride (None: as large as the kernel) and padding of a pool, as pairs."""
    kernel = pair("kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair("stride", stride, 1)
    border = pair("padding", padding, 0)
    if 2 * border[0] > kernel[0] or 2 * border[1] > kernel[1]:
        raise ValueError(f"padding={padding} must be at most half of "
                         f"kernel_size={kernel_size}: else some windows would hold "
                         "nothing but padding")
    return kernel, steps, border


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
    return count(size, kernel, stride, padding, dilation)


def count(size: Sequence[int], kernel: Pair, stride: Pair, padding: Pair,
          dilation: Pair = (1, 1)) -> Pair:
    """`window_count` of sizes that have been checked."""
    rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d
                     in zip(size, kernel, stride, padding, dilation, strict=True))
    return rows, columns


def taps(kernel: Pair, stride: Pair, out: Pair, dilation: Pair = (1, 1)
         ) -> Iterator[tuple[int, int, slice, slice]]:
    """For each place (i, j) in a window, in reading order: the rows and columns that
    the windows, `out` of them, meet there. Such a *tap* of an image is a strided view
    of it.
    """
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top = i * dilation[0]  # where the first window has this place; the others follow
            left = j * dilation[1]
            rows = slice(top, top + stride[0] * (out[0] - 1) + 1, stride[0])
            columns = slice(left, left + stride[1] * (out[1] - 1) + 1, stride[1])
            yield i, j, rows, columns


# Pictures, and functions of yours

def check_images(images: Any) -> None:
    """TypeError unless `images` is an array of numbers, ValueError unless it is (N, C, H, W)."""
    if not hasattr(images, "dtype") or hasattr(images, "requires_grad"):
        raise TypeError(f"images must be an array, got {type(images).__name__}: "
                        "tensors are made of prepared pictures; a list needs np.stack")
    check_not_masked(images)
    if images.dtype.kind not in "uif":
        raise TypeError(f"images must be an array of numbers, got {images.dtype}: "
                        "convert them with .astype('uint8') or .astype('float32')")
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {shape}: grey "
                         "pictures (N, H, W) need images[:, None], a single one (C, H, "
                         "W) images[None]")
    if shape[3] in (1, 3, 4) and min(shape[1:3]) > 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {shape}, which looks "
                         "like (N, H, W, C): use images.transpose(0, 3, 1, 2)")


def check_not_masked(images: Any) -> None:
    """TypeError for a masked array: what stands under its mask would be learned."""
    if isinstance(images, np.ndarray):
        without_subclass(images)


def check_labels(labels: Any, images: Any) -> None:
    """TypeError unless `labels` are integers, ValueError unless one for each sample."""
    kind = labels.dtype.kind
    if kind in "USO":
        raise TypeError(f"labels must be integers, got {_texts(labels)}: number the "
                        "classes by classes, labels = np.unique(labels, "
                        "return_inverse=True)")
    if kind not in "ui":
        raise TypeError(f"labels must be integers, got {labels.dtype}: class numbers "
                        "0, 1, 2 ...; labels.astype(int) if that is what they are, "
                        "labels.argmax(axis=1) of one-hot rows")
    wanted = tuple(images.shape[:1])
    if labels.shape == wanted:
        return
    fix = ""
    if labels.ndim == 2 and labels.shape[0] == wanted[0]:
        fix = (": labels.argmax(axis=1) of one-hot rows, labels.astype('float32') "
               "where a sample may have several")
        if labels.shape[1] == 1:
            fix = ": labels[:, 0] of a column"
    raise ValueError(f"labels must be one number for each {sample_word(images)}, shape "
                     f"{wanted}, got {labels.shape}{fix}")


def _texts(labels: Any) -> str:
    example = ""
    if labels.size:
        example = f" such as {labels.flat[0]!s:.40}"
    return f"{labels.dtype}{example}"


def sample_word(images: Any) -> str:
    """What one of `images` is called in a message: a picture has three axes or two."""
    return "picture" if len(getattr(images, "shape", ())) > 2 else "sample"


def as_range(value: Any, around: Callable[[Any], tuple[float, float]] | None = None
             ) -> tuple[float, float]:
    """(low, high) as given, or around(value) of a number from 0 on; else (nan, nan).

    No comparison holds for nan, so that a check of the range refuses it.
    """
    if around is not None and isinstance(value, NUMBER) and float(value) >= 0.0:
        return around(value)
    if (isinstance(value, tuple | list) and len(value) == 2
            and all(isinstance(v, NUMBER) for v in value)):
        return value[0], value[1]
    return math.nan, math.nan


def check_range_of(what: str, pair: Any, above: float, upto: float = math.inf
                   ) -> tuple[float, float]:
    """(low, high), for which above < low <= high <= upto must hold."""
    low, high = as_range(pair)
    if not above < low <= high <= upto:
        limit = f" to {upto:g}" if math.isfinite(upto) else ""
        raise ValueError(f"{what} must be (low, high), low <= high, more than "
                         f"{above:g}{limit}, got {shown(pair)}")
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
        raise TypeError(f"{wanted}, got {shown(function)}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeError(f"{wanted}, but {name}{signature} cannot be called so "
                        f"({error}): give it these parameters, also where it ignores "
                        "some") from error


# Names of arguments


def answering(function: Callable[P, R]) -> Callable[P, R]:
    """`function`; an argument that has another name here is answered with that.

    >>> answering(lambda x, axis=0: x)(1, dim=0)
    Traceback (most recent call last):
        ...
    TypeError: <lambda>() has no argument 'dim': call it axis
    """

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        try:  # which is free where nothing fails
            return function(*args, **options)
        except TypeError:
            answer(function, args, options)
            raise

    return call


def answer(function: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]
           ) -> None:
    """TypeError with the answer if `function` takes no such arguments, for a call that failed."""
    from . import foreign

    parameters = inspect.signature(function).parameters
    texts = [str(p).partition(":")[0].partition("=")[0] for p in parameters.values()]
    names = [text.strip() for text in texts if text != "self"]
    kinds = [p.kind for p in parameters.values()]
    most = sum(kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
    if len(args) > most and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise foreign.too_many(foreign.name_of(function, args), names,
                               len(args) - most) from None
    unknown = [option for option in options if option not in parameters]
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    if unknown and (not takes_any or "call it" in foreign.explain(unknown, parameters)):
        raise foreign.refusal(foreign.name_of(function, args), unknown, names) from None


def answer_init(cls: type) -> None:
    """Let the `__init__` of a class of ours answer, for an `__init_subclass__`."""
    if "__init__" in vars(cls) and cls.__module__.startswith("tinynet."):
        cls.__init__ = answering(cls.__init__)  # type: ignore[misc]
