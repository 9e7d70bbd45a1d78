"""Matrix products and sorting, which CuPy leaves to NVIDIA's libraries; here NumPy does them.

CuPy reaches cuBLAS and Thrust through Python modules, so modules of the same names are enough.
Only the functions that array code needs are there: another ends in an error that names it. Of
cuSOLVER there are three functions; cuRAND and cuFFT are not emulated.
"""

from __future__ import annotations

import ctypes
import sys
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from . import record
from .counts import counts
from .device import MEMORY

DTYPES = {0: "f4", 1: "f8", 2: "f2"}  # CUDA_R_32F, CUDA_R_64F, CUDA_R_16F
NO_TRANSPOSE, TRANSPOSE = 0, 1


def memory(pointer: int, dtype: Any, n: int) -> np.ndarray[Any, Any]:
    """`n` numbers of device memory as an array."""
    size = int(n) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(pointer)), dtype)


def _matrix(pointer: int, dtype: Any, rows: int, columns: int, leading: int, transposed: int
            ) -> np.ndarray[Any, Any]:
    """A matrix in BLAS's order: column by column, `leading` numbers from one to the next."""
    if transposed:
        return _matrix(pointer, dtype, columns, rows, leading, NO_TRANSPOSE).T
    size = np.dtype(dtype).itemsize
    numbers = memory(pointer, dtype, leading * (columns - 1) + rows)
    return np.ndarray((rows, columns), dtype, numbers, strides=(size, leading * size))


def _product(ta: int, tb: int, m: int, n: int, k: int, alpha: float, a: int, a_type: Any, lda: int,
             b: int, b_type: Any, ldb: int, beta: float, c: int, c_type: Any, ldc: int) -> None:
    """C = alpha op(A) op(B) + beta C; float16 is summed in float32."""
    wide = np.result_type(c_type, "f4")
    left = _matrix(a, a_type, m, k, lda, ta).astype(wide, copy=False)
    right = _matrix(b, b_type, k, n, ldb, tb).astype(wide, copy=False)
    out = _matrix(c, c_type, m, n, ldc, NO_TRANSPOSE)
    out[...] = alpha * (left @ right) + (beta * out if beta else 0)


def _number(pointer: int, dtype: Any) -> Any:
    """alpha or beta: float32 for float16 matrices."""
    return memory(pointer, np.result_type(dtype, "f4"), 1)[0]


def gemm_ex(handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int,
            lda: int, b: int, b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int,
            *_: Any) -> None:
    """One product: cublasGemmEx."""
    dtype = DTYPES[c_type]
    _product(ta, tb, m, n, k, _number(alpha, dtype), a, DTYPES[a_type], lda, b, DTYPES[b_type],
             ldb, _number(beta, dtype), c, dtype, ldc)


def gemm_strided(handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int,
                 a_type: int, lda: int, a_step: int, b: int, b_type: int, ldb: int, b_step: int,
                 beta: int, c: int, c_type: int, ldc: int, c_step: int, batch: int, *_: Any
                 ) -> None:
    """Products of matrices that lie at equal distances: cublasGemmStridedBatchedEx."""
    kinds = [np.dtype(DTYPES[kind]) for kind in (a_type, b_type, c_type)]
    steps = [step * kind.itemsize for step, kind in zip((a_step, b_step, c_step), kinds,
                                                        strict=True)]
    for i in range(batch):
        gemm_ex(handle, ta, tb, m, n, k, alpha, a + i * steps[0], a_type, lda, b + i * steps[1],
                b_type, ldb, beta, c + i * steps[2], c_type, ldc)


def _gemm_batched(dtype: str) -> Any:
    """Products of matrices that lie anywhere: cublasSgemmBatched and its like."""

    def product(handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int,
                lda: int, b: int, ldb: int, beta: int, c: int, ldc: int, batch: int) -> None:
        scale, keep = _number(alpha, dtype), _number(beta, dtype)
        for one in zip(*(memory(table, "u8", batch) for table in (a, b, c)), strict=True):
            _product(ta, tb, m, n, k, scale, one[0], dtype, lda, one[1], dtype, ldb, keep,
                     one[2], dtype, ldc)

    return product


