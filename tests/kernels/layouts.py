"""What the layout test compares: arrays in every memory order, and each kernel in plain NumPy.

The plain computations here are written by the formula, on windows and sums that NumPy offers, and
are given float64: nothing is shared with the kernels or their twins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.arrays import host
from tinynet import random
from tinynet.kernels import axpby, sums, update

Arrays = tuple[Any, ...]
Shapes = tuple[tuple[int, ...], ...]

SMALL = (2, 16, 5, 6)
LARGE = (7, 16, 36, 36)  # more than 256 KB in any float


def _last(x: Any) -> Any:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else x


def _flipped(x: Any) -> Any:
    back = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[back])[back]


def _sliced(x: Any) -> Any:
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def _inner(x: Any) -> Any:
    """A part of a larger array along its first axis but one: long rows without gaps, and gaps."""
    if x.ndim < 2:
        return x
    wide = np.zeros((x.shape[0], x.shape[1] + 3, *x.shape[2:]), x.dtype)
    wide[:, 2:-1] = x
    return wide[:, 2:-1]


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": np.ascontiguousarray,
    "channels last": _last,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "sliced": _sliced,
    "inner": _inner,
    "flipped": _flipped,
}


def windows(x: Any, kernel: int, stride: int, padding: int, border: float = 0.0) -> Any:
    """(N, C, H', W', kernel, kernel), a copy of each window."""
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x, around, constant_values=border)
    found = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    return found[:, :, ::stride, ::stride].copy()


def into_place(d: Any, shape: tuple[int, ...], stride: int, padding: int) -> Any:
    """The adjoint of `windows`: (.., kernel, kernel) added where they came from."""
    n, c, h, w = shape
    x = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    rows, columns = d.shape[2:4]
    for i, j in np.ndindex(*d.shape[4:]):
        x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride] += d[..., i, j]
    return x[:, :, padding : padding + h, padding : padding + w]


def conv(x: Any, w: Any, stride: int, padding: int, groups: int) -> Any:
    parts = zip(np.split(windows(x, w.shape[2], stride, padding), groups, 1), np.split(w, groups),
                strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", a, b, optimize=True) for a, b in parts],
                          axis=1)


def conv_backward(g: Any, x: Any, w: Any, stride: int, padding: int, groups: int) -> Arrays:
    dx, dw = [], []
    for dy, a, b, image in zip(*(np.split(v, groups, 1) for v in (g, windows(
            x, w.shape[2], stride, padding))), np.split(w, groups), np.split(x, groups, 1),
            strict=True):
        d = np.einsum("nohw,ocij->nchwij", dy, b, optimize=True)
        dx.append(into_place(d, image.shape, stride, padding))
        dw.append(np.einsum("nohw,nchwij->ocij", dy, a, optimize=True))
    return np.concatenate(dx, 1), np.concatenate(dw)


def max_backward(g: Any, x: Any, kernel: int, stride: int, padding: int) -> Any:
    found = windows(x, kernel, stride, padding, -np.inf)
    flat = found.reshape(*found.shape[:4], -1)
    d = np.zeros_like(flat)
    np.put_along_axis(d, flat.argmax(-1)[..., None], g[..., None], -1)
    return into_place(d.reshape(found.shape), x.shape, stride, padding)


def normal(x: Any) -> tuple[Any, Any]:
    """x with mean 0 and variance 1 in each channel, and the deviations."""
    axes = (0, *range(2, x.ndim))
    deviation = np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    return (x - x.mean(axes, keepdims=True)) / deviation, deviation


def channel(v: Any) -> Any:
    return v[:, None, None]


def batch_norm(x: Any, w: Any, b: Any) -> Any:
    return np.maximum(normal(x)[0] * channel(w) + channel(b), 0)


def batch_norm_backward(g: Any, x: Any, w: Any, b: Any) -> Arrays:
    y, deviation = normal(x)
    g = np.where(y * channel(w) + channel(b) > 0, g, 0)
    axes = (0, 2, 3)
    dy = g * channel(w)
    dx = dy - dy.mean(axes, keepdims=True) - y * (dy * y).mean(axes, keepdims=True)
    return dx / deviation, (g * y).sum(axes), g.sum(axes)


def layer_norm(x: Any) -> tuple[Any, Any]:
    """Rows with mean 0 and variance 1, and their deviations."""
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (x - x.mean(1, keepdims=True)) / deviation, deviation


def layer_norm_backward(g: Any, x: Any, w: Any) -> Arrays:
    z, deviation = layer_norm(x)
    h = g * w
    dx = h - h.mean(1, keepdims=True) - z * (h * z).mean(1, keepdims=True)
    return dx / deviation, (g * z).sum(0), g.sum(0)


def group_norm(x: Any, w: Any, b: Any) -> Any:
    """In 4 groups."""
    z, _ = layer_norm(x.reshape(4 * len(x), -1))
    return z.reshape(x.shape) * channel(w) + channel(b)


def group_norm_backward(g: Any, x: Any, w: Any) -> Arrays:
    h = (g * channel(w)).reshape(4 * len(x), -1)
    rows = x.reshape(h.shape)
    dx = layer_norm_backward(h, rows, np.ones(h.shape[1]))[0]
    gz = g * layer_norm(rows)[0].reshape(x.shape)
    return dx.reshape(x.shape), gz.sum((0, 2, 3)), g.sum((0, 2, 3))


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@dataclass
class Row:
    """A kernel and the same in plain NumPy, both functions of arrays of these shapes."""

    kernel: Callable[..., Any]
    exact: Callable[..., Any]
    small: Shapes
    large: Shapes
    bound: float = 2e-6  # for float32, relative to the largest value

    def arrays(self, size: str, dtype: str) -> list[Any]:
        rng = random.Generator(7)
        shapes = self.small if size == "small" else self.large
        return [host(rng.normal(s, dtype="f8")).astype(dtype) for s in shapes]


def alike(n: int, small: tuple[int, ...] = SMALL, large: tuple[int, ...] = LARGE) -> list[Shapes]:
    """Shapes of `n` arrays of one shape, small and large."""
    return [(small,) * n, (large,) * n]


def images(*others: tuple[int, ...]) -> list[Shapes]:
    """Shapes of images and of others that do not grow with them."""
    return [(SMALL, *others), (LARGE, *others)]


def by_shape(o: int, i: int, kernel: int, stride: int, padding: int, groups: int,
             channels: int = 16) -> tuple[list[Shapes], list[Shapes]]:
    """Shapes of a convolution's x and w, and of its g, x and w."""
    forward, backward = [], []
    for n, _, *size in (SMALL, LARGE):
        x = (n, channels, *size)
        out = [(s + 2 * padding - kernel) // stride + 1 for s in size]
        forward.append((x, (o, i, kernel, kernel)))
        backward.append(((n, o, *out), *forward[-1]))
    return forward, backward


def in_blocks(x: Any) -> Any:
    """The rows of x summed by `sum_blocks`, seven at a time."""
    def work(i: int, j: int, out: Any) -> None:
        x[i:j].sum(axis=0, out=out, dtype=out.dtype)

    return sums.sum_blocks(work, len(x), 7, x.shape[1:], x.dtype)


def add_into(a: float, x: Any, b: float, y: Any) -> Any:
    """`axpby` of rows without gaps, which is what it takes."""
    row = np.array(y.reshape(-1))
    axpby.axpby(a, np.array(x.reshape(-1)), b, row)
    return row.reshape(y.shape)


def updated(rule: Callable[..., Any], plain: Callable[..., Any], *arrays: Any) -> Any:
    """The weights after an update; by the plain rule where the kernel leaves it to its caller."""
    own = [a.copy(order="K") for a in arrays]
    found = rule(*own)
    if found is None:
        return plain(*arrays)
    update.run([found])
    return own[0]
