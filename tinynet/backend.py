"""One switch between NumPy and CuPy, read once from ``TINYNET_BACKEND``.

Everything above imports ``xp`` from here and never ``numpy`` for arrays that may live
on a GPU. ``numpy`` is the default. ``cupy`` is honoured or refused at import: a backend
that was asked for and cannot work would otherwise fail much later, in the middle of the
first batch.

Read next: `checks.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # a numpy.ndarray or a cupy.ndarray; the type checker cannot tell which
HostArray: TypeAlias = np.ndarray[Any, Any]  # on the host, wherever the others live
DType: TypeAlias = Any

_NAMES = ("numpy", "cupy")


# What launchers tell each process that they start: which one it is on its machine
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")


def local_rank() -> int:
    """The number of this process among those that a launcher started on this machine; 0 alone."""
    for variable in _LOCAL_RANKS:
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return 0


def _load_cupy() -> ModuleType:
    """Import CuPy and prove that it can run: device, then compiler, then BLAS."""

    def refuse(missing: str, cause: object, advice: str) -> RuntimeError:
        return RuntimeError(
            f"TINYNET_BACKEND=cupy, but {missing}: {cause}. {advice} "
            "Or unset TINYNET_BACKEND to run on NumPy."
        )

    wheel = 'Install `pip install "cupy-cuda12x[ctk]"` (CUDA 12) or "cupy-cuda13x[ctk]".'
    try:
        import cupy
    except ImportError as error:
        raise refuse("the CuPy wheel is missing", error, wheel) from error
    driver = "Install or update NVIDIA's driver (nvidia-smi must list a GPU)."
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError; its text names the driver or the device
        missing = "no GPU device was found" if "NoDevice" in str(error) else "the driver is missing"
        raise refuse(missing, error, driver) from error
    if devices == 0:
        raise refuse("no GPU device was found", "device count is 0", driver)
    if devices > 1:  # of the ranks on a machine each takes a GPU of its own
        cupy.cuda.Device(local_rank() % devices).use()
    toolkit = 'Reinstall CuPy with its toolkit: `pip install "cupy-cuda12x[ctk]"` (or cuda13x).'
    try:
        ones = cupy.ones((2, 2), "f4") + 0
    except Exception as error:
        raise refuse("its kernel compiler (NVRTC and headers) fails", error, toolkit) from error
    try:
        total = float((ones @ ones).sum())
    except Exception as error:
        raise refuse("its BLAS (cuBLAS) fails", error, toolkit) from error
    if total != 8.0:
        raise refuse("its BLAS is wrong", f"ones(2, 2) @ ones(2, 2) sums to {total}", toolkit)
    return cupy  # type: ignore[no-any-return]


def _choose(requested: str) -> tuple[str, Any]:
    if requested == "numpy":
        return requested, np
    if requested == "cupy":
        return requested, _load_cupy()
    raise ValueError(f"TINYNET_BACKEND={requested!r}: choose one of "
                     f"{', '.join(_NAMES)}.")


name, xp = _choose(os.environ.get("TINYNET_BACKEND", "numpy").strip().lower() or "numpy")
on_gpu = name == "cupy"

_default_dtype: DType = np.dtype(np.float32)


def get_default_dtype() -> DType:
    """The dtype of new floating-point tensors: float32 until `set_default_dtype`."""
    return _default_dtype


def as_dtype(dtype: DType) -> np.dtype[Any]:
    """`dtype` as NumPy's; it must be one of numbers."""
    found = None
    try:
        if dtype is not None and not str(dtype).startswith("a"):  # an old word for bytes
            found = np.dtype(dtype)
    except TypeError:
        pass
    if found is None or found.kind not in _NUMBERS:
        raise TypeError(f"dtype must be one of numbers, such as 'float32' or int, got {dtype!r}")
    return found


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype of new floating-point tensors (float32 to train, float64 to check)."""
    global _default_dtype
    chosen = as_dtype(dtype)
    if chosen.kind != "f":
        raise TypeError(f"default dtype must be a float type, got {chosen}: use "
                        "float32 or float64")
    _default_dtype = chosen


_HALF = np.dtype(np.float16)
PLAIN = "fd"  # the characters of float32 and float64, which are computed as they are
_ndarray = xp.ndarray
FILL = 1 << 12  # a smaller result is filled: cheaper than the view NumPy makes of a small array
MANY = 1 << 12  # float32 numbers that are added one after the other without losing digits


def float_dtype(dtype: DType) -> DType:
    """The dtype of what calculus makes of `dtype`: integers and bools become the default float."""
    if dtype.kind in "biu":
        return _default_dtype
    return dtype


def accumulator(dtype: DType, count: int = 1) -> DType:
    """The dtype in which numbers of `dtype` are summed or multiplied up: one rule for all.

    It holds for every sum, mean, variance, norm, product and loss: float16 in float32,
    and the result is rounded back once; integers in int64, unsigned ones in uint64, as
    in NumPy. `count` numbers that NumPy adds one after the other, as
    it does along all axes but the last in memory, are added in float64 if they are
    many: float32 stands still at 2^24 ones.

    >>> [str(accumulator(np.dtype(d))) for d in ("float16", "float32", "int8", "uint8", "bool")]
    ['float32', 'float32', 'int64', 'uint64', 'int64']
    """
    if count > MANY and dtype.kind == "f" and not on_gpu:  # CuPy adds in pairs
        return np.dtype(np.float64)
    if dtype == _HALF:
        return np.dtype(np.float32)
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    if dtype.kind == "u":
        return np.dtype(np.uint64)
    return dtype if dtype.isnative else accumulator(dtype.newbyteorder("="))


def as_float(x: Any) -> Any:
    """`x` for a function of calculus: integers and bools in the default float, floats as they are.

    >>> as_float(xp.asarray([1, 2])).dtype, as_float(3)
    (dtype('float32'), 3.0)
    """
    if isinstance(x, _ndarray):
        if x.dtype.char in PLAIN:
            return x
        return x.astype(float_dtype(x.dtype), copy=False)
    if isinstance(x, int | np.integer | np.bool_):
        return float(x)
    return x


def wide(x: Array) -> Array:
    """The array `x` in the dtype in which calculus sums it (float32 and float64: `x` itself)."""
    x = as_float(x)
    return x.astype(accumulator(x.dtype), copy=False)


def total(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over `axis` in the dtype in which it was added up."""
    if x.size <= MANY and x.dtype.char in PLAIN:
        return x.sum(axis=axis, keepdims=keepdims)
    count = 0
    if not on_gpu:
        in_pairs = x.ndim == 1 or (axis is None and x.flags.forc)  # one row: pairs, pairs of pairs
        if not in_pairs:
            count = _count(x.shape, axis)
    return x.sum(axis=axis, dtype=accumulator(x.dtype, count), keepdims=keepdims)


