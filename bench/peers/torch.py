"""PyTorch eager on the CPU. Modes: default, channels_last, compile, compile_channels_last.

For updates: default and loop (over parameters), foreach, fused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from bench import nets

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
        return Update(net, mode)
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


class Update:
    """The optimizer's part of a step."""

    def __init__(self, rule: str, mode: str) -> None:
        self.params = [torch.from_numpy(w).requires_grad_() for w, _ in nets.updated()]
        for p, (_, gradient) in zip(self.params, nets.updated(), strict=True):
            p.grad = torch.from_numpy(gradient)
        kind = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[rule]
        how = {mode: True} if mode in ("foreach", "fused") else {"foreach": False}
        self.optimizer = kind(self.params, **nets.RULES[rule], **how)
        self.elsewhere = torch.from_numpy(nets.elsewhere())

    def before(self) -> None:
        torch.relu(self.elsewhere)

    def __call__(self) -> None:
        self.optimizer.step()

    def after(self) -> float:
        return sum(float(p.detach().abs().sum()) for p in self.params)
