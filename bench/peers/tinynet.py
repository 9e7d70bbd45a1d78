"""tinynet, by its public names only. Mode "plain": updates by the plain rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinynet as tn
from bench import nets
from tinynet import models, optim
from tinynet import nn as layers
from tinynet.kernels.elementwise import elementwise

ELSEWHERE = np.zeros(nets.ELSEWHERE, np.float32)
WARM_UP, VERSION = 3, f"tinynet {tn.__version__}"


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float]:
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


def update(rule: str, fused: bool) -> Callable[[], float]:
    params = [tn.tensor(weights, requires_grad=True) for weights, _ in nets.updated()]
    for p, (_, gradient) in zip(params, nets.updated(), strict=True):
        p.grad = tn.Tensor(gradient)
    optimizer = {"SGD": optim.SGD, "Adam": optim.Adam}[rule](
        params, fused=fused, **nets.RULES[rule])

    def step() -> float:
        optimizer.step()
        return params[0].data[0, 0, 0, 0].item()

    return step


def before_update() -> None:
    elementwise(lambda x, out: np.add(x, 1, out=out), ELSEWHERE, out=ELSEWHERE)
