"""Every kernel in every layout, small and large, in every dtype, equals plain NumPy in float64.

A result must not depend on how its operands lie in memory, nor on the side of a size threshold on
which they are. A kernel without a row here turns the last test red.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import numpy as np
import pytest

from tests.kernels import layouts as plain
from tests.kernels.layouts import LAYOUTS, Row, alike, by_shape, images
from tests.kernels.measure import error
from tinynet import backend, kernels
from tinynet.checks import count
from tinynet.functional.conv import _fold, _unfold
from tinynet.kernels import (
    activation,
    channels,
    conv,
    elementwise,
    erf,
    group_norm,
    kernel,
    layer_norm,
    loss,
    matmul,
    norm,
    pool,
    precision,
    softmax,
    sums,
    update,
)

pytestmark = pytest.mark.numpy_only("memory orders, blocks and threads of the CPU")

LABELS = np.resize([0, 3, 15, 7, 8], 40_000)
OVER = ((3, 3), (2, 2), (1, 1))  # windows that overlap and reach into the border
APART = ((2, 2), (2, 2), (0, 0))
DECAY: Any = update.Decay(l2=0.01)


def batch_norm_backward(g: Any, x: Any, w: Any, b: Any) -> Any:
    y, of = norm.batch_norm(x, w, b, 1e-5, True)
    return norm.batch_norm_backward(g, x, w, of, True, y)


def layer_norm_backward(g: Any, x: Any, w: Any) -> Any:
    _, of = layer_norm.layer_norm(x, w, None, 1e-5)
    return layer_norm.layer_norm_backward(g, x, w, of)


def group_norm_backward(g: Any, x: Any, w: Any) -> Any:
    _, of = group_norm.group_norm(x, 4, w, None, 1e-5)
    return group_norm.group_norm_backward(g, x, 4, w, of)


def rows(*others: tuple[int, ...]) -> list[Any]:
    """Shapes of rows of 700, and of others."""
    return [((5, 700), *others), ((1500, 700), *others)]


def twice(shapes: list[Any]) -> list[Any]:
    return [(s[0], *s) for s in shapes]


def sgd(x: Any, g: Any, v: Any) -> Any:
    g = g + 0.01 * x
    return x - 0.1 * (g + 0.9 * (0.9 * v + g))


def adam(x: Any, g: Any, m: Any, v: Any) -> Any:
    g = g + 0.01 * x
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g * g
    return x - 0.1 * m / (np.sqrt(v) + 1e-3)


def squares(x: Any, g: Any, s: Any) -> Any:
    g = g + 0.01 * x
    return x - 0.1 * g / (np.sqrt(0.9 * np.abs(s) + 0.1 * g * g) + 1e-3)


def max_pool_backward(g: Any, x: Any, options: Any) -> Any:
    return pool.max_pool2d_backward(g, x, pool.max_pool2d(x, *options), *options)


def exact_erf(x: Any) -> Any:
    from scipy import special as scipy_special

    return scipy_special.erf(x)


def activations() -> dict[str, Row]:
    """Rows of `activation.py`: each value and slope, and the same by SciPy or plain NumPy."""
    from scipy import special as scipy_special

    def density(x: Any) -> Any:
        return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

    def by_tanh(x: Any) -> Any:
        return np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))

    def tanh_slope(x: Any) -> Any:
        return np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)

    def s(x: Any) -> Any:
        return scipy_special.expit(x)

    def phi(x: Any) -> Any:
        return scipy_special.ndtr(x)

    values: dict[str, tuple[Any, dict[str, Any]]] = {
        "sigmoid_of": (s, {}),
        "silu_of": (lambda x: x * s(x), {}),
        "gelu_of": (lambda x: x * phi(x), {"approximate": "none"}),
        "gelu_of, by tanh": (lambda x: x * (1 + by_tanh(x)) / 2, {"approximate": "tanh"}),
        "leaky_relu_of": (lambda x: np.where(x > 0, x, 0.1 * x), {"negative_slope": 0.1}),
        "leaky_relu_of, steep": (lambda x: np.where(x > 0, x, 3 * x), {"negative_slope": 3.0}),
        "elu_of": (lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)), {"alpha": 0.7}),
        "softplus_of": (lambda x: np.log1p(np.exp(2 * x)) / 2, {"beta": 2.0}),
    }
    slopes: dict[str, tuple[Any, dict[str, Any]]] = {
        "sigmoid_backward_of": (lambda y: y * (1 - y), {}),
        "tanh_backward_of": (lambda y: 1 - y * y, {}),
        "silu_backward_of": (lambda x: s(x) * (1 + x * (1 - s(x))), {}),
        "gelu_backward_of": (lambda x: phi(x) + x * density(x), {"approximate": "none"}),
        "gelu_backward_of, by tanh": (
            lambda x: (1 + by_tanh(x) + x * (1 - by_tanh(x) ** 2) * tanh_slope(x)) / 2,
            {"approximate": "tanh"}),
        "leaky_relu_backward_of": (lambda x: np.where(x > 0, 1, 0.1), {"negative_slope": 0.1}),
        "leaky_relu_backward_of, steep": (lambda x: np.where(x > 0, 1, 3), {"negative_slope": 3.0}),
        "elu_backward_of": (lambda x: np.where(x > 0, 1, np.exp(x)), {"alpha": 1.0}),
        "elu_backward_of, bent": (lambda x: np.where(x > 0, 1, 0.7 * np.exp(x)), {"alpha": 0.7}),
        "softplus_backward_of": (lambda x: s(2 * x), {"beta": 2.0}),
    }

    def row(name: str, options: Any, exact: Any, operands: int) -> Row:
        f = getattr(activation, name.partition(",")[0])
        return Row(lambda *arrays: activation.in_blocks(f, *arrays, **options), exact,
                   *alike(operands))

    found = {name: row(name, options, f, 1) for name, (f, options) in values.items()}
    for name, (f, options) in slopes.items():
        found[name] = row(name, options, lambda g, x, f=f: g * f(x), 2)
    return {f"activation.{name}, activation.in_blocks": made for name, made in found.items()}


def pooled(options: Any) -> list[Any]:
    """Shapes of g and x of a pool."""
    return [((*x[:2], *count(x[2:], *options)), x) for x in (plain.SMALL, plain.LARGE)]


def of_channels(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


TWO = alike(2)
ROWS: dict[str, Row] = {
    "elementwise.elementwise, elementwise.in_blocks": Row(
        lambda a, b: elementwise.elementwise(np.subtract, a, b), np.subtract, *TWO),
    "elementwise.elementwise, out": Row(
        lambda a, b: elementwise.elementwise(np.subtract, a, b, out=np.empty_like(a)),
        np.subtract, *TWO),
    "elementwise.add": Row(elementwise.add, np.add, *TWO),
    "elementwise.add, a number": Row(lambda a: elementwise.add(a, 2.0), lambda a: a + 2, *alike(1)),
    "elementwise.keep": Row(lambda a, b: elementwise.keep(a, b > 0),
                            lambda a, b: np.where(b > 0, a, 0), *TWO),
    "elementwise.positive": Row(elementwise.positive, lambda a: np.maximum(a, 0), *alike(1)),
    "elementwise.keep_positive": Row(elementwise.keep_positive,
                                     lambda g, y: np.where(y > 0, g, 0), *TWO),
    "elementwise.relu": Row(elementwise.relu, lambda a: np.maximum(a, 0), *alike(1)),
    "elementwise.relu_backward": Row(elementwise.relu_backward,
                                     lambda g, y: np.where(y > 0, g, 0), *TWO),
    "elementwise.masked": Row(lambda a, b: elementwise.masked(a, b > 0, 1.25),
                              lambda a, b: np.where(b > 0, a * 1.25, 0), *TWO),
    "backend.broadcast_to": Row(lambda x: backend.broadcast_to(x, (3, *x.shape)),
                                lambda x: np.stack([x] * 3), *alike(1)),
    "backend.sum_to": Row(lambda x: backend.sum_to(x, (16, 1, 1)),
                          lambda x: x.sum((0, 2, 3))[:, None, None], *alike(1), 1e-5),
    "backend.add_up": Row(lambda x: backend.add_up(x, (0, 2, 3)), lambda x: x.sum((0, 2, 3)),
                          *alike(1), 1e-5),
    "channels.scale_and_shift": Row(
        lambda x, a, b, c: channels.scale_and_shift(x, a, b, True, c),
        lambda x, a, b, c: np.maximum((x - plain.channel(c)) * plain.channel(a)
                                      + plain.channel(b), 0), *images((16,), (16,), (16,))),
    "channels.channel_sum": Row(channels.channel_sum, lambda x: x.sum(of_channels(x)), *alike(1)),
    "norm.statistics": Row(norm.statistics,
                           lambda x: (x.mean(of_channels(x)), x.var(of_channels(x))), *alike(1)),
    "norm.batch_norm": Row(lambda x, w, b: norm.batch_norm(x, w, b, 1e-5, True)[0],
                           plain.batch_norm, *images((16,), (16,))),
    "norm.batch_norm_backward": Row(
        batch_norm_backward, plain.batch_norm_backward,
        *((s[0], *s) for s in images((16,), (16,))), 1e-5),
    "group_norm.group_norm": Row(
        lambda x, w, b: group_norm.group_norm(x, 4, w, b, 1e-5)[0], plain.group_norm,
        *images((16,), (16,)), 5e-6),
    "group_norm.group_norm_backward": Row(
        group_norm_backward, plain.group_norm_backward,
        *((s[0], *s) for s in images((16,))), 1e-5),
    "layer_norm.layer_norm": Row(
        lambda x, w, b: layer_norm.layer_norm(x, w, b, 1e-5)[0],
        lambda x, w, b: plain.layer_norm(x)[0] * w + b, *rows((700,), (700,))),
    "layer_norm.layer_norm_backward": Row(
        layer_norm_backward, plain.layer_norm_backward,
        *((s[0], *s) for s in rows((700,))), 1e-5),
    "precision.centred": Row(  # of float16 in float32
        lambda x: precision.centred(x, (1, 2))[0].astype(x.dtype),
        lambda x: x - x.mean((1, 2), keepdims=True), *alike(1)),
    "precision.moments": Row(lambda x: precision.moments(x, (1, 2)),
                             lambda x: (x.mean((1, 2), keepdims=True),
                                        x.var((1, 2), keepdims=True)), *alike(1)),
    "pool.max_pool2d": Row(lambda x: pool.max_pool2d(x, *OVER),
                           lambda x: plain.windows(x, 3, 2, 1, -np.inf).max((4, 5)), *alike(1)),
    "pool.max_pool2d_backward": Row(lambda g, x: max_pool_backward(g, x, OVER),
                                    lambda g, x: plain.max_backward(g, x, 3, 2, 1), *pooled(OVER)),
    "pool.max_pool2d_backward, apart": Row(lambda g, x: max_pool_backward(g, x, APART),
                                           lambda g, x: plain.max_backward(g, x, 2, 2, 0),
                                           *pooled(APART)),
    "pool.avg_pool2d": Row(lambda x: pool.avg_pool2d(x, *OVER),
                           lambda x: plain.windows(x, 3, 2, 1).mean((4, 5)), *alike(1)),
    "pool.avg_pool2d_backward": Row(
        lambda g, x: pool.avg_pool2d_backward(g, x.shape, *OVER),
        lambda g, x: plain.into_place(np.broadcast_to(g[..., None, None] / 9, (*g.shape, 3, 3)),
                                      x.shape, 2, 1), *pooled(OVER)),
    "erf.erf": Row(erf.erf, exact_erf, *alike(1)),
    "matmul.matmul": Row(matmul.matmul, np.matmul, ((7, 5), (5, 6)), ((300, 300), (300, 200)),
                         1e-5),
    "matmul.matmul, stacks": Row(matmul.matmul, np.matmul, ((2, 7, 5), (2, 5, 6)),
                                 ((6, 150, 90), (6, 90, 70)), 1e-5),
    "softmax.softmax, softmax.in_blocks": Row(softmax.softmax, plain.softmax, *rows()),
    "softmax.softmax, axis 0": Row(lambda z: softmax.softmax(z, 0), lambda z: plain.softmax(z.T).T,
                                   *rows()),
    "softmax.softmax_backward": Row(
        softmax.softmax_backward, lambda g, p: p * (g - (g * p).sum(1, keepdims=True)),
        *twice(rows()), 1e-5),
    "softmax.log_softmax": Row(softmax.log_softmax, lambda z: np.log(plain.softmax(z)), *rows()),
    "softmax.log_softmax_backward": Row(
        softmax.log_softmax_backward, lambda g, q: g - np.exp(q) * g.sum(1, keepdims=True),
        *twice(rows()), 1e-5),
    "loss.softmax_cross_entropy": Row(
        lambda z: loss.softmax_cross_entropy(z, LABELS[: len(z)]),
        lambda z: (-np.log(plain.softmax(z)[np.arange(len(z)), LABELS[: len(z)]]),
                   plain.softmax(z)), *alike(1, (5, 16), (9000, 16))),
    "loss.softmax_cross_entropy_backward": Row(
        lambda g, p: loss.softmax_cross_entropy_backward(g, p, LABELS[: len(g)]),
        lambda g, p: g[:, None] * (p - np.eye(16)[LABELS[: len(g)]]),
        ((5,), (5, 16)), ((9000,), (9000, 16))),
    "sums.sum_parts": Row(sums.sum_parts, lambda x: x.sum(0), *alike(1, (3, 4, 5), (9, 64, 700))),
    "sums.sum_to": Row(lambda x: sums.sum_to(x, x.shape[2:]), lambda x: x.sum((0, 1)), *alike(1)),
    "sums.sum_to, many rows": Row(lambda x: sums.sum_to(x, (9,)), lambda x: x.sum(0),
                                  *alike(1, (5, 9), (300_001, 9))),
    "sums.sum_blocks": Row(plain.in_blocks, lambda x: x.sum(0), *alike(1, (9, 4), (200, 3000)),
                           1e-5),
    "sums.sum_if": Row(lambda x: sums.sum_if(True, lambda i, j, out: np.copyto(out, x[i:j].sum(0)),
                                             len(x), 1, x.shape[1:], x.dtype),
                       lambda x: x.sum(0), *alike(1, (9, 4), (50, 3000)), 1e-5),
    "axpby.axpby": Row(lambda x, y: plain.add_into(0.3, x, 0.9, y),
                       lambda x, y: 0.3 * x + 0.9 * y, *TWO),
    "update.sgd, update.run": Row(
        lambda *a: plain.updated(lambda x, g, v: update.sgd(x, g, v, 0.1, 0.9, True, DECAY),
                                 sgd, *a), sgd, *alike(3)),
    "update.adam": Row(
        lambda x, g, m, v: plain.updated(
            lambda *a: update.adam(*a, 0.1, (0.9, 0.99), 1e-3, DECAY), adam, x, g, m, np.abs(v)),
        lambda x, g, m, v: adam(x, g, m, np.abs(v)), *alike(4), 5e-6),
    "update.squares": Row(
        lambda x, g, s: plain.updated(
            lambda *a: update.squares(*a, 0.1, (0.9, 0.1), 1e-3, False, DECAY), squares,
            x, g, np.abs(s)), squares, *alike(3), 5e-6),
    "windows.view, windows.bordered": Row(
        lambda x: _unfold(x, (3, 3), (1, 1), (1, 1), (2, 2)),
        lambda x: plain.windows(x, 3, 2, 1).transpose(0, 1, 4, 5, 2, 3).reshape(len(x), 144, -1),
        *alike(1)),
    "windows.inside": Row(
        lambda x: _fold(_unfold(x, (3, 3), (1, 1), (1, 1), (2, 2)), x.shape[2:], (3, 3), (1, 1),
                        (1, 1), (2, 2)),
        lambda x: plain.into_place(plain.windows(x, 3, 2, 1), x.shape, 2, 1), *alike(1)),
}


CONVOLUTIONS = {  # the algorithm that is chosen, and o, i, kernel, stride, padding, groups
    "winograd": (16, 16, 3, 1, 1, 1),
    "im2col": (8, 16, 3, 2, 1, 1),
    "im2col, few pixels": (64, 16, 3, 2, 1, 1),  # in the small batch
    "im2col, groups": (8, 4, 3, 2, 0, 4),
    "im2col, merged groups": (16, 4, 3, 1, 1, 4),
    "im2col, turned": (16, 16, 5, 1, 2, 1),
    "depthwise": (16, 1, 3, 1, 1, 16),
    "depthwise, strided": (16, 1, 5, 2, 2, 16),
    "im2col, pointwise": (8, 16, 1, 1, 0, 1),
}


def convolution(name: str, o: int, i: int, kernel: int, stride: int, padding: int, groups: int
                ) -> dict[str, Row]:
    """The rows of one convolution, forward and backward."""
    options: Any = ((stride, stride), (padding, padding), (1, 1), groups)
    forward, backward = by_shape(o, i, kernel, stride, padding, groups)
    module, *rest = name.split(", ")
    return {
        ", ".join([f"{module}.conv2d", "conv.conv2d", *rest]): Row(
            lambda x, w: conv.conv2d(x, w, *options),
            lambda x, w: plain.conv(x, w, stride, padding, groups), *forward, 2e-5),
        ", ".join([f"{module}.conv2d_backward", "conv.conv2d_backward", *rest]): Row(
            lambda g, x, w: conv.conv2d_backward(g, x, w, *options),
            lambda g, x, w: plain.conv_backward(g, x, w, stride, padding, groups),
            *backward, 2e-5),
    }


ROWS |= activations()
for _name, _sizes in CONVOLUTIONS.items():
    ROWS |= convolution(_name, *_sizes)

OTHERS = {  # functions of kernels/ that take no operands in an order of their own, and why
    "allocator": "memory itself", "threads": "threads", "memory": "makes the orders",
    "gpu": "the GPU's", "gpu_norm": "the GPU's", "gpu_windows": "the GPU's",
    "gpu_update": "the GPU's",
    "kernel": "the choice of a body",
    "pending.": "what readers compute: test_late_norm.py", "late_norm.": "the same",
    "pool.spread": "the same", "tiles.": "parts of conv2d",
    "norm.measure": "part of batch_norm", "norm.coefficients": "of vectors",
    "norm.normalised": "part of batch_norm", "norm.of_whole_batch": "of vectors",
    "norm.scale_and_shift_of": "of vectors",
    "im2col.": "parts of conv2d", "winograd.": "parts of conv2d",
    "conv.": "the choice of an algorithm", "elementwise.at_once": "f itself",
    "elementwise.flat_rows": "part of elementwise", "channels.per_channel": "of vectors",
    "channels.sum_rows": "part of channel_sum", "channels.far_centre": "of vectors",
    "channels.sum_products": "part of batch_norm", "precision.variance": "part of moments",
    "softmax.at_once": "part of softmax", "softmax.row_sums": "part of softmax",
    "pool.global_max_pool2d_backward": "of an op whose own tests try all orders",
}
MIXED = ("C", "channels last", "transposed", "flipped")


def combinations(operands: int, dtype: str) -> list[tuple[str, str]]:
    """Layouts of the first operand and of all others; mixed ones in one dtype."""
    found = [(name, name) for name in LAYOUTS]
    if operands > 1 and dtype == "f4":
        found += [(a, b) for a in MIXED for b in MIXED if a != b]
    return found


def bound(row: Row, dtype: str) -> float:
    return {"f4": row.bound, "f8": row.bound * 1e-7, "f2": 3e-3}[dtype]


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("name", ROWS)
def test_every_kernel_in_every_layout(name: str, dtype: str, size: str) -> None:
    compare(ROWS[name], dtype, size)


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("name", ROWS)
def test_every_plain_twin_equals_its_kernel(name: str, dtype: str) -> None:
    """Of large arrays, in two layouts: small ones in all layouts are the test above."""
    with kernel.plain():
        compare(ROWS[name], dtype, "large", [("C", "C"), ("channels last", "transposed")])


def compare(row: Row, dtype: str, size: str, orders: Any = None) -> None:
    """The kernel of `row` in every layout, or those given, against plain NumPy."""
    arrays = row.arrays(size, dtype)
    wanted = row.exact(*(a.astype("f8") for a in arrays))
    for first, others in orders or combinations(len(arrays), dtype):
        there = [LAYOUTS[others if k else first](a) for k, a in enumerate(arrays)]
        found = row.kernel(*there)
        pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
        for a, exact in pairs:
            assert a.dtype in (dtype, np.float64), (first, others)
            assert error(a, exact) < bound(row, dtype), (first, others)


PARTNERS = {
    "a number": lambda n, c, h, w: (),
    "a row": lambda n, c, h, w: (w,),
    "a column": lambda n, c, h, w: (h, 1),
    "a value for each channel": lambda n, c, h, w: (c, 1, 1),
    "with all axes": lambda n, c, h, w: (1, c, 1, 1),
    "one picture": lambda n, c, h, w: (c, h, w),
}


@pytest.mark.parametrize("name", PARTNERS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_partner_with_fewer_axes(layout: str, dtype: str, name: str, rng: Any) -> None:
    partner = PARTNERS[name]
    for shape in (plain.SMALL, plain.LARGE):
        x = LAYOUTS[layout](rng.normal(shape).astype(dtype))
        row = rng.normal(partner(*shape)).astype(dtype)
        assert (elementwise.add(x, row) == x + row).all()
        assert (elementwise.add(row, x) == x + row).all()
        assert (elementwise.elementwise(np.multiply, x, row) == x * row).all()


def functions() -> set[str]:
    """The public functions of kernels/, as module.function; without plain twins."""
    found = set()
    for module in pkgutil.iter_modules(kernels.__path__):
        members = vars(importlib.import_module(f"{kernels.__name__}.{module.name}"))
        found |= {f"{module.name}.{name}" for name, f in members.items()
                  if inspect.isfunction(f) and f.__module__.endswith(f".{module.name}")
                  and not name.startswith(("_", "plain_"))}
    return found


def test_every_kernel_has_a_row() -> None:
    rows = {part for name in ROWS for part in name.split(", ") if "." in part}
    missing = {name for name in functions() - rows if not name.startswith(tuple(OTHERS))}
    assert not missing, f"kernels without a row in ROWS (or a reason in OTHERS): {missing}"
    stale = {name for name in rows - functions() if not name.startswith("backend.")}
    assert not stale, f"rows of kernels that are no more: {stale}"
