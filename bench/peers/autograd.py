"""HIPS autograd: a convolution is nine shifted slices and one matrix product, the fastest way
that its primitives offer (it has no convolution or pooling of its own for this).

Its gradients of `mean`, `maximum` and `max` are float64 whatever they are given, and so is the
whole backward pass of a net written with them. Mode "float32" avoids that: twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.extend import defvjp, primitive
from autograd.tracer import getval

from bench import nets

WARM_UP, VERSION = 1, f"autograd {version('autograd')}"


@primitive
def single(x: Any) -> Any:
    """x itself; its gradient in float32."""
    return x


defvjp(single, lambda y, x: lambda g: g.astype("f4"))


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float]:
    careful = mode == "float32"
    rng = np.random.default_rng(0)
    params: list[Any] = []

    def conv_params(i: int, o: int) -> None:
        w = rng.standard_normal((9 * i, o)) * (2 / 9 / i) ** 0.5
        params.extend([w.astype("f4"), np.ones(o, "f4"), np.zeros(o, "f4")])

    for layer in nets.NETS[net]:
        if layer[0] == "conv":
            conv_params(*layer[1:])
        elif layer[0] == "res":
            conv_params(layer[1], layer[1])
            conv_params(layer[1], layer[1])
        elif layer[0] == "linear":
            w = rng.standard_normal(layer[1:]) * layer[1] ** -0.5
            params.extend([w.astype("f4"), np.zeros(layer[2], "f4")])
    velocities = [np.zeros_like(p) for p in params]
    images, labels = nets.batch(size)
    x0 = np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def conv(x: Any, w: Any) -> Any:
        n, h, width, c = x.shape
        padded = anp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="constant")
        cols = anp.concatenate([padded[:, i : i + h, j : j + width]
                                for i in range(3) for j in range(3)], axis=3)
        product = anp.matmul(cols.reshape((n * h * width, 9 * c)), w)
        return product.reshape((n, h, width, -1))

    def mean(x: Any, axis: Any) -> Any:
        if not careful:
            return anp.mean(x, axis=axis)
        total = anp.sum(x, axis=axis)
        return total * np.float32(total.size / x.size)

    def relu(x: Any) -> Any:
        return x * (x > 0) if careful else anp.maximum(x, np.float32(0))

    def largest(x: Any, axis: Any) -> Any:
        return anp.max(single(x) if careful else x, axis=axis)

    def forward(params: Any, training: bool) -> Any:
        at, x = iter(params), x0

        def unit(x: Any) -> Any:
            w, gamma, beta = next(at), next(at), next(at)
            x = conv(x, w)
            d = x - mean(x, axis=(0, 1, 2))
            v = mean(d * d, axis=(0, 1, 2))
            return relu(d * (gamma / anp.sqrt(v + np.float32(1e-5))) + beta)

        for layer in nets.NETS[net]:
            if layer == "pool":
                n, h, w, c = x.shape
                x = largest(x.reshape((n, h // 2, 2, w // 2, 2, c)), axis=(2, 4))
            elif layer == "dropout":
                if training:
                    x = x * ((rng.random(x.shape, dtype="f4") < 0.5) * np.float32(2))
            elif layer == "global":
                x = largest(x, axis=(1, 2))
            elif layer[0] == "conv":
                x = unit(x)
            elif layer[0] == "res":
                x = x + unit(unit(x))
            else:
                x = anp.matmul(x.reshape((size, -1)), next(at)) + next(at)
        return x

    def loss_of(params: Any) -> Any:
        z = forward(params, True)
        z = z - np.max(getval(z), axis=1, keepdims=True)
        p = z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))
        return -mean(p[np.arange(size), labels], axis=0)

    value_and_gradients = value_and_grad(loss_of)

    def train() -> float:
        loss, gradients = value_and_gradients(params)
        for p, g, v in zip(params, gradients, velocities, strict=True):
            g = g + np.float32(nets.WEIGHT_DECAY) * p
            v *= nets.MOMENTUM
            v += g
            p -= np.float32(nets.LEARNING_RATE) * (g + np.float32(nets.MOMENTUM) * v)
        return float(loss)

    return train if task == "train" else lambda: float(forward(params, False)[0, 0])
