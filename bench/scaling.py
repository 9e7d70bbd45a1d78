"""How the time of a training step grows: ``python -m bench.scaling``.

A stack of 3x3 convolutions with BatchNorm and ReLU, measured against batch size, width (channels)
and depth. Doubling should cost 2x (slope 1 on a log-log plot) in batch and depth, up to 4x
(slope 2) in width: less where a fixed cost still counts. ``--write`` replaces the results in
``bench/RESULTS.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

import tinynet as tn
import tinynet.functional as F
from bench import report
from bench.drive import Line
from tinynet import nn, optim


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
    options = report.parser("bench.scaling", __doc__).parse_args()
    base = {"batch": 64, "width": 64, "depth": 4}
    lines: list[Line] = []
    for what, sizes in (("batch", [32, 64, 128, 256]), ("width", [32, 64, 128, 256]),
                        ("depth", [2, 4, 8, 16])):
        times = [seconds(training_step(**{**base, what: size})) for size in sizes]
        lines.append({"grows": what, **base, what: sizes, "median": times,
                      "slope": slope(sizes, times), "version": f"tinynet {tn.__version__}"})
    rows = [[line["grows"], ", ".join(map(str, line[line["grows"]])),
             ", ".join(f"{t * 1e3:.1f}" for t in line["median"]), f"{line['slope']:.2f}"]
            for line in lines]
    text = ("### How time grows\n\nA training step of a stack of 3x3 convolutions with BatchNorm "
            "and ReLU on 16x16 pixels, where not said: "
            f"{', '.join(f'{what} {size}' for what, size in base.items())}. Slope: of log time "
            "against log size.\n\n"
            + report.markdown(["what grows", "sizes", "ms", "slope"], rows, left=3))
    print(text)
    if options.write:
        report.record("scaling", text, lines)


if __name__ == "__main__":
    main()