def average(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The mean over `axis` in the dtype in which it was added up."""
    if on_gpu and x.dtype.kind == "f":  # one launch instead of two
        dtype = None if x.dtype.char in PLAIN else accumulator(x.dtype)
        return x.mean(axis=axis, dtype=dtype, keepdims=keepdims)
    added = total(x, axis, keepdims)
    n = x.size if axis is None else _count(x.shape, axis)
    return added / n if n else added + math.nan


_ones: dict[Any, Array] = {}


def seed_of(y: Any) -> Array:
    """A one like y, which nobody writes to: on a GPU a single one is made once for a dtype."""
    if not on_gpu:
        return xp.array(1, y.dtype).reshape(y.shape)  # `ones` takes four times as long
    if y.dtype not in _ones:
        _ones[y.dtype] = xp.ones((), y.dtype)
    return _ones[y.dtype].reshape(y.shape)


def add_up(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over `axis`, added up in the accumulator; of floats rounded back to their dtype.

    >>> add_up(xp.full((100_000, 1), 0.1, "float32"), 0).tolist()
    [10000.0]
    """
    y = total(x, axis, keepdims)
    if y.dtype is x.dtype or x.dtype.kind != "f":
        return y
    return y.astype(x.dtype)


def _count(shape: tuple[int, ...], axis: Any) -> int:
    """How many numbers of an array of this shape a reduction over `axis` makes one of."""
    if axis is None:
        return math.prod(shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod([shape[i] for i in axes])


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` stretched to `shape`: a view where the result is large."""
    try:
        if on_gpu or math.prod(shape) > FILL or x.ndim > len(shape):
            return xp.broadcast_to(x, shape)
        y = xp.empty(shape, x.dtype)
        y[...] = x
    except ValueError:
        raise ValueError(f"shape {x.shape} cannot be stretched to {shape}") from None
    return y


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that broadcasting `shape` to ``x.shape`` added or stretched.

    >>> sum_to(xp.ones((4, 2, 3)), (2, 1)).tolist()
    [[12.0], [12.0]]
    """
    lead = x.ndim - len(shape)
    y = x
    dtype = x.dtype
    if x.size > MANY or dtype.char not in PLAIN:
        dtype = accumulator(dtype, x.size // (math.prod(shape) or 1))
    if lead > 0:
        y = xp.add.reduce(y, 0 if lead == 1 else tuple(range(lead)), dtype)
    if y.shape != shape:
        stretched = tuple(i for i, n in enumerate(shape) if n == 1 and y.shape[i] != 1)
        y = y.sum(stretched, dtype, keepdims=True)
        if y.shape != shape:
            raise ValueError(f"an array of shape {x.shape} cannot be summed to shape "
                             f"{shape}")
    if y.dtype is not x.dtype and x.dtype.kind == "f":
        y = y.astype(x.dtype)  # of float16, rounded once
    return y


def is_array(x: object) -> bool:
    """True for an array of the backend in use (on CuPy, a NumPy array is not one)."""
    return isinstance(x, xp.ndarray)


def asarray(x: Any, dtype: DType = None) -> Array:
    """`x` as an array of the backend in use; this is the one place where data is uploaded.

    Python floats and nested lists of them take the default dtype; arrays keep theirs.
    Of NumPy's subclasses (matrix, memmap, ...) the plain array is taken, as
    `np.asarray` does. Bytes are put into the machine's order, in which sums are made.
    """
    if dtype is not None:
        dtype = as_dtype(dtype).newbyteorder("=")
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        x = without_subclass(x)
    if isinstance(x, xp.ndarray):
        if x.dtype.kind not in _NUMBERS:
            raise TypeError(f"cannot make a tensor of an array of {x.dtype}: its items "
                            "are not numbers")
        if not x.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
        return x if dtype is None or x.dtype == dtype else x.astype(dtype)
    typed = isinstance(x, np.ndarray | np.generic)
    try:
        array = xp.asarray(x, dtype=dtype)
    except MemoryError as error:
        raise out_of_memory("making an array", (x,), error) from None
    except (TypeError, ValueError) as error:  # rows of different lengths, for example
        if "Unsupported dtype" in str(error):  # CuPy's word for arrays of objects and texts
            raise TypeError(f"cannot make an array of {type(x).__name__}: its items "
                            "are not numbers"
                            ) from error
        raise ValueError(f"cannot make an array of {type(x).__name__}: "
                         f"{error}") from error
    if array.dtype.kind not in _NUMBERS:
        raise TypeError(f"cannot make an array of {type(x).__name__}: its items are "
                        "not numbers")
    if dtype is None and array.dtype.kind == "f" and not typed:
        array = array.astype(_default_dtype, copy=False)
    return array


_NUMBERS = frozenset("biufc")  # kinds of dtypes


def without_subclass(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"cannot make a tensor of a masked array of shape {x.shape}: "
                        "its mask would be forgotten; give x.filled(value)")
    return np.asarray(x)


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """`x` as a NumPy array on the host (on NumPy: `x` itself, no copy)."""
    if on_gpu and isinstance(x, xp.ndarray):
        return xp.asnumpy(x)  # type: ignore[no-any-return]
    return without_subclass(np.asanyarray(x))


def synchronize() -> None:
    """Wait until the device has finished; nothing to wait for on NumPy."""
    if on_gpu:
        xp.cuda.Device().synchronize()


def out_of_memory(what: str, arrays: Iterable[Any], error: MemoryError) -> MemoryError:
    """`error` with what it lacks: the operation, the shapes it was given, and what can be done."""
    if "ran out of memory" in str(error):  # an operation inside this one has said so
        return error
    shapes = ", ".join(f"{a.dtype} {a.shape}" for a in arrays if hasattr(a, "shape"))
    pool = ""
    if on_gpu:
        pool = ("; CuPy's pool keeps what was freed: "
                "tn.xp.get_default_memory_pool().free_all_blocks() gives it back to other "
                "programs, and CUPY_GPU_MEMORY_LIMIT says how much it may take")
    return MemoryError(
        f"{what} of {shapes or 'numbers'} ran out of memory: {str(error).rstrip('.')}. "
        "Use a smaller batch; or compute under tn.no_grad() where no gradients are "
        "wanted; or drop tensors of earlier steps (a list of losses keeps their "
        f"graphs: append loss.item()){pool}")


def check_range(what: str, values: Any, upper: int, hint: str = "") -> None:
    """Refuse integers outside 0 .. upper - 1 with the first offender and its place.

    CuPy wraps an index that is too large around without a word, so labels and indices
    are checked when they are handed over, on the host. Arrays that already are on the
    device are not read back: that would stall it.
    """
    if on_gpu and isinstance(values, xp.ndarray):
        return
    array = to_numpy(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, got {array.dtype}. {hint}".rstrip())
    if array.size and (array.min() < 0 or array.max() >= upper):
        flat = array.ravel()
        place = int(np.argmax((flat < 0) | (flat >= upper)))
        raise ValueError(
            f"{what} must lie in 0..{upper - 1}, got {int(flat[place])} at position {place}. {hint}"
            .rstrip()
        )
