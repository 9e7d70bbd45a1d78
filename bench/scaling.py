"""How the time of a training step grows: ``python -m bench.scaling``.

A stack of 3x3 convolutions with BatchNorm and ReLU, measured against batch size, width (channels)
and depth. Doubling should cost 2x (slope 1 on a log-log plot) in batch and depth, up to 4x
(slope 2) in width. Also: evaluation mode, a batch of one, and one worker thread against two.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

import tinynet as tn
import tinynet.functional as F
from tinynet import nn, optim
from tinynet.kernels.blocks import get_num_workers, set_num_workers


def stack(width: int, depth: int) -> nn.Module:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(3 if i == 0 else width, width, 3, padding=1, bias=False),
                   nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.GlobalMaxPool2d(), nn.Flatten(), nn.Linear(width, 10))


def seconds(run: Callable[[], object], repeat: int = 7) -> float:
    """The median of `repeat` runs, after two to warm up."""
    run(), run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def training_step(batch: int, width: int, depth: int) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = tn.Tensor(rng.standard_normal((batch, 3, 16, 16), dtype=np.float32))
    y = rng.integers(0, 10, batch)
    model = stack(width, depth)
    optimizer = optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def slope(sizes: list[int], times: list[float]) -> float:
    """The slope of log(time) against log(size), by least squares."""
    x = [math.log(s) for s in sizes]
    y = [math.log(t) for t in times]
    mx, my = statistics.mean(x), statistics.mean(y)
    return (sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
            / sum((a - mx) ** 2 for a in x))


def main() -> None:
    base = {"batch": 64, "width": 64, "depth": 4}
    print("| what grows | sizes | ms | slope |\n|---|---|---|---:|")
    for what, sizes in (("batch", [32, 64, 128, 256]), ("width", [32, 64, 128, 256]),
                        ("depth", [2, 4, 8, 16])):
        times = [seconds(training_step(**{**base, what: size})) for size in sizes]
        print(f"| {what} | {', '.join(map(str, sizes))} | "
              f"{', '.join(f'{t * 1e3:.1f}' for t in times)} | {slope(sizes, times):.2f} |")
    model = stack(64, 4).eval()
    print("\n| evaluation | ms |\n|---|---:|")
    with tn.no_grad():
        for batch in (1, 16, 128):
            x = tn.randn(batch, 3, 16, 16)
            print(f"| batch {batch} | {seconds(lambda x=x: model(x)) * 1e3:.2f} |")
    workers = get_num_workers()
    print("\n| worker threads | ms |\n|---|---:|")
    for n in sorted({1, workers}):
        set_num_workers(n)
        print(f"| {n} | {seconds(training_step(**base)) * 1e3:.1f} |")


if __name__ == "__main__":
    main()
