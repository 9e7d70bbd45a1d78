r"""DropConnect: dropout of the weights, with a mask of its own for every example.

    training     u_n = (M_n * W) x_n + m_n * b          M, m: 1 with probability keep = 1 - p
    evaluation   over all masks u has the mean  keep (W x + b)
                 and the variance  keep p ((W * W) (x * x) + b * b)

The masks of N examples would be N times as large as the weights, so they are never
stored: the mask of example n is a function of (key, n), drawn for a few examples at a
time, applied, and drawn again in the backward pass. Besides x and W nothing is kept. In
a share of a batch n counts from `offset`.

    dW = sum over n of M_n * dW_n,  where dW_n and dx_n are the gradients with the weights M_n * W

Where the plain convolution takes Winograd's way, so does this one, unless the
transformed weights of one example outgrow the cache; then, and for other shapes, each
example is a product of its own (`im2col`). A linear layer is the convolution of a
picture of one pixel. Cost: some 2 ns for each weight and example, forward and backward
together, beside the products. A convolution has many pixels for each weight: 1.1 to 2.1
times a plain one with 256 or more. With 64 it is 3 to 4 times: plain Winograd takes
about 1 ns for each weight and example there, less than the products with weights of
their own. A linear layer has one pixel: tens of times (``python -m bench.noise``).
Source: Wan, Zeiler, Zhang, LeCun and Fergus 2013, "Regularization of neural networks
using DropConnect"; CS231n lecture 8 (G1).

Read next: `functional/fractional.py`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import random
from ..backend import Array, add_up, on_gpu, xp
from ..checks import Pair
from ..kernels import conv as fast, winograd
from ..kernels.im2col import Shape, by_group, columns_back, columns_of, filters_of, matrix_of
from ..kernels.memory import as_nchw, as_nhwc, empty, scratch
from ..kernels.sums import sum_blocks
from ..kernels.threads import pmap
from ..kernels.tiles import Cut
from ..operation import fused, primitive
from ..ops.arithmetic import clip, erf, exp, maximum, sqrt, widened
from ..ops.shape import moveaxis, reshape
from ..random import place_in_batch
from ..rules import operands
from ..tensor import Tensor
from .conv import checked, conv2d, unfold
from .linear import linear
from .regularize import draw_key

_EXAMPLES = 8  # of a block at most
_MASKED_BYTES = 1 << 26 if on_gpu else 5 << 18  # of masked weights at a time
_TRANSFORMED_BYTES = 5 << 19  # of transformed ones, four times as many


class _Masks:
    """The masks of all examples, and weights under them: (n, groups, taps, O / groups)."""

    def __init__(self, weight: Array, s: Shape, key: int, keep: float, offset: int) -> None:
        self.matrix = xp.ascontiguousarray(matrix_of(weight, s))
        self.key = key
        self.keep = keep
        self.n = s.n
        self.outputs = s.o
        self.offset = offset  # of these examples within the whole batch
        self.width = 1 if keep == 0.5 else 8 if (keep * 256.0).is_integer() else 16  # random bits
        # Examples at a time: masked; transformed, for Winograd's way (0: not one fits
        # the cache).
        self.step = max(1, min(_EXAMPLES, _MASKED_BYTES // self.matrix.nbytes))
        self.tiled = min(_EXAMPLES, _TRANSFORMED_BYTES // (4 * self.matrix.nbytes))
        self.last = threading.local()

    def draw(self, i: int, j: int) -> Array:
        """The masks of examples i to j; each thread remembers its last ones."""
        if getattr(self.last, "examples", None) != (i, j):
            examples = xp.arange(self.offset + i, self.offset + j)
            keys = random.key(self.key, "weights", examples)
            self.last.masks = random.mask(keys, self.keep, self.matrix.shape, self.width)
            self.last.examples = i, j
        return self.last.masks

    def weights(self, masks: Array) -> Array:
        out = scratch("masked", masks.shape, self.matrix.dtype)
        return xp.multiply(self.matrix, masks, out=out)

    def transformed(self, i: int, j: int) -> Iterator[tuple[slice, Array]]:
        """G (M_n * W) G^T of examples i to j for Winograd's way, a few at a time: (n, 36, C, O).

        They lie in scratch memory, which the next ones overwrite.
        """
        for some, masks in self.parts(i, j):
            weights = self.weights(masks).reshape(len(masks), 3, 3, -1)
            u = scratch("u", (len(masks), 6, 6, weights.shape[-1]), weights.dtype)
            winograd.transform_weights(weights, u)
            yield some, u.reshape(len(masks), 36, -1, self.outputs)

    def parts(self, i: int, j: int) -> Iterator[tuple[slice, Array]]:
        """Examples of i to j, counted from i, and their masks: as many as Winograd's way takes."""
        drawn = self.draw(i, j)
        n = max(1, self.tiled)
        for a in range(0, j - i, n):
            some = slice(a, min(a + n, j - i))
            yield some, drawn[some]

    def of_bias(self) -> Array:
        return random.mask(random.key(self.key, "bias"), self.keep, (self.n, self.outputs),
                           offset=self.offset)

    def each(self, work: Callable[[int, int], None]) -> None:
        """work(i, j) for all examples, a few at a time, also on a GPU."""

        def block(i: int, j: int) -> None:
            for a in range(i, j, self.step):
                work(a, min(a + self.step, j))

        pmap(block, self.n, self.step)


