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

Read next: `kernels/gpu_norm.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from ..backend import Array, xp
from ..checks import Pair
from .im2col import Shape
from .windows import inside, view

_TYPES = """
template<class X> struct tn_wide { typedef X type; };
template<> struct tn_wide<float16> { typedef float type; };
typedef tn_wide<T>::type A;
"""


@functools.cache
def _elementwise(name: str, inputs: str, outputs: str, body: str) -> Any:
    """A kernel that runs `body` for every element; outputs that the caller gives it, it changes."""
    return xp.ElementwiseKernel(inputs, outputs, body, f"tinynet_{name}", preamble=_TYPES)


# Elementwise


def move(running_mean: Array | None, running_var: Array | None, m: Array, v: Array,
         share: float, factor: float) -> None:
    """running <- (1 - share) running + share batch, in place, both arrays in one launch."""
    kernel = _elementwise("move", "V m, V v, float64 share, float64 factor", "T mean, S var",
                          "mean = (1 - share) * (double)mean + share * (double)m;"
                          "var = (1 - share) * (double)var + share * factor * (double)v;")
    if running_mean is None:
        running_mean = xp.empty_like(m)  # nobody asked for it
    if running_var is None:
        running_var = xp.empty_like(v)
    kernel(m, v, share, factor, running_mean, running_var)


# Convolution: all windows as the columns of one matrix, and one product


def _columns(x: Array, s: Any) -> Array:
    """(groups, taps, pixels), one copy of a view of all windows; taps: (C / groups, kH, kW)."""
    if any(s.padding):
        n, c = x.shape[:2]
        border = xp.zeros((n, c, *s.padded), x.dtype)
        inside(border, s.padding)[...] = x
        x = border
    found = view(x, s.kernel, s.stride, s.out, s.dilation).transpose(1, 4, 5, 0, 2, 3)
    return found.reshape(s.groups, s.taps, -1)


def conv2d(x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1) -> Array:
    """y[o, pixel] = sum over taps of w[o, tap] columns[tap, pixel]; twin: `im2col.plain_conv2d`."""
    s = Shape(x, w, stride, padding, dilation, groups)
    columns = _columns(x, s)
    y = xp.empty((s.o, s.n, *s.out), x.dtype)
    by_group = y.reshape(s.groups, -1, columns.shape[2])
    for weights, a, out in zip(w.reshape(s.groups, -1, s.taps), columns, by_group, strict=True):
        xp.dot(weights, a, out=out)
    return y.swapaxes(0, 1)


def conv2d_backward(g: Array, x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1, wanted: Any = (True, True)
                    ) -> tuple[Array | None, Array | None]:
    """dw = g columns^T; dx gathers, for each pixel, its places in w^T g.

    Plain twin: `im2col.plain_conv2d_backward`.
    """
    s = Shape(x, w, stride, padding, dilation, groups)
    g = g.swapaxes(0, 1).reshape(s.groups, s.o // s.groups, -1)
    dx = dw = None
    if wanted[1]:
        dw = xp.empty_like(w, order="C")
        by_group = dw.reshape(s.groups, -1, s.taps)
        for dy, a, out in zip(g, _columns(x, s), by_group, strict=True):
            xp.dot(dy, a.T, out=out)
    if wanted[0]:
        columns = xp.empty((s.groups, s.taps, g.shape[2]), x.dtype)
        for dy, weights, out in zip(g, w.reshape(s.groups, -1, s.taps), columns, strict=True):
            xp.dot(weights.T, dy, out=out)
        dx = _columns_back(columns, s)
    return dx, dw


def _columns_back(columns: Array, s: Any) -> Array:
    """Each pixel of (N, C, H, W): the sum of its copies in the columns (C, kH, kW, N, H', W')."""
    kernel = _elementwise(
        "columns_back", "raw T columns, int32 N, int32 C, int32 H, int32 W, int32 OH, int32 OW, "
        "int32 KH, int32 KW, int32 SH, int32 SW, int32 PH, int32 PW, int32 DH, int32 DW", "T x", """
        int column = i % W + PW, row = i / W % H + PH, c = i / W / H % C, n = i / W / H / C;
        A sum = 0;
        for (int a = 0; a < KH; a++) {
          int p = row - a * DH;
          if (p < 0 || p % SH || p / SH >= OH) continue;
          for (int b = 0; b < KW; b++) {
            int q = column - b * DW;
            if (q < 0 || q % SW || q / SW >= OW) continue;
            ptrdiff_t tap = ((ptrdiff_t)c * KH + a) * KW + b;
            sum += (A)columns[((tap * N + n) * OH + p / SH) * OW + q / SW];
          }
        }
        x = sum;""")
    x = xp.empty((s.n, s.c, *s.size), columns.dtype)
    return kernel(columns, s.n, s.c, *s.size, *s.out, *s.kernel, *s.stride, *s.padding,
                  *s.dilation, x)


def max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair, padding: Pair
                        ) -> Array:
    """Each pixel: the gradients of the windows whose first largest value, in reading
    order, it is.

    Where the largest value is nan, the first nan wins: only there a pixel differs from
    itself.

    Plain twin: `pool.plain_max_pool2d_backward`.
    """
    gather = _elementwise(
        "max_pool_backward", "raw T g, raw T x, raw T y, int32 H, int32 W, int32 OH, int32 OW, "
        "int32 KH, int32 KW, int32 SH, int32 SW, int32 PH, int32 PW", "T dx", """
        int column = i % W, row = i / W % H;
        ptrdiff_t image = i / W / H;
        A sum = 0;
        for (int p = max(0, (row + PH - KH) / SH); p < OH && p * SH - PH <= row; p++)
          for (int q = max(0, (column + PW - KW) / SW); q < OW && q * SW - PW <= column; q++) {
            int top = p * SH - PH, left = q * SW - PW;
            ptrdiff_t window = (image * OH + p) * OW + q;
            bool first = row < top + KH && column < left + KW
              && (x[i] == y[window] || x[i] != x[i]);
            for (int a = max(top, 0); first && a <= row; a++)
              for (int b = max(left, 0); first && b < (a < row ? min(left + KW, W) : column); b++)
              {
                T before = x[(image * H + a) * W + b];
                first = before != y[window] && before == before;
              }
            if (first) sum += (A)g[window];
          }
        dx = sum;""")
    g, x, y = (xp.ascontiguousarray(a) for a in (g, x, y))
    return gather(g, x, y, *x.shape[2:], *y.shape[2:], *kernel, *stride, *padding,
                  xp.empty_like(x))


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
