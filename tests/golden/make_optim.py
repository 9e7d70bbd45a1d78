"""Write optim.npz: trajectories made by PyTorch and Keras, for tests/optim/test_golden.py.

    python -m pip install torch keras
    KERAS_BACKEND=torch python -m tests.golden.make_optim

Two things are recorded, all in float64:

* `torch/...` and `keras/...`: 100 steps of each optimizer on a given sequence of gradients, so
  that only the update rule is compared. Some gradients are tiny (1e-6): there eps matters.
* `net/...`: 50 steps of a two-layer tanh net with weight decay, by PyTorch's own autograd.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import torch

STEPS = 100
SCALES = np.array([10.0, 1.0, 0.1, 1e-3, 1e-6, 1.0])


def gradients() -> np.ndarray:
    """(100, 6): waves of several sizes, with some exact zeros."""
    t = np.arange(STEPS)[:, None]
    g = SCALES * (np.cos(0.3 * t + np.arange(6)) + 0.3)
    g[::3, 5] = 0.0
    return g


def lr_of(t: int) -> float:
    """The rate drops at step 50, which tells lr inside and outside of the velocity apart."""
    return 0.05 if t < 50 else 0.005


def with_torch(make) -> np.ndarray:
    x = torch.nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64))
    optimizer, path = make([x]), []
    for t, g in enumerate(gradients()):
        optimizer.param_groups[0]["lr"] = lr_of(t)
        x.grad = torch.from_numpy(g.copy())
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.stack(path)


def with_keras(optimizer) -> np.ndarray:
    x = keras.Variable(np.linspace(-1, 1, 6), dtype="float64")
    path = []
    for t, g in enumerate(gradients()):
        optimizer.learning_rate = lr_of(t)
        optimizer.apply([torch.from_numpy(g.copy())], [x])
        path.append(x.numpy().copy())
    return np.stack(path)


def net(make) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(8, 5)) / 5**0.5, rng.normal(size=(3, 8)) / 8**0.5
    start = {"w1": w1, "b1": np.zeros(8), "w2": w2, "b2": np.zeros(3)}
    x, y = torch.from_numpy(rng.normal(size=(20, 5))), torch.from_numpy(rng.normal(size=(20, 3)))
    p = {name: torch.nn.Parameter(torch.from_numpy(a.copy())) for name, a in start.items()}
    optimizer = make(list(p.values()))
    for _ in range(50):
        optimizer.zero_grad()
        out = torch.tanh(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]
        ((out - y) ** 2).mean().backward()
        optimizer.step()
    ends = {f"end/{name}": a.detach().numpy() for name, a in p.items()}
    starts = {f"start/{name}": a for name, a in start.items()}
    return starts | ends | {"x": x.numpy(), "y": y.numpy()}


def main() -> None:
    keras.config.set_floatx("float64")
    t, k = torch.optim, keras.optimizers
    arrays = {"gradients": gradients(), "lr": np.array([lr_of(i) for i in range(STEPS)])}
    for name, make in {
        "sgd": lambda p: t.SGD(p, lr=1),
        "momentum": lambda p: t.SGD(p, lr=1, momentum=0.9),
        "nesterov": lambda p: t.SGD(p, lr=1, momentum=0.9, nesterov=True),
        "adagrad": lambda p: t.Adagrad(p),
        "rmsprop": lambda p: t.RMSprop(p, alpha=0.9),
        "adam": lambda p: t.Adam(p),
        "adamw": lambda p: t.AdamW(p, weight_decay=0.1),
        "adam_l2": lambda p: t.Adam(p, weight_decay=0.1),
    }.items():
        arrays[f"torch/{name}"] = with_torch(make)
    for name, optimizer in {
        "sgd": k.SGD(),
        "momentum": k.SGD(momentum=0.9),
        "nesterov": k.SGD(momentum=0.9, nesterov=True),
        "adagrad": k.Adagrad(),
        "rmsprop": k.RMSprop(rho=0.9),
        "adam": k.Adam(),
        "adamw": k.AdamW(weight_decay=0.1),
    }.items():
        arrays[f"keras/{name}"] = with_keras(optimizer)
    for name, make in {
        "sgd": lambda p: t.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        "adagrad": lambda p: t.Adagrad(p, lr=0.1, weight_decay=0.01, eps=1e-7),
        "rmsprop": lambda p: t.RMSprop(p, lr=0.01, alpha=0.9, weight_decay=0.01, eps=1e-7),
        "adam": lambda p: t.Adam(p, lr=0.01, weight_decay=0.01, eps=1e-7),
        "adamw": lambda p: t.AdamW(p, lr=0.01, weight_decay=0.01, eps=1e-7),
    }.items():
        arrays |= {f"net/{name}/{key}": a for key, a in net(make).items()}
    versions = f"torch {torch.__version__}, keras {keras.__version__}"
    path = Path(__file__).with_name("optim.npz")
    np.savez_compressed(path, versions=np.array(versions), **arrays)
    print(f"{path.name}: {path.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