def _forward(x: Array, s: Shape, masks: _Masks) -> Array:
    y = empty((s.n, *s.out, s.o), x.dtype)

    def block(i: int, j: int) -> None:
        for n, matrix in enumerate(masks.weights(masks.draw(i, j)), i):
            xp.matmul(columns_of(x[n : n + 1], s), matrix, out=by_group(y[n : n + 1], s))

    masks.each(block)
    return as_nchw(y)


def _backward(g: Array, x: Array, s: Shape, masks: _Masks, wanted: Sequence[bool]
              ) -> tuple[Array | None, Array | None]:
    g = as_nhwc(g)
    dx = None
    if wanted[0]:
        dx = empty((s.n, *s.size, s.c), x.dtype)

    def block(i: int, j: int, out: Array | None = None) -> None:
        drawn = masks.draw(i, j)
        if out is not None:
            out[...] = 0
        for n, matrix in enumerate(masks.weights(drawn), i):
            dy = by_group(g[n : n + 1], s)
            if out is not None:
                part = scratch("dw", out.shape, x.dtype)
                xp.matmul(columns_of(x[n : n + 1], s).swapaxes(1, 2), dy, out=part)
                part *= drawn[n - i]
                out += part
            if dx is not None:
                columns_back(dy, matrix.swapaxes(1, 2), dx[n : n + 1], s)

    dw = _sum_or_do(block, s, masks, wanted)
    return None if dx is None else as_nchw(dx), dw


def _sum_or_do(block: Callable[..., None], s: Shape, masks: _Masks, wanted: Sequence[bool]
               ) -> Array | None:
    """dW as the sum over the blocks; or just the work of the blocks if it is not wanted."""
    if not wanted[1]:
        masks.each(block)
        return None
    dw = sum_blocks(block, s.n, masks.step, masks.matrix.shape, masks.matrix.dtype)
    return filters_of(dw, s)


def _winograd(x: Array, s: Shape, masks: _Masks) -> Array:
    """`_forward` by F(4x4, 3x3), with transformed weights U = G (M_n * W) G^T of each example."""
    cut = Cut(x, s.o, s.padding, each=_EXAMPLES)
    return winograd.convolve(x, cut, masks.transformed)


