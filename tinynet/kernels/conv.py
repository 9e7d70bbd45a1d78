"""Which algorithm computes a convolution: chosen here, by shape alone, never by timing.

    plain      one im2col of the whole batch and one product: the twin to read and to test by
               (to force it makes all other kernels take their plain twins, too)
    im2col     the same in blocks that stay in the cache: any shape
    winograd   3x3, stride 1, dilation 1, one group, padding at most 2; enough channels, since its
               transforms are as many operations as the products of 17 channels, and it computes
               whole 4x4 tiles; enough tiles, since the transform of the weights is as much as the
               products of 5 tiles, and by short calls

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

from ..backend import Array
from ..checks import Pair
from . import gpu_windows, im2col, kernel as bodies, winograd
from .im2col import Shape
from .kernel import kernel

ALGORITHMS = ("plain", "im2col", "winograd")
MIN_CHANNELS = 16  # of input and of output, for Winograd
MIN_TILES = 16  # of the whole batch, for Winograd


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
    fits = (s.kernel == (3, 3) and s.stride == (1, 1) == s.dilation and s.groups == 1
            and max(s.padding) <= 2)
    if bodies.forced is not None and (fits or bodies.forced != "winograd"):
        return bodies.forced
    rows, columns = (-(-size // winograd.TILE) for size in s.out)  # of tiles, rounded up
    mostly_full = rows * columns * winograd.TILE**2 <= 2 * s.out[0] * s.out[1]  # few hang over far
    enough = min(s.c, s.o) >= MIN_CHANNELS and s.n * rows * columns >= MIN_TILES
    return "winograd" if fits and enough and mostly_full else "im2col"


@kernel(plain=im2col.plain_conv2d, gpu=gpu_windows.conv2d, small=0, wide=True)
def conv2d(x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
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
    if choose(s) == "winograd":
        return winograd.conv2d(x, w, padding)
    return im2col.conv2d(x, w, s)


@kernel(plain=im2col.plain_conv2d_backward, gpu=gpu_windows.conv2d_backward, small=0, wide=True)
def conv2d_backward(g: Array, x: Array, w: Array, stride: Pair = (1, 1), padding: Pair = (0, 0),
                    dilation: Pair = (1, 1), groups: int = 1,
                    wanted: Sequence[bool] = (True, True)) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dw) from the gradient `g` of y; None for what is not `wanted`."""
    s = Shape(x, w, stride, padding, dilation, groups)
    if choose(s) == "winograd":
        return winograd.conv2d_backward(g, x, w, padding, wanted)
    return im2col.conv2d_backward(g, x, w, s, wanted)
