r"""Batch norm for CuPy: two launches forward, two backward.

    sums     each block adds up a part of a channel: u = sum of d, v = sum of d^2
             (backward u = sum of g, v = sum of g (x - mean))
    apply    each block adds up its channel's parts, in order, and runs over its pixels

A channel is cut into parts so that large images keep all multiprocessors busy, with few
channels, too: nothing of more than a megabyte is read by fewer than 64 blocks. A thread
adds 16 numbers in float32 (A, the type to compute in) and those sums in double: many
cards do 1 double in the time of 32 or 64 floats. What is summed is x minus the first
value of its channel, and a mean is subtracted as two floats, so that a large mean costs
no digits. Divisions are done once for each block.

The threads of a block read neighbours: arrays may lie as (N, C, pixels) or as (C, N,
pixels), which is how convolutions leave them, and results lie as x does. `tn_walk`
counts images and pixels without dividing.

Read next: `kernels/gpu_update.py`.
"""

from __future__ import annotations

import functools
from typing import Any

from ..backend import Array, xp
from .channels import Running, Statistics
from .gpu import NAMES, THREADS, raw
from .ranks import Ranks

PART = 2048  # numbers of a channel that are worth a block
PARTS = 64  # of a channel, at most

_HEAD = """
// Where the numbers of a channel lie in an array: strides of images, channels, pixels
struct tn_place {
  Size at, step, carry;
  __device__ tn_place(Size n, Size c, Size p, unsigned channel, unsigned image,
                      unsigned pixel, unsigned pixels)
    : at(n * image + c * channel + p * pixel),
      step(n * (THREADS / pixels) + p * (THREADS % pixels)), carry(n - p * pixels) {}
  __device__ void next(bool over) { at += step + (over ? carry : 0); }
};
// Runs over number t, t + THREADS, ... of a part of a channel
struct tn_walk {
  unsigned e, end, image, pixel, step, pixels;
  __device__ tn_walk(Size n, Size p, unsigned part, unsigned length)
    : e(part * length + threadIdx.x), end(min((Size)(part + 1) * length, n * p)),
      image(e / (unsigned)p), pixel(e % (unsigned)p), step(THREADS % p), pixels(p) {}
  __device__ bool next() {  // whether it comes to another image
    e += THREADS;
    pixel += step;
    bool over = pixel >= pixels;
    if (over) pixel -= pixels;
    return over;
  }
};

// u and v of all threads, added up; every thread gets the sums
__device__ void tn_total(double& u, double& v) {
  __shared__ double us[THREADS], vs[THREADS];
  const unsigned t = threadIdx.x;
  us[t] = u;
  vs[t] = v;
  for (unsigned half = THREADS / 2; half; half /= 2) {
    __syncthreads();
    if (t < half) { us[t] += us[t + half]; vs[t] += vs[t + half]; }
  }
  __syncthreads();
  u = us[0];
  v = vs[0];
}
"""
_CHANNEL = """
  const unsigned c = blockIdx.x / (unsigned)parts, part = blockIdx.x % (unsigned)parts;
"""
_OF_PARTS = """
  double u = 0, v = 0;
  if (threadIdx.x < parts) {
    u = sums[2 * (c * parts + threadIdx.x)];
    v = sums[2 * (c * parts + threadIdx.x) + 1];
  }
  tn_total(u, v);
"""
_KEEP_PARTS = """
  tn_total(u, v);
  if (threadIdx.x == 0) {
    sums[2 * blockIdx.x] = u;
    sums[2 * blockIdx.x + 1] = v;
  }
"""
_SIZES = "Size n, Size pixels, Size parts, Size length"


def _strides(name: str) -> str:
    return f"Size {name}n, Size {name}c, Size {name}p"


def _place(name: str) -> str:
    return (f"tn_place {name}s({name}n, {name}c, {name}p, c, walk.image, walk.pixel, "
            "walk.pixels);")


def _source(name: str, arguments: str, body: str) -> str:
    head = f'extern "C" __global__ void tinynet_{name}({arguments}, {_SIZES})'
    return f"{head} {{{body}}}\n"


_SUMS = _source(
    "statistics", f"const T* x, {_strides('x')}, double* sums", f"""{_CHANNEL}
  const A first = x[xc * c];
  tn_walk walk(n, pixels, part, length);
  {_place("x")}
  double u = 0, v = 0;
  while (walk.e < walk.end) {{
    A near_u = 0, near_v = 0;
    for (int k = 0; k < 16 && walk.e < walk.end; k++) {{
      const A d = (A)x[xs.at] - first;
      near_u += d;
      near_v += d * d;
      xs.next(walk.next());
    }}
    u += near_u;
    v += near_v;
  }}{_KEEP_PARTS}""")

