"""What the noise layers cost beside plain ones: ``python -m bench.noise``.

Forward and backward of one layer (with the gradient of its input), batch 128, float32; the net of
54 blocks also updates its weights. Both sides of a row run in turns, and the ratio is one of
medians; for stochastic depth it is one of means, since every step skips other blocks. ``--write``
replaces the results in ``bench/RESULTS-noise.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

import tinynet as tn
import tinynet.functional as F
from bench import report
from bench.drive import Line, take_turns
from tinynet import models, nn, optim

Step = Callable[[], object]
BATCH = 128


def layer_step(layer: nn.Module, *shape: int) -> Step:
    """Forward and backward on `shape`, images being channels-last as behind a convolution."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, *shape[1:], shape[0]), dtype=np.float32)
    inputs = tn.Tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    parameters = [inputs, *layer.parameters()]
    g = tn.ones_like(layer(inputs))
    return lambda: tn.grad(layer(inputs), parameters, g)


def net_step(survival: float) -> Step:
    rng = np.random.default_rng(0)
    x, y = tn.Tensor(rng.standard_normal((32, 3, 32, 32), dtype="f4")), rng.integers(0, 10, 32)
    net = models.resnet(54, survival=survival)
    optimizer = optim.SGD(net.named_parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    return step


def conv(before: int, after: int, size: int, kernel: int = 3, stride: int = 1, p: float = 0.5
         ) -> tuple[str, Step, Step]:
    options = (before, after, kernel, stride, kernel // 2)
    shape = (before, size, size)
    name = f"DropConnectConv2d({before}, {after}, {kernel}, stride={stride}, p={p}), {size}x{size}"
    return (name, layer_step(nn.DropConnectConv2d(*options, p=p), *shape),
            layer_step(nn.Conv2d(*options), *shape))


def pool(overlapping: bool, per_sample: bool, *shape: int) -> tuple[str, Step, Step]:
    layer = nn.FractionalMaxPool2d(ratio=2**0.5, overlapping=overlapping, per_sample=per_sample)
    kind = "overlapping" if overlapping else "disjoint"
    return (f"fractional max pool, {kind}{', per sample' if per_sample else ''}, "
            f"{shape[0]} channels {shape[1]}x{shape[2]}",
            layer_step(layer, *shape), layer_step(nn.MaxPool2d(2), *shape))


def rows() -> list[tuple[str, Step, Step]]:
    return [
        conv(32, 32, 32), conv(32, 32, 32, p=0.3), conv(64, 64, 16), conv(64, 64, 16, kernel=5),
        conv(32, 64, 32, stride=2), conv(128, 128, 8),
        ("DropConnectLinear(784, 800)", layer_step(nn.DropConnectLinear(784, 800), 784),
         layer_step(nn.Linear(784, 800), 784)),
        *(pool(overlapping, per_sample, 64, 32, 32)
          for overlapping in (False, True) for per_sample in (False, True)),
        pool(False, False, 32, 32, 32), pool(True, False, 32, 32, 32),
    ]


def turns(noisy: Step, plain: Step, n: int) -> tuple[list[float], list[float]]:
    """Seconds of n runs of each, one after the other, after one to warm up."""
    found = take_turns({"noisy": noisy, "plain": plain}, n + 1)
    return found["noisy"][1:], found["plain"][1:]


def main() -> None:
    parser = report.parser("bench.noise", __doc__)
    parser.add_argument("wanted", nargs="?", default="", help="rows whose name has this (all)")
    options = parser.parse_args()
    if options.write and options.wanted:
        parser.error(f"--write replaces the whole table: leave {options.wanted!r} out")
    lines: list[Line] = []

    def add(name: str, noisy: list[float], plain: list[float], a: float, b: float) -> None:
        lines.append({"label": name, "version": f"tinynet {tn.__version__}", "median": a,
                      "plain": b, "ratio": a / b, "seconds": noisy, "plain seconds": plain})
        print(f"{name}: {a * 1e3:.1f} ms, plain {b * 1e3:.1f} ms", flush=True)

    for name, *steps in rows():
        if options.wanted in name:
            times = turns(*steps, n=9)
            add(name, *times, *map(statistics.median, times))
    name = "ResNet of 54 blocks, p_L = 0.5, batch 32, a training step (plain: all blocks)"
    if options.wanted in name:
        times = turns(net_step(0.5), net_step(1.0), n=24)
        add(name, *times, *map(statistics.mean, times))
    text = report.markdown(["layer", "ms", "plain ms", "ratio"], [
        [line["label"], f"{line['median'] * 1e3:.1f}", f"{line['plain'] * 1e3:.1f}",
         f"{line['ratio']:.2f}"] for line in lines])
    print(f"\n{text}")
    if options.write:
        report.record("noise", text, lines, report.HERE / "RESULTS-noise.md")


if __name__ == "__main__":
    main()
