"""JAX: one jitted step on channels-last arrays, buffers donated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bench import nets

WARM_UP, VERSION = 3, f"jax {jax.__version__}"


def initial(net: str) -> list[dict[str, Any]]:
    keys = iter(jax.random.split(jax.random.PRNGKey(0), 32))
    params: list[dict[str, Any]] = []

    def conv(i: int, o: int) -> None:
        w = jax.random.normal(next(keys), (3, 3, i, o)) * (2 / (9 * i)) ** 0.5
        params.append({"w": w, "g": jnp.ones(o), "b": jnp.zeros(o)})

    for layer in nets.NETS[net]:
        if layer[0] == "conv":
            conv(*layer[1:])
        elif layer[0] == "res":
            conv(layer[1], layer[1])
            conv(layer[1], layer[1])
        elif layer[0] == "linear":
            w = jax.random.normal(next(keys), layer[1:]) * layer[1] ** -0.5
            params.append({"w": w, "b": jnp.zeros(layer[2])})
    return params


def forward(net: str, params: Any, stats: Any, x: Any, key: Any, training: bool) -> Any:
    at, stat, new = iter(params), iter(stats), []

    def unit(x: Any) -> Any:
        p, (mean, var) = next(at), next(stat)
        x = lax.conv_general_dilated(x, p["w"], (1, 1), "SAME",
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        m, v = mean, var
        if training:
            m = x.mean((0, 1, 2))
            v = ((x - m) ** 2).mean((0, 1, 2))
            new.append((0.9 * mean + 0.1 * m, 0.9 * var + 0.1 * v))
        return jax.nn.relu((x - m) * (p["g"] * lax.rsqrt(v + 1e-5)) + p["b"])

    for layer in nets.NETS[net]:
        if layer == "pool":
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        elif layer == "dropout":
            if training:
                x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x * 2, 0)
        elif layer == "global":
            x = x.max((1, 2))
        elif layer[0] == "conv":
            x = unit(x)
        elif layer[0] == "res":
            x = x + unit(unit(x))
        else:
            p = next(at)
            x = x.reshape(len(x), -1) @ p["w"] + p["b"]
    return x, new


def make(net: str, task: str, size: int, mode: str) -> Callable[[], float]:
    params = initial(net)
    stats = [(jnp.zeros_like(p["b"]), jnp.ones_like(p["b"])) for p in params if "g" in p]
    velocity = jax.tree.map(jnp.zeros_like, params)
    images, labels = nets.batch(size)
    x, y = jnp.asarray(images.transpose(0, 2, 3, 1)), jnp.asarray(labels)

    def loss_of(params: Any, stats: Any, key: Any) -> Any:
        logits, new = forward(net, params, stats, x, key, True)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), new

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(params: Any, velocity: Any, stats: Any, key: Any) -> Any:
        (loss, stats), g = jax.value_and_grad(loss_of, has_aux=True)(params, stats, key)
        g = jax.tree.map(lambda g, p: g + nets.WEIGHT_DECAY * p, g, params)
        velocity = jax.tree.map(lambda v, g: nets.MOMENTUM * v + g, velocity, g)
        params = jax.tree.map(lambda p, g, v: p - nets.LEARNING_RATE * (g + nets.MOMENTUM * v),
                              params, g, velocity)
        return params, velocity, stats, loss

    key = jax.random.PRNGKey(1)

    def train() -> float:
        nonlocal params, velocity, stats, key
        key, now = jax.random.split(key)
        params, velocity, stats, loss = update(params, velocity, stats, now)
        return float(loss)

    predict = jax.jit(lambda params, stats: forward(net, params, stats, x, key, False)[0])
    return train if task == "train" else lambda: float(predict(params, stats)[0, 0])
