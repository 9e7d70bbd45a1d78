"""The recipe of `examples/cifar10.py` in PyTorch, at its best settings on a CPU.

    python -m bench.peers.cifar10 --target 94 --out runs/torch-94      beside the example, in turns

The same net, rules, rates and pictures: these come from tinynet's loader, by the same seed, and
the weights begin as tinynet's, so the two losses are equal in the first step and part slowly by
rounding. PyTorch gets channels_last, a malloc that keeps its memory (the process starts itself
again with it) and SGD's fused update; chunks are the recipe's, as batch norm depends on them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import tinynet as tn
from bench import nets
from bench.drive import TUNED_MALLOC
from tinynet import data

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cifar10.py"


def example() -> ModuleType:
    """`examples/cifar10.py` as a module: its recipes, its loader, its views."""
    spec = importlib.util.spec_from_file_location("cifar10", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Net(nn.Module):
    """The layers of the example's net, in the same order and under the same names."""

    def __init__(self, recipe: Any) -> None:
        super().__init__()
        forget = 1 - (1 - 0.44) ** (recipe.chunk / recipe.batch)
        self.white = nn.Conv2d(3, 24, 2)
        layers: list[nn.Module] = []
        before = 24
        for width in recipe.widths:
            for pools, inputs in ((True, before), (False, width)):
                layers.append(nn.Conv2d(inputs, width, 3, padding=1, bias=False))
                if pools:
                    layers.append(nn.MaxPool2d(2))
                layers += [nn.BatchNorm2d(width, eps=1e-12, momentum=forget), nn.ReLU()]
            before = width
        self.groups = nn.Sequential(*layers)
        self.head = nn.Linear(before, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.groups(F.relu(self.white(x)))
        return self.head(x.amax(dim=(2, 3))) / 256


def take_weights(net: Net, source: Any) -> None:
    """The weights of tinynet's net, layer by layer; frozen where they are frozen there."""
    own = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    theirs = [m for _, m in source.named_modules()
              if isinstance(m, tn.nn.Conv2d | tn.nn.BatchNorm2d | tn.nn.Linear)]
    for mine, other in zip(own, theirs, strict=True):
        for name, p in mine.named_parameters(recurse=False):
            given = getattr(other, name)
            with torch.no_grad():
                p.copy_(torch.from_numpy(np.array(given.numpy())))
            p.requires_grad_(given.requires_grad)


def turned(g: torch.Tensor, steps: int) -> torch.Tensor:
    """Newton-Schulz: about U V^T of g = U S V^T."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    high = x.shape[0] > x.shape[1]
    if high:
        x = x.T
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if high else x


class Muon:
    """As `tinynet.optim.Muon` with norm=1: weights brought back to length, then turned."""

    def __init__(self, weights: list[torch.Tensor], momentum: float, steps: int) -> None:
        self.weights = weights
        self.momentum = momentum
        self.steps = steps
        self.v = [torch.zeros_like(p) for p in weights]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for p, v in zip(self.weights, self.v, strict=True):
            assert p.grad is not None
            v.mul_(self.momentum).add_(p.grad)
            u = (p.grad + self.momentum * v).reshape(len(p), -1)
            p.mul_(len(p) ** 0.5 / p.norm())
            p.sub_(lr * turned(u, self.steps).reshape(p.shape))


class Run:
    """One seed: the parts of the example, and their twins."""

    def __init__(self, module: ModuleType, recipe: Any, sets: Any, seed: int) -> None:
        tn.manual_seed(seed)
        training, self.test = sets
        self.normalise = data.Normalize(*data.channel_statistics(training.images))
        source = module.Net(recipe, self.normalise(training.images[:5000]))
        self.loader = module.make_loader(training, self.normalise, recipe, seed)
        self.module = module
        self.recipe = recipe
        self.epochs = recipe.small + recipe.full
        self.steps = round(self.epochs * len(self.loader))
        self.whitening = round(min(3, self.epochs) * len(self.loader))
        self.net = Net(recipe)
        take_weights(self.net, source)
        self.net = self.net.to(memory_format=torch.channels_last)
        convolutions = [p for p in self.net.groups.parameters() if p.ndim == 4]
        biases = [p for n, p in self.net.groups.named_parameters() if n.endswith("bias")]
        self.muon = Muon(convolutions, momentum=0.655, steps=3)
        decay = 1.04e-6 * recipe.batch
        self.first = (0.057, 0.057, 0.54)
        groups = ([self.net.white.bias], biases, [self.net.head.weight])
        self.rest = torch.optim.SGD(
            [{"params": own, "lr": lr, "weight_decay": decay / lr}
             for own, lr in zip(groups, self.first, strict=True)],
            lr=0.1, momentum=0.825, nesterov=True, fused=True)
        self.t = 0

    def step(self, images: Any, labels: Any) -> tuple[float, int]:
        """One batch in chunks; the sum of its losses, and how many were right."""
        left = 1 - self.t / self.steps
        for group, lr, length in zip(self.rest.param_groups, self.first,
                                     (self.whitening, self.steps, self.steps), strict=True):
            group["lr"] = lr * max(0.0, 1 - self.t / length)
        self.net.white.bias.requires_grad_(self.t < self.whitening)
        self.net.zero_grad()
        total = torch.zeros(())
        right = 0
        count = -(-len(images) // self.recipe.chunk)
        for x, y in zip(_parts(images, count), _parts(labels, count), strict=True):
            pictures = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
            target = torch.from_numpy(y)
            scores = self.net(pictures)
            loss = F.cross_entropy(scores, target, label_smoothing=0.09, reduction="sum")
            loss.backward()
            total += loss.detach()
            right += int((scores.detach().argmax(1) == target).sum())
        self.muon.step(0.205 * left)
        self.rest.step()
        self.t += 1
        return float(total), right

    def epoch(self, most: int) -> dict[str, float]:
        """One pass, or what is left of the `most` steps."""
        began = time.perf_counter()
        cpu = time.process_time()
        self.net.train()
        loss = 0.0
        right = seen = 0
        for images, labels in self.loader:
            one, good = self.step(images, labels)
            loss += one
            right += good
            seen += len(labels)
            if self.t >= most:
                break
        return {"step": self.t, "train_loss": loss / seen, "train_accuracy": right / seen,
                "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}

    def accuracy(self) -> float:
        """On the test set, in the example's views."""
        self.net.eval()
        margin = self.module.PADDING
        edges = [(0, 0), (0, 0), (margin, margin), (margin, margin)]
        pictures = np.pad(self.normalise(self.test.images), edges, mode="reflect")
        found = []
        with torch.no_grad():
            for i in range(0, len(pictures), 250):
                views = [torch.from_numpy(np.ascontiguousarray(view)).contiguous(
                    memory_format=torch.channels_last)
                    for view in self.module.views(pictures[i : i + 250])]
                found.append(sum(self.net(view) for view in views).argmax(1).numpy())
        return float((np.concatenate(found) == self.test.labels).mean())


def _parts(rows: Any, count: int) -> list[Any]:
    """As equal as can be, cut where the trainer cuts."""
    return [rows[len(rows) * i // count : len(rows) * (i + 1) // count] for i in range(count)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--target", choices=["85", "90", "94", "95"], default="94")
    add("--data", choices=["cifar10", "shapes"], default="cifar10")
    add("--seed", type=int, default=0)
    add("--limit", type=int, help="training pictures (all)")
    add("--steps", type=int, help="end after so many, for a comparison of times (all)")
    add("--out", type=Path, help="file for the result (printed alone)")
    args = parser.parse_args(argv)
    torch.set_num_threads(nets.cores())
    module = example()
    recipe = module.RECIPES["shapes" if args.data == "shapes" else args.target]
    sets = module.load(argparse.Namespace(data=args.data, data_dir=None, limit=args.limit))
    run = Run(module, recipe, sets, args.seed)
    most = min(args.steps or run.steps, run.steps)
    rows: list[dict[str, float]] = []
    while run.t < most:
        rows.append(run.epoch(most))
        print(json.dumps(rows[-1]), flush=True)
    began = time.perf_counter()
    result = {"contender": f"torch {torch.__version__}", "target": args.target,
              "dataset": sets[0].name, "seed": args.seed, "epochs": rows,
              "test_accuracy": run.accuracy() if most == run.steps else None}
    result["seconds"] = sum(row["seconds"] for row in rows) + time.perf_counter() - began
    print(json.dumps({k: v for k, v in result.items() if k != "epochs"}), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in TUNED_MALLOC.items()):
        os.execve(sys.executable, [sys.executable, "-m", "bench.peers.cifar10", *sys.argv[1:]],
                  {**os.environ, **TUNED_MALLOC})
    main()
