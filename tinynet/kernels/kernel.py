"""What a kernel is: up to three bodies that mean the same, and the choice between them.

    the function itself    fast: blocks that fit the cache, worker threads, reused memory
    plain                  its *twin*: a few lines of array code, to read and to test by
    gpu                    one launch, where the twin's operations would be many

    @kernel(plain=plain_statistics, gpu=gpu.statistics)
    def statistics(x): ...

On a GPU the choice is made once, when the kernel is defined: its own body or the twin.
On a CPU the twin is taken for small arrays, and for all inside `plain()`. A kernel
without a twin is its own: it is array code, or composed of other kernels. The tests
hold the bodies equal.

Read next: `kernels/threads.py`.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from ..backend import is_array, on_gpu

P = ParamSpec("P")
R = TypeVar("R")

SERIAL_BYTES = 1 << 18  # below this, handing work to a thread costs more than it saves

_HALF = np.dtype(np.float16)
_SINGLE = np.dtype(np.float32)

reading = os.environ.get("TINYNET_PLAIN") == "1"  # twins, and references of fused operations
forced: str | None = "plain" if reading else None  # all twins; or an algorithm of `conv.py`


class Kernel(NamedTuple):
    """The bodies of a kernel; None where it has none of that kind."""

    fast: Callable[..., Any]
    plain: Callable[..., Any] | None
    gpu: Callable[..., Any] | None


kernels: dict[str, Kernel] = {}  # by module and name: tests see that no twin is missing


@contextlib.contextmanager
def forcing(name: str | None) -> Iterator[None]:
    """Inside, `name` is what is `forced`, in all threads."""
    global forced
    before = forced
    forced = name
    try:
        yield
    finally:
        forced = before


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """The reading mode: plain twins for kernels, references for fused operations, rules alone.

    For a debugger, which then steps through few files and short functions; the results
    are the same up to rounding. It holds for all threads. ``TINYNET_PLAIN=1`` in the
    environment is the same for a whole process.
    """
    global reading
    before = reading
    reading = True
    try:
        with forcing("plain"):
            yield
    finally:
        reading = before


def kernel(*, plain: Callable[..., Any] | None = None, gpu: Callable[..., Any] | None = None,
           small: int = SERIAL_BYTES, of: int = 0, wide: bool = False
           ) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a kernel of its fast body; see the module's text.

    small:  bytes of argument number `of` below which the twin is taken
    wide:   float16 is computed in float32, whose digits suffice, and rounded once, at the end; the
            bodies for a GPU see to that themselves
    """

    def decorate(fast: Callable[P, R]) -> Callable[P, R]:
        module = fast.__module__.removeprefix("tinynet.")
        kernels[f"{module}.{fast.__name__}"] = Kernel(fast, plain, gpu)
        if on_gpu:
            return gpu or plain or fast
        if plain is None and not wide:
            return fast
        twin = plain or fast

        @functools.wraps(fast)
        def choose(*args: Any, **options: Any) -> Any:
            if forced == "plain" or (small and getattr(args[of], "nbytes", 0) < small):
                return twin(*args, **options)
            return fast(*args, **options)

        if not wide:
            return choose

        @functools.wraps(fast)
        def choose_in_float32(*args: Any, **options: Any) -> Any:
            if getattr(args[of], "dtype", None) is _HALF:
                return _narrow(choose(*map(_widened, args), **options))
            return choose(*args, **options)

        return choose_in_float32

    return decorate


def _widened(a: Any) -> Any:
    if is_array(a) and a.dtype == _HALF:
        return a.astype(_SINGLE)
    return a


def _narrow(found: Any) -> Any:
    """float32 results as float16; statistics, which are float64, stay as they are."""
    if type(found) is tuple:
        return tuple(_narrow(a) for a in found)
    if is_array(found) and found.dtype == _SINGLE:
        return found.astype(_HALF)
    return found


def at_once(work: Callable[[int, int], None], n: int, step: int) -> None:
    """The twin of `threads.pmap`: all blocks as one."""
    work(0, n)
