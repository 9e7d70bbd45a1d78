"""Small trainings that figures are made of: each returns the loss before every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim, train

Optimize = Callable[..., optim.Optimizer]


def descend(net: nn.Module, loss: Callable[[], Any], lr: Any, steps: int, rho: float = 0.9,
            measure: Callable[[], float] | None = None) -> list[float]:
    """Train by momentum on mini-batches: the loss before each step; ends when it explodes."""
    optimizer = optim.SGD(net.named_parameters(), lr, momentum=rho)
    losses: list[float] = []
    with np.errstate(all="ignore"):  # to explode is allowed here
        while len(losses) < steps and all(map(math.isfinite, losses[-1:])):
            seen = optimizer.step(loss).item()
            losses.append(measure() if measure else seen)
    return losses


def spirals(rng: tn.Generator, n: int = 32, std: float = 0.3) -> tuple[Any, Any]:
    """n new points on three noisy spiral arms, and which arm each is on."""
    arm, r = rng.integers(0, 3, n), rng.uniform(n, dtype=np.float64)
    angle = 4 * (arm + r) + rng.normal(n, std=std, dtype=np.float64)
    points = 2 * np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1)
    return tn.tensor(points.astype("float32")), arm


def run_spirals(lr: Any, seed: int = 0, steps: int = 1500) -> list[float]:
    """A net of two layers on endless spirals."""
    tn.manual_seed(seed)
    net, rng = models.mlp([2, 64, 3]), tn.Generator(seed + 100)

    def loss() -> Any:
        points, arms = spirals(rng)
        return F.cross_entropy(net(points), arms)

    return descend(net, loss, lr, steps)


def run_line(lr: Any, seed: int = 0, steps: int = 2400) -> list[float]:
    """A linear net on noisy labels: its distance from the truth, where the noise is in plain view.
    """
    tn.manual_seed(seed)
    net, rng = nn.Linear(5, 1, bias=False), tn.Generator(seed + 200)
    truth = rng.normal((5, 1))

    def loss() -> Any:
        x = rng.normal((8, 5))
        return F.mse_loss(net(tn.tensor(x)), x @ truth + rng.normal((8, 1)))

    return descend(net, loss, lr, steps, rho=0.0,
                   measure=lambda: float(((net.weight.data.T - truth) ** 2).sum()))


def run_deep(lr: Any, seed: int = 0, steps: int = 300) -> list[float]:
    """Three layers, full batch, at a rate that is too high at first but not later (B6)."""
    tn.manual_seed(seed)
    x = tn.Generator(seed).normal((128, 10))
    y = (tn.xp.sin(2 * x[:, :1]) + x[:, 1:2]).astype("float32")
    net = models.mlp([10, 32, 32, 1], activation=lambda: nn.LeakyReLU(0.1))
    return descend(net, lambda: F.mse_loss(net(tn.tensor(x)), y), lr, steps)


def small_pictures(n: int, test: int, side: int = 16) -> tuple[data.Dataset, data.Dataset]:
    """`shapes`, scaled down: what a ResNet can learn while one waits."""
    return tuple(data.Dataset(data.resize(part.images, (side, side)), part.labels, part.classes,
                              part.name) for part in data.load_shapes(train=n, test=test))


def run_resnet(rate: Callable[[int], Any], epochs: int, pictures: int, batch: int = 64,
               seed: int = 0) -> train.History:
    """A ResNet of three blocks on pictures of 16x16; `rate` makes its schedule from the steps."""
    tn.manual_seed(seed)
    training, _ = small_pictures(pictures, 0)
    mean, std = data.channel_statistics(training.images)
    loader = data.DataLoader(training.images, training.labels, batch, seed=seed,
                             transform=data.Compose([data.RandomHorizontalFlip(),
                                                     data.RandomCrop(16, 2),
                                                     data.Normalize(mean, std)]))
    net = models.resnet(3, widths=(8, 16, 32))
    optimizer = optim.SGD(optim.param_groups(net, weight_decay=1e-3),
                          rate(epochs * len(loader)), momentum=0.9)
    return train.Trainer(net, optimizer, progress=False).fit(loader, epochs=epochs)
