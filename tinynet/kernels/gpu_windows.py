r"""Windows of images for CuPy: convolution by columns, and pooling; a thread a pixel.

    columns[c, tap, n, p, q] = x[n, c, P(p, tap), Q(q, tap)]       zeros around
    y = w columns;  dw = g columns^T;  dx = each pixel's places in w^T g, gathered

A thread works out where its pixel lies once, in 32-bit numbers if they suffice, and
then copies or gathers all taps: what costs time here is bytes, not the arithmetic of
indices. For 3x3 windows of stride 1 or 2 the sizes are constants of the kernel, which
unrolls its loops and divides by nothing.

Columns are kH kW times the image, so they are built for a block of images at a time. If
the whole batch is one block of no more than `KEPT_BYTES`, they are kept for the way
back. Blocks are large: each costs launches, and a launch costs the host 10 to 20 us.
Blocks of 40 MB would stay in the second-level cache, but a step of net R would have 303
launches for 92, and so 3 ms more of the host for less than 1 ms of an H200's memory (2
ms of an A100's; estimates: `bench/gpu_estimate.py`).
Results lie as (C, N, H, W), so that a convolution's output, batch norm, and the
gradient that comes back need no copy between them.

Pooling keeps the order in which images and channels lie. Plain twins: `im2col.py` and
`pool.py`.

Read next: `kernels/gpu_norm.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from ..backend import Array, xp
from ..checks import Pair, count
from .gpu import THREADS, raw
from .im2col import Shape

BLOCK_BYTES = 320 << 20  # of columns at a time
KEPT_BYTES = 160 << 20  # of columns that wait for the way back, of each convolution
SMALL = 1 << 31  # numbers that 32-bit indices reach

_SIZES = ("N", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "PH", "PW", "DH", "DW")
_FIXED = {((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((2, 2), (2, 2), (1, 1))}

_COLUMNS = """
  const U plane = (U)N * OH * OW;
  const U q = i % (U)OW, p = i / (U)OW % (U)OH, image = i / (U)(OH * OW);
  const U n = image % (U)N, c = image / (U)N;
  const I top = (I)(p * SH) - (I)PH, left = (I)(q * SW) - (I)PW;
  const T* from = x + ((I)n * (I)xn + (I)c * (I)xc);
  T* to = columns + ((size_t)c * (KH * KW) * plane + (i - c * plane));
  #pragma unroll
  for (int a = 0; a < KH; a++) {
    const I row = top + a * (I)DH;
    #pragma unroll
    for (int b = 0; b < KW; b++) {
      const I column = left + b * (I)DW;
      const bool inside = (U)row < (U)H && (U)column < (U)W;
      *to = inside ? from[row * (I)xh + column * (I)xw] : (T)0;
      to += plane;
    }
  }"""

_COLUMNS_BACK = """
  const U plane = (U)N * OH * OW;
  const U column = i % (U)W + PW, row = i / (U)W % (U)H + PH, image = i / (U)(H * W);
  const U n = image % (U)N, c = image / (U)N;
  const T* from = columns + ((size_t)c * (KH * KW) * plane + n * (U)(OH * OW));
  A sum = 0;
  #pragma unroll
  for (int a = 0; a < KH; a++) {
    const U down = row - a * (U)DH, p = down / (U)SH;
    #pragma unroll
    for (int b = 0; b < KW; b++) {
      const U right = column - b * (U)DW, q = right / (U)SW;
      if (p < (U)OH && q < (U)OW && p * SH == down && q * SW == right)
        sum += (A)from[p * (U)OW + q];
      from += plane;
    }
  }
  x[i] = sum;"""

_MAX_POOL = """
  const U q = i % (U)OW, p = i / (U)OW % (U)OH;
  const I top = (I)(p * SH) - (I)PH, left = (I)(q * SW) - (I)PW;
  const T* from = x + tn_plane(i / (U)(OH * OW), C, (U)xn, (U)xc) * (H * W);
  A largest = -(A)CUDART_INF;
  #pragma unroll
  for (int a = 0; a < KH; a++) {
    const I row = top + a;
    #pragma unroll
    for (int b = 0; b < KW; b++) {
      const I column = left + b;
      if ((U)row >= (U)H || (U)column >= (U)W) continue;
      const A v = from[row * (I)W + column];
      if (v > largest || v != v) largest = v;
    }
  }
  y[i] = largest;"""

# The windows that a pixel lies in: p of first .. last, and where its window begins
_WINDOWS = """
  const U column = i % (U)W + PW, row = i / (U)W % (U)H + PH, image = i / (U)(H * W);
  const U p0 = row < (U)KH ? 0 : (row - (U)KH) / (U)SH + 1;
  const U q0 = column < (U)KW ? 0 : (column - (U)KW) / (U)SW + 1;
  const U p1 = min(row / (U)SH, (U)OH - 1), q1 = min(column / (U)SW, (U)OW - 1);
  const T* gs = g + tn_plane(image, C, (U)gn, (U)gc) * (OH * OW);
  A sum = 0;
  for (U p = p0; p <= p1; p++)
    for (U q = q0; q <= q1; q++) {
      const U window = p * (U)OW + q;"""

_MAX_POOL_BACK = """
  const A mine = x[i];
  const T* ys = y + tn_plane(i / (U)(H * W), C, (U)yn, (U)yc) * (OH * OW);
""" + _WINDOWS + """
      const A top = ys[window];
      bool first = mine == top || mine != mine;
      const T* from = x + image * (U)(H * W);
      for (U a = max(p * (U)SH, (U)PH); first && a <= row; a++) {
        const U end = a < row ? min(q * (U)SW + (U)KW, (U)(W + PW)) : column;
        for (U b = max(q * (U)SW, (U)PW); first && b < end; b++) {
          const A before = from[(a - (U)PH) * (U)W + (b - (U)PW)];
          first = before != top && before == before;
        }
      }
      if (first) sum += (A)gs[window];
    }
  dx[i] = sum;"""

_MEAN_POOL = """
  const U q = i % (U)OW, p = i / (U)OW % (U)OH;
  const I top = (I)(p * SH) - (I)PH, left = (I)(q * SW) - (I)PW;
  const T* from = x + tn_plane(i / (U)(OH * OW), C, (U)xn, (U)xc) * (H * W);
  A sum = 0;
  #pragma unroll
  for (int a = 0; a < KH; a++) {
    const I row = top + a;
    #pragma unroll
    for (int b = 0; b < KW; b++) {
      const I column = left + b;
      if ((U)row < (U)H && (U)column < (U)W) sum += (A)from[row * (I)W + column];
    }
  }
  y[i] = sum / (A)(KH * KW);"""

_MEAN_POOL_BACK = _WINDOWS + """
      sum += (A)gs[window];
    }
  dx[i] = sum / (A)(KH * KW);"""

_KERNELS = {
    "columns": ("const T* x, Size xn, Size xc, Size xh, Size xw, T* columns", _COLUMNS),
    "columns_back": ("const T* columns, T* x", _COLUMNS_BACK),
    "max_pool": ("const T* x, Size xn, Size xc, T* y, Size C", _MAX_POOL),
    "max_pool_backward": ("const T* g, Size gn, Size gc, const T* x, const T* y, Size yn, "
                          "Size yc, T* dx, Size C", _MAX_POOL_BACK),
    "mean_pool": ("const T* x, Size xn, Size xc, T* y, Size C", _MEAN_POOL),
    "mean_pool_backward": ("const T* g, Size gn, Size gc, T* dx, Size C", _MEAN_POOL_BACK),
}
_PLANE = """
// Plane k of an array is another one of an array with its axes in another order
__device__ size_t tn_plane(U k, Size inner, U outer_step, U inner_step) {
  return (size_t)(k / (U)inner * outer_step + k % (U)inner * inner_step);
}"""


@functools.cache
def _kernel(name: str, char: str, narrow: bool, fixed: tuple[tuple[str, int], ...]
            ) -> Any:
    """A kernel whose thread number i is below `total`; `fixed` sizes are constants."""
    arguments, body = _KERNELS[name]
    sizes = ", ".join(f"Size {size}_" for size in _SIZES)
    kind = "int" if narrow else "Size"
    lines = [f"typedef {kind} I;",
             f"typedef unsigned {kind.replace('Size', 'long long')} U;", _PLANE,
             f'extern "C" __global__ void tinynet_{name}({arguments}, '
             f"Size total_, {sizes})", "{",
             "  const U i = (U)blockIdx.x * THREADS + threadIdx.x, total = total_;",
             "  if (i >= total) return;"]
    for size in _SIZES:
        lines.append(f"  const I {size} = {dict(fixed).get(size, size + '_')};")
    return raw(name, char, "\n".join([*lines, body.lstrip("\n"), "}\n"]))


class _Windows:
    """The sizes of a launch, in the order of `_SIZES`."""

    def __init__(self, images: int, size: Any, out: Any, kernel: Pair, stride: Pair,
                 padding: Pair, dilation: Pair = (1, 1)) -> None:
        self.sizes = (images, *size, *out, *kernel, *stride, *padding, *dilation)
        self.fixed: tuple[tuple[str, int], ...] = ()
        if (kernel, stride, dilation) in _FIXED:
            names = ("KH", "KW", "SH", "SW", "DH", "DW")
            self.fixed = tuple(zip(names, (*kernel, *stride, *dilation), strict=True))

    def launch(self, name: str, x: Array, total: int, largest: int, *arguments: Any
               ) -> None:
        """A thread for each of `total` pixels; no array has more than `largest` numbers."""
        if total:
            narrow = max(total, largest) < SMALL
            kernel = _kernel(name, x.dtype.char, narrow, self.fixed)
            kernel((-(-total // THREADS),), (THREADS,), (*arguments, total, *self.sizes))


class Columns(NamedTuple):
    """All windows of images, kept: stands for the images on the way back."""

    array: Array  # (groups, taps, pixels)
    shape: tuple[int, ...]  # of the images
    itemsize: int


# Convolution


def _columns(x: Array, s: Shape) -> Array:
    """(groups, taps, pixels) for some images; taps: (C / groups, kH, kW)."""
    n = len(x)
    if s.is_pointwise:  # a pixel is its own window
        return x.swapaxes(0, 1).reshape(s.groups, s.taps, -1)
    columns = xp.empty((s.c * s.kernel[0] * s.kernel[1], n, *s.out), x.dtype)
    strides = [stride // x.itemsize for stride in x.strides]
    reach = sum(abs(step) * size for step, size in zip(strides, x.shape, strict=True))
    windows = _Windows(n, s.size, s.out, s.kernel, s.stride, s.padding, s.dilation)
    windows.launch("columns", x, s.c * n * s.out[0] * s.out[1],
                   max(reach, columns.size), x, *strides, columns)
    return columns.reshape(s.groups, s.taps, -1)


def _columns_back(columns: Array, s: Shape, n: int) -> Array:
    """(C, n, H, W): for each pixel the sum of its copies in the columns of n images."""
    x = xp.empty((s.c, n, *s.size), columns.dtype)
    windows = _Windows(n, s.size, s.out, s.kernel, s.stride, s.padding, s.dilation)
    windows.launch("columns_back", x, x.size, columns.size, columns, x)
    return x


def _blocks(s: Shape, itemsize: int) -> list[slice]:
    """The images of each block, equally many: about `BLOCK_BYTES` of columns."""
    image = s.taps * s.groups * s.out[0] * s.out[1] * itemsize
    at_once = max(1, BLOCK_BYTES // max(1, image))
    blocks = max(1, -(-s.n // at_once))
    step = max(1, -(-s.n // blocks))
    return [slice(i, min(i + step, s.n)) for i in range(0, max(s.n, 1), step)]


def conv2d(x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1, kept: list[Any] | None = None
           ) -> Array:
    """y[o, pixel] = sum over taps of w[o, tap] columns[tap, pixel].

    The columns go into `kept`, if it is given and they are few. Plain twin:
    `im2col.plain_conv2d`.
    """
    s = Shape(x, w, stride, padding, dilation, groups)
    y = xp.empty((s.o, s.n, *s.out), x.dtype)
    by_group = w.reshape(s.groups, -1, s.taps)
    blocks = _blocks(s, x.itemsize)
    for block in blocks:
        columns = _columns(x[block], s)
        if kept is not None and len(blocks) == 1 and columns.nbytes <= KEPT_BYTES:
            kept.append(Columns(columns, x.shape, x.itemsize))
        out = y[:, block] if len(blocks) == 1 else xp.empty_like(y[:, block], order="C")
        parts = out.reshape(s.groups, -1, columns.shape[2])
        for weights, a, part in zip(by_group, columns, parts, strict=True):
            xp.dot(weights, a, out=part)
        if len(blocks) > 1:
            y[:, block] = out
    return y.swapaxes(0, 1)


def conv2d_backward(g: Array, x: Array, w: Array, stride: Pair = (1, 1),
                    padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1,
                    wanted: Any = (True, True)) -> tuple[Array | None, Array | None]:
    """dw = g columns^T; dx gathers, for each pixel, its places in w^T g.

    x may be what `conv2d` kept of it. Plain twin: `im2col.plain_conv2d_backward`.
    """
    s = Shape(x, w, stride, padding, dilation, groups)
    dx: Any = None
    dw: Any = None
    filters = None
    if wanted[1]:
        dw = xp.empty_like(w, order="C")
        filters = dw.reshape(s.groups, -1, s.taps)
    blocks = _blocks(s, x.itemsize)
    if wanted[0] and len(blocks) > 1:
        dx = xp.empty((s.c, s.n, *s.size), g.dtype)
    for block in blocks:
        dy = g[block].swapaxes(0, 1).reshape(s.groups, s.o // s.groups, -1)
        if dw is not None:
            columns = x.array if isinstance(x, Columns) else _columns(x[block], s)
            _product_sum(dy, columns, filters, block.start == 0)
            del columns
        if wanted[0]:
            found = _image_gradient(dy, w, s, block.stop - block.start)
            if len(blocks) == 1:
                dx = found
            else:
                dx[:, block] = found
    return (None if dx is None else dx.swapaxes(0, 1)), dw


def _product_sum(dy: Array, columns: Array, dw: Array, is_first: bool) -> None:
    """dw = dy columns^T for each group; added to what is there unless it `is_first`."""
    for g, a, out in zip(dy, columns, dw, strict=True):
        if is_first:
            xp.dot(g, a.T, out=out)
        else:
            out += xp.dot(g, a.T)


def _image_gradient(dy: Array, w: Array, s: Shape, n: int) -> Array:
    """(C, n, H, W) from dy (groups, O / groups, pixels)."""
    columns = xp.empty((s.groups, s.taps, dy.shape[2]), dy.dtype)
    by_group = w.reshape(s.groups, -1, s.taps)
    for g, weights, out in zip(dy, by_group, columns, strict=True):
        xp.dot(weights.T, g, out=out)
    if s.is_pointwise:
        return columns.reshape(s.c, n, *s.size)
    return _columns_back(columns, s, n)


# Pooling: images and channels in whatever order they lie


class _Planes:
    """x, or a copy, as planes that lie one after the other: by image, or by channel."""

    def __init__(self, x: Array) -> None:
        self.swapped = not x.flags.c_contiguous and x.swapaxes(0, 1).flags.c_contiguous
        self.array = x if self.swapped else xp.ascontiguousarray(x)

    def steps(self, swapped: bool) -> tuple[int, int]:
        """Planes from one image and one channel to the next; reversed if `swapped`."""
        n, c = self.array.shape[:2]
        steps = (1, n) if self.swapped else (c, 1)
        return steps[::-1] if swapped else steps


def _pool(name: str, x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    planes = _Planes(x)
    x = planes.array
    out = count(x.shape[2:], kernel, stride, padding)
    y = xp.empty((*x.shape[:2], *out), x.dtype)
    windows = _Windows(1, x.shape[2:], out, kernel, stride, padding)
    windows.launch(name, x, y.size, x.size, x, *planes.steps(False), y, x.shape[1])
    return y


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The largest value of each window. Plain twin: `pool.plain_max_pool2d`."""
    return _pool("max_pool", x, kernel, stride, padding)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """The mean of each window. Plain twin: `pool.plain_avg_pool2d`."""
    return _pool("mean_pool", x, kernel, stride, padding)