_APPLY = _source(
    "batch_norm", f"const T* x, {_strides('x')}, const double* sums, T* y, "
    "double* mean, double* var, double* deviation, const T* weight, const T* bias, "
    "R* running_mean, R* running_var, double share, double unbiased, double eps, "
    "Size scaled, Size shifted, Size relu, Size moves", f"""{_CHANNEL}{_OF_PARTS}
  __shared__ A factor, summand, centre, rest;
  if (threadIdx.x == 0) {{
    const double m = (double)(n * pixels), near = u / m;
    const double found = (double)(A)x[xc * c] + near;
    const double square = max((v - u * near) / m, 0.0);
    const double root = sqrt(square + eps);
    centre = found;
    rest = found - (double)centre;
    factor = (scaled ? (double)(A)weight[c] : 1.0) / root;
    summand = shifted ? (A)bias[c] : (A)0;
    if (part == 0) {{
      mean[c] = found;
      var[c] = square;
      deviation[c] = root;
      if (moves) {{
        running_mean[c] = (R)((1 - share) * (double)running_mean[c] + share * found);
        running_var[c] =
          (R)((1 - share) * (double)running_var[c] + share * unbiased * square);
      }}
    }}
  }}
  __syncthreads();
  tn_walk walk(n, pixels, part, length);
  {_place("x")}
  while (walk.e < walk.end) {{
    const A z = (((A)x[xs.at] - centre) - rest) * factor + summand;
    y[xs.at] = relu && z < 0 ? (A)0 : z;
    xs.next(walk.next());
  }}""")

_BACK_SUMS = _source(
    "batch_norm_sums", f"const T* g, {_strides('g')}, const T* x, {_strides('x')}, "
    "const T* gate, const double* mean, double* sums, Size all", f"""{_CHANNEL}
  const A centre = mean[c], rest = mean[c] - (double)centre;
  tn_walk walk(n, pixels, part, length);
  {_place("x")}
  {_place("g")}
  double u = 0, v = 0;
  while (walk.e < walk.end) {{
    A near_u = 0, near_v = 0;
    for (int k = 0; k < 16 && walk.e < walk.end; k++) {{
      const A z = all || (A)gate[xs.at] > 0 ? (A)g[gs.at] : (A)0;
      near_u += z;
      near_v += z * (((A)x[xs.at] - centre) - rest);
      const bool over = walk.next();
      xs.next(over);
      gs.next(over);
    }}
    u += near_u;
    v += near_v;
  }}{_KEEP_PARTS}""")

_BACK_APPLY = _source(
    "batch_norm_backward", f"const T* g, {_strides('g')}, const T* x, {_strides('x')}, "
    "const T* gate, const double* mean, const double* deviation, const double* sums, "
    "const T* weight, T* dx, T* dw, T* db, Size scaled, Size all, Size wanted",
    f"""{_CHANNEL}{_OF_PARTS}
  __shared__ A of_g, of_d, constant, centre, rest;
  if (threadIdx.x == 0) {{
    const double root = deviation[c], m = (double)(n * pixels);
    const double a = (scaled ? (double)(A)weight[c] : 1.0) / root;
    centre = mean[c];
    rest = mean[c] - (double)centre;
    of_g = a;
    of_d = -a * v / (m * root * root);
    constant = -a * u / m;
    if (part == 0) {{ dw[c] = (T)(A)(v / root); db[c] = (T)(A)u; }}
  }}
  __syncthreads();
  if (!wanted) return;
  tn_walk walk(n, pixels, part, length);
  {_place("x")}
  {_place("g")}
  while (walk.e < walk.end) {{
    const A z = all || (A)gate[xs.at] > 0 ? (A)g[gs.at] : (A)0;
    dx[xs.at] = of_g * z + of_d * (((A)x[xs.at] - centre) - rest) + constant;
    const bool over = walk.next();
    xs.next(over);
    gs.next(over);
  }}""")

_KERNELS = {"statistics": _SUMS, "batch_norm": _APPLY, "batch_norm_sums": _BACK_SUMS,
            "batch_norm_backward": _BACK_APPLY}


@functools.cache
def _kernel(name: str, char: str, running: str) -> Any:
    """A kernel for arrays of dtype `char`, and running statistics of another (R)."""
    return raw(name, char, f"typedef {NAMES[running]} R;{_HEAD}{_KERNELS[name]}")


