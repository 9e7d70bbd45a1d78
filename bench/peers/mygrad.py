"""MyGrad, with its own layers (its BatchNorm keeps no running statistics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.layers import batchnorm, conv_nd, max_pool
from mygrad.nnet.losses import softmax_crossentropy

from bench import nets

WARM_UP, VERSION = 1, f"mygrad {mg.__version__}"


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float]:
    rng = np.random.default_rng(0)
    params: list[Any] = []

    def parameter(values: np.ndarray) -> Any:
        params.append(mg.tensor(values.astype("f4")))
        return params[-1]

    def conv(i: int, o: int) -> Any:
        w = rng.standard_normal((o, i, 3, 3)) * (2 / 9 / i) ** 0.5
        return parameter(w), parameter(np.ones(o)), parameter(np.zeros(o))

    layers: list[Any] = []
    for layer in nets.NETS[net]:
        if layer[0] == "conv":
            layers.append(conv(*layer[1:]))
        elif layer[0] == "res":
            layers.append((conv(layer[1], layer[1]), conv(layer[1], layer[1])))
        elif layer[0] == "linear":
            w = rng.standard_normal(layer[1:]) * layer[1] ** -0.5
            layers.append((parameter(w), parameter(np.zeros(layer[2]))))
        else:
            layers.append(None)
    velocities = [np.zeros_like(p.data) for p in params]
    images, labels = nets.batch(size)

    def unit(x: Any, p: Any) -> Any:
        x = conv_nd(x, p[0], stride=1, padding=1)
        return relu(batchnorm(x, gamma=p[1], beta=p[2], eps=1e-5))

    def forward(training: bool) -> Any:
        x = mg.tensor(images, constant=True)
        for layer, p in zip(nets.NETS[net], layers, strict=True):
            if layer == "pool":
                x = max_pool(x, (2, 2), 2)
            elif layer == "dropout":
                if training:
                    x = x * ((rng.random(x.shape, dtype="f4") < 0.5) * np.float32(2))
            elif layer == "global":
                x = mg.max(x, axis=(2, 3))
            elif layer[0] == "conv":
                x = unit(x, p)
            elif layer[0] == "res":
                x = x + unit(unit(x, p[0]), p[1])
            else:
                x = mg.matmul(x.reshape(size, -1), p[0]) + p[1]
        return x

    def train() -> float:
        loss = softmax_crossentropy(forward(True), labels)
        loss.backward()
        for p, v in zip(params, velocities, strict=True):
            g = p.grad + nets.WEIGHT_DECAY * p.data
            v *= nets.MOMENTUM
            v += g
            p.data[...] -= nets.LEARNING_RATE * (g + nets.MOMENTUM * v)
            p.null_grad()
        return loss.item()

    def infer() -> float:
        with mg.no_autodiff:
            return float(forward(False).data[0, 0])

    return train if task == "train" else infer
