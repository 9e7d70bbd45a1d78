"""What Newton's method costs (lecture id C4): ``python -m bench.second_order``.

A net with N weights has a Hessian of N^2 numbers. Building it takes N gradients of the gradient,
solving with it N^3 operations (Cholesky: N^3 / 3, and the solver's LU: 2 N^3 / 3). Both are
measured in float32 against N, with the slope on a log-log plot, and projected to a million weights,
beside what the methods that do without the matrix need. (The time of the N gradients has slope 1
while each is mostly overhead, and 2 when it is arithmetic.)
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
import tinynet.functional as F
from bench.scaling import slope
from tinynet import models, optim
from tinynet.kernels.threads import single_threaded_blas

MILLION = 10**6
GIB, MIB = 2**30, 2**20
HIDDEN = (15, 31, 62, 125, 250)  # 8 inputs, 7 outputs: about 16 weights a unit
SOLVED = (600, 1200, 2400, 4800)


class Cost(NamedTuple):
    """A net of n weights."""

    n: int
    stored: int  # bytes of the Hessian
    peak: int  # bytes held at once while it was built
    hessian: float  # seconds
    product: float  # seconds for H v
    gradient: float


def least(run: Callable[[], object], repeat: int) -> float:
    """The shortest of `repeat` runs in seconds, after one to warm up."""
    run()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def problem(hidden: int) -> tuple[optim.Newton, Callable[[], Any]]:
    """A net with one hidden layer of tanh units, and its loss on 64 random examples."""
    tn.manual_seed(0)
    model = models.mlp([8, hidden, 7], activation=tn.nn.Tanh)
    x, y = tn.randn(64, 8), np.arange(64) % 7
    return optim.Newton(model.named_parameters()), lambda: F.cross_entropy(model(x), y)


def net_cost(hidden: int, repeat: int = 3) -> Cost:
    """Memory and time of the Hessian of a net, of a product with it, and of a gradient."""
    newton, closure = problem(hidden)
    found = newton.hessian(closure)
    tracemalloc.start()
    try:
        newton.hessian(closure)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    v = np.ones(len(found), np.float32)
    return Cost(len(found), found.nbytes, peak,
                least(lambda: newton.hessian(closure), repeat),
                least(lambda: newton.pull_back(newton.gradient_graph(closure), v), 20),
                least(lambda: newton.evaluate(closure), 20))


def solve_time(n: int, repeat: int = 3) -> float:
    """Seconds for what `Newton` does with a positive definite Hessian: Cholesky, then solve.

    On one thread, as how well a second one helps depends on n.
    """
    rng = np.random.default_rng(0)
    h = rng.standard_normal((n, n), dtype=np.float32) / np.float32(n**0.5)
    h = h @ h.T + np.eye(n, dtype=np.float32)
    g = rng.standard_normal(n, dtype=np.float32)
    with single_threaded_blas():
        return least(lambda: (np.linalg.cholesky(h), np.linalg.solve(h, -g)), repeat)


class Found(NamedTuple):
    """All that was measured, with its slopes."""

    nets: list[Cost]
    solves: dict[int, float]

    def slope_of(self, what: str) -> float:
        """The power of N with which something grows."""
        if what == "solve":
            return slope(list(self.solves), list(self.solves.values()))
        return slope([c.n for c in self.nets], [getattr(c, what) for c in self.nets])

    def report(self) -> str:
        """Tables, slopes and the projection, as Markdown."""
        lines = ["| N | Hessian, MiB | held at once, MiB | Hessian, ms | H v, ms | gradient, ms |",
                 "|---:|---:|---:|---:|---:|---:|"]
        lines += [f"| {c.n} | {c.stored / MIB:.2f} | {c.peak / MIB:.2f} | {c.hessian * 1e3:.1f} | "
                  f"{c.product * 1e3:.2f} | {c.gradient * 1e3:.2f} |" for c in self.nets]
        columns = ("stored", "peak", "hessian", "product", "gradient")
        lines += ["| slope | " + " | ".join(f"{self.slope_of(c):.2f}" for c in columns) + " |", ""]
        lines += ["| N | " + " | ".join(map(str, self.solves)) + " | slope |",
                  "|---|" + "---:|" * (len(self.solves) + 1),
                  "| solve, ms | " + " | ".join(f"{s * 1e3:.1f}" for s in self.solves.values())
                  + f" | {self.slope_of('solve'):.2f} |", ""]
        largest, last = max(self.solves), self.nets[-1]
        days = self.solves[largest] * (MILLION / largest) ** 3 / 86400
        rows = last.hessian * (MILLION / last.n) ** 2 / 86400
        lines += ["A million weights, by these laws:",
                  f"- the Hessian in float32 takes {hessian_bytes(MILLION) / GIB:,.0f} GiB; the 10 "
                  f"pairs of L-BFGS take {2 * 10 * MILLION * 4 / GIB:.3f} GiB",
                  f"- building it, {rows:,.1f} days; one solve, {days:,.0f} days on one core here"]
        return "\n".join(lines)


def hessian_bytes(n: int, itemsize: int = 4) -> int:
    """N^2 numbers."""
    return n * n * itemsize


def measure() -> Found:
    return Found([net_cost(hidden) for hidden in HIDDEN], {n: solve_time(n) for n in SOLVED})


if __name__ == "__main__":
    print(measure().report())
