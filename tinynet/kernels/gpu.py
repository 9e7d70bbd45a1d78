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
_NAMES = {"e": "float16", "f": "float", "d": "double"}
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
    head = _HEAD.format(T=_NAMES[char], A=_NAMES[char if char == "d" else "f"],
                        threads=THREADS)
    return xp.RawKernel(head + source, f"tinynet_{name}")


@functools.cache
def _elementwise(name: str, inputs: str, outputs: str, body: str) -> Any:
    """A kernel that runs `body` for every element; it changes outputs that it is given."""
    return xp.ElementwiseKernel(inputs, outputs, body, f"tinynet_{name}",
                                preamble=_TYPES)


def move(running_mean: Array | None, running_var: Array | None, m: Array, v: Array,
         share: float, factor: float) -> None:
    """running <- (1 - share) running + share batch, in place, both in one launch."""
    kernel = _elementwise(
        "move", "V m, V v, float64 share, float64 factor", "T mean, S var",
        "mean = (1 - share) * (double)mean + share * (double)m;"
        "var = (1 - share) * (double)var + share * factor * (double)v;")
    if running_mean is None:
        running_mean = xp.empty_like(m)  # nobody asked for it
    if running_var is None:
        running_var = xp.empty_like(v)
    kernel(m, v, share, factor, running_mean, running_var)


def keep(x: Array, mask: Array, out: Array | None = None) -> Array:
    """x where the mask is true, else 0."""
    return xp.where(mask, x, x.dtype.type(0))


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
        for (int c = 1; c < C; c++) { A v = z[row + c]; if (v > top || v != v) top = v; }
        for (int c = 0; c < C; c++) { A e = exp((A)z[row + c] - top); sum += e; p[row + c] = e; }
        for (int c = 0; c < C; c++) p[row + c] = (A)p[row + c] / sum;
        bool known = label >= 0 && label < C;
        loss = known ? log(sum) - ((A)z[row + label] - top) : (A)nan("");""")
    z = xp.ascontiguousarray(z)
    losses = xp.empty(len(z), z.dtype)
    p = xp.empty_like(z)
    kernel(z, labels, z.shape[1], losses, p)
    return losses, p


def softmax_cross_entropy_backward(g: Array, p: Array, labels: Array) -> Array:
    """g (p - onehot(label)), row by row."""
    kernel = _elementwise("softmax_cross_entropy_backward", "T g, T p, I label, int32 C", "T dz",
                          "dz = (A)g * ((A)p - (i % C == label ? (A)1 : (A)0))")
    return kernel(g[:, None], p, labels[:, None], p.shape[1])


# Optimizers: one launch for each parameter, which overwrites weights and slots. Plain
# twins: the rules in optim/first_order.py. `decay` is the L2 term's weight. Gradient
# and slots may be wider than the weights (float32 beside float16): they have types of
# their own, G and S.


def sgd(x: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool,
        decay: float) -> None:
    """v <- momentum v + g;  x <- x - lr v, or with nesterov x - lr (g + momentum v)."""
    if v is None:
        _elementwise("sgd", "G g, float64 lr, float64 decay", "T x",
                     "x = (A)x - (A)lr * ((A)g + (A)decay * (A)x)")(g, lr, decay, x)
        return
    _elementwise("momentum", "G g, float64 lr, float64 rho, bool nesterov, float64 "
                             "decay",
                 "T x, S v",
                 "A d = (A)g + (A)decay * (A)x, w = (A)rho * (A)v + d; v = w;"
                 "x = (A)x - (A)lr * (nesterov ? d + (A)rho * w : w)"
                 )(g, lr, momentum, nesterov, decay, x, v)


def squares(x: Array, g: Array, s: Array, lr: float, shares: tuple[float, float], eps: float,
            inside: bool, decay: float) -> None:
    """s <- keep s + add g^2;  x <- x - lr g / (sqrt(s) + eps), or sqrt(s + eps) with `inside`.

    `shares` is (keep, add): (1, 1) for Adagrad, (alpha, 1 - alpha) for RMSprop.
    """
    _elementwise("squares", "G g, float64 lr, float64 keep, float64 add, float64 eps, bool inside, "
                 "float64 decay", "T x, S s",
                 "A d = (A)g + (A)decay * (A)x, w = (A)keep * (A)s + (A)add * d * d; s "
                 "= w;x = (A)x - (A)lr * d / (inside ? sqrt(w + (A)eps) : sqrt(w) + "
                 "(A)eps)"
                 )(g, lr, *shares, eps, inside, decay, x, s)


def adam(x: Array, g: Array, m: Array, v: Array, rate: float, betas: tuple[float, float],
         eps: float, decay: float) -> None:
    """m, v <- leaky means of g, g^2;  x <- x - rate m / (sqrt(v) + eps).

    `rate` and `eps` carry the bias correction, as in `update.adam`.
    """
    b1, b2 = betas
    _elementwise("adam", "G g, float64 rate, float64 b1, float64 c1, float64 b2, float64 c2, "
                 "float64 eps, float64 decay", "T x, S m, S v",
                 "A d = (A)g + (A)decay * (A)x, p = (A)b1 * (A)m + (A)c1 * d,"
                 "  q = (A)b2 * (A)v + (A)c2 * d * d; m = p; v = q;"
                 "x = (A)x - (A)rate * p / (sqrt(q) + (A)eps)"
                 )(g, rate, b1, 1 - b1, b2, 1 - b2, eps, decay, x, m, v)
