r"""Kernels for CuPy: the steps that a training run repeats most, each in one launch.

A launch costs some microseconds whatever it computes, so for small nets the number of
launches is the time of a step. CuPy makes a kernel of a line of C++
(`ElementwiseKernel`) or of a reduction (`ReductionKernel`); a batch norm of 20 array
operations becomes two. Every function here has a plain twin beside the CPU's fast path,
of the name in its text, and equals it.

In the lines of C++, T is the arrays' type and A the one to compute in: float for
float16. Sums run in double, as they do on the CPU. `i` counts the elements of the
output. Arrays marked raw are indexed by hand. Nothing here reads a value back: there is
no transfer and no wait.

Read next: `kernels/gpu_windows.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from ..backend import Array, xp

_TYPES = """
template<class X> struct tn_wide { typedef X type; };
template<> struct tn_wide<float16> { typedef float type; };
typedef tn_wide<T>::type A;
"""


THREADS = 256  # of a block
NAMES = {"e": "float16", "f": "float", "d": "double"}
_HEAD = """#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
#include <cupy/float16.cuh>

typedef {T} T;
typedef {A} A;
typedef long long Size;
#define THREADS {threads}
"""


@functools.cache
def raw(name: str, char: str, source: str) -> Any:
    """The kernel tinynet_`name` of C++ for a dtype; its numbers are all Size or double.

    Called as kernel(blocks, threads, arguments): arrays come as pointers.
    """
    head = _HEAD.format(T=NAMES[char], A=NAMES[char if char == "d" else "f"],
                        threads=THREADS)
    return xp.RawKernel(head + source, f"tinynet_{name}")


@functools.cache
def _elementwise(name: str, inputs: str, outputs: str, body: str) -> Any:
    """A kernel that runs `body` for every element; it changes outputs that it is given."""
    return xp.ElementwiseKernel(inputs, outputs, body, f"tinynet_{name}",
                                preamble=_TYPES)


def keep(x: Array, mask: Array, out: Array | None = None) -> Array:
    """x where the mask is true, else 0."""
    return xp.where(mask, x, x.dtype.type(0))


def masked(x: Array, mask: Array, scale: float) -> Array:
    """x * mask * scale for a boolean mask; a bool is a number here, so inf * 0 is nan."""
    return _elementwise("masked", "T x, bool mask, float64 scale", "T y",
                        "y = (T)((A)x * (A)mask) * (T)scale")(x, mask, scale)


def erf(x: Array) -> Array:
    """The error function."""
    from cupyx.scipy import special

    return special.erf(x)


# Loss


def softmax_cross_entropy(z: Array, labels: Array) -> tuple[Array, Array]:
    """Losses (N,) and probabilities (N, C); the loss of a label out of range is NaN.

    Twin: `loss.softmax_cross_entropy`.
    """
    kernel = _elementwise(
        "softmax_cross_entropy", "raw T z, I label, int32 C", "T loss, raw T p", """
        ptrdiff_t row = (ptrdiff_t)i * C;
        A top = z[row], sum = 0;
        for (int c = 1; c < C; c++) {
          A v = z[row + c];
          if (v > top || v != v) top = v;
        }
        for (int c = 0; c < C; c++) {
          A e = exp((A)z[row + c] - top);
          sum += e;
          p[row + c] = e;
        }
        for (int c = 0; c < C; c++) p[row + c] = (A)p[row + c] / sum;
        bool known = label >= 0 && label < C;
        loss = known ? log(sum) - ((A)z[row + label] - top) : (A)nan("");""")
    z = xp.ascontiguousarray(z)
    losses = xp.empty(len(z), z.dtype)
    p = xp.empty_like(z)
    kernel(z, labels, z.shape[1], losses, p)
    return losses, p


def softmax_cross_entropy_backward(g: Array, p: Array, labels: Array, shared: int = 1
                                   ) -> Array:
    """g / shared (p - onehot(label)), row by row; g may be one for all."""
    kernel = _elementwise(
        "softmax_cross_entropy_backward",
        "T g, T p, I label, int32 C, int32 shared", "T dz",
        "dz = (A)g / (A)shared * ((A)p - (i % C == label ? (A)1 : (A)0))")
    return kernel(g.reshape(-1, 1), p, labels[:, None], p.shape[1], shared)
