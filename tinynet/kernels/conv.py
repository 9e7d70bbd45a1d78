"""Which algorithm computes a convolution: chosen here, by shape alone, never by timing.

    plain      one im2col of the whole batch and one product: the twin to read and to test by
               (to force it makes all other kernels take their plain twins, too)
    im2col     the same in blocks that stay in the cache: any shape
    depthwise  a group for each channel: no products, whole images times a weight
    winograd   3x3, stride 1, dilation 1, one group, padding at most 2; enough channels, since its
               transforms are as many operations as the products of 17 channels, and it computes
               whole 4x4 tiles; enough tiles, since the transform of the weights is as much as the
               products of 5 tiles, and by short calls

Groups of few channels are merged to one of more, with zeros between them among the
weights: a product of 16 columns takes nearly the time of one of 32.

float16 is computed in float32, whose products BLAS knows: the transforms of Winograd's
way would leave two digits of it.

`force_algorithm` overrules the choice, for tests: gradient checks in float64 reach
every one. A GPU has one way of its own, in `gpu_windows.py`.

Read next: `kernels/pool.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..backend import Array, xp
from ..checks import Pair
from . import depthwise, gpu_windows, im2col, kernel as bodies, tiles, winograd
from .im2col import Shape
from .kernel import kernel
from .pending import Pending, array_of, scale_of

ALGORITHMS = ("plain", "im2col", "depthwise", "winograd")
MIN_CHANNELS = 16  # of input and of output, for Winograd
MIN_TILES = 16  # of the whole batch, for Winograd
MERGED = 32  # channels of merged groups at most; 64 where all are one, for Winograd


def get_algorithm() -> str | None:
    """The algorithm in force: None means chosen by shape."""
    return bodies.forced


def force_algorithm(name: str | None) -> AbstractContextManager[None]:
    """Use one of `ALGORITHMS` inside the block, wherever it applies; None chooses by shape.

    >>> with force_algorithm("plain"):
    ...     get_algorithm()
    'plain'
    """
    if name is not None and name not in ALGORITHMS:
        raise ValueError(f"algorithm must be None or one of {', '.join(ALGORITHMS)}, "
                         f"got {name!r}")
    return bodies.forcing(name)


def choose(s: Shape) -> str:
    """The algorithm for a convolution of these sizes."""
    applies = {"winograd": _fits_winograd(s) and s.groups == 1,
               "depthwise": s.inner == 1 and s.o == s.c and s.groups > 1}
    if bodies.forced is not None and applies.get(bodies.forced, True):
        return bodies.forced
    if applies["depthwise"]:
        return "depthwise"
    rows, columns = (-(-size // tiles.TILE) for size in s.out)  # of tiles, rounded up
    mostly_full = rows * columns * tiles.TILE**2 <= 2 * s.out[0] * s.out[1]  # few hang over far
    enough = min(s.c, s.o) >= MIN_CHANNELS and s.n * rows * columns >= MIN_TILES
    return "winograd" if applies["winograd"] and enough and mostly_full else "im2col"


def _fits_winograd(s: Shape) -> bool:
    return s.kernel == (3, 3) and s.stride == (1, 1) == s.dilation and max(s.padding) <= 2


def _merge(s: Shape) -> int:
    """How many groups of a convolution by im2col become one."""
    if bodies.forced is not None or s.groups == 1:
        return 1
    if s.c <= 2 * MERGED and _fits_winograd(s):
        return s.groups
    return max(m for m in range(1, s.groups + 1)
               if s.groups % m == 0 and (m == 1 or m * s.inner <= MERGED))


def _merged(w: Array, groups: int, m: int) -> Array:
    """Weights (O, C / groups, kH, kW) of `groups` groups as those of groups / m."""
    o, inner, *kernel = w.shape
    parts = w.reshape(groups // m, m, o // groups, inner, *kernel)
    # Axes: new group, old group in it, its outputs, old group of the inputs, its channels.
    whole = xp.zeros((groups // m, m, o // groups, m, inner, *kernel), w.dtype)
    for k in range(m):
        whole[:, k, :, k] = parts[:, k]
    return whole.reshape(o, m * inner, *kernel)


def _parted(dw: Array, groups: int, m: int) -> Array:
    """The adjoint of `_merged`: what the zeros got is left out."""
    o, channels, *kernel = dw.shape
    whole = dw.reshape(groups // m, m, o // groups, m, channels // m, *kernel)
    parts = xp.stack([whole[:, k, :, k] for k in range(m)], axis=1)
    return parts.reshape(o, channels // m, *kernel)


@kernel(plain=im2col.plain_conv2d, gpu=gpu_windows.conv2d, small=0, wide=True)
def conv2d(x: Array | Pending, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
           dilation: Pair = (1, 1), groups: int = 1, kept: list[Any] | None = None) -> Array:
    """y[n, o, p, q] = sum over c, i, j of w[o, c, i, j] x[n, c, P(p, i), Q(q, j)]

    with P(p, i) = p stride + i dilation - padding for rows, Q for columns alike; zeros
    around. Shapes: x (N, C, H, W), w (O, C / groups, kH, kW), y (N, O, H', W'), the
    result in channels-last memory. Nothing but x and w is needed for the gradients; what
    goes into `kept` stands for x there, and saves work (on a GPU).

    >>> from tinynet.backend import xp
    >>> conv2d(xp.ones((1, 1, 3, 3)), xp.ones((1, 1, 3, 3)), padding=(1, 1))[0, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    s = Shape(x, w, stride, padding, dilation, groups)
    algorithm = choose(s)
    if algorithm == "depthwise":
        return depthwise.conv2d(array_of(x), w, s)
    m = _merge(s)
    if m > 1:
        return conv2d(x, _merged(w, groups, m), stride, padding, dilation, groups // m)
    w = _scaled(w, None, scale_of(x), groups)
    if algorithm == "winograd":
        return winograd.conv2d(x, w, padding)
    return im2col.conv2d(x, w, s)


@kernel(plain=im2col.plain_conv2d_backward, gpu=gpu_windows.conv2d_backward, small=0, wide=True)
def conv2d_backward(g: Array | Pending, x: Array | Pending, w: Array, stride: Pair = (1, 1),
                    padding: Pair = (0, 0), dilation: Pair = (1, 1), groups: int = 1,
                    wanted: Sequence[bool] = (True, True)
                    ) -> tuple[Array | Pending | None, Array | None]:
    """Gradients (dx, dw) from the gradient `g` of y; None for what is not `wanted`.

    Of an x that is pending dx is what its collector makes of it, where there is one.
    """
    s = Shape(x, w, stride, padding, dilation, groups)
    algorithm = choose(s)
    if algorithm == "depthwise":
        return depthwise.conv2d_backward(array_of(g), array_of(x), w, s, wanted)
    m = _merge(s)
    if m > 1:
        dx, dw = conv2d_backward(g, x, _merged(w, groups, m), stride, padding, dilation,
                                 groups // m, wanted)
        return dx, None if dw is None else _parted(dw, groups, m)
    w = _scaled(w, scale_of(g), None, groups)
    if algorithm == "winograd":
        dx, dw = winograd.conv2d_backward(g, x, w, padding, wanted)
    else:
        dx, dw = im2col.conv2d_backward(g, x, w, s, wanted)
    if dw is not None:
        dw = _scaled(dw, scale_of(g), scale_of(x), groups)
    return dx, dw


def _scaled(w: Array, of_outputs: Array | None, of_inputs: Array | None, groups: int) -> Array:
    """Weights (O, C / groups, kH, kW) times a factor for each channel of outputs and of inputs."""
    if of_outputs is not None:
        w = w * of_outputs.astype(w.dtype)[:, None, None, None]
    if of_inputs is not None:
        by_group = w.reshape(groups, -1, *w.shape[1:])  # each group has inputs of its own
        factors = of_inputs.astype(w.dtype).reshape(groups, 1, -1, 1, 1)
        w = (by_group * factors).reshape(w.shape)
    return w
