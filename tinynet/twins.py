"""Every fast kernel beside its plain twin: the same numbers, and the time of each.

    python -m tinynet twins                    # all of them, and a whole training step
    python -m tinynet twins conv2d softmax     # those whose name holds one of the words

A kernel has a twin of a few lines of array code, which says what it computes
(`kernels/kernel.py`). Both run on the same arrays, in turns, and the quickest turn of
each counts, so that other programs at work disturb little. Their largest difference is
given as a share of the largest number: 1e-7 is the rounding of float32.

Read next: `__main__.py`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import data, functional, nn, optim, random, text
from .backend import Array, is_array, on_gpu, to_numpy
from .kernels import (
    activation,
    axpby,
    channels,
    conv,
    elementwise,
    group_norm,
    kernel,
    layer_norm,
    loss,
    matmul,
    norm,
    pool,
    softmax,
    sums,
)
from .kernels.threads import get_num_workers

CHANNELS = 64
SIDE = 32  # pixels
ROW = 1024  # numbers: of layer norm, softmax and linear layers
WHOLE = "a whole training step"

Work = Callable[[], Any]


class Case(NamedTuple):
    """A kernel at work: its name, what it works on in words, and how to make that ready."""

    kernel: str
    on: str
    make: Callable[[int], Work]  # of a number of pictures; what it gives runs the kernel


class Found(NamedTuple):
    """What a comparison found: seconds of each body, and their difference."""

    plain: float
    fast: float
    difference: float


def _numbers(name: str, *shape: int) -> Array:
    return random.normal(random.key(0, "twins", name), shape)


def _pictures(n: int, channels: int = CHANNELS, side: int = SIDE, name: str = "x") -> Array:
    return _numbers(name, n, channels, side, side)


def _rows(n: int, name: str = "x") -> Array:
    return _numbers(name, 32 * n, ROW)


def _vector(name: str, n: int = CHANNELS) -> Array:
    return _numbers(name, n)


def _of_pictures(f: Callable[..., Any], *others: Any) -> Callable[[int], Work]:
    """f(x, *others) of pictures x."""
    def make(n: int) -> Work:
        x = _pictures(n)
        return lambda: f(x, *others)

    return make


def _of_rows(f: Callable[..., Any], operands: int = 1) -> Callable[[int], Work]:
    """f of one or two arrays of rows."""
    def make(n: int) -> Work:
        arrays = [_rows(n, name) for name in "xy"[:operands]]
        return lambda: f(*arrays)

    return make


def _convolution(kernel: int, groups: int, backward: bool = False) -> Callable[[int], Work]:
    """Of stride 1 and with a border that keeps the size, or its two gradients."""
    def make(n: int) -> Work:
        x = _pictures(n)
        w = _numbers("w", CHANNELS, CHANNELS // groups, kernel, kernel) / kernel
        border = (kernel // 2, kernel // 2)
        options = ((1, 1), border, (1, 1), groups)
        if not backward:
            return lambda: conv.conv2d(x, w, *options)
        g = _pictures(n, name="g")
        return lambda: conv.conv2d_backward(g, x, w, *options)

    return make


def _pool_backward(n: int) -> Work:
    windows: Any = ((2, 2), (2, 2), (0, 0))
    x = _pictures(n)
    y = pool.max_pool2d(x, *windows)
    g = _pictures(n, side=SIDE // 2, name="g")
    return lambda: pool.max_pool2d_backward(g, x, y, *windows)


def _average_backward(n: int) -> Work:
    windows: Any = ((2, 2), (2, 2), (0, 0))
    g = _pictures(n, side=SIDE // 2, name="g")
    shape = (n, CHANNELS, SIDE, SIDE)
    return lambda: pool.avg_pool2d_backward(g, shape, *windows)


def _batch_norm_backward(n: int) -> Work:
    x = _pictures(n)
    g = _pictures(n, name="g")
    w = _vector("w")
    y, of = norm.batch_norm(x, w, _vector("b"), 1e-5, True)
    return lambda: norm.batch_norm_backward(g, x, w, of, True, y)


def _layer_norm_backward(n: int) -> Work:
    x = _rows(n)
    g = _rows(n, "g")
    w = _vector("w", ROW)
    _, of = layer_norm.layer_norm(x, w, None, 1e-5)
    return lambda: layer_norm.layer_norm_backward(g, x, w, of)


def _group_norm_backward(n: int) -> Work:
    x = _pictures(n)
    g = _pictures(n, name="g")
    w = _vector("w")
    _, of = group_norm.group_norm(x, 8, w, None, 1e-5)
    return lambda: group_norm.group_norm_backward(g, x, 8, w, of)


def _cross_entropy(n: int) -> Work:
    z = _rows(n)
    labels = np.arange(len(z)) % ROW
    return lambda: loss.softmax_cross_entropy(z, labels)


def _product(n: int) -> Work:
    a = _rows(n)
    b = _numbers("b", ROW, ROW)
    return lambda: matmul.matmul(a, b)


def _axpby(n: int) -> Work:
    """Of a copy, which it changes: every call adds the same to it and halves it before."""
    x = _pictures(n)
    y = _pictures(n, name="y")

    def run() -> Array:
        y[...] = x
        axpby.axpby(0.1, x, 0.5, y)
        return y

    return run


def _activation(f: Callable[..., Any], **options: Any) -> Callable[[int], Work]:
    return _of_pictures(lambda x: activation.in_blocks(f, x, **options))


def _sum_to(n: int) -> Work:
    x = _rows(n)
    return lambda: sums.sum_to(x, (ROW,))


PICTURES = f"(n, {CHANNELS}, {SIDE}, {SIDE})"
ROWS = f"(32 n, {ROW})"
WINDOWS: Any = ((2, 2), (2, 2), (0, 0))

CASES = [
    Case("conv.conv2d", f"3x3, {PICTURES}", _convolution(3, 1)),
    Case("conv.conv2d_backward", f"3x3, {PICTURES}", _convolution(3, 1, backward=True)),
    Case("conv.conv2d", f"5x5, {PICTURES}", _convolution(5, 1)),
    Case("conv.conv2d", f"1x1, {PICTURES}", _convolution(1, 1)),
    Case("conv.conv2d", f"3x3 by channel, {PICTURES}", _convolution(3, CHANNELS)),
    Case("matmul.matmul", f"{ROWS} @ ({ROW}, {ROW})", _product),
    Case("elementwise.in_blocks", f"exp of {PICTURES}",
         _of_pictures(lambda x: elementwise.elementwise(np.exp, x))),
    Case("elementwise.in_blocks", f"GELU of {PICTURES}",
         _activation(activation.gelu_of, approximate="none")),
    Case("elementwise.in_blocks", f"SiLU of {PICTURES}", _activation(activation.silu_of)),
    Case("elementwise.add", ROWS, _of_rows(elementwise.add, 2)),
    Case("channels.scale_and_shift", PICTURES,
         _of_pictures(lambda x: channels.scale_and_shift(x, _vector("w"), _vector("b"), True))),
    Case("channels.channel_sum", PICTURES, _of_pictures(channels.channel_sum)),
    Case("norm.statistics", PICTURES, _of_pictures(norm.statistics)),
    Case("norm.batch_norm_backward", PICTURES, _batch_norm_backward),
    Case("layer_norm.layer_norm", ROWS,
         _of_rows(lambda x: layer_norm.layer_norm(x, None, None, 1e-5)[0])),
    Case("layer_norm.layer_norm_backward", ROWS, _layer_norm_backward),
    Case("group_norm.group_norm", PICTURES,
         _of_pictures(lambda x: group_norm.group_norm(x, 8, None, None, 1e-5)[0])),
    Case("group_norm.group_norm_backward", PICTURES, _group_norm_backward),
    Case("pool.max_pool2d", PICTURES, _of_pictures(pool.max_pool2d, *WINDOWS)),
    Case("pool.max_pool2d_backward", PICTURES, _pool_backward),
    Case("pool.avg_pool2d", PICTURES, _of_pictures(pool.avg_pool2d, *WINDOWS)),
    Case("pool.avg_pool2d_backward", PICTURES, _average_backward),
    Case("softmax.softmax", ROWS, _of_rows(softmax.softmax)),
    Case("softmax.softmax_backward", ROWS, _of_rows(softmax.softmax_backward, 2)),
    Case("softmax.log_softmax", ROWS, _of_rows(softmax.log_softmax)),
    Case("softmax.log_softmax_backward", ROWS, _of_rows(softmax.log_softmax_backward, 2)),
    Case("loss.softmax_cross_entropy", ROWS, _cross_entropy),
    Case("sums.sum_to", ROWS, _sum_to),
    Case("sums.sum_parts", PICTURES, _of_pictures(sums.sum_parts)),
    Case("axpby.axpby", PICTURES, _axpby),
]

NO_CASE = {  # kernels with a twin that compute nothing by themselves
    "memory.empty", "memory.empty_like", "threads.pmap", "softmax.in_blocks",
}


def training_step(pictures: int) -> Work:
    """A step of a small net: convolutions, batch norm, ReLU, pools, linear, loss, Adam.

    Every call starts from the same weights and gives the loss after its step.
    """
    training, _ = data.load_shapes(train=pictures, test=10)
    x = training.images.astype(np.float32) / 255
    labels = training.labels
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 64, 10))
    start = net.state_dict()

    def run() -> Array:
        net.load_state_dict(start)
        optimizer = optim.Adam(net.parameters(), lr=1e-3)
        error = functional.cross_entropy(net(x), labels)
        error.backward()
        optimizer.step()
        return np.array([error.item(), *(float(p.data.sum()) for p in net.parameters())])

    return run


def compare(work: Work, seconds: float) -> Found:
    """Both bodies in turns for about `seconds`, three turns at least."""
    spent: dict[str, list[float]] = {"plain": [], "fast": []}
    with kernel.plain():
        wanted = _arrays(work())
    found = _arrays(work())
    difference = max(map(_difference, found, wanted))
    end = time.perf_counter() + seconds
    while len(spent["fast"]) < 3 or time.perf_counter() < end:
        with kernel.plain():
            spent["plain"].append(_time(work))
        spent["fast"].append(_time(work))
    return Found(min(spent["plain"]), min(spent["fast"]), difference)


def _time(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _arrays(result: Any) -> list[Any]:
    """Copies of the arrays in a result."""
    if is_array(result):
        return [np.array(to_numpy(result), np.float64)]
    if isinstance(result, tuple):
        return [array for part in result for array in _arrays(part)]
    return []


def _difference(a: Any, b: Any) -> float:
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))


def twins(words: Sequence[str] = (), pictures: int = 32, seconds: float = 0.3
          ) -> Iterator[tuple[str, str, Found]]:
    """Name, work and comparison of each case whose name holds one of the words; no words: all."""
    for case in CASES:
        if not words or any(word in f"{case.kernel} {case.on}" for word in words):
            yield case.kernel, case.on, compare(case.make(pictures), seconds)
    if not words or any(word in WHOLE for word in words):
        yield WHOLE, f"(n, 3, {SIDE}, {SIDE})", compare(training_step(pictures), 3 * seconds)


def main(argv: Sequence[str]) -> int:
    """Print a line for each kernel as soon as it is known, and the mean at the end."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet twins", description="How fast can plain NumPy be? Every "
        "fast kernel beside its plain twin: the same numbers, and the time of each.")
    parser.add_argument("words", nargs="*", help="only kernels whose name or work holds one")
    parser.add_argument("--pictures", type=int, default=32, metavar="N",
                        help="pictures in a batch, n below (default 32)")
    parser.add_argument("--seconds", type=float, default=0.3,
                        help="for each kernel, about (default 0.3)")
    options = parser.parse_args(argv)
    if on_gpu:
        parser.error("on a GPU the twins are what runs: compare on a CPU, TINYNET_BACKEND=numpy")
    if options.pictures < 1:
        parser.error(f"--pictures must be 1 or more, not {options.pictures}")
    print(f"n = {options.pictures} pictures, float32, {get_num_workers()} workers, times in ms\n")
    print(_line("kernel", "of", "plain", "fast", "plain/fast", "apart"))
    ratios = []
    for name, on, found in twins(options.words, options.pictures, options.seconds):
        ratios.append(found.plain / found.fast)
        print(_line(name, on, f"{1e3 * found.plain:.2f}", f"{1e3 * found.fast:.2f}",
                    f"{ratios[-1]:.1f}", f"{found.difference:.0e}"), flush=True)
    if not ratios:
        parser.error(f"no kernel's name holds {' or '.join(map(repr, options.words))}")
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"\n{len(ratios)} rows; plain / fast on (geometric) average: {mean:.1f}")
    return 0


def _line(*cells: str) -> str:
    return text.line(cells, widths=(31, 36, 8, 8, 10, 6), align="llrrrr")