def _winograd_backward(g: Array, x: Array, s: Shape, masks: _Masks, wanted: Sequence[bool]
                       ) -> tuple[Array | None, Array | None]:
    """`_backward` likewise: dW = sum over n of M_n * (G^T dU_n G)."""

    def transposed(i: int, j: int) -> Iterator[tuple[slice, Array]]:
        return ((some, u.swapaxes(2, 3)) for some, u in masks.transformed(i, j))

    def collect(i: int, j: int, taps: slice, v: Array, dm: Array, out: Array) -> None:
        out[...] = 0
        for some, drawn in masks.parts(i, j):
            du = scratch("u", (len(drawn), 36, s.c, s.o), x.dtype)  # U is no longer wanted
            dw = scratch("dw", drawn.shape, x.dtype)
            winograd.weight_products(taps, v[some], dm[some], du)
            winograd.transform_weights(du.reshape(len(drawn), 6, 6, -1),
                                       dw.reshape(len(drawn), 3, 3, -1), back=True)
            dw *= drawn
            for part in dw:
                out += part

    cut = Cut(x, s.o, s.padding, each=_EXAMPLES)
    dx, dw = winograd.differentiate(g, x, cut, transposed, wanted, masks.matrix.shape, collect)
    return dx, None if dw is None else filters_of(dw, s)