def max_pool2d_backward(g: Array, x: Array, y: Array, kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """Each pixel: the gradients of the windows whose first largest value, in reading
    order, it is.

    Where the largest value is nan, the first nan wins: only there a pixel differs from
    itself. dx lies as x does. Plain twin: `pool.plain_max_pool2d_backward`.
    """
    of = _Planes(x)
    x = of.array
    after = [_Planes(a) for a in (g, y)]
    from_g, from_y = ((a.array, *a.steps(of.swapped)) for a in after)
    dx = xp.empty_like(x)
    windows = _Windows(1, x.shape[2:], y.shape[2:], kernel, stride, padding)
    windows.launch("max_pool_backward", x, x.size, y.size, *from_g, x, *from_y, dx,
                   x.shape[0 if of.swapped else 1])
    return dx


def global_max_pool2d_backward(g: Array, x: Array, y: Array) -> Array:
    """The same with one window, the image; as `pool.global_max_pool2d_backward`."""
    size = (x.shape[2], x.shape[3])
    places = (slice(None), slice(None), None, None)
    return max_pool2d_backward(g[places], x, y[places], size, size, (0, 0))


def avg_pool2d_backward(g: Array, shape: tuple[int, ...], kernel: Pair, stride: Pair,
                        padding: Pair) -> Array:
    """dx, of shape (N, C, H, W). Plain twin: `pool.plain_avg_pool2d_backward`."""
    planes = _Planes(g)
    g = planes.array
    dx = xp.empty((*g.shape[:2], *shape[2:]), g.dtype)
    windows = _Windows(1, shape[2:], g.shape[2:], kernel, stride, padding)
    windows.launch("mean_pool_backward", g, dx.size, g.size, g, *planes.steps(False), dx,
                   g.shape[1])
    return dx
