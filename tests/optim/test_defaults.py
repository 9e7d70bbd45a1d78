"""Adam as it comes, on three different tasks, beside SGD with momentum tuned for each (A20)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinynet as tn
from tests.results import save
from tinynet import functional as F
from tinynet import models, nn, optim
from tinynet.data import load_shapes


class Task(NamedTuple):
    """A net, its loss, how many steps it gets and the loss it is to reach."""

    model: nn.Module
    loss: Callable[[nn.Module], Any]
    steps: int
    target: float


def regression() -> Task:
    """A noisy linear map of 10 features, squared loss; the noise alone leaves 0.01."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 10)).astype("f4")
    y = x @ rng.standard_normal((10, 1)).astype("f4") + 0.1 * rng.standard_normal((256, 1))
    x, y = tn.Tensor(x), tn.Tensor(y.astype("f4"))
    return Task(nn.Linear(10, 1), lambda net: F.mse_loss(net(x), y), 6000, 0.012)


def spirals() -> Task:
    """The notes' three spiral arms, two layers, cross-entropy; a linear net stays at 0.78."""
    rng = np.random.default_rng(0)
    r, arm = np.tile(np.linspace(0, 1, 100), 3), np.repeat(np.arange(3), 100)
    angle = 4 * (arm + r) + 0.2 * rng.standard_normal(300)
    x = tn.Tensor(np.stack([r * np.sin(angle), r * np.cos(angle)], 1).astype("f4"))
    return Task(models.mlp([2, 100, 3]), lambda net: F.cross_entropy(net(x), arm), 1200, 0.4)


def pictures() -> Task:
    """A small conv net with batch norm on 200 pictures of shapes."""
    train, _ = load_shapes(train=200, test=10)
    x = tn.Tensor(train.images[:, :, ::2, ::2].astype("f4") / np.float32(64) - np.float32(2))
    net = models.small_conv_net(image_size=16, widths=(8, 16))
    return Task(net, lambda net: F.cross_entropy(net(x), train.labels), 200, 0.5)


def last_loss(task: Task, optimizer: optim.Optimizer) -> float:
    loss = None
    for _ in range(task.steps):
        loss = optimizer.step(lambda: task.loss(task.model))
    assert loss is not None
    return float(loss.item())


SGD_RATES = (1e-1, 1e-2, 1e-3)


def losses(make: Callable[[], Task]) -> dict[str, float]:
    """Adam at 1e-3 and 5e-4 (twice the steps), nothing else chosen; SGD at three rates."""
    reached = {}
    for lr in (1e-3, 5e-4):
        tn.manual_seed(0)
        task = make()._replace(steps=round(make().steps * 1e-3 / lr))
        reached[f"Adam {lr:g}"] = last_loss(task, optim.Adam(task.model.named_parameters(), lr))
    for lr in SGD_RATES:
        tn.manual_seed(0)
        task = make()
        with np.errstate(all="ignore"):
            sgd = optim.SGD(task.model.named_parameters(), lr, momentum=0.9)
            reached[f"SGD {lr:g}"] = last_loss(task, sgd)
    return reached


@pytest.mark.slow
def test_A20_adam_reaches_the_target_without_tuning() -> None:
    """On three tasks with either rate of the lecture; SGD's rate has to be found."""
    lines = []
    for make in (regression, spirals, pictures):
        reached, target = losses(make), make().target
        lines.append(f"| {make.__name__} | {target} | "
                     + " | ".join(f"{loss:.4f}" for loss in reached.values()) + " |")
        assert reached["Adam 0.001"] < target and reached["Adam 0.0005"] < target
        assert min(reached[f"SGD {lr:g}"] for lr in SGD_RATES) < target
    head = ["| task | target | " + " | ".join(reached) + " |", "|---|" + "---:|" * 6]
    save("A20", "Adam as it comes on three tasks, beside SGD with momentum: training losses",
         "\n".join([*head, *lines]))
