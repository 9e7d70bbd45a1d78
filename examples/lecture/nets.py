"""Small trainings that figures are made of: each returns the loss before every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import data, functional as F, models, nn, optim


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


def run_residual(rate: Any, epochs: int = 120, each: int = 30, seed: int = 0) -> list[float]:
    """Four residual blocks with batch norm on endless spirals, `each` batches in an epoch.

    What comes back is the loss on 512 points that stay the same, after each epoch: batches of 32
    would hide the steps behind their own noise.
    """
    def body() -> nn.Module:
        return nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32))

    tn.manual_seed(seed)
    blocks = [nn.Residual(body()) for _ in range(4)]
    net = nn.Sequential(nn.Linear(2, 32), *blocks, nn.ReLU(), nn.Linear(32, 3))
    rng = tn.Generator(seed + 100)
    points, arms = spirals(rng, 512, std=0.15)
    optimizer = optim.SGD(net.named_parameters(), rate, momentum=0.9)

    def loss() -> Any:
        some, their_arms = spirals(rng, std=0.15)
        return F.cross_entropy(net(some), their_arms)

    losses = []
    for _ in range(epochs):
        for _ in range(each):
            optimizer.step(loss)
        with tn.no_grad():
            losses.append(F.cross_entropy(net(points), arms).item())
    return losses


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