class _Planes:
    """Images (N, C, ...) as N planes of pixels for each channel, and their strides."""

    def __init__(self, x: Array) -> None:
        if _pixel_stride(x) not in (0, x.itemsize):  # neighbours would be far apart
            x = xp.ascontiguousarray(x)
        self.array = x
        self.images, self.channels = x.shape[:2]
        self.pixels = x.size // max(1, self.images * self.channels)
        steps = (*x.strides[:2], _pixel_stride(x) or 0)
        self.strides = [step // x.itemsize for step in steps]

    def launch(self, name: str, *arguments: Any, running: str = "f") -> None:
        size = self.images * self.pixels
        parts = self.parts()
        length = -(-size // (parts * THREADS)) * THREADS
        if size and self.channels:
            _kernel(name, self.array.dtype.char, running)(
                (self.channels * parts,), (THREADS,),
                (*arguments, self.images, self.pixels, parts, length))

    def parts(self) -> int:
        """How many blocks share a channel."""
        wanted: int = self.images * self.pixels // PART
        return max(1, min(PARTS, wanted))

    def sums(self) -> Array:
        return xp.empty((self.channels, self.parts(), 2))


def _pixel_stride(x: Array) -> Any:
    """Bytes from a pixel to the next, if it is the same from row to row; else None."""
    step = None
    length = 1  # pixels of the axes so far
    for size, stride in zip(x.shape[:1:-1], x.strides[:1:-1], strict=True):
        if size == 1:
            continue
        if step is None:
            step = stride
        elif stride != step * length:
            return None
        length *= size
    return x.itemsize if step is None else step


def _dense(x: Array) -> Array:
    """x, or a copy: without gaps, so that an array like it lies as it does."""
    if x.flags.c_contiguous or x.swapaxes(0, 1).flags.c_contiguous:
        return x
    return xp.ascontiguousarray(x)


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float,
               relu: bool = False, running: Running | None = None
               ) -> tuple[Array, Statistics]:
    """weight (x - mean) / deviation + bias, max(., 0) if `relu`; and the statistics.

    In the same launch `running` moves, if its arrays are of one dtype and lie densely.
    Plain twins: `norm.plain_statistics`, `channels.plain_scale_and_shift`.
    """
    of = _Planes(_dense(x))
    sums = of.sums()
    of.launch("statistics", of.array, *of.strides, sums)
    y = xp.empty_like(of.array)
    mean, var, deviation = xp.empty((3, of.channels))
    moves = running is not None and not running.is_done and _can_move(running)
    moving: tuple[Any, ...] = (mean, var, 0.0, 0.0)
    if running is not None and moves:
        moving = (running.mean, running.var, float(running.share), float(running.factor))
        running.is_done = True
    of.launch("batch_norm", of.array, *of.strides, sums, y, mean, var, deviation,
              _or(weight, y), _or(bias, y), *moving, float(eps), int(weight is not None),
              int(bias is not None), int(relu), int(moves), running=moving[0].dtype.char)
    return y, Statistics(mean, var, deviation)


def _can_move(running: Running) -> bool:
    arrays: tuple[Any, Any] = (running.mean, running.var)
    if any(a is None or a.dtype.char not in NAMES for a in arrays):
        return False
    of_mean, of_var = arrays
    dense = of_mean.flags.c_contiguous and of_var.flags.c_contiguous
    return bool(dense and of_mean.dtype == of_var.dtype)


def _or(array: Array | None, other: Array) -> Array:
    """The array for a kernel to read; `other` stands for one that it will not."""
    return other if array is None else xp.ascontiguousarray(array)


def batch_norm_backward(g: Array, x: Array, weight: Array | None, of: Statistics,
                        want_x: bool = True, y: Array | None = None
                        ) -> tuple[Array | None, Array, Array]:
    """(dx, dweight, dbias), g counting where y > 0 if y is given.

    Several ranks meet between the launches. Plain twin: `norm.plain_batch_norm_backward`.
    """
    image = _Planes(_dense(x))
    back = _Planes(g)
    gate = image.array
    if y is not None:
        gate = y
        if y.strides != gate.strides:
            gate = xp.empty_like(image.array)
            gate[...] = y
    sums = image.sums()
    shared = (back.array, *back.strides, image.array, *image.strides, gate, of.mean)
    image.launch("batch_norm_sums", *shared, sums, int(y is None))
    own = None if of.ranks is None else _meet(of.ranks, sums, image.images * image.pixels)
    dx = xp.empty_like(image.array)
    dw = xp.empty(image.channels, x.dtype)
    db = xp.empty(image.channels, x.dtype)  # gradients share no memory
    image.launch("batch_norm_backward", *shared, of.deviation, sums, _or(weight, dx), dx,
                 dw, db, int(weight is not None), int(y is None), int(want_x))
    if own is not None:
        dw[...] = own[:, 1] / of.deviation
        db[...] = own[:, 0]
    return (dx if want_x else None), dw, db


def _meet(ranks: Ranks, sums: Array, n: int) -> Array:
    """Put all ranks' sums in place of this one's parts, and return its own, (C, 2).

    The launch behind divides by the n values here: so they are those of n, on average.
    """
    own = sums.sum(axis=1)
    of_products, of_g = ranks.gradients(own[:, 1], own[:, 0])
    sums[...] = 0
    sums[:, 0, 0] = of_g * (n / ranks.count)
    sums[:, 0, 1] = of_products * (n / ranks.count)
    return own
