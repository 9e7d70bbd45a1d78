"""NumPy functions that the library calls on arrays of the device are errors here.

CuPy answers many of them: ``np.exp(x)`` of a device array is computed on the device. So a `np.`
left over where `xp.` was meant works by accident, until it meets one of those that are not
answered, or that read the array back. On the emulated device every one of them raises, but for
those behind operators: CuPy itself computes ``x + 1`` by way of `np.add`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

OPERATORS = {"add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power",
             "matmul", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
             "bitwise_and",
             "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "divmod"}
LIBRARY = str(Path(__file__).resolve().parents[2] / "tinynet")


def _refuse(what: str) -> None:
    caller = sys._getframe(2).f_code
    if what not in OPERATORS and caller.co_filename.startswith(LIBRARY):
        raise TypeError(f"np.{what} of a device array in {caller.co_filename}, {caller.co_name}: "
                        f"write xp.{what}")


def patch() -> None:
    """Ask who calls, in the two places where NumPy hands its functions over to CuPy."""
    import cupy

    ufunc, function = cupy.ndarray.__array_ufunc__, cupy.ndarray.__array_function__

    def array_ufunc(self: Any, f: Any, method: str, *inputs: Any, **options: Any) -> Any:
        _refuse(f.__name__)
        return ufunc(self, f, method, *inputs, **options)

    def array_function(self: Any, f: Any, types: Any, args: Any, options: Any) -> Any:
        _refuse(f.__name__)
        return function(self, f, types, args, options)

    cupy.ndarray.__array_ufunc__ = array_ufunc
    cupy.ndarray.__array_function__ = array_function