def _dot(dtype: str) -> Any:
    def product(handle: int, n: int, x: int, x_step: int, y: int, y_step: int, out: int) -> None:
        a, b = (memory(p, dtype, (n - 1) * step + 1)[::step]
                for p, step in ((x, x_step), (y, y_step)))
        memory(out, dtype, 1)[0] = a @ b

    return product


COMPUTE = {"gemmEx": gemm_ex, "gemmStridedBatchedEx": gemm_strided,
           "sgemmBatched": _gemm_batched("f4"), "dgemmBatched": _gemm_batched("f8"),
           "sdot": _dot("f4"), "ddot": _dot("f8")}


def _set_up(*_: Any) -> int:
    """Making a handle, setting a mode: nothing to do here."""
    return 1


class _Blas(ModuleType):
    """cupy_backends.cuda.libs.cublas."""

    CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_OP_C = NO_TRANSPOSE, TRANSPOSE, TRANSPOSE
    create = destroy = setStream = staticmethod(_set_up)
    getPointerMode = setPointerMode = getMathMode = setMathMode = staticmethod(_set_up)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("CUBLAS_"):  # a mode or a type: a number, other than all others
            self.__dict__[name] = len(self.__dict__)
            return self.__dict__[name]
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in COMPUTE:
            raise AttributeError(f"the emulator has no cuBLAS function {name}")

        def call(*arguments: Any) -> None:
            counts.launched(f"cublas.{name}")
            if record.dry:
                return
            COMPUTE[name](*arguments)

        return call


def _sort(dtype: Any, data: int, keys: int, shape: tuple[int, ...]) -> None:
    """Along the last axis, in place."""
    counts.launched("thrust.sort")
    memory(data, dtype, prod(shape)).reshape(shape).sort(axis=-1)


def _argsort(dtype: Any, out: int, data: int, keys: int, shape: tuple[int, ...]) -> None:
    counts.launched("thrust.argsort")
    values = memory(data, dtype, prod(shape)).reshape(shape)
    memory(out, "i8", prod(shape)).reshape(shape)[...] = values.argsort(axis=-1, kind="stable")


def _solver(name: str) -> Any:
    """A function of cupy.linalg, which cuSOLVER computes. Where NumPy raises, CuPy fills in nan."""
    import cupy

    def compute(*arrays: Any) -> Any:
        counts.launched(f"cusolver.{name}")
        on_host = [memory(a.data.ptr, a.dtype, a.size).reshape(a.shape)
                   for a in map(cupy.ascontiguousarray, arrays)]
        try:
            found = getattr(np.linalg, name)(*on_host)
        except np.linalg.LinAlgError:
            found = np.full_like(on_host[-1], np.nan)
        made = [_upload(a) for a in (found if isinstance(found, tuple) else (found,))]
        return tuple(made) if isinstance(found, tuple) else made[0]

    return compute


def _upload(a: np.ndarray[Any, Any]) -> Any:
    """A new array of the device; no transfer of the program's, so it is not counted."""
    import cupy

    out = cupy.empty(a.shape, a.dtype)
    memory(out.data.ptr, a.dtype, a.size)[:] = a.ravel()
    return out


def patch() -> None:
    """Stand in for cuBLAS before CuPy imports it, for Thrust and cuSOLVER afterwards."""
    from cupy_backends.cuda import libs

    libs.cublas = sys.modules["cupy_backends.cuda.libs.cublas"] = _Blas(
        "cupy_backends.cuda.libs.cublas")
    from cupy.cuda import thrust

    thrust.sort, thrust.argsort = _sort, _argsort
    import cupy

    cupy.get_default_memory_pool().set_limit(size=MEMORY)  # where CuPy says: out of memory
    for name in ("cholesky", "solve", "eigh"):
        setattr(cupy.linalg, name, _solver(name))
