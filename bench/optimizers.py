"""One update of all parameters of a net: ``python -m bench.optimizers``.

SGD with momentum and Adam, with weight decay, on net R's parameters (2.4 million) plus one large
matrix: 2.7 million float32 values in all. tinynet's fused update and plain rule, PyTorch's loop
over parameters (``foreach=False``), ``foreach=True`` and ``fused=True``, all in this process, in
turns. At the end the weights must agree. ``--repeat 3`` makes three whole runs, ``--write``
replaces the results in ``bench/RESULTS.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch

import tinynet as tn
from bench import report
from bench.drive import Line, take_turns, with_ratios
from tinynet import models, optim

LR, DECAY = 1e-3, 1e-4


def shapes() -> list[tuple[int, ...]]:
    """The shapes of net R's parameters, and one matrix more, to 2.7 million values."""
    return [*(p.shape for p in models.net_r().parameters()), (508, 512)]


def measure(kind: str) -> list[Line]:
    """A whole run of "SGD" or "Adam": a line for each contender."""
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s, dtype=np.float32) for s in shapes()]
    gradients = [rng.standard_normal(s, dtype=np.float32) for s in shapes()]

    def tinynet_step(fused: bool) -> tuple[Callable[[], None], list[np.ndarray]]:
        params = [tn.tensor(a, requires_grad=True) for a in start]
        for p, g in zip(params, gradients, strict=True):
            p.grad = tn.Tensor(g)
        optimizer = (optim.SGD(params, LR, momentum=0.9, weight_decay=DECAY, fused=fused)
                     if kind == "SGD" else optim.Adam(params, LR, weight_decay=DECAY, fused=fused))
        return lambda: optimizer.step(), [p.data for p in params]

    def torch_step(**how: bool) -> tuple[Callable[[], None], list[np.ndarray]]:
        params = [torch.from_numpy(a.copy()).requires_grad_() for a in start]
        for p, g in zip(params, gradients, strict=True):
            p.grad = torch.from_numpy(g)
        optimizer = (torch.optim.SGD(params, LR, momentum=0.9, weight_decay=DECAY, **how)
                     if kind == "SGD"
                     else torch.optim.Adam(params, LR, eps=1e-7, weight_decay=DECAY, **how))
        return lambda: optimizer.step(), [p.detach().numpy() for p in params]

    contenders = {
        "torch": ("PyTorch, loop over parameters", torch_step(foreach=False)),
        "torch-foreach": ("PyTorch, foreach=True", torch_step(foreach=True)),
        "torch-fused": ("PyTorch, fused=True", torch_step(fused=True)),
        "tinynet": ("tinynet, fused", tinynet_step(True)),
        "tinynet-plain": ("tinynet, plain rule", tinynet_step(False)),
    }
    seconds = take_turns({name: step for name, (_, (step, _)) in contenders.items()}, rounds=40)
    truth = contenders["torch"][1][1]
    for label, (_, weights) in contenders.values():
        worst = max(float(abs(a - b).max()) for a, b in zip(weights, truth, strict=True))
        if worst > 1e-5:
            raise AssertionError(f"{kind}, {label}: weights differ by {worst}")
    version = {"tinynet": f"tinynet {tn.__version__}", "torch": f"torch {torch.__version__}"}
    return with_ratios([
        {"update": kind, "contender": name, "label": contenders[name][0],
         "version": version[name.partition("-")[0]], "median": statistics.median(times),
         "seconds": times} for name, times in seconds.items()])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.optimizers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="whole runs (1)")
    parser.add_argument("--write", action="store_true", help="replace the committed results")
    options = parser.parse_args()
    values = sum(int(np.prod(shape)) for shape in shapes())
    text = (f"### Optimizer updates\n\n{values:,} float32 values in {len(shapes())} parameters, "
            "with weight decay.")
    every: list[Line] = []
    for kind, name in (("SGD", "SGD with momentum"), ("Adam", "Adam")):
        lines = [{"run": run, **line} for run in range(options.repeat) for line in measure(kind)]
        text += f"\n\n{name}:\n\n{report.table(lines)}"
        every += lines
    text += f"\n\n{report.versions(every)}."
    print(text)
    if options.write:
        report.record("optimizer updates", text, every)


if __name__ == "__main__":
    main()
