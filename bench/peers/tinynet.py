"""tinynet, by its public names only. Mode "plain": updates by the plain rule."""

from __future__ import annotations

from collections.abc import Callable

import tinynet as tn
import tinynet.functional as F
from bench import nets
from tinynet import models, optim
from tinynet import nn as layers

WARM_UP, VERSION = 3, f"tinynet {tn.__version__}"


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float | None]:
    if task == "update":
        return Update(net, fused=mode != "plain")
    tn.manual_seed(0)
    model = {"S": models.net_s, "R": models.net_r}[net]()
    images, labels = nets.batch(size)
    x = tn.Tensor(images)
    criterion = layers.CrossEntropyLoss()
    optimizer = optim.SGD(model.named_parameters(), lr=nets.LEARNING_RATE, momentum=nets.MOMENTUM,
                          nesterov=True, weight_decay=nets.WEIGHT_DECAY)

    def train() -> float:
        optimizer.zero_grad()
        loss = criterion(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> float:
        with tn.no_grad():
            return float(model(x).data[0, 0])

    if task == "infer":
        model.eval()
        return infer
    return train


class Update:
    """The optimizer's part of a step."""

    def __init__(self, rule: str, fused: bool) -> None:
        self.params = [tn.tensor(w, requires_grad=True) for w, _ in nets.updated()]
        for p, (_, gradient) in zip(self.params, nets.updated(), strict=True):
            p.grad = tn.Tensor(gradient)
        kind = {"SGD": optim.SGD, "Adam": optim.Adam}[rule]
        self.optimizer = kind(self.params, fused=fused, **nets.RULES[rule])
        self.elsewhere = tn.Tensor(nets.elsewhere())

    def before(self) -> None:
        F.relu(self.elsewhere)

    def __call__(self) -> None:
        self.optimizer.step()

    def after(self) -> float:
        return sum(abs(p.data).sum().item() for p in self.params)
