"""tinynet, by its public names only. Mode "plain": updates by the plain rule."""

from __future__ import annotations

from collections.abc import Callable

import tinynet as tn
import tinynet.functional as F
from bench import nets
from tinynet import models, nn as layers, optim

WARM_UP, VERSION = 3, f"tinynet {tn.__version__}"


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float | None]:
    if task == "update":
        return update(net, fused=mode != "plain")
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


def update(rule: str, fused: bool) -> nets.Update:
    params = []
    for weights, gradient in nets.updated():
        params.append(tn.tensor(weights, requires_grad=True))
        params[-1].grad = tn.Tensor(gradient)
    x = tn.Tensor(nets.elsewhere())
    optimizer = getattr(optim, rule)(params, fused=fused, **nets.RULES[rule])
    return nets.Update(params, optimizer, lambda: F.relu(x))
