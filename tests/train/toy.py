"""A problem that trains in milliseconds: three clouds of points, a two-layer net."""

from __future__ import annotations

from typing import Any

from tinynet import nn, random, xp
from tinynet.optim import SGD
from tinynet.train import Trainer

Batches = list[tuple[Any, Any]]


def batches(n: int = 96, size: int = 16, seed: int = 0, noise: float = 0.6) -> Batches:
    """(n, 2) points around three centres, and their labels."""
    labels = xp.arange(n) % 3
    centres = xp.array([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], "float32")
    points = centres[labels] + random.normal(random.key(seed, 7), (n, 2), std=noise)
    points = points.astype("float32")
    return [(points[i : i + size], labels[i : i + size]) for i in range(0, n, size)]


def net(hidden: int = 8, norm: bool = False, seed: int = 0) -> nn.Module:
    random.manual_seed(seed)
    layers = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(nn.Linear(2, hidden), *layers, nn.ReLU(), nn.Linear(hidden, 3))


def trainer(model: nn.Module | None = None, lr: Any = 0.1, **options: Any) -> Trainer:
    model = model or net()
    optimizer = SGD(model.named_parameters(), lr=lr, momentum=0.9)
    return Trainer(model, optimizer, **{"progress": False, **options})
