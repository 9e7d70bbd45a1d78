"""What an operation costs besides its arithmetic: a tiny net, ``python -m bench.small``.

The net of micrograd's demo as matrices: 2-16-16-1 with ReLU, batch 32, squared loss; 11 recorded
operations, forward and backward. All contenders run in this one process, in turns, with one
thread. The first check is that their gradients agree. ``--repeat 3`` makes three whole runs,
``--write`` replaces the results in ``bench/RESULTS.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

import tinynet as tn
import tinynet.functional as F
from bench import report
from bench.drive import Line, take_turns, with_ratios
from tinynet.kernels.threads import single_threaded_blas

Step = Callable[[], list[np.ndarray]]
SIZES = ((2, 16), (16,), (16, 16), (16,), (16, 1), (1,))


def data() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(s).astype("f4") * np.float32(0.5) for s in SIZES]
    return (rng.standard_normal((32, 2)).astype("f4"), rng.standard_normal((32, 1)).astype("f4"),
            params)


def tinynet_step() -> Step:
    x, y, start = data()
    x, y = tn.Tensor(x), tn.Tensor(y)
    p = [tn.Tensor(a, requires_grad=True) for a in start]

    def step() -> list[np.ndarray]:
        h = F.relu(x @ p[0] + p[1])
        h = F.relu(h @ p[2] + p[3])
        d = h @ p[4] + p[5] - y
        (d * d).mean().backward()
        gradients = [a.grad for a in p]
        for a in p:
            a.grad = None
        return gradients

    return step


def torch_step() -> Step:
    import torch

    torch.set_num_threads(1)
    x, y, start = data()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    p = [torch.from_numpy(a).requires_grad_() for a in start]

    def step() -> list[np.ndarray]:
        h = torch.relu(x @ p[0] + p[1])
        h = torch.relu(h @ p[2] + p[3])
        d = h @ p[4] + p[5] - y
        (d * d).mean().backward()
        gradients = [a.grad for a in p]
        for a in p:
            a.grad = None
        return gradients

    return step


def autograd_step() -> Step:
    import autograd
    import autograd.numpy as anp

    x, y, p = data()

    def loss(p: list[np.ndarray]) -> float:
        h = anp.maximum(anp.matmul(x, p[0]) + p[1], 0)
        h = anp.maximum(anp.matmul(h, p[2]) + p[3], 0)
        d = anp.matmul(h, p[4]) + p[5] - y
        return anp.mean(d * d)

    both = autograd.value_and_grad(loss)
    return lambda: both(p)[1]


def mygrad_step() -> Step:
    import mygrad as mg

    x, y, start = data()
    p = [mg.tensor(a) for a in start]

    def step() -> list[np.ndarray]:
        h = mg.maximum(mg.matmul(x, p[0]) + p[1], 0)
        h = mg.maximum(mg.matmul(h, p[2]) + p[3], 0)
        d = mg.matmul(h, p[4]) + p[5] - y
        mg.mean(d * d).backward()
        gradients = [a.grad for a in p]
        for a in p:
            a.null_grad()
        return gradients

    return step


def numpy_step() -> Step:
    """The same arithmetic by hand, without any graph: what nobody can beat in NumPy."""
    x, y, p = data()

    def step() -> list[np.ndarray]:
        h0 = np.maximum(x @ p[0] + p[1], 0)
        h1 = np.maximum(h0 @ p[2] + p[3], 0)
        d = h1 @ p[4] + p[5] - y
        (d * d).mean()
        g = d * np.float32(2 / 32)
        g1 = g @ p[4].T * (h1 > 0)
        g0 = g1 @ p[2].T * (h0 > 0)
        return [x.T @ g0, g0.sum(0), h0.T @ g1, g1.sum(0), h1.T @ g, g.sum(0)]

    return step


MAKERS = {"tinynet": ("tinynet", tinynet_step), "torch": ("PyTorch", torch_step),
          "autograd": ("HIPS autograd", autograd_step), "mygrad": ("MyGrad", mygrad_step),
          "numpy": ("NumPy by hand", numpy_step)}


def measure() -> list[Line]:
    """A whole run: a line for each contender that is installed."""
    steps: dict[str, Step] = {}
    for name, (label, make) in MAKERS.items():
        try:
            steps[name] = make()
        except ImportError as error:
            print(f"{label}: left out ({error})", file=sys.stderr)
    truth = steps["numpy"]()
    for name, step in steps.items():
        for a, b in zip(step(), truth, strict=True):
            a = a.detach().numpy() if hasattr(a, "detach") else np.asarray(a)
            if not np.allclose(a, b, atol=1e-5):
                raise AssertionError(f"{name}: its gradient differs by {abs(a - b).max()}")
    seconds = take_turns(steps, rounds=40, repeat=100)
    return with_ratios([
        {"contender": name, "label": MAKERS[name][0], "version": f"{name} {version(name)}",
         "median": statistics.median(times), "seconds": times} for name, times in seconds.items()])


def main() -> None:
    options = report.parser("bench.small", __doc__, repeat=True).parse_args()
    with single_threaded_blas():
        lines = [{"run": run, **line} for run in range(options.repeat) for line in measure()]
    text = ("### Small operations\n\nThe net 2-16-16-1 of micrograd's demo, batch 32, forward and "
            "backward, one thread, in one process.\n\n"
            f"{report.table(lines, 'us')}\n\n{report.versions(lines)}.")
    print(text)
    if options.write:
        report.record("small operations", text, lines)


if __name__ == "__main__":
    main()
