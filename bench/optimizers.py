"""One update of all parameters of a net: ``python -m bench.optimizers``.

SGD with momentum and Adam, with weight decay, on net R's parameters (2.4 million) plus one large
matrix: 2.7 million float32 values in all. tinynet's fused update and plain rule, PyTorch's loop
over parameters (``foreach=False``), ``foreach=True`` and ``fused=True``, all in this process, in
turns. At the end the weights must agree.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    if name in os.environ:
        del os.environ[name]
        os.execv(sys.executable, [sys.executable, "-m", "bench.optimizers", *sys.argv[1:]])

import numpy as np  # noqa: E402  (after the variables that it reads)
import torch  # noqa: E402

import tinynet as tn  # noqa: E402
from tinynet import models, optim  # noqa: E402

LR, DECAY = 1e-3, 1e-4


def shapes() -> list[tuple[int, ...]]:
    """The shapes of net R's parameters, and one matrix more, to 2.7 million values."""
    return [*(p.shape for p in models.net_r().parameters()), (508, 512)]


def main() -> None:
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s, dtype=np.float32) for s in shapes()]
    gradients = [rng.standard_normal(s, dtype=np.float32) for s in shapes()]

    def tinynet_step(kind: str, fused: bool) -> tuple[Callable[[], None], list[np.ndarray]]:
        params = [tn.tensor(a, requires_grad=True) for a in start]
        for p, g in zip(params, gradients, strict=True):
            p.grad = tn.Tensor(g)
        optimizer = (optim.SGD(params, LR, momentum=0.9, weight_decay=DECAY, fused=fused)
                     if kind == "SGD" else optim.Adam(params, LR, weight_decay=DECAY, fused=fused))
        return lambda: optimizer.step(), [p.data for p in params]

    def torch_step(kind: str, **how: bool) -> tuple[Callable[[], None], list[np.ndarray]]:
        params = [torch.from_numpy(a.copy()).requires_grad_() for a in start]
        for p, g in zip(params, gradients, strict=True):
            p.grad = torch.from_numpy(g)
        optimizer = (torch.optim.SGD(params, LR, momentum=0.9, weight_decay=DECAY, **how)
                     if kind == "SGD"
                     else torch.optim.Adam(params, LR, eps=1e-7, weight_decay=DECAY, **how))
        return lambda: optimizer.step(), [p.detach().numpy() for p in params]

    print(f"{sum(a.size for a in start):,} values in {len(start)} parameters\n")
    print("| update | contender | ms | quartiles ms | ratio |\n|---|---|---:|---:|---:|")
    for kind in ("SGD", "Adam"):
        contenders = {
            "PyTorch, default loop": torch_step(kind, foreach=False),
            "PyTorch, foreach=True": torch_step(kind, foreach=True),
            "PyTorch, fused=True": torch_step(kind, fused=True),
            "tinynet, fused": tinynet_step(kind, True),
            "tinynet, plain rule": tinynet_step(kind, False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(40):
            for name, (step, _) in contenders.items():
                began = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - began)
        base = statistics.median(seconds["PyTorch, default loop"])
        for name, times in seconds.items():
            low, middle, high = statistics.quantiles(times, n=4)
            print(f"| {kind} | {name} | {middle * 1e3:.2f} | {low * 1e3:.2f} - {high * 1e3:.2f} | "
                  f"{middle / base:.2f} |")
        truth = contenders["PyTorch, default loop"][1]
        for name, (_, weights) in contenders.items():
            worst = max(float(abs(a - b).max()) for a, b in zip(weights, truth, strict=True))
            if worst > 1e-5:
                raise AssertionError(f"{kind}, {name}: weights differ by {worst}")


if __name__ == "__main__":
    main()
