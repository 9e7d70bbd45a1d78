"""PyTorch eager on the CPU. Modes: default, channels_last, compile, compile_channels_last.

For updates: default and loop (over parameters), foreach, fused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from bench import nets, shapes

WARM_UP, VERSION = 3, f"torch {torch.__version__}"


def unit(i: int, o: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.f = nn.Sequential(unit(c, c), unit(c, c))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.f(x)


def build(net: str) -> nn.Module:
    layers: list[nn.Module] = []
    for layer in nets.NETS[net]:
        if layer == "pool":
            layers.append(nn.MaxPool2d(2))
        elif layer == "dropout":
            layers.append(nn.Dropout(0.5))
        elif layer == "global":
            layers.append(nn.AdaptiveMaxPool2d(1))
        elif layer[0] == "conv":
            layers.append(unit(*layer[1:]))
        elif layer[0] == "res":
            layers.append(Residual(layer[1]))
        else:
            layers += [nn.Flatten(), nn.Linear(*layer[1:])]
    return nn.Sequential(*layers)


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float | None]:
    torch.manual_seed(0)
    torch.set_num_threads(nets.cores())
    if task == "update":
        return update(net, mode)
    if task == "layer":
        return layer(net)
    model = build(net)
    x, y = (torch.from_numpy(a) for a in nets.batch(size))
    if "channels_last" in mode:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=nets.LEARNING_RATE, momentum=nets.MOMENTUM,
                                nesterov=True, weight_decay=nets.WEIGHT_DECAY)
    forward = torch.compile(model) if "compile" in mode else model

    def train() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> float:
        with torch.no_grad():
            return float(forward(x)[0, 0])

    if task == "infer":
        model.eval()
        return infer
    return train


def layer(name: str) -> Callable[[], float]:
    """A run of one layer, which returns by what results are compared."""
    about = shapes.LAYERS[name]
    built = about.build(nn, F)
    parameters = list(built.parameters()) if isinstance(built, nn.Module) else []
    arrays = nets.Arrays()
    with torch.no_grad():
        for p in parameters:
            p.copy_(torch.from_numpy(arrays.weights(tuple(p.shape))))
    x = torch.from_numpy(arrays.normal(about.shape)).requires_grad_(about.training)
    others = [torch.from_numpy(a) for a in arrays.second(about.second, about.shape)]
    if not about.training:
        if isinstance(built, nn.Module):
            built.eval()
        with torch.no_grad():
            size = float(built(x, *others).abs().mean())

        def infer() -> float:
            with torch.no_grad():
                built(x, *others)
            return size

        return infer
    y = built(x, *others)
    g = torch.from_numpy(arrays.normal(tuple(y.shape)))
    y.backward(g)
    size = float(y.abs().mean() + x.grad.abs().mean())

    def run() -> float:
        for p in (x, *parameters):
            p.grad = None
        built(x, *others).backward(g)
        return size

    return run


def update(rule: str, mode: str) -> nets.Update:
    params = []
    for weights, gradient in nets.updated():
        params.append(torch.from_numpy(weights).requires_grad_())
        params[-1].grad = torch.from_numpy(gradient)
    x = torch.from_numpy(nets.elsewhere())
    how = {mode: True} if mode in ("foreach", "fused") else {"foreach": False}
    optimizer = getattr(torch.optim, rule)(params, **nets.RULES[rule], **how)
    return nets.Update(params, optimizer, lambda: torch.relu(x))
