"""tinynet, by its public names only. Mode "plain": updates by the plain rule."""

from __future__ import annotations

from collections.abc import Callable

import tinynet as tn
import tinynet.functional as F
from bench import nets, shapes
from tinynet import models, nn as layers, optim

WARM_UP, VERSION = 3, f"tinynet {tn.__version__}"


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float | None]:
    if task == "update":
        return update(net, fused=mode != "plain")
    if task == "layer":
        return layer(net)
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


def layer(name: str) -> Callable[[], float]:
    """A run of one layer, which returns by what results are compared."""
    about = shapes.LAYERS[name]
    built = about.build(layers, F)
    parameters = list(built.parameters()) if isinstance(built, layers.Module) else []
    arrays = nets.Arrays()
    for p in parameters:
        p.copy_(arrays.weights(p.shape))
    x = tn.Tensor(nets.channels_last(arrays.normal(about.shape)), requires_grad=about.training)
    others = [nets.channels_last(a) for a in arrays.second(about.second, about.shape)]
    if not about.training:
        if isinstance(built, layers.Module):
            built.eval()
        with tn.no_grad():
            size = float(abs(built(x, *others)).mean())

        def infer() -> float:
            with tn.no_grad():
                built(x, *others)
            return size

        return infer
    y = built(x, *others)
    g = tn.Tensor(nets.channels_last(arrays.normal(y.shape)))
    y.backward(g)
    size = float(abs(y).mean() + abs(x.grad).mean())

    def run() -> float:
        for p in (x, *parameters):
            p.grad = None
        built(x, *others).backward(g)
        return size

    return run


def update(rule: str, fused: bool) -> nets.Update:
    params = []
    for weights, gradient in nets.updated():
        params.append(tn.tensor(weights, requires_grad=True))
        params[-1].grad = tn.Tensor(gradient)
    x = tn.Tensor(nets.elsewhere())
    optimizer = getattr(optim, rule)(params, fused=fused, **nets.RULES[rule])
    return nets.Update(params, optimizer, lambda: F.relu(x))