def dropconnect_reference(x: Any, weight: Any, bias: Any = None, *, key: int, keep: float,
                          stride: Pair, padding: Pair, dilation: Pair, groups: int,
                          offset: int = 0) -> Tensor:
    """All masked weights at once, each times the windows of its example."""
    n = x.shape[0]
    o, i, *kernel = weight.shape
    raw = xp.empty(weight.shape, x.dtype)
    s = Shape(xp.empty(x.shape, x.dtype), raw, stride, padding, dilation, groups)
    masks = _Masks(raw, s, key, keep, offset)
    drawn = masks.draw(0, n).reshape(n, groups, *kernel, i, o // groups)
    drawn = drawn.transpose(0, 1, 5, 4, 2, 3).reshape(n, *weight.shape).astype(x.dtype)
    columns = reshape(unfold(x, tuple(kernel), dilation, padding, stride),
                      (n, groups, s.taps, -1))  # (N, groups, C kH kW, L)
    y = reshape(reshape(weight * drawn, (n, groups, o // groups, -1)) @ columns, (n, o, *s.out))
    if bias is None:
        return y
    return y + reshape(bias * masks.of_bias().astype(x.dtype), (n, o, 1, 1))


@fused(reference=dropconnect_reference)
def _dropconnect(x: Array, weight: Array, bias: Array | None, *, key: int, keep: float,
                 stride: Pair, padding: Pair, dilation: Pair, groups: int, offset: int = 0,
                 needs: Sequence[bool]) -> Any:
    s = Shape(x, weight, stride, padding, dilation, groups)
    masks = _Masks(weight, s, key, keep, offset)
    pays = masks.tiled > 0 or fast.get_algorithm() == "winograd"
    by_tiles = not on_gpu and pays and fast.choose(s) == "winograd"
    forward, backward_ = (_winograd, _winograd_backward) if by_tiles else (_forward, _backward)
    y = forward(x, s, masks)
    if bias is not None:
        shift = (bias * masks.of_bias())[:, :, None, None]
        pmap(lambda i, j: xp.add(y[i:j], shift[i:j], out=y[i:j]), s.n, masks.step)

    def backward(g: Array, wanted: Sequence[bool]) -> tuple[Array | None, ...]:
        masks = _Masks(weight, s, key, keep, offset)
        dx, dw = backward_(g, x, s, masks, wanted) if any(wanted[:2]) else (None, None)
        return dx, dw, add_up(add_up(g, (2, 3)) * masks.of_bias(), 0) if wanted[2] else None

    return y, backward


_wide_dropconnect = widened(_dropconnect)


@operands("x", "weight", "bias")
def dropconnect_conv2d(x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                       dilation: Any = 1, groups: int = 1, p: float = 0.5, training: bool = True,
                       *, key: int | None = None) -> Tensor:
    """u_n = conv2d(x_n, M_n * weight) + m_n * bias in training, its mean over masks in evaluation

    `p` is the probability of ZEROING a weight (the paper's p is that of keeping it):
    the mean is (1 - p) conv2d(x, weight, bias). Masks come from `key` (None: the next
    one of the default generator). Shapes and the other options are those of `conv2d`.

    >>> from tinynet import xp
    >>> x, w = xp.ones((2, 1, 2, 2)), xp.ones((1, 1, 2, 2))
    >>> dropconnect_conv2d(x, w, key=1).reshape(-1).tolist()        # weights left: of 4
    [1.0, 2.0]
    >>> dropconnect_conv2d(x, w, p=0.25, training=False).reshape(-1).tolist()
    [3.0, 3.0]
    """
    key = draw_key("dropconnect_conv2d", p, key, training)
    if not training or p == 0.0:
        keep = 1.0 - p
        weight = weight * keep
        if bias is not None:
            bias = bias * keep
        return conv2d(x, weight, bias, stride, padding, dilation, groups)
    x, options = checked("dropconnect_conv2d", x, weight, bias, stride, padding, dilation, groups)
    offset, _ = place_in_batch(x.shape[0])
    return _wide_dropconnect(x, weight, bias, key=key, keep=1.0 - p, offset=offset, **options)


@operands("x", "weight", "bias")
def dropconnect_linear(x: Any, weight: Any, bias: Any = None, p: float = 0.5,
                       training: bool = True, *, key: int | None = None) -> Tensor:
    """u_n = (M_n * weight) x_n + m_n * bias in training, its mean over masks in evaluation

    Options as in `dropconnect_conv2d`. Shapes: x (N, ..., in), weight (out, in), bias
    (out,) or None; an example is x[n], with one mask for all its rows.

    >>> from tinynet import xp
    >>> w = xp.asarray([[1.0, 10.0, 100.0]])
    >>> dropconnect_linear(xp.ones((4, 3)), w, key=1).reshape(-1).tolist()
    [10.0, 10.0, 10.0, 100.0]
    """
    key = draw_key("dropconnect_linear", p, key, training)
    shape = tuple(x.shape)
    o, i = weight.shape
    if not training or p == 0.0 or len(shape) < 2 or shape[-1] != i:  # `linear` says what is wrong
        return linear(x, weight * (1.0 - p), None if bias is None else bias * (1.0 - p))
    pixels = reshape(x, (shape[0], math.prod(shape[1:-1]), 1, i))
    y = dropconnect_conv2d(moveaxis(pixels, -1, 1), reshape(weight, (o, i, 1, 1)), bias, p=p,
                           key=key)
    return reshape(moveaxis(y, 1, -1), (*shape[:-1], o))


def _standard(mean: Any, variance: Any) -> tuple[Any, Any]:
    """The standard deviation sd, and mean / sd where that is neither infinite nor NaN."""
    sd = sqrt(maximum(variance, 1e-30))
    return sd, clip(mean / sd, -40.0, 40.0)


def _phi(z: Any) -> Any:
    """The density of the normal distribution."""
    return exp(z * z * -0.5) * (1 / math.sqrt(2 * math.pi))


def _big_phi(z: Any) -> Any:
    """The distribution function of the normal distribution."""
    return (erf(z * (1 / math.sqrt(2))) + 1.0) * 0.5


@widened
@primitive(lambda g, mean, variance: g * _big_phi(_standard(mean, variance)[1]),
           lambda g, mean, variance: g * _slope(*_standard(mean, variance)))
def expected_relu(mean: Array, variance: Array) -> Array:
    """E[max(u, 0)] = mean Phi(mean / sd) + sd phi(mean / sd)  for a normal u, sd = sqrt(variance)

    The paper's inference for a DropConnect layer with ReLU: a sum of many weights, each
    there or not, is nearly normal. With variance 0 it is max(mean, 0).
    Source: CS231n lecture 8.

    >>> from tinynet import xp
    >>> [round(float(expected_relu(xp.asarray(m), xp.asarray(1.0))), 4) for m in (-1.0, 0.0, 3.0)]
    [0.0833, 0.3989, 3.0004]
    """
    sd, z = _standard(mean, variance)
    return mean * _big_phi(z) + sd * _phi(z)


def _slope(sd: Any, z: Any) -> Any:
    """The derivative of `expected_relu` with respect to the variance."""
    return 0.5 * _phi(z) / sd
